"""A wide table to train on and joined labels held out, through the whole job."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.rejections import RejectReason
from manylabel.storage.dataset import Dataset
from manylabel.storage.schema import SplitName

pytestmark = pytest.mark.slow

WIDE = """,file,author,haze,clear,water,night,part
0,0.png,ann,1,0,0.5,,train
1,1.png,ann,yes,0.0,nan,,train
2,2.png,bob,-1,1,0,,train
3,3.png,bob,7,1,,x,train
4,4.png,bob,0,0,0,,train
5,5.png,bob,1,1,1,1,other
6,9.png,cat,,1,,,train
"""

TRAINED = {  # Of each image its labels and its verified absences, read off the table.
    "0.png": ({"haze": 1.0, "water": 0.5}, {"clear"}),
    "1.png": ({"haze": 1.0}, {"clear"}),
    "2.png": ({"clear": 1.0}, {"water"}),
    "3.png": ({"clear": 1.0}, set()),
}
HELDOUT: dict[str, tuple[dict[str, float], set[str]]] = {
    "6.png": ({"clear": 0.5, "haze": 0.25}, set()),
    "7.png": ({"water": 1.0}, set()),
}


def labels_of(dataset, side):
    names = dataset.label_names()
    return {
        image.image_id: (
            dict(zip((names[at] for at in image.label_ids), image.confidences, strict=True)),
            {names[at] for at in image.negative_ids},
        )
        for image in dataset.iterate(side)
    }


def test_a_wide_table_and_joined_labels(tmp_path, picture):
    for seed in range(10):
        (tmp_path / f"{seed}.png").write_bytes(picture(seed, size=(16, 16)))
    (tmp_path / "wide.csv").write_text(WIDE)
    held = {
        "image_path": ["6.png", "7.png", "8.png"],
        "label": ["clear;haze", "water;fog", "fog;"],
        "confidence": ["0.5;0.25", "1", "1"],
        "series": ["x", "y", "cat"],
    }
    pq.write_table(pa.table(held), tmp_path / "held.parquet")
    config = PreprocessingConfig.model_validate(
        {
            "catalog": {
                "path": str(tmp_path / "wide.csv"),
                "image_column": "file",
                "label_columns": ["*"],
                "label_zeros": "absent",
                "null_values": [-1],
                "group_column": "author",
                "split_column": "part",
                "split": "train",
            },
            "heldout": {
                "catalog": {
                    "path": str(tmp_path / "held.parquet"),
                    "label_separator": ";",
                    "group_column": "series",
                }
            },
            "executor": "inline",
        }
    )
    report = preprocess(config, str(tmp_path / "dataset"))
    dataset = Dataset.open(report.dataset)
    assert labels_of(dataset, SplitName.TRAIN) == TRAINED
    assert labels_of(dataset, SplitName.HELDOUT) == HELDOUT
    assert dict(report.unknown_labels) == {"fog": 2}
    assert report.rejected == {
        RejectReason.NO_LABEL: 1,  # Image 4 has absences alone.
        RejectReason.BAD_CONFIDENCE: 2,
        RejectReason.GROUP_OF_HELDOUT: 1,
    }
    rows = pq.read_table(tmp_path / "dataset" / "rejected.parquet").to_pylist()
    details = {row["detail"] for row in rows if row["reason"] == RejectReason.BAD_CONFIDENCE}
    assert details == {"label 'haze': received '7'", "label 'night': received 'x'"}
    assert report.heldout_rejected == {RejectReason.UNKNOWN_LABELS: 1}
    (doubt,) = report.label_doubts
    assert doubt.startswith("columns 'haze' ('7'), 'night' ('x') have cells")

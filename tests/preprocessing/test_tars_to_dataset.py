"""From tars to a dataset: the same bytes as from loose files of the same names."""

import io
import json
import tarfile

import pyarrow.parquet as pq
import pytest

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.rejections import RejectReason

pytestmark = pytest.mark.slow

LABELS: dict[str, dict[str, float]] = {
    "a.tar/0.png": {"sea": 1, "sky": 0.5},
    "a.tar/1.png": {"sky": 1, "fog": 0},
    "b.tar/0.png": {"sea": 1},
    "b.tar/n/1.png": {"tree": 0.25, "sea": 1},
}


def member(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


@pytest.fixture
def tars(tmp_path, picture):
    """The four pictures with labels, and what samples may lack."""
    folder = tmp_path / "tars"
    folder.mkdir()
    for name in ("a.tar", "b.tar"):
        with tarfile.open(folder / name, "w") as tar:
            for seed, (image, labels) in enumerate(LABELS.items()):
                of, _, inside = image.partition("/")
                if of == name:
                    member(tar, inside, picture(seed, (16, 16)))
                    data = json.dumps({"tags": labels}).encode()
                    member(tar, inside.replace("png", "json"), data)
            if name == "b.tar":
                member(tar, "no-labels.png", picture(7, (16, 16)))
                member(tar, "no-picture.json", b'{"tags": "sea"}')
                member(tar, "bad.png", b"no picture")
                member(tar, "bad.json", b'{"tags": ["sea"]}')
    return folder


def config_of(path, **catalog):
    settings = {"catalog": {"path": str(path), **catalog}, "heldout": {"size": 0}}
    return PreprocessingConfig.model_validate({**settings, "executor": "inline"})


def test_tars_are_read_as_loose_files_are(tmp_path, tars, picture, write_csv, dataset_bytes):
    config = config_of(tars, webdataset={"label_key": "tags"})
    report = preprocess(config, str(tmp_path / "dataset"))
    assert report.counts.written == 4
    rejected = pq.read_table(tmp_path / "dataset" / "rejected.parquet").to_pylist()
    assert {row["image_id"]: row["reason"] for row in rejected} == {
        "b.tar/no-labels.png": RejectReason.NO_LABEL,
        "b.tar/no-picture": RejectReason.MISSING_FILE,
        "b.tar/bad.png": RejectReason.NOT_AN_IMAGE,
    }

    for seed, image in enumerate(LABELS):
        path = tmp_path / "loose" / image
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(seed, (16, 16)))
    rows = [(image, *pair) for image, labels in LABELS.items() for pair in labels.items()]
    preprocess(
        config_of(write_csv(tmp_path / "loose" / "labels.csv", rows)), str(tmp_path / "expected")
    )
    shards, expected = (dataset_bytes(tmp_path / name) for name in ("dataset", "expected"))
    del shards["rejected.parquet"], expected["rejected.parquet"]
    assert shards == expected

    assert preprocess(config, str(tmp_path / "dataset")).nothing_to_do
    with tarfile.open(tars / "c.tar", "w") as tar:
        member(tar, "0.png", picture(9, (16, 16)))
    with pytest.raises(PreprocessingError, match="the catalog or the version of the code changed"):
        preprocess(config, str(tmp_path / "dataset"))


@pytest.mark.parametrize(
    ("catalog", "message"),
    [
        (
            {"group_column": "x"},
            "a catalog of format webdataset has no use for preprocessing.catalog.group",
        ),
        ({"label_columns": "*"}, "no use for preprocessing.catalog.label_columns; remove that"),
    ],
)
def test_settings_of_tables_are_refused(tmp_path, tars, catalog, message):
    with pytest.raises(PreprocessingError, match=message):
        preprocess(config_of(tars, **catalog), str(tmp_path / "dataset"))


def test_settings_of_tars_are_refused_elsewhere(tmp_path, write_csv):
    path = write_csv(tmp_path / "a.csv", [("a.png", "sea", 1)])
    with pytest.raises(PreprocessingError, match=r"settings of preprocessing\.catalog\.webdataset"):
        preprocess(config_of(path, webdataset={"labels": "txt"}), str(tmp_path / "dataset"))

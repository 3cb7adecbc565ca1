"""Public label sets, from their files as they are published to records."""

import json

import pyarrow.parquet as pq
import pytest

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.rejections import RejectReason

pytestmark = pytest.mark.slow

COCO = {
    "images": [{"id": 7 * at, "file_name": f"{at}.png"} for at in range(4)],
    "annotations": [
        {"image_id": 0, "category_id": 1, "segmentation": [[1.5, 2.5]]},
        {"image_id": 0, "category_id": 1, "segmentation": [[3.5, 2.5]]},
        {"image_id": 7, "category_id": 1},
        {"image_id": 7, "category_id": 18, "iscrowd": 1},
        {"image_id": 14, "category_id": 18},
    ],
    "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
}

OPEN_IMAGES = """ImageID,Source,LabelName,Confidence
0,verification,/m/0cjq5,1
1,verification,/m/0jbk,0
1,machine,/m/0cjq5,0.9
1,machine,/m/02wbm,0.7
2,machine,/m/0cjq5,0.5
3,machine,/m/0jbk,0
"""
HIERARCHY = {
    "LabelName": "/m/0bl9f",
    "Subcategory": [
        {"LabelName": name, "Subcategory": [{"LabelName": "/m/0cjq5"}]}
        for name in ("/m/02wbm", "/m/0jbk")
    ],
}
CLASSES = "/m/0cjq5,Lobster\n/m/02wbm,Food\n/m/0jbk,Animal\n"

ML_IMAGES = "0.png\t0:1\t2:0.9\n1.png\t0:1\n2.png\t2:0.8\n3.png\n"
NAMES = "n0\t-1\tthing\nn1\t0\tcurrant\nn2\t0\tcurrant\n"

EXPECTED = {
    "coco": ({"dog": 2, "person": 2}, {RejectReason.NO_LABEL: 1}),
    # The second image has Food alone: a machine's Lobster is overruled with Animal.
    "open_images": ({"Animal": 2, "Food": 3, "Lobster": 2}, {RejectReason.NO_LABEL: 1}),
    "ml_images": ({"currant (2)": 2, "thing": 2}, {RejectReason.NO_LABEL: 1}),
}


def test_pictures_beside_the_folder_of_annotations_need_a_setting(tmp_path, picture):
    """As COCO's archives lie side by side: annotations/instances_val2017.json and val2017/."""
    for folder in ("annotations", "val2017"):
        (tmp_path / folder).mkdir()
    for number in range(4):
        (tmp_path / "val2017" / f"{number}.png").write_bytes(picture(number, (16, 16)))
    catalog = tmp_path / "annotations" / "instances_val2017.json"
    catalog.write_text(json.dumps(COCO))
    config = PreprocessingConfig.model_validate(
        {"catalog": {"path": str(catalog)}, "executor": "inline"}
    )
    message = (
        r"3 missing file, 1 no label\); .*; set preprocessing\.catalog\.image_root to where the"
    )
    with pytest.raises(PreprocessingError, match=message):
        preprocess(config, str(tmp_path / "dataset"))


@pytest.mark.parametrize("format_", EXPECTED)
def test_from_the_published_form_to_records(format_, tmp_path, picture):
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(picture(number, (16, 16)))
    for name, content in (
        ("coco", json.dumps(COCO)),
        ("open_images", OPEN_IMAGES),
        ("ml_images", ML_IMAGES),
        ("hierarchy", json.dumps(HIERARCHY)),
        ("classes", CLASSES),
        ("names", NAMES),
    ):
        (tmp_path / name).write_text(content)
    beside = {
        "open_images": {
            "class_descriptions": str(tmp_path / "classes"),
            "hierarchy": str(tmp_path / "hierarchy"),
            "image_name": "{id}.png",
        },
        "ml_images": {"dictionary": str(tmp_path / "names")},
    }
    catalog = {"path": str(tmp_path / format_), "format": format_}
    catalog |= {name: value for name, value in beside.items() if name == format_}
    config = PreprocessingConfig.model_validate(
        {"catalog": catalog, "heldout": {"size": 0}, "executor": "inline"}
    )
    report = preprocess(config, str(tmp_path / "dataset"))
    labels = pq.read_table(tmp_path / "dataset" / "labels.parquet")
    counts = dict(zip(labels["name"].to_pylist(), labels["train_count"].to_pylist(), strict=True))
    assert (counts, report.rejected) == EXPECTED[format_]
    assert sum(report.images.values()) == 3

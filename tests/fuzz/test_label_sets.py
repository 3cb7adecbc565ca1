"""COCO's JSON, the CSVs of Open Images, ML-Images' text, and the tables of classes beside them."""

import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.fuzz._catalogs import read_catalog
from tests.fuzz._damage import damaged
from tests.fuzz._edits import edited_json
from tests.fuzz._target import Target, fuzz

COCO = {
    "info": {"year": 2017},
    "images": [
        {"id": 1, "file_name": "a.jpg", "neg_category_ids": [3]},
        {"id": 2, "coco_url": "http://x/val/b.jpg"},
    ],
    "annotations": [
        {"image_id": 1, "category_id": 2, "segmentation": [[1.0, 2.5]]},
        {"image_id": 2, "segments_info": [{"category_id": 3}]},
    ],
    "categories": [{"id": 2, "name": "cat"}, {"id": 3, "name": "dog"}],
}
LABELS = (
    b"ImageID,Source,LabelName,Confidence\n"
    b"1a,verification,/m/a,1\n1a,machine,/m/b,0.7\n2b,human,/m/b,0\n"
)
DESCRIPTIONS = b'/m/a,Cat\n/m/b,"Dog, wild"\n'
HIERARCHY = {
    "LabelName": "/m/0",
    "Subcategory": [{"LabelName": "/m/a", "Part": [{"LabelName": "/m/b"}]}],
}
ML_IMAGES = b"http://x/a.jpg\t1:1\t2:0.5\nhttp://x/b.jpg\t2:1\n"
DICTIONARY = b"category_id\tcategory_name\n1\tn0001\t-1\tcat\n2\tn0002\t1\tdog\n"
WORDS = (
    b'"',
    b",",
    b"\n",
    b"\t",
    b":",
    b"\0",
    b"\xff",
    b"{",
    b"[",
    b"NaN",
    b"9" * 5000,
    b"-1",
    b"/m/a",
    b"1e999",
)

COCO_FILE, HIERARCHY_FILE = json.dumps(COCO).encode(), json.dumps(HIERARCHY).encode()
_open_images = st.tuples(
    st.just("labels.csv"),
    damaged([LABELS], WORDS) | st.just(LABELS),
    st.fixed_dictionaries(
        {
            "class_descriptions": damaged([DESCRIPTIONS], WORDS),
            "hierarchy": damaged([HIERARCHY_FILE], WORDS) | edited_json([HIERARCHY]),
        }
    ),
)
_coco: SearchStrategy[Any] = st.tuples(
    st.just("labels.json"), damaged([COCO_FILE], WORDS) | edited_json([COCO]), st.just({})
)
_ml_images = st.tuples(
    st.just("labels.txt"),
    damaged([ML_IMAGES], WORDS),
    st.fixed_dictionaries({"dictionary": damaged([DICTIONARY], WORDS)}),
)
CASES = _coco | _open_images | _ml_images
SOUND = [
    ("labels.json", COCO_FILE, {}),
    ("labels.csv", LABELS, {"class_descriptions": DESCRIPTIONS, "hierarchy": HIERARCHY_FILE}),
    ("labels.txt", ML_IMAGES, {}),
]
FORMATS = {"labels.json": "coco", "labels.csv": "open_images", "labels.txt": "ml_images"}


def check(case, folder):
    name, data, beside = case
    for setting, content in beside.items():
        (folder / setting).write_bytes(content)
    settings: dict[str, Any] = {"format": FORMATS[name]}
    if beside:
        settings[FORMATS[name]] = {setting: str(folder / setting) for setting in beside}
    if name == "labels.txt":
        settings["http"] = {}
    return read_catalog(name, data, settings, folder)[0]


TARGET = Target("label_sets", CASES, check)


def test_label_sets(tmp_path):
    fuzz(TARGET, tmp_path / "case", 100, sound=SOUND)

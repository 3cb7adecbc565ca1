"""Small catalogs as people have them: what the command says at the first try, and what it makes
once the settings are given that the page of catalogs names."""

import json
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from manylabel.pipeline import cli
from manylabel.storage.dataset import Dataset

NAMES = ("a.png", "b.png", "c.png", "d.png")
HAZE, CLEAR = ("haze", "primary"), ("clear",)
LABELS = {"a.png": HAZE, "b.png": CLEAR, "c.png": CLEAR, "d.png": ("haze",)}
COCO = {
    "images": [{"id": at, "file_name": name} for at, name in enumerate(NAMES)],
    "categories": [{"id": 7 + at, "name": name} for at, name in enumerate((*HAZE, *CLEAR))],
    "annotations": [
        {"id": each, "image_id": image, "category_id": category}
        for each, (image, category) in enumerate([(0, 7), (0, 8), (1, 9), (2, 9), (3, 7), (3, 7)])
    ],
}


class People(NamedTuple):
    """A catalog.

    Attributes:
        name: Of the file.
        content: Text, a table, or nothing for what the pictures' own tree is.
        first: What is said at the first try; None if it is right.
        settings: Of `preprocessing.catalog`, that make it right.
    """

    name: str
    content: Any
    first: str | None
    settings: dict[str, Any]


CATALOGS = {
    "a row for each label": People(
        "labels.csv",
        "image_path,label\na.png,haze\na.png,primary\nb.png,clear\nc.png,clear\nd.png,haze\n",
        None,
        {},
    ),
    "columns of other names": People(
        "labels.csv",
        "filename,class\na.png,haze\na.png,primary\nb.png,clear\nc.png,clear\nd.png,haze\n",
        "set preprocessing.catalog.image_column and preprocessing.catalog.label_column",
        {"image_column": "filename", "label_column": "class"},
    ),
    "Planet: bare names, tags joined by blanks": People(
        "train_v2.csv",
        "image_path,label\na,haze primary\nb,clear\nc,clear\nd,haze\n",
        "there is one that ends in .png, which image_suffix can add",
        {"image_suffix": ".png", "label_separator": " "},
    ),
    "ChestX-ray14: findings joined by bars": People(
        "Data_Entry_2017.csv",
        "Image Index,Finding Labels,Follow-up #,Patient ID\n"
        "a.png,haze|primary,0,1\nb.png,clear,2,60\nc.png,clear,1,58\nd.png,haze,0,3\n",
        "set preprocessing.catalog.image_column",
        {
            "image_column": "Image Index",
            "label_column": "Finding Labels",
            "label_separator": "|",
            "group_column": "Patient ID",
        },
    ),
    "joined, and not said": People(
        "labels.csv",
        "image_path,label\na.png,haze|primary\nb.png,clear\nc.png,clear\nd.png,haze\n",
        "set preprocessing.catalog.label_separator to '|'",
        {"label_separator": "|"},
    ),
    "CheXpert: a column for each label": People(
        "train.csv",
        "Path,Sex,Age,haze,primary,clear\na.png,Female,68,1.0,1.0,\nb.png,Male,60,0.0,-1.0,1.0\n"
        "c.png,Male,60,,0.0,1.0\nd.png,Male,61,1.0,,0.0\n",
        "preprocessing.catalog.label_columns to '*' where each label has a column",
        {
            "image_column": "Path",
            "label_columns": ["*", "!Sex", "!Age"],
            "null_values": [-1.0],
        },
    ),
    "Hugging Face: metadata.jsonl": People(
        "metadata.jsonl",
        "".join(
            json.dumps({"file_name": name, "labels": labels}) + "\n"
            for name, labels in LABELS.items()
        ),
        "set preprocessing.catalog.image_column and preprocessing.catalog.label_column",
        {"image_column": "file_name", "label_column": "labels"},
    ),
    "pandas: lists that were printed": People(
        "labels.csv",
        "image_path,label\na.png,\"['haze', 'primary']\"\nb.png,['clear']\nc.png,['clear']\n"
        "d.png,['haze']\n",
        "look like lists: set preprocessing.catalog.label_separator to list",
        {"label_separator": "list"},
    ),
    "Parquet: a column of lists": People(
        "train.parquet",
        pa.table({"image_path": list(LABELS), "label": list(LABELS.values())}),
        None,
        {},
    ),
    "Excel: semicolons": People(
        "labels.csv",
        "\ufeffimage_path;label\r\na.png;haze, primary\r\nb.png;clear\r\nc.png;clear\r\n"
        "d.png;haze\r\n",
        "set preprocessing.catalog.label_separator to ','",
        {"label_separator": ","},
    ),
    "ImageNet: no header, blanks": People(
        "val.txt",
        "a.png haze,primary\nb.png clear\nc.png clear\nd.png haze\n",
        "set preprocessing.catalog.format to what it is",
        {"format": "csv", "delimiter": " ", "header": False, "label_separator": ","},
    ),
    "COCO: instances": People("instances.json", json.dumps(COCO), None, {}),
}


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(1)
    return {
        name: Image.fromarray(rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)).resize((40, 36))
        for name in NAMES
    }


@pytest.mark.parametrize("people", CATALOGS.values(), ids=CATALOGS)
def test_the_first_try_is_right_or_says_what_to_set(people, pictures, tmp_path, capsys):
    for name, picture in pictures.items():
        picture.save(tmp_path / name)
    path = tmp_path / people.name
    if isinstance(people.content, str):
        path.write_bytes(people.content.encode())
    else:
        pq.write_table(people.content, path)

    def outcome(**settings):
        config = {"catalog": {"path": str(path), **settings}, "executor": "inline"}
        config |= {"heldout": {"size": 0}}
        (tmp_path / "settings.yaml").write_text(json.dumps({"preprocessing": config}))
        command = ["preprocess", str(tmp_path / "settings.yaml"), "--overwrite"]
        code = cli.run([*command, "--output", str(tmp_path / "ds")])
        told = capsys.readouterr()
        lines = f"{told.out}{told.err}".splitlines()
        return code, " ".join(" ".join(lines).split())

    code, told = outcome()
    if people.first is not None:
        assert people.first in told
        code, told = outcome(**people.settings)
    assert code == 0, told
    dataset = Dataset.open(tmp_path / "ds")
    names = dataset.label_names()
    found = {
        image.image_id: tuple(sorted(names[each] for each in image.label_ids))
        for image in dataset.iterate("train")
    }
    assert found == LABELS

"""COCO's and LVIS's JSON, in their public form."""

import gzip
import json

import pytest

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import count_rows
from manylabel.preprocessing.catalogs.json_arrays import read_arrays
from manylabel.preprocessing.errors import PreprocessingError

# As instances_val2017.json has them, with fewer points.
IMAGES = [
    {
        "license": 4,
        "file_name": "000000397133.jpg",
        "coco_url": "http://images.cocodataset.org/val2017/000000397133.jpg",
        "height": 427,
        "width": 640,
        "date_captured": "2013-11-14 17:02:52",
        "flickr_url": "http://farm7.staticflickr.com/6116/6255196340_da26cf2c9e_z.jpg",
        "id": 397133,
    },
    {"license": 1, "file_name": "000000037777.jpg", "height": 230, "width": 352, "id": 37777},
    {"license": 4, "file_name": "000000252219.jpg", "height": 428, "width": 640, "id": 252219},
]
CATEGORIES = [
    {"supercategory": "person", "id": 1, "name": "person"},
    {"supercategory": "kitchen", "id": 44, "name": "bottle"},
    {"supercategory": "furniture", "id": 67, "name": "dining table"},
]
ANNOTATIONS = [
    {
        "segmentation": [[224.24, 297.18, 228.29, 297.18, 234.91, 298.29]],
        "area": 1481.38,
        "iscrowd": 0,
        "image_id": 397133,
        "bbox": [217.62, 240.54, 38.99, 57.75],
        "category_id": 44,
        "id": 82445,
    },
    {
        "segmentation": {"counts": [272, 2, 4, 4], "size": [427, 640]},
        "area": 18419,
        "iscrowd": 1,
        "image_id": 397133,
        "bbox": [1, 0, 639, 200],
        "category_id": 1,
        "id": 900100397133,
    },
    {"image_id": 397133, "category_id": 44, "iscrowd": 0, "id": 3},
    {"image_id": 252219, "category_id": 1, "iscrowd": 0, "id": 4},
]
COCO = {
    "info": {"description": "COCO 2017 Dataset", "year": 2017},
    "licenses": [{"url": "http://creativecommons.org/licenses/by/2.0/", "id": 4, "name": "CC BY"}],
    "images": IMAGES,
    "annotations": ANNOTATIONS,
    "categories": CATEGORIES,
}
LABELS = {
    ("000000397133.jpg", "person", 1.0),
    ("000000397133.jpg", "bottle", 1.0),
    ("000000252219.jpg", "person", 1.0),
    ("000000037777.jpg", None, 1.0),
}


@pytest.fixture
def read(tmp_path, rows_of):
    """read(object or text, setting=...): triples (image, label, confidence)."""

    def of(content, **settings):
        path = tmp_path / "instances.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return [row[:3] for row in rows_of(path, **settings)]

    return of


def test_each_image_has_each_of_its_categories_once(read):
    rows = read(COCO)
    assert set(rows) == LABELS
    assert len(rows) == len(LABELS)


@pytest.mark.parametrize("order", [("annotations", "categories", "images"), sorted(COCO)[::-1]])
def test_the_order_of_the_sections_is_free(read, order):
    assert set(read({name: COCO[name] for name in order})) == LABELS


def test_a_file_is_read_in_pieces_of_any_size(tmp_path):
    """Also where an item, a number or a character of several bytes is cut in two."""
    path = tmp_path / "c.json"
    items = [{"é": ["ł", 1.5, -20, None]}, 678, []]
    content = {"n": 12345, "a": items, "b": [], "c": {"d": [1]}}
    path.write_text("\ufeff" + json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    for block in range(1, 40):
        with path.open("rb") as file:
            read = list(read_arrays(file, "c.json", block))
        assert read == [("a", at, item) for at, item in enumerate(items)]


def test_paths_with_folders_and_as_windows_writes_them(read):
    images = [
        {"id": 1, "file_name": "val2017/a b.jpg"},
        {"id": 2, "file_name": "images\\b.jpg"},
        {"id": 3, "file_name": 3},
    ]
    rows = read({"images": images, "categories": [], "annotations": []})
    assert [row[0] for row in rows] == ["val2017/a b.jpg", "images/b.jpg", "3"]


def test_images_by_url(read):
    """Where there is none, the name is left, to be rejected as no URL."""
    rows = read(COCO, http={})
    assert {row[0] for row in rows} == {
        "http://images.cocodataset.org/val2017/000000397133.jpg",
        "000000037777.jpg",
        "000000252219.jpg",
    }


def test_lvis_has_verified_absences_and_no_file_names(read):
    """As lvis_v1_val.json: 2 was looked for and is not there; not all of 3 is outlined."""
    url = "http://images.cocodataset.org/train2017/000000391895.jpg"
    image = {"id": 391895, "coco_url": url, "height": 360, "width": 640}
    lvis = {
        "images": [image | {"neg_category_ids": [2, 1], "not_exhaustive_category_ids": [3]}],
        "annotations": [
            {"id": 1, "image_id": 391895, "category_id": 3, "segmentation": [[1.0, 2.0]]},
        ],
        "categories": [
            {"id": 1, "name": "aerosol_can", "synset": "aerosol.n.02", "frequency": "c"},
            {"id": 2, "name": "air_conditioner", "frequency": "f"},
            {"id": 3, "name": "airplane", "frequency": "f"},
        ],
    }
    file = "train2017/000000391895.jpg"
    assert sorted(read(lvis)) == [
        (file, "aerosol_can", 0.0),
        (file, "air_conditioner", 0.0),
        (file, "airplane", 1.0),
    ]


def test_images_of_one_file_are_one(read):
    """As where sets were put together; and a list of images without annotations, as for a test."""
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "a.jpg"}]
    annotations = [{"image_id": number, "category_id": number} for number in (1, 2)]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    rows = read({"images": images, "annotations": annotations, "categories": categories})
    assert rows == [("a.jpg", "cat", 1.0), ("a.jpg", "dog", 1.0)]
    assert read({"images": images[:1], "categories": categories}) == [("a.jpg", None, 1.0)]


def test_segments_of_panoptic_annotations_are_labels(read):
    """As panoptic_val2017.json, whose categories are things and stuff."""
    segments = [{"id": 3226956, "category_id": 1, "iscrowd": 0}, {"id": 6979964, "category_id": 67}]
    panoptic = {"segments_info": segments, "file_name": "000000397133.png", "image_id": 397133}
    rows = read(COCO | {"images": IMAGES[:1], "annotations": [panoptic]})
    assert sorted(row[1] for row in rows) == ["dining table", "person"]


def test_categories_of_one_name_are_told_apart(read):
    """As Roboflow writes them: a project's name stands as a category too."""
    categories = [
        {"id": 0, "name": "cat", "supercategory": "none"},
        {"id": 1, "name": " cat", "supercategory": "cat"},
        {"id": "2", "name": "dog", "supercategory": "cat"},
        {"id": 3, "name": "", "supercategory": "cat"},
    ]
    annotations = [{"image_id": 1, "category_id": number} for number in ("0", 1.0, 2, 3)]
    images = [{"id": "1", "file_name": "a.jpg"}]
    rows = read({"images": images, "categories": categories, "annotations": annotations})
    assert sorted(row[1] for row in rows) == ["3", "cat (0)", "cat (1)", "dog"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"annotations": [*ANNOTATIONS, {"image_id": 99, "category_id": 1}]},
            r"instances.json: expected all images that annotations name, received none with the id "
            r"99; add them, or remove what names them \(1 labels\)",
        ),
        (
            {"annotations": [{"image_id": 37777, "category_id": n} for n in range(100, 107)]},
            r"expected all categories .* the id 100, 101, 102, 103, 104 and 2 more; .* \(7 labels",
        ),
        (
            {"annotations": [{"image_id": 37777, "id": 1, "caption": "A cat"}]},
            r"annotations\[0\]: expected a number or a text for category_id, received only "
            "image_id, id, caption",
        ),
        (
            {"images": [*IMAGES, {"id": 37777, "file_name": "other.jpg"}]},
            r"images\[3\]: expected an id of its own, received that of '000000037777.jpg' for "
            "'other.jpg'",
        ),
        (
            {"categories": [*CATEGORIES, {"id": 44, "name": "can"}]},
            r"categories\[3\]: expected an id of its own, received that of 'bottle' for 'can'",
        ),
        ({"images": [{"id": 1}]}, r"images\[0\]: expected a text for file_name, received only id"),
        ({"images": [{"id": None, "file_name": "a"}]}, r"a text for id, received None"),
        ({"images": [{"id": True, "file_name": "a"}]}, r"a text for id, received True"),
        (
            {"images": [{"id": 1, "file_name": "\ud800"}]},
            r"a text for file_name, received '.ud800'",
        ),
        ({"images": [IMAGES[0] | {"neg_category_ids": 3}]}, "a list for neg_category_ids, rec.* 3"),
        (
            {"images": [IMAGES[0] | {"neg_category_ids": [[]]}]},
            r"for neg_category_ids, received \[\]",
        ),
        (
            {"annotations": [{"image_id": 37777, "segments_info": [7]}]},
            r"annotations\[0\]: expected objects in segments_info, received 7",
        ),
        ({"images": ["a.jpg"]}, r"images\[0\]: expected an object, received 'a.jpg'"),
        ({"images": [], "annotations": []}, "expected an array images .*received none"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(read, change, message):
    with pytest.raises(PreprocessingError, match=message) as raised:
        read(COCO | change)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"expected a JSON object .*, received the end"),
        (
            '[{"image_id": 1, "category_id": 2, "score": 0.5}]',
            r"expected a JSON object \(several .* as .jsonl.*\), received",
        ),
        ('{"images": [{"id": 1, "file_name": "a.jpg"}', r"expected a comma or the end of images"),
        (
            '{"images": [{"id": 1, "file_n',
            r"after 22 characters: images\[0\]: expected JSON: Unterm",
        ),
        ('{"images": [{"id": 1,}]}', r"after 21 characters: images\[0\]: expected JSON"),
        (
            '{"x": [{"id": 1} {"id": 2}]}',
            r"expected a comma or the end of x after item 0",
        ),
        ('{"images": []} {}', r"expected one JSON object .*jsonl.*\), received more after it"),
        ("{images: []}", r"the name of a section"),
        ('{"images": ' + "[" * 100_000, r"in a few levels"),
        ('{"images": [{"id": ' + "9" * 5000 + "}]}", r"images\[0\]: .* numbers of a few digits"),
    ],
)
def test_damage_is_said_in_a_line(read, content, message):
    with pytest.raises(PreprocessingError, match=message) as raised:
        read(content)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_a_packed_file_is_read_and_another_kind_is_named(tmp_path, rows_of):
    path = tmp_path / "instances.json.gz"
    path.write_bytes(gzip.compress(json.dumps(COCO).encode()))
    assert {row[:3] for row in rows_of(path)} == LABELS
    for content, message in (
        (path.read_bytes()[:-20], "packed with gzip, received a file that is cut short"),
        (b"PAR1" + bytes(100), r"instances.json.gz: expected COCO's JSON, received Parquet"),
    ):
        path.write_bytes(content)
        with pytest.raises(PreprocessingError, match=message):
            rows_of(path)
    with pytest.raises(PreprocessingError, match=r"received a folder; set .*path to the file with"):
        rows_of(tmp_path)


def test_text_that_is_not_utf8_is_said_in_a_line(tmp_path):
    path = tmp_path / "c.json"
    path.write_bytes('{"images": [{"id": 1, "file_name": "é.jpg"}]}'.encode("latin-1"))
    with pytest.raises(PreprocessingError, match="expected UTF-8, received byte 0xe9"):
        count_rows(CatalogConfig(path=str(path)))

"""Tencent ML-Images' text, in its public form."""

import pytest

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import detect_format
from manylabel.preprocessing.catalogs.ml_images import read_ml_images
from manylabel.preprocessing.errors import PreprocessingError

# Lines of train_urls.txt and of train_im_list_tiny.txt.
URL = "https://c4.staticflickr.com/8/7239/6997334729_e5fb3938b1_o.jpg"
LINES = f"{URL}\t5851:0.9\t5193:0.9\t9416:1\n17382017900_f7152f6e1c_o.jpg\t940:0.8\t17:1\n"
ROWS = [
    (URL, "5851", "0.9", None),
    (URL, "5193", "0.9", None),
    (URL, "9416", "1", None),
    ("17382017900_f7152f6e1c_o.jpg", "940", "0.8", None),
    ("17382017900_f7152f6e1c_o.jpg", "17", "1", None),
]


@pytest.fixture
def read(tmp_path, rows_of):
    def of(text, **settings):
        path = tmp_path / "train_urls.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return rows_of(path, format="ml_images", **settings)

    return of


@pytest.fixture
def dictionary(tmp_path):
    """dictionary(text): settings that name a file with it."""

    def write(text):
        path = tmp_path / "dictionary_and_semantic_hierarchy.txt"
        path.write_text(text)
        return {"ml_images": {"dictionary": str(path)}}

    return write


@pytest.mark.parametrize(
    "text",
    [
        LINES,
        LINES.rstrip(),
        LINES.replace("\n", "\r\n"),
        "\ufeff" + LINES.replace("\n", "\t\n\n \t\n"),
        # As the file's own description and its tiny example show it.
        LINES.replace("\t", "  "),
        LINES.replace("\t5193", "        5193"),
        LINES.replace("\t5851", " 5851"),
    ],
)
def test_a_line_is_an_image_with_its_labels(read, text):
    assert read(text) == ROWS


def test_blocks_end_anywhere(tmp_path):
    path = tmp_path / "train_urls.txt"
    path.write_text(LINES.replace("940:", "9ł40:"))
    config = CatalogConfig(path=str(path), format="ml_images")
    for block in (1, 7, 64, 1000):
        tables = list(read_ml_images(config, block))
        rows = [row["label"] for table in tables for row in table.to_pylist()]
        assert rows == ["5851", "5193", "9416", "9ł40", "17"]


def test_a_path_may_have_blanks_where_tabs_separate(read):
    assert read("my photos/a b.jpg\t1:1\n")[0][:2] == ("my photos/a b.jpg", "1")


def test_images_without_labels_and_labels_without_confidence_are_kept_to_be_counted(read):
    assert read("a.jpg\nb.jpg\t7\t8:0.5\nc.jpg\t9:1\n") == [
        ("a.jpg", None, "", None),
        ("b.jpg", "7", "", None),
        ("b.jpg", "8", "0.5", None),
        ("c.jpg", "9", "1", None),
    ]


@pytest.mark.parametrize("text", [LINES, LINES.replace("\t", "  ")])
def test_what_nobody_said_is_ml_images_is_named(tmp_path, text):
    path = tmp_path / "train_urls.txt"
    path.write_text(text)
    message = r"received text of ML-Images; set preprocessing\.catalog\.format to ml_images"
    with pytest.raises(PreprocessingError, match=message):
        detect_format(CatalogConfig(path=str(path)))


# As the file has them; two of its classes are currants.
NAMES = (
    "n00002452\t-1\tthing\nn00002684\t-1\tobject, physical object\n"
    "n07752966\t33\tcurrant\nn07744246\t50\tcurrant\n"
)


@pytest.mark.parametrize(
    "text",
    [
        NAMES,
        "category_index\tcategory_id\tindex_of_parent_category\tcategory name\n"
        + "".join(f"{number}\t{line}\n" for number, line in enumerate(NAMES.splitlines())),
    ],
)
def test_the_dictionary_names_the_classes(read, dictionary, text):
    rows = read("a.jpg\t0:1\t1:0.9\t2:0.8\t3:0.7\n", **dictionary(text))
    assert [(label, confidence) for _, label, confidence, _ in rows] == [
        ("thing", "1"),
        ("object, physical object", "0.9"),
        ("currant (2)", "0.8"),
        ("currant (3)", "0.7"),
    ]


def test_what_does_not_fit_is_said_in_a_line(read, dictionary):
    names = dictionary(NAMES)
    message = r"train_urls.txt: line 3: expected classes of the dictionary, which .* '4:1'"
    with pytest.raises(PreprocessingError, match=message):
        read("a.jpg\t0:1\n\nb.jpg\t0:1\t4:1\n", **names)
    with pytest.raises(PreprocessingError, match=r"line 2: expected UTF-8, received byte 0xe9"):
        read(b"a.jpg\t0:1\n\xe9.jpg\t1:1\n")
    with pytest.raises(PreprocessingError, match=r"hierarchy.txt: line 1: expected WordNet number"):
        read(LINES, **dictionary("thing\n"))
    with pytest.raises(PreprocessingError, match=r"no such file; set preprocessing\.catalog\.ml_i"):
        read(LINES, ml_images={"dictionary": "nowhere.txt"})

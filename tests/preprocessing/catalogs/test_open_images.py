"""Open Images' tables of labels, classes and images, in their public form of V2 to V7."""

import json

import pyarrow as pa
import pytest

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import (
    catalog_digest,
    catalog_pieces,
    label_parents,
    read_piece,
)
from manylabel.preprocessing.catalogs.open_images import MACHINE, PEOPLE
from manylabel.preprocessing.decisions.hierarchy import Hierarchy
from manylabel.preprocessing.decisions.listing import merge_rows
from manylabel.preprocessing.decisions.rows import clean_rows
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.http_config import HttpConfig

HEADER = "ImageID,Source,LabelName,Confidence\n"

# oidv7-class-descriptions.csv, in whose first version there was no header; both Jaguars are there.
CLASSES = """LabelName,DisplayName
/m/0cjq5,Lobster
/m/09gys,Squid
/m/0fbdv,Shellfish
/m/06nwz,Seafood
/m/02wbm,Food
/m/03hl4l9,Marine invertebrates
/m/03xxp,Invertebrate
/m/0jbk,Animal
/m/0199g,Bicycle
/m/01bqk0,Bicycle wheel
/m/0449p,Jaguar
/m/012x34,Jaguar
/m/02wvth,"Fiat 500 ""topolino\"""
/m/03hgsf0,"Lemon, lime and bitters"
"""


def node(name, *kinds, parts=()):
    """A class as the hierarchy has it."""
    found = {"LabelName": name}
    if parts:
        found["Part"] = list(parts)
    if kinds:
        found["Subcategory"] = list(kinds)
    return found


# A part of bbox_labels_600_hierarchy.json, where Lobster is listed below Shellfish, which is
# Seafood and Food, and below Marine invertebrates, which are Invertebrates and Animals; Squid below
# Seafood itself. Bicycle wheel is a part of Bicycle. The root is Entity.
HIERARCHY = node(
    "/m/0bl9f",
    node("/m/02wbm", node("/m/06nwz", node("/m/09gys"), node("/m/0fbdv", node("/m/0cjq5")))),
    node("/m/0jbk", node("/m/03xxp", node("/m/03hl4l9", node("/m/09gys"), node("/m/0cjq5")))),
    node("/m/0199g", parts=[node("/m/01bqk0")]),
)


@pytest.fixture
def files(tmp_path):
    """files(labels, more labels, ...): the settings of a catalog of them, with all beside them."""

    def write(*labels, classes=CLASSES, hierarchy=HIERARCHY, **settings):
        paths = []
        for number, text in enumerate(labels):
            paths.append(tmp_path / f"labels-{number}.csv")
            paths[-1].write_text(HEADER + text)
        section = {"more_labels": [str(path) for path in paths[1:]], **settings}
        for name, content in (("class_descriptions", classes), ("hierarchy", hierarchy)):
            if content is not None:
                path = tmp_path / name
                path.write_text(content if isinstance(content, str) else json.dumps(content))
                section[name] = str(path)
        return CatalogConfig(path=str(paths[0]), format="open_images", open_images=section)

    return write


def raw_rows(config):
    pieces = catalog_pieces(config)
    return pa.concat_tables(table for piece in pieces for table in read_piece(piece, config))


def labels_of(config):
    """image -> {label: confidence}, as they are written."""
    rows, rejected = clean_rows(raw_rows(config).combine_chunks())
    assert not rejected.num_rows
    parents = label_parents(config)
    assert parents is not None
    merged = merge_rows(rows, hierarchy=Hierarchy.of(parents))
    assert not merged.rejected.num_rows
    names = {each["key"]: each["name"] for each in merged.label_names.to_pylist()}
    return {
        image["image_id"]: {names[each["key"]]: each["confidence"] for each in image["labels"]}
        for image in merged.images.to_pylist()
    }


def test_lines_of_old_macs(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes(b"ImageID,Source,LabelName,Confidence\r0,verification,/m/0,1\r")
    config = CatalogConfig(path=str(path), format="open_images")
    (piece,) = catalog_pieces(config)
    (table,) = read_piece(piece, config)
    assert table.column("label").to_pylist() == ["/m/0"]


def test_rows_as_they_are(files):
    text = (
        "000002b66c9c498e,machine,/m/05_4_,0.7\n"
        "000002b66c9c498e,verification,/m/0199g,0\n"
        "000002b97e5471a0,crowdsource-verification,/m/02wvth,1\n"
        "000002b97e5471a0,human,/m/03hgsf0,1.0\n"
    )
    assert [tuple(row.values()) for row in raw_rows(files(text)).to_pylist()] == [
        ("000002b66c9c498e.jpg", "/m/05_4_", "0.7", None, False),
        ("000002b66c9c498e.jpg", "Bicycle", "0", None, True),
        ("000002b97e5471a0.jpg", 'Fiat 500 "topolino"', "1", None, True),
        ("000002b97e5471a0.jpg", "Lemon, lime and bitters", "1.0", None, True),
    ]


def test_a_class_with_several_parents_makes_all_of_them_present(files):
    """Lobster, of the real hierarchy."""
    lobster = {
        "Lobster": 1,
        "Shellfish": 1,
        "Seafood": 1,
        "Food": 1,
        "Marine invertebrates": 1,
        "Invertebrate": 1,
        "Animal": 1,
    }
    assert labels_of(files("0000000000000001,verification,/m/0cjq5,1\n")) == {
        "0000000000000001.jpg": lobster
    }
    # No animal at all: neither of the two that are food as well. But food it may be.
    assert labels_of(
        files(
            "0000000000000001,verification,/m/0jbk,0\n",
            "0000000000000001,machine,/m/0cjq5,0.9\n0000000000000001,machine,/m/06nwz,0.8\n",
        )
    ) == {
        "0000000000000001.jpg": {
            **dict.fromkeys(("Animal", "Invertebrate", "Marine invertebrates"), 0),
            **dict.fromkeys(("Lobster", "Squid"), 0),
            **dict.fromkeys(("Seafood", "Food"), 0.8),
        }
    }


def test_a_part_is_no_kind(files):
    """But has kinds: in the real file all sports equipment hangs below a Part."""
    assert labels_of(files("0000000000000001,verification,/m/01bqk0,1\n")) == {
        "0000000000000001.jpg": {"Bicycle wheel": 1}
    }
    inner = node("/m/0bl9f", node("/m/0cgh4", parts=[node("/m/05y5lj", node("/m/0199g"))]))
    assert labels_of(files("0000000000000001,verification,/m/0199g,1\n", hierarchy=inner)) == {
        "0000000000000001.jpg": {"Bicycle": 1, "/m/05y5lj": 1}
    }


def test_classes_of_one_name_are_told_apart(files):
    rows = "0000000000000001,human,/m/0449p,1\n0000000000000001,human,/m/012x34,0\n"
    expected = {"Jaguar (/m/0449p)": 1, "Jaguar (/m/012x34)": 0}
    assert labels_of(files(rows)) == {"0000000000000001.jpg": expected}
    without_header = CLASSES.split("\n", 1)[1]
    assert labels_of(files(rows, classes=without_header)) == {"0000000000000001.jpg": expected}
    assert labels_of(files(rows, classes=None, hierarchy=None)) == {
        "0000000000000001.jpg": {"/m/0449p": 1, "/m/012x34": 0}
    }


def test_people_outweigh_machines_without_a_hierarchy_too(files):
    people = "0000000000000001,verification,/m/02wbm,0\n0000000000000001,verification,/m/0jbk,1\n"
    machine = "0000000000000001,machine,/m/02wbm,0.9\n0000000000000001,machine,/m/0jbk,0.6\n"
    for labels in ((people, machine), (machine, people)):
        found = labels_of(files(*labels, hierarchy=None))
        assert found == {"0000000000000001.jpg": {"Food": 0, "Animal": 1}}


def test_boxes_are_labels_that_people_gave(files, tmp_path):
    config = files("")
    (tmp_path / "labels-0.csv").write_text(
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,"
        "IsDepiction,IsInside\n"
        "000002b66c9c498e,xclick,/m/0199g,1,0.012500,0.195312,0.148438,0.587500,0,1,0,0,0\n"
        "000002b66c9c498e,activemil,/m/0199g,1,0.025000,0.276563,0.714063,0.948438,0,1,0,0,0\n"
    )
    assert labels_of(config) == {"000002b66c9c498e.jpg": {"Bicycle": 1}}


def test_images_in_folders_by_their_first_digit(files):
    """As the archives train_0.tar.gz to train_f.tar.gz unpack."""
    config = files("f00002b66c9c498e,human,/m/0jbk,1\n", image_name="train_{id[0]}/{id}.jpg")
    assert list(labels_of(config)) == ["train_f/f00002b66c9c498e.jpg"]


# train-images-boxable-with-rotation.csv; V3 has no Rotation. Not all images have a thumbnail.
IMAGES = """ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,\
OriginalSize,OriginalMD5,Thumbnail300KURL,Rotation
4fa8054781a4c382,train,https://farm3.staticflickr.com/5310/5898076654_51085e157c_o.jpg,\
https://www.flickr.com/photos/michael-beat/5898076654,https://creativecommons.org/licenses/by/2.0/,\
https://www.flickr.com/people/michael-beat/,Michael Beat,"Bild 1, laut",4405052,\
KFukvivpCM5QXl5SqKe41g==,https://c1.staticflickr.com/6/5310/5898076654_51085e157c_z.jpg,0.0
000002b66c9c498e,train,https://c7.staticflickr.com/6/5499/10245691204_98dce75b5a_o.jpg,,,,,,,,,
"""


def test_images_by_url(files, tmp_path):
    """Of those that the list lacks, the identifier is left, to be rejected as no URL."""
    (tmp_path / "images.csv").write_text(IMAGES)
    ids = ("000002b66c9c498e", "4fa8054781a4c382", "ffffffffffffffff", "no id")
    labels = "".join(f"{id_},human,/m/0jbk,1\n" for id_ in ids)
    original = (
        "https://c7.staticflickr.com/6/5499/10245691204_98dce75b5a_o.jpg",
        "https://farm3.staticflickr.com/5310/5898076654_51085e157c_o.jpg",
    )
    thumbnail = "https://c1.staticflickr.com/6/5310/5898076654_51085e157c_z.jpg"
    settings = {"image_list": str(tmp_path / "images.csv")}
    for column, urls in (
        ("OriginalURL", original),
        ("Thumbnail300KURL", (original[0], thumbnail)),
    ):
        config = files(labels, url_column=column, **settings)
        rows = raw_rows(config.model_copy(update={"http": HttpConfig()}))
        assert rows["image"].to_pylist() == [*urls, *ids[2:]]
    with pytest.raises(PreprocessingError, match=r"set .*open_images\.image_list to it"):
        raw_rows(files(labels).model_copy(update={"http": HttpConfig()}))
    (tmp_path / "images.csv").write_text("ImageID,OriginalURL\nA0,http://x/1.jpg\n")
    config = files(labels, **settings).model_copy(update={"http": HttpConfig()})
    with pytest.raises(PreprocessingError, match=r"ImageIDs of 16 hexadecimal digits, rec.* 'A0'"):
        raw_rows(config)


def test_every_file_counts_for_the_digest(files):
    texts = "0000000000000001,human,/m/0jbk,1\n", "0000000000000001,machine,/m/02wbm,1\n"
    digests = {
        catalog_digest(files(*each, **more)).sha256
        for each, more in (
            (texts, {}),
            (texts[:1], {}),
            (texts[::-1], {}),
            (texts, {"classes": CLASSES.replace("Food", "Meal")}),
            (texts, {"hierarchy": node("/m/0bl9f")}),
            (texts, {"hierarchy": None}),
        )
    }
    assert len(digests) == 6


@pytest.mark.parametrize(
    ("labels", "beside", "message"),
    [
        (
            "0000000000000001,Human,/m/0jbk,1\n",
            {},
            f"labels-0.csv: expected {MACHINE}, {', '.join(PEOPLE)} for a Source, received 'Human'",
        ),
        ("0000000000000001,,/m/0jbk,1\n", {}, "for a Source, received None"),
        ("0000000000000001,human,/m/0jbk\n", {}, "labels-0.csv: line 2: expected 4 cells"),
        (
            "",
            {"classes": "/m/0jbk,Animal\n/m/0jbk,Beast\n"},
            r"class_descriptions: line 2: expected one name of /m/0jbk, received 'Animal' and 'Bea",
        ),
        ("", {"classes": "/m/0jbk,a,b\n"}, "line 1: expected a class and its name, received 3"),
        ("", {"classes": '/m/0jbk,"a\n'}, "class_descriptions: line 1: expected CSV"),
        (
            "",
            {"hierarchy": node("root", node("A", node("B", node("C", node("A")))))},
            r"hierarchy: expected no class to be a kind of itself, received [ABC] > . > . > [ABC]$",
        ),
        ("", {"hierarchy": node("root", node("A", node("A")))}, "kind of itself, received A > A"),
        ("", {"hierarchy": {"Name": "A"}}, "hierarchy: expected objects with a text LabelName"),
        ("", {"hierarchy": node("A") | {"Part": 3}}, "A: expected a list for Part, received 3"),
        ("", {"hierarchy": node("A\x80") | {"Part": 3}}, r"A\\x80: expected a list for Part"),
        ("", {"hierarchy": "{"}, "hierarchy: expected JSON"),
        ("", {"hierarchy": "[" * 100_000}, "expected classes in some levels, received thousands"),
        ("", {"hierarchy": '{"LabelName": ' + "9" * 5000}, "expected names of classes, received"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(files, labels, beside, message):
    config = files(labels, **beside)
    with pytest.raises(PreprocessingError, match=message.replace("(", r"\(")) as raised:
        raw_rows(config)
    assert "\n" not in str(raised.value)


def test_what_nobody_said_is_open_images_is_named(files):
    config = files("0000000000000001,human,/m/0jbk,1\n")
    message = r"received the labels of Open Images; set preprocessing\.catalog\.format to open_im"
    with pytest.raises(PreprocessingError, match=message):
        raw_rows(CatalogConfig(path=config.path))


def test_another_kind_of_file_is_named(files, tmp_path):
    config = files("")
    (tmp_path / "labels-0.csv").write_text(CLASSES)
    message = (
        "labels-0.csv: expected a header with ImageID,Source,LabelName,Confidence, as Open Images' "
        "file has it, received 'LabelName,DisplayName'"
    )
    with pytest.raises(PreprocessingError, match=message):
        raw_rows(config)
    (tmp_path / "hierarchy").unlink()
    with pytest.raises(PreprocessingError, match=r"set preprocessing\.catalog\.open_images\.hier"):
        catalog_pieces(config) and catalog_digest(config)

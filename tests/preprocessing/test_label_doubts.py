"""What looks like another form of labels than was declared is told, and little else is."""

import io
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.label_doubts import label_doubts, split_doubts

SATELLITE = ["haze primary", "farm clear primary water", "clear primary", "farm clear road"]
LEAVES = ["healthy", "scab spot complex", "scab", "complex"]
PLANET = ["haze|primary", "clear|primary|water", "clear", "haze", "primary|water"]
BEARS = ["polar bear", "brown bear", "black bear", "bear", "police dog", "dog"]
WORDNET = ["tench, Tinca tinca", "goldfish, Carassius auratus", "great white shark, white shark"]


@pytest.fixture
def doubts(tmp_path):
    """doubts(cells, setting=...): of a table with these cells of labels, an image each."""

    def of(labels, header="image_path,label", **settings):
        path = tmp_path / "c.csv"
        cells = ['"' + str(label).replace('"', '""') + '"' for label in labels]
        lines = [f"{number}.jpg,{cell}\n" for number, cell in enumerate(cells)]
        path.write_text(f"{header}\n" + "".join(lines))
        settings = {"confidence_column": None} | settings
        return label_doubts(CatalogConfig(path=str(path), **settings))

    return of


@pytest.mark.parametrize("sign", ["|", ";", ",", " ", "\t", ", "])
def test_joined_labels(doubts, sign):
    (doubt,) = doubts([label.replace("|", sign) for label in PLANET])
    shown = sign.strip(" ") or " "
    assert "look like several in one" in doubt
    assert doubt.endswith(f"set preprocessing.catalog.label_separator to {shown!r}")
    assert repr(f"clear{sign}primary{sign}water") in doubt


@pytest.mark.parametrize("labels", [SATELLITE, LEAVES])
def test_labels_that_are_joined_by_blanks(doubts, labels):
    """As those of Planet's satellite images and of Plant Pathology 2021, in few rows."""
    (doubt,) = doubts(labels)
    assert doubt.endswith(
        "look like several in one: set preprocessing.catalog.label_separator to ' '"
    )


def test_lists_of_which_no_two_are_equal(doubts):
    """There are more of them than are looked at."""
    (doubt,) = doubts([f'["{at % 50} of a", "{at // 50} of b"]' for at in range(24_000)])
    assert doubt.endswith("look like lists: set preprocessing.catalog.label_separator to json")


def test_numbers_of_classes_that_are_joined(doubts):
    assert "label_separator to ','" in doubts(["3,17", "17", "4,3", "17,4"])[0]


def test_splits_in_a_tree(tmp_path):
    for folder in ("train/cat", "Test/cat"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.jpg").touch()
    tree = CatalogConfig(path=str(tmp_path))
    (doubt,) = split_doubts(tree, ["Test", "cat", "train"])
    assert doubt.startswith("labels called 'Test', 'train' look like splits")
    assert split_doubts(tree, ["cat", "train"]) == []
    (tmp_path / "c.csv").write_text("image_path,label\n")
    assert split_doubts(CatalogConfig(path=str(tmp_path / "c.csv")), ["test", "train"]) == []


@pytest.mark.parametrize("sign", [",", " ", "|"])
def test_digits_without_names(doubts, sign):
    (doubt,) = doubts([label.replace(",", sign) for label in ("0,1,0", "1,0,0", "0,0,1", "0,1,1")])
    assert "have a digit for each label and no names: write a column for each" in doubt
    (doubt,) = doubts(["[0, 1, 0]", "[1, 0, 0]"], label_separator="json")
    assert "have a digit for each label and no names: write a column for each" in doubt


@pytest.mark.parametrize("labels", [BEARS, WORDNET, ["New York, NY", "Boston, MA", "Fargo, ND"]])
def test_names_of_several_words_are_no_joined_labels(doubts, labels):
    assert doubts(labels) == []


def test_joined_labels_are_no_question_where_images_have_several_rows(tmp_path):
    path = tmp_path / "c.csv"
    names = ["red car", "blue car", "red bike", "blue bike", "red", "car"]
    rows = "".join(f"{at}.jpg,{name}\n" for at in range(3) for name in names)
    path.write_text(f"image_path,label\n{rows}")
    assert label_doubts(CatalogConfig(path=str(path), confidence_column=None)) == []


@pytest.mark.parametrize(
    ("labels", "form"),
    [
        (['["haze"]', '["haze", "clear"]'], "json"),
        (["['haze', 'clear']", "['haze']", "[]"], "list"),
        (["{'haze'}", "set()"], "list"),
        (["['haze' 'clear']", "['haze']"], "list"),
        (["{haze,clear}", "{haze}"], "list"),
        (["array(['haze'], dtype=object)"], "list"),
    ],
)
def test_lists(doubts, labels, form):
    (doubt,) = doubts(labels)
    assert doubt.endswith(f"look like lists: set preprocessing.catalog.label_separator to {form}")
    assert doubts(labels, label_separator=form) == []


@pytest.mark.parametrize(
    "labels",
    [
        ['{"choices": ["haze", "clear"]}'],
        ['[["haze"], ["clear"]]'],
        ["['haze' 'clear' ... 'water']"],
        ["{'haze': 0.5}", "haze"],
    ],
)
def test_lists_of_no_known_form(doubts, labels):
    (doubt,) = doubts(labels)
    assert "look like lists or objects, of no form that is known: write lists of texts" in doubt


@pytest.mark.parametrize(
    "cells", [["0", "1"], ["1.0", "0.0"], ["True", "False"], ["yes", "no"], [".25", "0.75", "0.5"]]
)
def test_a_column_of_a_wide_table(doubts, cells):
    (doubt,) = doubts(cells * 3, header="image_path,cat", label_column="cat")
    assert "say whether an image has a label: set preprocessing.catalog.label_columns" in doubt


@pytest.mark.parametrize("cells", [["0", "1", "2"], ["7"], ["cat", "no"], ["yes", "maybe"]])
def test_numbers_and_words_may_be_labels(doubts, cells):
    assert doubts(cells * 9) == []


def test_names_of_images_as_labels(doubts):
    (doubt,) = doubts([f"{number}.PNG" for number in range(3)])
    assert "look like names of images: set preprocessing.catalog.label_column to" in doubt
    (doubt,) = doubts([f"id {number}x" for number in range(30)])
    assert doubt.startswith("30 labels in 30 rows, such as 'id 0x', 'id 10x'")
    assert doubts([f"id{number}" for number in range(5)]) == []
    assert doubts([f"id{number % 15}" for number in range(30)]) == []


def test_names_of_nothing(doubts):
    (doubt,) = doubts(["cat", "nan", "NA", "cat", "nan"])
    assert doubt == (
        "labels called 'nan', 'NA': set preprocessing.catalog.null_values to ['nan', 'NA'] where "
        "they say that there is none"
    )
    assert doubts(["cat", "nan", "NA"], null_values=["nan", "NA"]) == []


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["87", "13", "1"], "'87' are no numbers in [0, 1] and reject their labels: divide them"),
        (["0,5", ".2"], "'0,5' reject their labels: write a point for the comma"),
    ],
)
def test_confidences_of_another_scale(tmp_path, cells, told):
    path = tmp_path / "c.csv"
    rows = [f'{number}.jpg,cat,"{cell}"\n' for number, cell in enumerate(cells)]
    path.write_text("image_path,label,confidence\n" + "".join(rows))
    (doubt,) = label_doubts(CatalogConfig(path=str(path)))
    assert doubt.startswith(f"confidences such as {told}")


WIDE = "image_path,Sex,Age,Edema,cat"


def wide(path, rows, **settings):
    path.write_text("\n".join([WIDE, *rows]))
    return CatalogConfig(path=str(path), **settings)


CHEXPERT = ["a,Male,47,-1.0,1", "b,Female,1,0,", "c,Male,61,1,1", "d,Male,30,,0"]


def test_columns_that_are_no_labels_end_in_one_line(tmp_path):
    config = wide(tmp_path / "c.csv", CHEXPERT, label_columns="*")
    with pytest.raises(PreprocessingError) as error:
        label_doubts(config)
    assert str(error.value).endswith(
        "received in 'Sex' ('Male'), 'Age' ('47'); add '!Sex', '!Age' to preprocessing.catalog."
        "label_columns where they are no labels, set preprocessing.catalog.label_cells to names "
        "where cells are labels, or else change the cells"
    )
    (doubt,) = label_doubts(config.model_copy(update={"label_columns": ("*", "!Sex", "!Age")}))
    assert doubt.startswith("columns 'Edema' ('-1.0') have cells that are no numbers in [0, 1]")
    assert "preprocessing.catalog.null_values to ['-1.0'] where they say nothing" in doubt
    left = {"label_columns": ("*", "!Sex", "!Age"), "null_values": ("-1",)}
    assert label_doubts(config.model_copy(update=left)) == []


def test_one_odd_value_in_most_cells_may_mean_nothing(tmp_path):
    """CelebA has -1 for no."""
    path = tmp_path / "c.csv"
    path.write_text("image_path,Bald,Smiling\na,-1,1\nb,-1,-1\nc,1,-1\n")
    (doubt,) = label_doubts(CatalogConfig(path=str(path), label_columns="*"))
    assert doubt.startswith("columns 'Bald' ('-1'), 'Smiling' ('-1') have cells")


def test_columns_that_are_named_are_taken_at_their_word(tmp_path):
    config = wide(tmp_path / "c.csv", CHEXPERT, label_columns=["Age", "cat"])
    (doubt,) = label_doubts(config)
    assert doubt.startswith("columns 'Age' ('47') have cells")


def test_lists_of_arrow_are_none_of_these(tmp_path):
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"image_path": ["a", "b"], "label": [["x", "y"], ["x"]]}), path)
    assert label_doubts(CatalogConfig(path=str(path))) == []


def test_folders_have_no_forms(tmp_path):
    (tmp_path / "a|b").mkdir()
    (tmp_path / "a|b" / "x.jpg").touch()
    assert label_doubts(CatalogConfig(path=str(tmp_path))) == []


def test_a_table_without_a_label_has_none_to_doubt(doubts):
    assert doubts(["", ""]) == []
    assert doubts([]) == []


class TestTars:
    """Files with labels are doubted as cells are; what is told names settings that tars have."""

    @pytest.fixture
    def doubts(self, tmp_path):
        def of(contents, extension="cls", **settings):
            path = tmp_path / "a.tar"
            with tarfile.open(path, "w") as tar:
                for number, content in enumerate(contents):
                    for end, data in (("jpg", b""), (extension, content.encode())):
                        member = tarfile.TarInfo(f"{number:04d}.{end}")
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
            catalog = CatalogConfig.model_validate({"path": str(path), **settings})
            told = label_doubts(catalog)
            assert not any("column" in line for line in told)
            return told

        return of

    @pytest.mark.parametrize("sign", ["|", ",", " "])
    def test_joined_labels(self, doubts, sign):
        (doubt,) = doubts([label.replace("|", sign) for label in PLANET])
        assert doubt.endswith(
            f"several in one: set preprocessing.catalog.label_separator to {sign!r}"
        )
        assert doubts([label.replace("|", sign) for label in PLANET], label_separator=sign) == []

    @pytest.mark.parametrize("vector", ["0 1 0", "0,1,0", "0\n1\n0", "1.0\n0.0\n0.0"])
    def test_vectors(self, doubts, vector):
        (doubt,) = doubts([vector, vector[::-1]] * 3)
        assert "have a digit for each label and no names: write the names or numbers" in doubt

    def test_lists(self, doubts):
        (doubt,) = doubts(['["a", "b"]', '["a"]'])
        assert doubt.endswith("look like lists: set preprocessing.catalog.label_separator to json")

    def test_captions(self, doubts):
        captions = [f"a photo of thing {number} beside another" for number in range(30)]
        settings = {"webdataset": {"labels": "txt"}}
        (doubt,) = doubts(captions, "txt", **settings)
        assert "or captions: set preprocessing.catalog.webdataset.labels to" in doubt

    def test_confidences_and_names_of_nothing(self, doubts):
        objects = ['{"a": 90, "nan": 80}', '{"a": 70}']
        settings = {"webdataset": {"labels": "json", "label_key": ""}}
        confidences, nothing = doubts(objects, "json", **settings)
        assert confidences.endswith("reject their labels: divide them, or write lists")
        assert "labels called 'nan': set preprocessing.catalog.null_values" in nothing

    @pytest.mark.parametrize(
        "contents", [["0", "1", "1"], ["0\n1", "1"], ["cat", "dog"], [""], ["tench, Tinca tinca"]]
    )
    def test_what_is_right_is_not_told(self, doubts, contents):
        assert doubts(contents) == []

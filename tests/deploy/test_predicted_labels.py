"""Files of predicted labels: whole or not there, safe in a spreadsheet, never over another file."""

import csv
import random

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manylabel.deploy import predicted_labels
from manylabel.deploy.errors import DeploymentError
from manylabel.deploy.origin import ModelOrigin
from manylabel.deploy.predicted_labels import (
    LABELS_OF_IMAGES_SCHEMA,
    Prediction,
    labels_file,
)
from manylabel.storage.image_policy import ImageConfig

HARD = ("two\nlines", 'with "quotes", commas', "Übung 🎉", "carriage\rreturn", " space ")
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1", "＠x")  # noqa: RUF001


@pytest.fixture
def origin():
    return ModelOrigin(
        run="runs/first",
        step=7,
        samples=224,
        checkpoint_digest="c" * 64,
        dataset_digest="d" * 64,
        code_version="0.1.0",
        top_k=2,
        images=ImageConfig(),
    )


def write(path, origin, rows):
    with labels_file(path, origin) as write_row:
        for image_path, prediction in rows:
            write_row(image_path, prediction)


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_parquet_holds_what_was_written(tmp_path, origin, monkeypatch):
    monkeypatch.setattr(predicted_labels, "_ROW_GROUP", 4)
    rows = [
        (name, Prediction((name, "sky"), (0.75, 0.5)))
        if place % 2
        else (name, Prediction((), (), f"fault of {name}"))
        for place, name in enumerate((*HARD, *FORMULAS))
    ]
    write(tmp_path / "l.parquet", origin, rows)
    table = pq.read_table(tmp_path / "l.parquet")
    assert table.schema.equals(LABELS_OF_IMAGES_SCHEMA)
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        (path, list(prediction.labels), list(prediction.scores), prediction.fault)
        for path, prediction in rows
    ]
    text = table.schema.metadata[b"manylabel.model"]
    assert ModelOrigin.parse(text, "metadata") == origin


def test_the_tables_answer_each_other(tmp_path, origin):
    """A row an image and a row a label, by one line of SQL; scores come back to the last bit."""
    draws = random.Random(0)
    rows = [
        (f"{n}.jpg", Prediction(("sky", "sea"), (draws.random(), draws.random() * 1e-9)))
        for n in range(50)
    ]
    for name in ("l.parquet", "l.csv"):
        write(tmp_path / name, origin, rows)
    (difference,) = (
        duckdb.connect()
        .execute(
            f"""
        SELECT count(*) FROM (
          SELECT image_path, unnest(labels) AS label, unnest(scores) AS score
          FROM '{tmp_path / "l.parquet"}'
        ) AS a FULL JOIN '{tmp_path / "l.csv"}' AS b
        ON a.image_path = b.image_path AND a.label = b.label AND a.score = b.score::FLOAT
        WHERE a.label IS NULL OR b.label IS NULL
        """
        )
        .fetchall()[0]
    )
    assert difference == 0


def test_csv_cells_come_back_and_none_begins_a_formula(tmp_path, origin):
    rows = [(name, Prediction((name,), (0.5,))) for name in (*HARD, *FORMULAS)]
    write(tmp_path / "l.csv", origin, rows)
    header, *cells = read_csv(tmp_path / "l.csv")
    assert ",".join(header) == "image_path,label,score,rank,fault"
    for (path, label, score, rank, fault), (name, _) in zip(cells, rows, strict=True):
        assert (score, rank, fault) == ("0.5", "1", "")
        if name in FORMULAS:
            # The same file, and the label behind an apostrophe, which spreadsheets do not show.
            assert (path, label) == (f"./{name}", f"'{name}")
        else:
            assert (path, label) == (name, name)


def test_a_fault_has_a_row_of_its_own(tmp_path, origin):
    write(tmp_path / "l.csv", origin, [("a.jpg", Prediction((), (), "=bad"))])
    assert read_csv(tmp_path / "l.csv")[1:] == [["a.jpg", "", "", "", "'=bad"]]


@pytest.mark.parametrize("name", ["l.csv", "l.parquet", "L.CSV"])
def test_a_file_appears_whole_or_not_at_all(tmp_path, origin, name):
    def rows():
        yield "a.jpg", Prediction(("sky",), (0.5,))
        assert not (tmp_path / name).exists()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write(tmp_path / name, origin, rows())
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / name, origin, [])
    write(tmp_path / name, origin, [("a.jpg", Prediction(("sky",), (0.5,)))])
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["l.csv", "l.parquet"])
def test_another_file_of_the_name_stays(tmp_path, origin, name):
    """A catalog is called labels.csv, and a dataset's classes labels.parquet."""
    path = tmp_path / name
    for content in (b"image_path,label,confidence\na.jpg,sky,1\n", b"", b"image_path,label,score"):
        path.write_bytes(content)
        with pytest.raises(DeploymentError, match="there is another file, which stays"):
            write(path, origin, [])
        assert path.read_bytes() == content
    pq.write_table(pa.table({"class_id": [0]}), path)
    content = path.read_bytes()
    with pytest.raises(DeploymentError, match="name another one with --output"):
        write(path, origin, [])
    assert path.read_bytes() == content


def test_files_that_no_rule_is_for_are_refused(tmp_path, origin):
    (tmp_path / "l.csv").mkdir()
    for name, problem in (("l.json", "ends in .parquet or .csv"), ("l.csv", "received a folder")):
        with pytest.raises(DeploymentError, match=problem):
            write(tmp_path / name, origin, [])

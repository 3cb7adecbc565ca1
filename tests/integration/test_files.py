"""docs/files.md against what the demo and an export really leave on disk."""

import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePath

import duckdb
import jq
import numpy as np
import pyarrow.parquet as pq
import pytest

from manylabel.pipeline.submission.request import REQUEST, JobRequest
from manylabel.pipeline.submission.supervise import supervise
from manylabel.storage import schema
from manylabel.storage.dataset import Dataset
from manylabel.storage.jobs import JobStage

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "files.md"

# Where the page speaks of a file: its heading, for files that match the pattern.
SECTIONS = {
    "dataset/manifest.json": "manifest.json",
    "dataset/labels.parquet": "labels.parquet",
    "dataset/heldout_images.parquet": "heldout_images.parquet",
    "dataset/rejected.parquet": "rejected.parquet, duplicates.parquet",
    "dataset/duplicates.parquet": "rejected.parquet, duplicates.parquet",
    "dataset/*/*.index.parquet": "Shards and their indexes",
    "dataset/*/*.tfrecord": "Shards and their indexes",
    "dataset/plan/*": "plan/",
    "dataset/plan/checked/*": "plan/",
    "runs/first/run.json": "run.json",
    "runs/first/config.yaml": "Run",
    "runs/first/labels.parquet": "labels.parquet",
    "runs/first/.lock": "Run",
    "runs/first/metrics.jsonl": "metrics.jsonl",
    "runs/first/tensorboard/*": "Run",
    "runs/first/tensorboard/*/*": "Run",
    "runs/first/kept/*": "Run",
    "runs/first/history/*/*": "history/SETTINGS/",
    "runs/first/checkpoints/*/manifest.json": "checkpoints/00001200/",
    "runs/first/checkpoints/*/*.npz": "checkpoints/00001200/",
    "runs/first/evals/*/predictions.parquet": "evals/00001200/predictions.parquet",
    "runs/first/evals/*/.lock": "Run",
    "runs/first/evals/*/*/*": "evals/00001200/SETTINGS/",
    "*/jobs/*/status.json": "jobs/STAGE/status.json",
    "*/jobs/*/0001.json": "jobs/STAGE/0001.json",
    "*/jobs/*/0001/*.log": "Jobs",
    "runs/reviews/*/*": "reviews/DIGEST/",
    "runs/promotions/*": "promotions/00000001.json",
    "model/labels.parquet": "labels.parquet",
    "model/export.json": "Exported model",
    "model/model.keras": "Exported model",
    "model/1/*": "Exported model",
    "model/1/*/*": "Exported model",
}

# Objects whose keys are no fields of the document: other pages list settings, data are data.
FREE = {
    "settings",
    "dataset_settings",
    "trainer",
    "precision",
    "vectors",
    "settled",
    "stays",
    "images",
    "config.weights",
}


@pytest.fixture(scope="module")
def folder(small_demo, exported_demo, tmp_path_factory):
    """A folder in which the page's example paths lead to real files; the second run is a
    submitted job's, which is given any command that is quick."""
    root = tmp_path_factory.mktemp("files")
    (root / "runs").mkdir()
    submitted = JobRequest(
        stage=JobStage.EXPORT,
        place=str(root / "runs" / "second"),
        arguments=("presets", "list"),
        address="http://10.0.0.1:8265",
        code_version="0.1.0",
    )
    (root / "job").mkdir()
    submitted.write(root / "job" / REQUEST)
    assert supervise(root / "job") == 0
    (root / "dataset").symlink_to(small_demo.output / "dataset")
    (root / "runs" / "first").symlink_to(small_demo.output / "run")
    for name in ("reviews", "promotions"):
        (root / "runs" / name).symlink_to(small_demo.output / name)
    (root / "model").symlink_to(exported_demo)
    return root


@pytest.fixture(scope="module")
def files(folder):
    found = []
    tops = ("dataset", "runs/first", "runs/second", "runs/reviews", "runs/promotions", "model")
    for top in tops:
        real = (folder / top).resolve()
        found += [
            PurePath(top) / path.relative_to(real) for path in real.rglob("*") if path.is_file()
        ]
    return found


def section_of(path):
    headings = [heading for pattern, heading in SECTIONS.items() if path.match(pattern)]
    assert len(headings) == 1, f"{path}: expected one of {list(SECTIONS)}, received {headings}"
    text = DOCUMENT.read_text("utf-8")
    body = re.split(rf"^#+ {re.escape(headings[0])}$", text, flags=re.MULTILINE)[1]
    return re.split(r"^#+ ", body, flags=re.MULTILINE)[0]


def names_in(section) -> set[str]:
    """What the section has in code font, paths split at their dots."""
    spans = re.findall(r"`([^`\n]+)`", section)
    return {part for span in spans for part in (span, *re.split(r"\[\]\.|\.", span))}


def keys_of(value, place="") -> Iterator[str]:
    """All keys of a JSON value but those of free objects."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if not {key, f"{place}.{key}"} & FREE or (place == "splits" and key == "images"):
                yield from keys_of(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner, place)


def names_of(path: Path) -> set[str]:
    """Columns, fields or vectors of a file; empty for a kind of its own."""
    match "".join(path.suffixes[-1:]):
        case ".parquet":
            return set(pq.read_schema(path).names)
        case ".json":
            return set(keys_of(json.loads(path.read_text("utf-8"))))
        case ".jsonl":
            return set(json.loads(path.read_text("utf-8").splitlines()[0]))
        case ".npz":
            return set(np.load(path).files)
        case ".tfrecord":
            return {
                value
                for name, value in vars(schema).items()
                if name.startswith(("IMAGE_", "LABEL_"))
            }
    return set()


def test_every_file_column_and_field_is_documented(folder, files):
    assert len({path.suffix for path in files}) >= 8
    missing = {}
    for path in files:
        lacking = names_of(folder / path) - names_in(section_of(path))
        if lacking:
            missing[str(path)] = sorted(lacking)
    assert missing == {}


def test_every_documented_kind_of_file_is_there(files):
    unused = [pattern for pattern in SECTIONS if not any(path.match(pattern) for path in files)]
    assert unused == []


def test_versions_are_those_of_the_page(folder, files):
    for path in files:
        if path.suffix == ".json":
            version = json.loads((folder / path).read_text("utf-8"))["format_version"]
            stated = re.search(r"`format_version`[ |]+(\d+)", line_of(path))
            assert stated is not None, path
            assert int(stated[1]) == version, path


def line_of(path):
    """The part of a file's section that speaks of it alone."""
    section = section_of(path)
    own = [line for line in section.splitlines() if line.startswith(f"| `plan/{path.name}`")]
    return own[0] if own else section


def test_no_column_is_a_reserved_word(folder, files):
    query = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'"
    reserved = {word for (word,) in duckdb.connect().execute(query).fetchall()}
    assert "offset" in reserved
    columns = {
        column for path in files if path.suffix == ".parquet" for column in names_of(folder / path)
    }
    assert columns & reserved == set()
    assert {"image", "id"} & columns == set(), "the keys are image_id and class_id"


def examples(language):
    text = DOCUMENT.read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def rows_of(query, folder, monkeypatch):
    monkeypatch.chdir(folder)
    for path in folder.glob("runs/first/evals/*/*/classes.parquet"):
        query = query.replace("00001200/uniform-0123456789ab", "/".join(path.parts[-3:-1]))
    return duckdb.connect().execute(query).fetchall()


@pytest.mark.parametrize("query", examples("sql"))
def test_the_queries_run(folder, query, monkeypatch):
    assert rows_of(query, folder, monkeypatch) or "rejected" in query or "HAVING" in query


def test_the_missed_images_are_those_of_one_checkpoint(folder, monkeypatch):
    (query,) = (query for query in examples("sql") if "newest" in query)
    dataset = Dataset.open(folder / "dataset")
    counts = dataset.labels().column("heldout_count").to_pylist()
    label = counts.index(min(count for count in counts if count))
    *_, newest = sorted(folder.glob("runs/first/evals/*/predictions.parquet"))
    best = {row["image_id"]: row["class_ids"][:1] for row in pq.read_table(newest).to_pylist()}
    missed = [
        image.image_id
        for image in dataset.iterate("heldout")
        if label in image.label_ids and label not in best[image.image_id]
    ]
    assert sorted(rows_of(query, folder, monkeypatch)) == sorted((image,) for image in missed)


@pytest.mark.parametrize("command", examples("sh"))
def test_the_filters_run(folder, command):
    example = re.fullmatch(r"jq (?:-\w+ )?'(.*)' (\S+)\n", command)
    assert example is not None
    program, pattern = example.groups()
    paths = sorted(folder.glob(pattern))
    assert paths
    for path in paths:
        answers = jq.compile(program).input_text(path.read_text("utf-8")).all()
        assert answers
        assert None not in answers

"""compare and review from the command line: exit codes, what is shown, what is written."""

import datetime
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manylabel.eval.config import MetricForm
from manylabel.eval.review.pair import Evaluated
from manylabel.eval.review.store import read_review
from manylabel.eval.review.words import sentence
from manylabel.eval.statistics.differences import Verdict
from manylabel.eval.store.evaluations import evaluation_directory, read_summaries
from manylabel.eval.store.promotions import PromotedCheckpoint, Promotion, record_promotion
from manylabel.pipeline import cli
from manylabel.pipeline.review import (
    EXIT_CODES,
    MOVERS,
    checkpoint_check,
    compare_evaluations,
    movers,
)
from manylabel.pipeline.score import score_predictions
from manylabel.storage.dataset import Dataset
from manylabel.storage.pins import read_pins
from manylabel.trainer.plane.layout import ParameterLayout, VariableSlot
from manylabel.trainer.plane.optimizers import SGD, DecayBlocks
from manylabel.trainer.plane.shard import ParameterShard, ShardState
from manylabel.trainer.program.in_process import LocalShards
from manylabel.trainer.records.ledger import LedgerState
from manylabel.trainer.runs.checkpoint import (
    StreamIdentity,
    checkpoint_path,
    describe_checkpoint,
)
from manylabel.trainer.runs.writer import CheckpointWriter

pytestmark = pytest.mark.slow

IMAGES, CLASSES = 150, 20
COUNTS = (3500 / np.arange(1, CLASSES + 1) ** 1.3).astype(int).tolist()
LABELS = [
    sorted(set(np.random.default_rng(row).integers(0, CLASSES, 3).tolist()))
    for row in range(IMAGES)
]
IDS = [f"{row:03}.jpg" for row in range(IMAGES)]
NAMES = [f"label [{c}]" for c in range(CLASSES)]  # Rich would take them for markup.

AddModel = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def dataset(make_dataset: Callable[..., Dataset]) -> Dataset:
    return make_dataset(dict(zip(IDS, LABELS, strict=True)), COUNTS, NAMES)


@pytest.fixture
def add(root: Path, tmp_path: Path, dataset: Dataset) -> AddModel:
    """add("a", skill=2.0): evaluated predictions in which labels score higher by `skill`."""

    def add(
        run: str,
        step: int = 10,
        skill: float = 1.0,
        seed: int = 0,
        folder: Path = root,
        on: Dataset = dataset,
        settings: tuple[str, ...] = (),
    ) -> Path:
        scores = np.random.default_rng(seed).normal(size=(IMAGES, CLASSES))
        for row, label_ids in enumerate(LABELS):
            scores[row, label_ids] += skill
        class_ids = np.argsort(-scores, axis=1)
        columns = {
            "image_id": IDS,
            "class_ids": class_ids.tolist(),
            "scores": np.take_along_axis(scores, class_ids, axis=1).tolist(),
        }
        path = tmp_path / f"{run}-{step}-{skill}-{seed}.parquet"
        pq.write_table(pa.table(columns), path)
        score_predictions(str(path), str(on.root), (folder / run, step), 0, settings, print)
        return folder / run

    return add


def promoted(root: Path, run: str, step: int = 10, number: int = 1) -> None:
    record_promotion(
        root,
        Promotion(
            number=number,
            person="ada",
            decided_at=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
            reason="the first",
            candidate=PromotedCheckpoint(run=run, step=step, checkpoint_digest="c" * 64),
            replaced=None,
            evidence=None,
            checks_passed=(),
            checks_overridden=(),
            dataset_digest="d" * 64,
            code_version="1",
        ),
    )


def run(*arguments: object) -> int:
    return cli.run([str(argument) for argument in arguments])


def tree(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def good_and_bad(add: AddModel) -> tuple[Path, Path]:
    return add("good", skill=2.5, seed=1), add("bad", skill=0.2, seed=2)


def test_exit_codes(good_and_bad, add, root, make_dataset, capsys, monkeypatch):
    good, bad = good_and_bad
    copy = add("copy", skill=2.5, seed=1)
    narrow = add("narrow", settings=("eval.k=10",))
    elsewhere = make_dataset({image_id: [0] for image_id in IDS}, COUNTS, NAMES)
    other = add("other", on=elsewhere)
    for arguments, code in (
        ((good, bad), 0),
        ((copy, good), 10),
        ((copy, good, "--margin", "0.01"), 10),
        ((good, bad, "--margin", "0.9"), 10),
        ((bad, good), 11),
        ((good, narrow), 12),
        ((good, other), 12),
        ((good, root / "nobody"), 2),
        ((good, bad, "--margin", "-1"), 2),
        ((good,), 2),
    ):
        assert run("compare", *arguments, "--check") == code, arguments
        # Without --check nothing but an error is a failure.
        assert run("compare", *arguments) == (2 if code in (2, 12) else 0), arguments
    capsys.readouterr()
    assert run("compare", good, narrow, "--check") == 12
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: good@10 and narrow@10 are not comparable: their settings differ" in captured.err
    monkeypatch.setattr("manylabel.pipeline.review.review_pair", lambda *_: 1 / 0)
    assert run("--debug", "compare", good, bad, "--check") == 1


def test_every_verdict_has_an_exit_code():
    assert EXIT_CODES.keys() == set(Verdict)


def test_what_compare_shows(good_and_bad, capsys):
    good, bad = good_and_bad
    before = tree(good.parent)
    assert run("compare", f"{good}@10", bad) == 0
    assert tree(good.parent) == before
    text = capsys.readouterr().out
    tables = compare_evaluations(str(good), str(bad), None, 0.0, None)
    review = tables.review
    assert text.splitlines()[:2] == ["good@10 against bad@10", sentence(review.headline, 0.0)]
    assert text.splitlines()[1].startswith("Better by +0.")
    assert "weighted MAP@100 (class form), training_share weights; paired over 150 " in text
    rows = [line.split() for line in text.splitlines()]
    by_form = {row[0]: row for row in rows if row and row[0] in ("class", "image")}
    assert list(by_form) == ["class", "image"]  # The headline first.
    for form, result in review.forms.items():
        difference = result.difference
        assert difference.low is not None
        assert by_form[form][1:6] == [
            f"{result.candidate.value:.4f}",
            f"{result.reference.value:.4f}",
            f"{result.candidate_baseline:.4f}",
            f"+{difference.value:.4f}",
            f"+{difference.low:.4f}",
        ]
    for band in review.headline.bands:
        assert any(line.startswith(f" {band.band.name} ") for line in text.splitlines())
    assert ["together", "20", f"+{review.headline.difference.value:.4f}"] in rows
    images, labels = review.images, review.headline.labels
    assert f"images: {images.better} better, {images.worse} worse, {images.equal} equal" in text
    assert f"labels: {labels.shown_better} shown better and {labels.shown_worse} worse" in text
    gained, _ = movers(tables)
    largest = gained[0]
    assert next(row for row in rows if row[:2] == largest["name"].split())[2:6] == [
        str(largest["heldout_count"]),
        f"{largest['candidate_average_precision']:.3f}",
        f"{largest['reference_average_precision']:.3f}",
        f"+{largest['class_contribution'] * 1e4:.2f}",
    ]
    assert ("Labels that gained most" in text, "Labels that lost most" in text) == (True, False)
    assert run("compare", bad, good) == 0
    text = capsys.readouterr().out
    assert ("Labels that gained most" in text, "Labels that lost most" in text) == (False, True)


def test_the_headline_is_in_the_form_that_is_asked_for(good_and_bad, capsys):
    assert run("compare", *good_and_bad, "--form", "image") == 0
    text = capsys.readouterr().out
    tables = compare_evaluations(str(good_and_bad[0]), str(good_and_bad[1]), None, 0.0, "image")
    assert sentence(tables.review.forms[MetricForm.IMAGE], 0.0) in text
    assert text.index(" image ") < text.index(" class ")
    assert run("compare", *good_and_bad, "--form", "mean") == 2


def test_labels_that_gained_and_lost_are_in_order(add):
    one, other = add("a", seed=1), add("b", seed=2)
    tables = compare_evaluations(str(one), str(other), None, 0.0, None)
    contributions = tables.labels.column("class_contribution").to_pylist()
    gained, lost = ([row["class_contribution"] for row in rows] for rows in movers(tables))
    assert gained == sorted((c for c in contributions if c > 0), reverse=True)[:MOVERS]
    assert lost == sorted(c for c in contributions if c < 0)[:MOVERS]
    assert len(gained) > 3
    assert len(lost) > 3


def test_the_newest_evaluation_without_a_step_and_a_run_with_an_at(good_and_bad, add, capsys):
    good, _ = good_and_bad
    add("bad", step=30, skill=0.3)
    add("odd@7", step=5)
    assert run("compare", good, good.parent / "bad") == 0
    assert "good@10 against bad@30" in capsys.readouterr().out
    assert run("compare", good, good.parent / "bad@10") == 0
    assert "good@10 against bad@10" in capsys.readouterr().out
    assert run("compare", good.parent / "odd@7", good.parent / "odd@7@5") == 0
    assert "odd@7@5 against odd@7@5" in capsys.readouterr().out


def test_runs_of_two_folders_are_compared_but_not_reviewed(add, tmp_path, capsys):
    one, other = add("a", seed=1), add("b", seed=2, folder=tmp_path / "others")
    assert run("compare", one, other) == 0
    assert run("review", one, 10, "--against", f"{other}@10") == 2
    assert f"expected a run in {one.parent}, whose reviews and champion" in capsys.readouterr().err


def test_settings_are_chosen_by_the_beginning_of_their_name(add, capsys):
    for settings in ((), ("eval.weights.kind=uniform",)):
        one, other = (add(name, seed=seed, settings=settings) for seed, name in enumerate("ab"))
    for arguments, weights in (
        ((), "uniform"),
        (("--settings", "training"), "training_share"),
    ):
        assert run("compare", one, other, *arguments) == 0
        assert f"(class form), {weights} weights" in capsys.readouterr().out
    assert run("compare", one, other, "--settings", "csv") == 2


def test_a_review_needs_something_to_be_held_against(good_and_bad, capsys):
    good, _ = good_and_bad
    assert run("review", good, 10) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {good.parent}: expected a champion to review against")
    assert "--against RUN@STEP" in line
    assert not (good.parent / "reviews").exists()
    assert read_pins(good).steps == set()


def test_a_review_is_against_the_champion_and_keeps_both(good_and_bad, root, capsys):
    good, bad = good_and_bad
    promoted(root, "bad")
    assert run("review", good, 10, "--margin", "0.01") == 0
    text = capsys.readouterr().out
    (directory,) = (root / "reviews").iterdir()
    assert f"written to {directory}" in text
    review = read_review(directory)
    assert (str(review.candidate.name), str(review.reference.name)) == ("good@10", "bad@10")
    assert review.margin == 0.01
    for check in review.checks:
        assert f"{'✓' if check.passed else '✗'} {check.text}" in text
    assert [check.name for check in review.checks if not check.passed] == ["intact"]
    for path in (good, bad):
        assert read_pins(path).steps == {10}


@pytest.mark.parametrize("against", ["bad@10", "bad", "{root}/bad@10"])
def test_the_reference_is_named_below_the_folder_or_by_its_path(good_and_bad, root, against):
    good, _ = good_and_bad
    assert run("review", good, 10, "--against", against.format(root=root)) == 0
    (directory,) = (root / "reviews").iterdir()
    assert str(read_review(directory).reference.name) == "bad@10"


def test_a_review_again_takes_the_place(good_and_bad, root):
    good, bad = good_and_bad
    promoted(root, "bad")
    for _ in range(2):
        assert run("review", good, 10) == 0
    assert len(list((root / "reviews").iterdir())) == 1
    promoted(root, "good", number=2)
    assert run("review", bad, 10) == 0
    assert len(list((root / "reviews").iterdir())) == 2


def test_the_report_is_a_file(good_and_bad, root, tmp_path, capsys):
    good, _ = good_and_bad
    output = tmp_path / "out" / "review.html"
    assert run("review", good, 10, "--against", "bad@10", "--output", output) == 0
    assert f"report: {output}" in capsys.readouterr().out
    text = output.read_text("utf-8")
    (directory,) = (root / "reviews").iterdir()
    assert sentence(read_review(directory).headline, 0.0).partition(",")[0] in text
    assert "<script" not in text


def test_relative_paths(good_and_bad, root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    assert run("compare", "good", "bad@10") == 0
    assert run("review", "good", 10, "--against", "bad@10") == 0
    assert [path.parent for path in (root / "reviews").iterdir()] == [root / "reviews"]
    monkeypatch.chdir(root / "good")
    assert run("review", ".", 10, "--against", "bad@10") == 0
    assert len(list((root / "reviews").iterdir())) == 1


@pytest.mark.parametrize("name", ["classes", "images", "positives", "parts"])
def test_a_damaged_file_is_named_with_the_command_that_repairs_it(good_and_bad, name, capsys):
    good, bad = good_and_bad
    (summary,) = read_summaries(bad, print)
    path = evaluation_directory(bad, 10, summary.settings) / f"{name}.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    assert run("compare", good, bad, "--check") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: ")
    command = line.partition("run `manylabel ")[2].rstrip("`").split()
    assert run(*command) == 0  # It does repair it.
    assert run("compare", good, bad, "--check") == 0


@pytest.fixture
def trained(add, root) -> Evaluated:
    """An evaluation of a checkpoint that is there."""
    path = add("a")
    layout = ParameterLayout(
        parameters=(VariableSlot(path="kernel", shape=(100,), offset=0),), statistics=()
    )
    state = ShardState.initial(np.ones(100, np.float32), np.zeros(0, np.float32), SGD())
    shards = LocalShards([ParameterShard(state, SGD(), DecayBlocks(100, [], 0.0), 0.9, 10)])
    stream = StreamIdentity(dataset_digest="f" * 16, seed=3, shuffle_block=32, shuffle_mix=8)
    writer = CheckpointWriter(path, layout, stream, shards, shard_count=1)
    writer.begin(10, 320, LedgerState(next_position=0, undone=(), settled={}))
    writer.poll()
    (path / "run.json").touch()
    (summary,) = read_summaries(path, print)
    digest = describe_checkpoint(checkpoint_path(path, 10)).digest
    provenance = summary.provenance.model_copy(update={"checkpoint_digest": digest})
    return Evaluated(path, summary.model_copy(update={"provenance": provenance}))


def test_an_intact_checkpoint_passes(trained):
    check = checkpoint_check(trained)
    assert check.passed
    assert check.name == "intact"
    assert trained.summary.provenance.checkpoint_digest[:12] in check.text


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        ("gone", "00000010 is gone"),
        ("cut", "Checkpoint damaged: .*shard-00000-of-00001.npz: expected .* bytes, found"),
        ("flipped", "Checkpoint damaged: .*shard-00000-of-00001.npz"),
        ("other", "00000010 is not the one that was evaluated"),
        ("scored", "No checkpoint: predictions of another tool were scored"),
    ],
)
def test_a_checkpoint_that_cannot_be_promoted(trained, damage, text):
    path = checkpoint_path(trained.run_dir, 10)
    (shard,) = path.glob("*.npz")
    data = shard.read_bytes()
    match damage:
        case "gone":
            shutil.rmtree(path)
        case "cut":
            shard.write_bytes(data[:-1])
        case "flipped":
            place = data.index(np.float32(1).tobytes() * 8)
            shard.write_bytes(data[:place] + b"\1" + data[place + 1 :])
        case "other":
            manifest = path / "manifest.json"
            manifest.write_text(manifest.read_text().replace('"seed": 3', '"seed": 4'))
        case "scored":
            (trained.run_dir / "run.json").unlink()
    check = checkpoint_check(trained)
    assert not check.passed
    assert check.name == "intact"
    assert re.search(text, check.text), check.text

"""A champion on evidence, kept from retention, and what follows an evaluation."""

import errno
import json
import os
import re
import shlex
import shutil
from pathlib import Path
from unittest.mock import Mock

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from manylabel.eval.config import MetricForm
from manylabel.eval.review.store import read_review
from manylabel.eval.store.evaluations import read_summaries, why_dropped
from manylabel.eval.store.history import histories, read_history
from manylabel.eval.store.promotions import Promotion, newest_promotion
from manylabel.pipeline import cli

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture
def root(small_demo, tmp_path) -> Path:
    """A copy of the demo's folder of runs, in which things may change."""
    shutil.copytree(small_demo.output, tmp_path / "runs")
    return tmp_path / "runs"


def decision(root) -> Promotion:
    promotion = newest_promotion(root)
    assert promotion is not None
    return promotion


def refuse(error):
    raise error


def steps_of(root):
    return sorted(int(path.name) for path in (root / "run" / "checkpoints").glob("[0-9]*"))


def refused(capsys, *arguments):
    assert cli.run([str(argument) for argument in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_the_demo_leaves_a_champion_a_review_and_a_report(small_demo):
    root = small_demo.output
    steps = steps_of(root)
    promotion = decision(root)
    assert promotion.candidate.name == ("run", steps[1])
    assert promotion.evidence is None
    (directory,) = (root / "reviews").iterdir()
    review = read_review(directory)
    assert (review.candidate.name, review.reference.name) == (
        ("run", steps[-1]),
        ("run", steps[1]),
    )
    assert str(root / "review.html") in small_demo.printed
    assert f"manylabel dashboard {root}" in small_demo.printed
    assert "<script" not in (root / "review.html").read_text("utf-8")


def test_a_failed_check_must_be_overridden_by_name(root, capsys):
    before = decision(root)
    run, step = root / "run", steps_of(root)[0]  # Untrained, so that it cannot be shown better.
    promote = ("promote", run, "--step", step, "--reason", "to see")
    problem = refused(capsys, *promote)
    (option,) = re.findall("add (--override .*)$", problem)
    assert "--override difference" in option
    assert decision(root) == before
    assert "expected the name of a check" in refused(capsys, *promote, "--override", "all")
    assert "received nothing" in refused(capsys, *promote[:-1], "  ")
    assert "no such checkpoint" in refused(capsys, *promote[:3], "77", *promote[4:])

    assert cli.run([*map(str, promote), *option.split()]) == 0
    promotion = decision(root)
    assert (promotion.number, promotion.replaced) == (2, before.candidate)
    assert set(promotion.checks_overridden) == set(option.split()[1::2])
    assert {"intact", "comparable"} <= set(promotion.checks_passed)
    assert promotion.evidence is not None
    review = read_review(root / "reviews" / promotion.evidence.review)
    for form in MetricForm:
        assert promotion.evidence.forms[form].difference == review.forms[form].difference.value
    assert "is the champion already" in refused(capsys, *promote)

    # Whoever shows a run's history shows the differences from the new champion.
    (settings,) = histories(run)
    history = read_history(run, settings)
    assert history.champion == ("run", step)
    assert history.evaluations["class_champion_difference"].to_pylist()[0] == 0


def test_a_run_reached_from_within_is_still_itself(root, monkeypatch):
    before = decision(root)
    monkeypatch.chdir(root / "run" / "checkpoints")
    promote = ["promote", "..", "--step", str(steps_of(root)[-1]), "--reason", "to see"]
    assert cli.run([*promote, "--override", "review"]) == 0
    promotion = decision(root)
    assert (promotion.replaced, promotion.candidate.run) == (before.candidate, "run")


def test_evaluations_with_other_settings_take_no_decision_over(root, manylabel):
    run, steps = root / "run", steps_of(root)
    manylabel("evaluate", str(run), "--step", "all", "--set", "eval.weights.kind=uniform")
    weights = {}
    for name, options in (("own", ()), ("other", ("--settings", "uniform"))):
        printed = manylabel("review", str(run), str(steps[-1]), *options)
        (directory,) = re.findall(r"(\S+reviews/[0-9a-f]{64})", printed.replace("\n", " "))
        weights[name] = read_review(Path(directory)).candidate.weights
    assert weights == {"own": "training_share", "other": "uniform"}


def test_a_damaged_checkpoint_is_not_promoted(root, capsys):
    step = steps_of(root)[-1]
    shard = next((root / "run" / "checkpoints" / f"{step:08d}").glob("*.npz"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(bytes(data))
    promote = ("promote", root / "run", "--step", step, "--reason", "to see")
    assert "damaged" in refused(capsys, *promote)
    assert decision(root).number == 1


def test_a_checkpoint_made_again_is_not_promoted_on_the_evidence_of_the_lost_one(root, capsys):
    """A resumed run may make a step again; what was evaluated is another checkpoint."""
    run, step = root / "run", steps_of(root)[-1]
    manifest = run / "checkpoints" / f"{step:08d}" / "manifest.json"
    changed = json.loads(manifest.read_text())
    changed["samples"] += 1
    manifest.write_text(json.dumps(changed))
    promote = ("promote", run, "--step", step, "--reason", "to see")
    problem = refused(capsys, *promote)
    assert f"run@{step} has not been evaluated" in problem
    assert decision(root).number == 1


def test_where_the_champion_cannot_be_compared_that_has_to_be_overridden(root, capsys, monkeypatch):
    run, steps = root / "run", steps_of(root)
    shutil.rmtree(run / "evals" / f"{steps[1]:08d}")
    promote = ("promote", run, "--step", steps[-1], "--reason", "the champion was removed")
    problem = refused(capsys, *promote)
    assert problem.endswith("to promote without a review, add --override review")
    # A container's user need not have a name.
    monkeypatch.setattr("getpass.getuser", Mock(side_effect=KeyError("uid not found")))
    assert cli.run([*map(str, promote), "--override", "review"]) == 0
    promotion = decision(root)
    assert (promotion.candidate.step, promotion.evidence) == (steps[-1], None)
    assert promotion.checks_overridden == ("review",)
    assert promotion.person == f"uid {os.getuid()}"


def test_a_history_that_cannot_be_written_undoes_no_promotion(root, capsys, monkeypatch):
    run, steps = root / "run", steps_of(root)
    full = OSError(errno.ENOSPC, "No space left on device", "history")
    monkeypatch.setattr("manylabel.eval.history.write_history", Mock(side_effect=full))
    promote = ("promote", run, "--step", steps[-1], "--reason", "better", "--override", "review")
    assert cli.run([str(argument) for argument in promote]) == 0
    assert decision(root).candidate.step == steps[-1]
    assert "its history was not renewed: [Errno 28]" in capsys.readouterr().out


def test_retention_leaves_the_champion_and_what_was_reviewed(root, small_demo, manylabel):
    """Training goes on with `keep: 1`; the demo has promoted its second checkpoint."""
    before = steps_of(root)
    assert len(before) >= 3
    settings = root / "mine.yaml"
    shutil.copy(root / "run" / "config.yaml", settings)
    arguments = ["--dataset", str(root / "dataset"), "--run", str(root / "run")]
    changes = ["trainer.checkpoints.keep=1", "trainer.epochs=4"]
    manylabel("train", str(settings), *arguments, *(f"--set={change}" for change in changes))
    after = steps_of(root)
    assert after[-1] > before[-1]
    assert after == sorted({before[1], before[-1], after[-1]})
    # Its evaluations are there as well, and it can still be exported without being named.
    manylabel("export", str(root), "--output", str(root / "model"))
    origin = json.loads((root / "model" / "export.json").read_text())
    assert origin["step"] == before[1]


def test_evaluations_are_curves_in_tensorboard(small_demo):
    run = small_demo.output / "run"
    summaries = read_summaries(run, refuse)
    curves = EventAccumulator(str(run / "tensorboard" / summaries[0].settings)).Reload()
    for form in MetricForm:
        headlines = {each.provenance.step: each.headline_of(form) for each in summaries}
        for tag, expected in (
            (f"evaluation/weighted MAP@100 ({form} form)", "value"),
            (f"evaluation/baseline, {form} form", "baseline"),
        ):
            points = {point.step: point.value for point in curves.Scalars(tag)}
            values = {step: getattr(each, expected) for step, each in headlines.items()}
            assert points == pytest.approx(values, rel=1e-6)


def test_old_predictions_go_but_for_those_of_kept_checkpoints(root, manylabel):
    run, steps = root / "run", steps_of(root)
    manylabel("evaluate", str(run), "--step", "new", "--set", "eval.keep_predictions=1")
    kept = sorted(int(path.parent.name) for path in (run / "evals").glob("*/predictions.parquet"))
    assert kept == [steps[1], steps[-1]]
    note = (run / "evals" / f"{steps[0]:08d}" / "predictions.dropped.txt").read_text()
    assert f"--step {steps[0]} --set eval.keep_predictions=null" in note
    # The note says what brings them back.
    (command,) = re.findall("`manylabel (.*?)`", note)
    manylabel(*shlex.split(command))
    assert (run / "evals" / f"{steps[0]:08d}" / "predictions.parquet").is_file()
    assert why_dropped(run, steps[0]) is None
    # What was computed from them is still there, and can still be compared.
    assert len(read_summaries(run, refuse)) == len(steps)
    printed = manylabel("compare", f"{run}@{steps[0]}", f"{run}@{steps[2]}")
    assert "95% interval" in printed


def test_new_evaluates_what_has_no_intact_evaluation(root, manylabel):
    run, steps = root / "run", steps_of(root)
    printed = manylabel("evaluate", str(run), "--step", "new")
    assert "every checkpoint has been evaluated" in printed
    (images,) = (run / "evals" / f"{steps[1]:08d}").glob("*/images.parquet")
    images.write_bytes(images.read_bytes()[:100])
    (summary,) = (run / "evals" / f"{steps[2]:08d}").glob("*/summary.json")
    summary.write_text("{")
    shutil.rmtree(run / "history")
    printed = manylabel("evaluate", str(run), "--step", "new")
    assert re.findall(r"^ *(\d+) +\d+ +0\.\d{4}", printed, re.MULTILINE) == [
        str(step) for step in steps[1:3]
    ]
    (settings,) = histories(run)
    assert read_history(run, settings).evaluations["step"].to_pylist() == steps
    best = manylabel("evaluate", str(run), "--step", "best")
    values = read_history(run, settings).evaluations.to_pydict()
    step = max(zip(values["class_value"], values["step"], strict=True))[1]
    assert f"step {step:,}: evaluated before" in best

"""Metrics on disk: what was logged once is there once, whatever killed and resumed the job."""

import dataclasses
import errno
import json
from itertools import pairwise

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from manylabel.storage.errors import DamagedDocumentError, DocumentError, OtherVersionError
from manylabel.trainer.plane.metrics import MetricsRow
from manylabel.trainer.runs import metrics_log
from manylabel.trainer.runs.line_file import thin
from manylabel.trainer.runs.metrics_log import JSON_LINES, MetricsLog, read_metrics, sample_metrics
from tests._file_sizes import no_file_larger_than


def row(step, loss=0.5):
    return MetricsRow(
        step=step,
        samples=8 * step,
        loss=loss,
        learning_rate=0.1,
        staleness=1.5,
        max_staleness=3,
        gradient_norm=2.0,
        images_per_second=100.0,
        dropped=2,
        staleness_counts=((0, 1), (1, 1), (3, 2)),
    )


ROW = {"format_version": 1} | dataclasses.asdict(row(40))


def log(run, resumed_at, rows):
    with MetricsLog(run, resumed_at) as metrics:
        metrics.append(rows)


def read_events(run):
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return events


def test_rows_come_back_as_they_were_written(tmp_path):
    rows = [row(20), row(40, loss=1 / 3)]
    log(tmp_path, 0, rows)
    assert read_metrics(tmp_path) == rows
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    stored = [json.dumps({"format_version": 1} | dataclasses.asdict(row)) for row in rows]
    assert [json.loads(line) for line in lines] == [json.loads(line) for line in stored]


def test_rows_of_earlier_versions_lack_what_policies_did(tmp_path):
    later = ("gradients", "clipped", "compensated", "dropped", "waited", "staleness_counts")
    earlier = {name: value for name, value in ROW.items() if name not in later}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(earlier) + "\n")
    (row,) = read_metrics(tmp_path)
    assert (row.step, row.loss, row.dropped, row.staleness_counts) == (40, 0.5, 0, ())


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ('{"format_version": 2, "step": 3}', OtherVersionError, "version 1, received version 2"),
        ('{"step": 3}', OtherVersionError, "version 1, received none"),
        ('{"format_version": 1, "step": 3}', DamagedDocumentError, "not a row of metrics"),
        ('{"format_version": 1, "st', DamagedDocumentError, "not a row of metrics"),
        (json.dumps(ROW | {"step": "x"}), DamagedDocumentError, "valid integer"),
        (json.dumps(ROW | {"loss": None}), DamagedDocumentError, "valid number"),
    ],
)
def test_a_line_that_is_no_row_is_named(tmp_path, line, error, message):
    log(tmp_path, 0, [row(20)])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(error, match=rf"metrics\.jsonl, line 2: .*{message}"):
        read_metrics(tmp_path)


def test_a_run_without_metrics_has_none(tmp_path):
    assert read_metrics(tmp_path) == []


def test_rows_are_on_disk_while_the_job_runs(tmp_path):
    with MetricsLog(tmp_path, 0) as metrics:
        metrics.append([row(20)])
        assert read_metrics(tmp_path) == [row(20)]
        assert [e.step for e in read_events(tmp_path).Scalars("training/loss")] == [20]
        metrics.append([row(40)])
        metrics.append([])
        assert read_metrics(tmp_path) == [row(20), row(40)]


@pytest.mark.parametrize(
    ("resumed_at", "left"), [(0, []), (20, [20]), (39, [20]), (40, [20, 40]), (99, [20, 40, 60])]
)
def test_rows_after_the_checkpoint_are_of_lost_updates(tmp_path, resumed_at, left):
    log(tmp_path, 0, [row(20), row(40), row(60)])
    log(tmp_path, resumed_at, [row(100, loss=9.0)])
    assert read_metrics(tmp_path) == [*map(row, left), row(100, loss=9.0)]


def test_the_rows_that_a_resumed_run_keeps_stay_as_they_were_written(tmp_path):
    later = ("gradients", "clipped", "compensated", "dropped", "waited", "staleness_counts")
    earlier = {name: value for name, value in ROW.items() if name not in later}
    text = json.dumps(earlier) + "\n"
    (tmp_path / "metrics.jsonl").write_text(text + json.dumps(earlier | {"step": 60}) + "\n")
    log(tmp_path, 40, [])
    assert (tmp_path / "metrics.jsonl").read_text() == text


@pytest.mark.parametrize("kept", [1, 30, -2, -1])
def test_a_last_line_that_was_cut_is_left_out_and_written_over(tmp_path, kept):
    log(tmp_path, 0, [row(20), row(40)])
    path = tmp_path / "metrics.jsonl"
    first, second = path.read_text().splitlines(keepends=True)
    path.write_text(first + second[:kept])
    assert read_metrics(tmp_path) == [row(20)]
    log(tmp_path, 40, [row(60)])
    assert read_metrics(tmp_path) == [row(20), row(60)]


def test_tensorboard_reads_every_metric(tmp_path):
    log(tmp_path, 0, [row(20), row(40, loss=0.25)])
    events = read_events(tmp_path)
    names = {field.name for field in dataclasses.fields(MetricsRow)} - {"step", "staleness_counts"}
    assert set(events.Tags()["scalars"]) == {f"training/{name}" for name in names}
    losses = events.Scalars("training/loss")
    assert [(event.step, event.value) for event in losses] == [(20, 0.5), (40, 0.25)]
    assert [event.value for event in events.Scalars("training/samples")] == [160, 320]
    *_, last = events.Histograms("training/staleness_histogram")  # it keeps the last one
    histogram = last.histogram_value
    assert (last.step, histogram.min, histogram.max, histogram.num) == (40, 0, 3, 4)
    assert (histogram.sum, histogram.sum_squares) == (7, 19)
    buckets = zip(histogram.bucket_limit, histogram.bucket, strict=True)
    assert {limit: count for limit, count in buckets if count} == {0.5: 1, 1.5: 1, 3.5: 2}


def test_tensorboard_drops_lost_updates_of_a_resumed_run(tmp_path):
    log(tmp_path, 0, [row(20), row(40), row(60)])
    log(tmp_path, 40, [row(50, loss=9.0), row(60, loss=8.0)])
    losses = read_events(tmp_path).Scalars("training/loss")
    assert [(event.step, event.value) for event in losses] == [
        (20, 0.5),
        (40, 0.5),
        (50, 9.0),
        (60, 8.0),
    ]


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 500])
@pytest.mark.parametrize("most", [2, 5, 40])
def test_a_sample_of_rows_is_spread_over_the_file_and_has_the_last(tmp_path, rows, most):
    whole = [row(20 * number) for number in range(1, rows + 1)]
    with MetricsLog(tmp_path, resumed_at=0) as log:
        log.append(whole)
    with (tmp_path / JSON_LINES).open("a") as file:
        file.write('{"format_version": 1, "st')  # The job is writing.

    sample = sample_metrics(tmp_path, most)
    assert len(sample) <= most
    assert len(sample) >= min(rows, most - 1)
    assert [each for each in whole if each in sample] == sample
    assert sample[-1:] == whole[-1:]
    steps = [each.step for each in sample]
    assert all(b - a <= 2 * 20 * rows / (most - 1) + 40 for a, b in pairwise(steps))


def test_a_sample_of_no_metrics_is_empty_and_names_damage(tmp_path):
    assert sample_metrics(tmp_path, 5) == []
    (tmp_path / JSON_LINES).write_text('{"format_version": 1, "step": 3}\n')
    with pytest.raises(DocumentError, match=r"metrics\.jsonl, byte 0"):
        sample_metrics(tmp_path, 5)


def test_what_is_old_is_thinned_and_the_rest_is_as_it_was(tmp_path, monkeypatch):
    """While the job goes on, and after it was resumed."""
    one = len((json.dumps(ROW) + "\n").encode())
    monkeypatch.setattr(metrics_log, "MOST_BYTES", 40 * one)
    for resumed_at in (0, 4_000):
        with MetricsLog(tmp_path, resumed_at) as log:
            for number in range(resumed_at // 20, resumed_at // 20 + 200):
                log.append([row(20 * (number + 1))])
                assert (tmp_path / JSON_LINES).stat().st_size < 60 * one
                assert read_metrics(tmp_path)[-1] == row(20 * (number + 1))
    rows = read_metrics(tmp_path)
    steps = [each.step for each in rows]
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (20, 8_000)
    assert rows == [row(step) for step in steps]
    assert steps[-15:] == list(range(8_000 - 14 * 20, 8_001, 20))
    assert [each.step for each in sample_metrics(tmp_path, 3)][-1] == 8_000


def test_a_copy_of_a_job_killed_while_it_thinned_goes_with_the_next_start(tmp_path):
    log(tmp_path, 0, [row(20)])
    copy = tmp_path / f"{JSON_LINES}.{'0a' * 16}.tmp"
    others = [tmp_path / name for name in (f"run.json.{'0a' * 16}.tmp", f"{JSON_LINES}.tmp")]
    for path in (copy, *others):
        path.write_bytes(b"x")
    log(tmp_path, 20, [row(40)])
    assert (copy.exists(), [path.exists() for path in others]) == (False, [True, True])
    assert read_metrics(tmp_path) == [row(20), row(40)]


def test_no_room_to_thin_it_ends_no_training(tmp_path, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(metrics_log, "MOST_BYTES", 1_000)
    monkeypatch.setattr(metrics_log, "thin", full)
    rows = [row(20 * number) for number in range(1, 30)]
    with MetricsLog(tmp_path, 0) as log:
        for each in rows:
            log.append([each])
    assert read_metrics(tmp_path) == rows


def test_a_log_that_cannot_be_opened_again_takes_rows_until_it_can(tmp_path, monkeypatch):
    """When it was thinned; what is to be told then is that, and no mistake of ours."""
    monkeypatch.setattr(metrics_log, "MOST_BYTES", 1)
    run, away = tmp_path / "run", tmp_path / "away"
    run.mkdir()
    with MetricsLog(run, 0) as metrics:
        run.rename(away)
        for step in (20, 40):
            with pytest.raises(FileNotFoundError, match=rf"{run / JSON_LINES}"):
                metrics.append([row(step)])
    assert read_metrics(away) == [row(20), row(40)]


def test_no_row_goes_to_the_file_that_its_thinned_copy_replaced(tmp_path, monkeypatch):
    """Where the copy cannot be opened at first."""
    run, away = tmp_path / "run", tmp_path / "away"

    def thin_and_lose(path):
        thin(path)
        run.rename(away)
        monkeypatch.setattr(metrics_log, "MOST_BYTES", 10_000)

    monkeypatch.setattr(metrics_log, "MOST_BYTES", 1)
    monkeypatch.setattr(metrics_log, "thin", thin_and_lose)
    run.mkdir()
    with MetricsLog(run, 0) as metrics:
        for step in (20, 40):
            with pytest.raises(FileNotFoundError, match=rf"{run / JSON_LINES}"):
                metrics.append([row(step)])
        away.rename(run)
        metrics.append([row(60)])
        assert read_metrics(run) == [row(20), row(40), row(60)]
    assert [e.step for e in read_events(run).Scalars("training/loss")] == [20, 40, 60]


def test_rows_for_which_there_is_no_room_name_the_file(tmp_path):
    metrics = MetricsLog(tmp_path, 0)
    metrics._file.close()
    metrics._file = open("/dev/full", "a", encoding="utf-8")  # noqa: SIM115
    with pytest.raises(OSError, match="No space left") as caught:
        metrics.append([row(1)])
    assert caught.value.filename == str(tmp_path / JSON_LINES)


def test_a_log_that_was_cut_short_goes_on(tmp_path):
    """Whichever of the two files it was, and also where it shows when the log is closed."""
    with (
        no_file_larger_than(4096),
        pytest.raises(OSError, match="File too large") as caught,
    ):
        log(tmp_path, 0, [row(step) for step in range(1, 100)])
    assert str(caught.value.filename).startswith(str(tmp_path))
    last = read_metrics(tmp_path)[-1].step
    log(tmp_path, last, [row(last + 1)])
    assert [each.step for each in read_metrics(tmp_path)] == list(range(1, last + 2))

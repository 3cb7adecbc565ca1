"""What the terminal makes of a stage's events and results."""

import dataclasses
import io
import sys

import pytest
from rich.console import Console

from manylabel.pipeline import events
from manylabel.pipeline.terminal import Terminal
from manylabel.preprocessing.progress import Progress, Remarks, Stage
from manylabel.preprocessing.rejections import RejectReason
from manylabel.preprocessing.report import PreprocessingReport
from manylabel.storage.manifest import ImageCounts
from manylabel.storage.schema import SplitName
from manylabel.trainer.plane.metrics import MetricsRow
from manylabel.trainer.reports import TrainingProgress, TrainingReport


def shown(*told, width=200):
    out = io.StringIO()
    terminal = Terminal(Console(file=out, width=width))
    for event in told:
        terminal.on_event(event)
    return out.getvalue().splitlines()


def made(kind, **values):
    """A dataclass with only the values that are shown."""
    return kind(**(dict.fromkeys(field.name for field in dataclasses.fields(kind)) | values))


def training(row=None, notes=(), updates=0, workers=2):
    values = {"settled": 50, "total": 200, "row": row, "notes": notes}
    return events.TrainingProgressed(
        made(TrainingProgress, **values, updates=updates, workers=workers)
    )


def test_preprocessing_names_its_steps():
    assert shown(
        events.WorkBegan("preprocess"),
        events.PreprocessingProgressed(Progress(Stage.READ_CATALOG)),
        events.PreprocessingProgressed(Progress(Stage.SORT_ROWS, 1200, rate=40.0)),
        events.PreprocessingProgressed(Progress(Stage.WRITE_SHARDS, 1, 3, rate=0.5)),
        events.WorkEnded(),
    ) == [
        "reading the catalog",
        "sorting rows by image: 1,200 rows  40 rows/s",
        "writing shards: 1 of 3  33%  0.5 images/s, 4 s left",
    ]


def test_training_tells_its_speed_and_what_went_wrong():
    assert shown(
        events.WorkBegan("train"), training(notes=["worker 1 died"]), events.WorkEnded()
    ) == ["worker 1 died", "train: 50 of 200  25%  workers are starting"]
    row = made(MetricsRow, images_per_second=51.6, loss=0.25, learning_rate=0.001, staleness=1.5)
    (line,) = shown(events.WorkBegan("train"), training(row), events.WorkEnded())
    assert line.endswith("52 images/s  loss 0.250  rate 0.001  staleness 1.5  2 workers")


def test_workers_that_work_are_not_starting_and_those_that_ended_are_not_counted():
    """The first row comes after some updates; a resumed run may end before it."""
    (line,) = shown(events.WorkBegan("train"), training(updates=3, workers=1), events.WorkEnded())
    assert line == "train: 50 of 200  25%  3 updates  1 worker"
    row = made(MetricsRow, images_per_second=51.6, loss=0.25, learning_rate=0.001, staleness=1.5)
    (line,) = shown(events.WorkBegan("train"), training(row, workers=0), events.WorkEnded())
    assert line.endswith("loss 0.250  rate 0.001  staleness 1.5")


def test_a_run_with_nothing_to_do_says_so(tmp_path):
    console = Console(width=200)
    report = made(TrainingReport, run=tmp_path, step=1300, samples=5200, was_finished=True)
    with console.capture() as capture:
        Terminal(console).show_training(report)
    assert "nothing to do, its 1,300 updates of 5,200 images are all" in capture.get()


def test_an_evaluation_tells_each_checkpoint():
    assert shown(
        events.EvaluatedBefore(1000),
        events.ResultUnreadable(2000, "summary.json: [cut short]"),
        events.WorkBegan("evaluate step 3,000"),
        events.PredictionProgressed(64, 64),
        events.WorkEnded(),
    ) == [
        "step 1,000: evaluated before",
        "step 2,000: summary.json: [cut short]",
        "evaluate step 3,000: 64 of 64 100%",
    ]


def report(**values):
    return made(
        PreprocessingReport,
        **{
            "dataset": "demo-output/dataset",
            "counts": ImageCounts(listed=12, written=9, rejected=2, duplicates=1),
            "rejected": {RejectReason.TOO_SMALL: 2},
            "rejected_table": "rejected.parquet",
            "heldout_rejected": {},
            "heldout_rejected_table": None,
            "unknown_labels": {},
            "retried": 0,
            "retryable": 0,
            "left_out": {},
            "label_doubts": (),
            "path_doubts": (),
            "remarks": Remarks(),
            "large_groups": 0,
            "images": {SplitName.TRAIN: 7, SplitName.HELDOUT: 2},
            "heldout_doubt": None,
            "num_classes": 1234,
            "nothing_to_do": False,
            "shards_written": 2,
            "shards_kept": 1,
            "verified": False,
            "seconds": 3.4,
        }
        | values,
    )


def test_the_demo_shows_the_result_of_a_part_below_its_heading():
    heading, *lines = shown(events.PartBegan(1, "preprocess"), events.Preprocessed(report()))
    assert heading.startswith("1  preprocess ──")
    assert lines == [
        "demo-output/dataset: 7 images to train on, 2 held out, 1,234 classes",
        "12 listed = 9 written + 2 rejected + 1 duplicates",
        "rejected.parquet: too small 2",
        "wrote 2 shards, kept 1, in 3 s",
    ]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"retryable": 1234}, "--retry-rejected would look again at 1,234 of these images"),
        ({"rejected_table": "rejected/"}, "rejected/: too small 2"),
        (
            {
                "heldout_rejected": {RejectReason.UNKNOWN_LABELS: 1234},
                "heldout_rejected_table": "heldout_rejected.parquet",
            },
            "heldout_rejected.parquet: labels that training has not 1,234",
        ),
        (
            {"unknown_labels": {"zebra": 1234, "yak": 5}},
            "unknown_labels.parquet: 2 labels of held-out images are no class, since training has "
            "not enough of them: 1,234 zebra, 5 yak",
        ),
        (
            {"rejected": {RejectReason.EMPTY_LABEL: 9, RejectReason.TOO_SMALL: 2}},
            "rejected.parquet: too small 2; label: empty 9",
        ),
        ({"label_doubts": ("labels such as 'a|b' [...]",)}, "labels such as 'a|b' [...]"),
        ({"path_doubts": ("9 paths are absolute [...]",)}, "9 paths are absolute [...]"),
        ({"left_out": {"@eaDir": 12, "Thumbs.db": 3000}}, "left out: 3,000 Thumbs.db, 12 @eaDir"),
        (
            {"left_out": {str(number): 10 - number for number in range(9)}},
            "left out: 10 0, 9 1, 8 2, 7 3, 6 4, 5 5, and 3 more names",
        ),
        (
            {"large_groups": 2, "large_group_images": 5432},
            "not held out: 5,432 images in 2 groups of more than preprocessing.heldout.largest_gro",
        ),
        ({"heldout_doubt": "nothing is held out: [...]"}, "nothing is held out: [...]"),
        ({"verified": True}, "wrote 2 shards, kept 1 (every byte was read), in 3 s"),
        (
            {"retried": 9, "retryable": 4},
            "looked again at 9 rejected images: 5 are no longer missing or broken",
        ),
        (
            {"nothing_to_do": True},
            "nothing to do: the dataset was there, with all its files (--verify reads every byte)",
        ),
        (
            {"nothing_to_do": True, "verified": True},
            "nothing to do: the dataset was there, and every byte of its shards is right, in 3 s",
        ),
        ({"shards_written": 0, "retried": 1}, "wrote 0 shards, kept 1, in 3 s"),
    ],
)
def test_what_else_is_to_be_told_of_a_dataset(values, told):
    plain, lines = (
        shown(events.Preprocessed(report())),
        shown(events.Preprocessed(report(**values))),
    )
    assert told in [line[: len(told)] for line in lines if line not in plain]


def test_work_that_fails_is_over():
    """So that its bar is taken off the terminal before the error is shown."""
    told: list[events.Event] = []
    with pytest.raises(ZeroDivisionError), events.long_work("train", told.append):
        raise ZeroDivisionError
    assert told == [events.WorkBegan("train"), events.WorkEnded()]

    def fail_at_the_end(event):
        told.append(event)
        if isinstance(event, events.WorkEnded):
            raise LookupError

    with pytest.raises(ZeroDivisionError), events.long_work("train", fail_at_the_end):
        raise ZeroDivisionError
    with pytest.raises(LookupError), events.long_work("train", fail_at_the_end):
        pass
    assert told == [events.WorkBegan("train"), events.WorkEnded()] * 3


def test_the_work_may_end_while_another_thread_tells_of_it():
    """After any line of the code that shows an event."""
    lines = 0

    def ends_after(line):
        terminal = Terminal(Console(file=io.StringIO()))
        terminal.on_event(events.WorkBegan("train"))
        left = line

        def trace(frame, what, argument):
            nonlocal left
            if frame.f_code is not Terminal.on_event.__code__ or left < 0:
                return None
            left -= what == "line"
            if left < 0:
                terminal.on_event(events.WorkEnded())
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            terminal.on_event(events.LineTold("no progress for 60 s"))
        finally:
            sys.settrace(before)
        return left < 0

    while ends_after(lines):
        lines += 1
    assert lines > 3

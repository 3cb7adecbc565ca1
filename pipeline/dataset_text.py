"""What is told of a dataset when it is made: what it holds, what it lacks, what was done for it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from manylabel.preprocessing.rejections import LABEL_REASONS
from manylabel.storage.manifest import UNKNOWN_LABELS_NAME
from manylabel.storage.schema import SplitName

if TYPE_CHECKING:  # It loads Beam.
    from manylabel.pipeline.dataset import VerificationReport
    from manylabel.preprocessing.report import PreprocessingReport

_NAMES_SHOWN = 6
"""That are told; machines leave few kinds of files."""


def dataset_lines(report: "PreprocessingReport") -> list[str]:
    """Lines for the terminal."""
    lines = [
        f"{report.dataset}: {report.images[SplitName.TRAIN]:,} images to train on, "
        f"{report.images[SplitName.HELDOUT]:,} held out, {report.num_classes:,} classes"
    ]
    counts = report.counts
    lines.append(
        f"{counts.listed:,} listed = {counts.written:,} written + {counts.rejected:,} rejected "
        f"+ {counts.duplicates:,} duplicates"
    )
    lines += _what_is_missing(report)
    lines += _what_was_done(report)
    return lines


def verification_lines(report: "VerificationReport") -> list[str]:
    """Lines for the terminal; what is damaged still is told as errors."""
    shards = [each for split in report.dataset.manifest.splits.values() for each in split.shards]
    root, read = report.dataset.root, f"{sum(each.bytes for each in shards) / 1e6:,.1f} MB"
    lines = [f"written again: {path}" for path in report.repair.mended] if report.repair else []
    if report.is_whole:
        again = " again" if report.damages else ""
        lines.append(
            f"{root}: whole{again}, {len(shards):,} shards of {read}, content "
            f"{report.dataset.content_digest[:12]}"
        )
    else:
        lines.append(
            f"{root}: {len(report.problems()):,} files damaged; {len(shards):,} shards of {read}"
        )
        if report.repair is None:
            lines.append("--repair writes them again, where plan/ and the pictures are still there")
    return lines


def _what_is_missing(report: "PreprocessingReport") -> list[str]:
    """What the dataset was to have, and has not."""
    lines = list(report.label_doubts)
    for table, rejected in (
        (report.rejected_table, report.rejected),
        (report.heldout_rejected_table, report.heldout_rejected),
    ):
        if rejected:
            told: dict[bool, list[str]] = {False: [], True: []}  # Of images, and of labels alone.
            for reason, count in rejected.items():
                told[reason in LABEL_REASONS].append(f"{reason} {count:,}")
            reasons = "; ".join(", ".join(each) for each in told.values() if each)
            lines.append(f"{table}: {reasons}")
    lines += report.path_doubts
    if report.unknown_labels:
        lines.append(
            f"{UNKNOWN_LABELS_NAME}: {len(report.unknown_labels):,} labels of held-out images are "
            f"no class, since training has not enough of them: {_most(report.unknown_labels)}"
        )
    if report.retryable:
        lines.append(f"--retry-rejected would look again at {report.retryable:,} of these images")
    if report.left_out:
        lines.append(f"left out: {_most(report.left_out)}")
    if report.remarks.images:
        lines.append(
            f"odd metadata, pixels kept: {report.remarks.images:,} images, the first "
            f"{report.remarks.first}"
        )
    if report.heldout_doubt is not None:
        lines.append(report.heldout_doubt)
    if report.large_groups:
        lines.append(
            f"not held out: {report.large_group_images:,} images in {report.large_groups:,} groups "
            "of more than preprocessing.heldout.largest_group"
        )
    return lines


def _most(counts: Mapping[str, int]) -> str:
    """The most frequent names."""
    shown = sorted(counts.items(), key=lambda entry: -entry[1])
    names = ", ".join(f"{count:,} {name}" for name, count in shown[:_NAMES_SHOWN])
    more = len(shown) - _NAMES_SHOWN
    return names + (f", and {more:,} more names" if more > 0 else "")


def _what_was_done(report: "PreprocessingReport") -> list[str]:
    took = f"in {report.seconds:.0f} s"
    if report.retried:
        mended = max(0, report.retried - report.retryable)
        again = (
            f"looked again at {report.retried:,} rejected images: {mended:,} are no longer missing "
            "or broken"
        )
        return [
            again,
            f"wrote {report.shards_written:,} shards, kept {report.shards_kept:,}, {took}",
        ]
    if not report.nothing_to_do:
        read = " (every byte was read)" if report.verified and report.shards_kept else ""
        return [
            f"wrote {report.shards_written:,} shards, kept {report.shards_kept:,}{read}, {took}"
        ]
    if report.verified:
        return [
            f"nothing to do: the dataset was there, and every byte of its shards is right, {took}"
        ]
    return ["nothing to do: the dataset was there, with all its files (--verify reads every byte)"]

"""What a run of the job did, and what the dataset holds."""

from collections.abc import Mapping
from dataclasses import dataclass

from upath import UPath

from manylabel.preprocessing.config import HeldoutConfig
from manylabel.preprocessing.heldout_doubts import heldout_doubt
from manylabel.preprocessing.planning.dataset_plan import (
    NOT_WRITTEN,
    read_totals,
    read_unknown_labels,
)
from manylabel.preprocessing.progress import Remarks
from manylabel.preprocessing.rejections import RETRYABLE, RejectReason
from manylabel.storage.manifest import UNKNOWN_LABELS_NAME, ImageCounts, Manifest
from manylabel.storage.schema import SplitName
from manylabel.storage.tables import count_values, part_path, table_parts


@dataclass(frozen=True)
class PreprocessingReport:
    """What a run did.

    Attributes:
        dataset: The output directory.
        content_digest: Of the dataset.
        counts: Images, as in the manifest.
        rejected: Rows of `rejected.parquet` by reason, the rejected labels of accepted images
            included.
        rejected_table: Where they are: that file, or a folder of parts.
        heldout_rejected, heldout_rejected_table: Likewise of a held-out catalog, in
            `heldout_rejected.parquet`; None for none.
        unknown_labels: Labels of that catalog that are no class, and how many of its accepted
            images have each, the most frequent first.
        retried: Rejected images of an earlier run that were looked at again.
        retryable: Rejected images whose files were missing or broken.
        left_out: Files and folders that a folder catalog does not list, by name.
        label_doubts: What looks like labels of another form than was declared, see `label_doubts`.
        remarks: On images that this run looked at and can use.
        path_doubts: What may be wrong with all paths of a catalog, see `path_doubts`.
        large_groups, large_group_images: Groups that are too large to be held out.
        images: Records on each side.
        heldout_doubt: Why less is held out than was asked for; None when it is.
        num_classes: Rows of `labels.parquet`.
        nothing_to_do: The dataset was there, finished and whole.
        shards_written: By this run.
        shards_kept: Found complete.
        verified: Every byte of the shards that were kept was read.
        seconds: Wall time.
    """

    dataset: str
    content_digest: str
    counts: ImageCounts
    rejected: dict[RejectReason, int]
    rejected_table: str
    heldout_rejected: dict[RejectReason, int]
    heldout_rejected_table: str | None
    unknown_labels: Mapping[str, int]
    retried: int
    retryable: int
    left_out: Mapping[str, int]
    label_doubts: tuple[str, ...]
    remarks: Remarks
    path_doubts: tuple[str, ...]
    large_groups: int
    large_group_images: int
    images: dict[SplitName, int]
    heldout_doubt: str | None
    num_classes: int
    nothing_to_do: bool
    shards_written: int
    shards_kept: int
    verified: bool
    seconds: float


@dataclass(frozen=True)
class Asked:
    """What a run was asked for, and what it was told on its way; as the report's."""

    heldout: HeldoutConfig
    retried: int
    verified: bool
    left_out: Mapping[str, int]
    label_doubts: tuple[str, ...]
    remarks: Remarks
    path_doubts: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """What a run did; `found` is the report's `nothing_to_do`."""

    manifest: Manifest
    found: bool
    written: int
    kept: int


def report_on(root: UPath, result: Result, asked: Asked, seconds: float) -> PreprocessingReport:
    """The report on a dataset that is finished."""
    manifest = result.manifest
    rejected = count_rejections(root)
    totals = read_totals(root)
    has_catalog = (root / UNKNOWN_LABELS_NAME).is_file()
    heldout_rejected = count_rejections(root, SplitName.HELDOUT) if has_catalog else {}
    return PreprocessingReport(
        dataset=str(root),
        content_digest=manifest.content_digest,
        counts=manifest.counts,
        rejected=rejected,
        rejected_table=_rejected_table(root, SplitName.TRAIN),
        heldout_rejected=heldout_rejected,
        heldout_rejected_table=_rejected_table(root, SplitName.HELDOUT) if has_catalog else None,
        unknown_labels=_unknown_labels(root) if has_catalog else {},
        retried=asked.retried,
        retryable=_retryable(rejected) + _retryable(heldout_rejected),
        left_out=asked.left_out,
        label_doubts=asked.label_doubts,
        remarks=asked.remarks,
        path_doubts=asked.path_doubts,
        large_groups=totals.large_groups,
        large_group_images=totals.large_group_images,
        images={split: manifest.splits[split].records for split in SplitName},
        heldout_doubt=heldout_doubt(asked.heldout, totals),
        num_classes=manifest.num_classes,
        nothing_to_do=result.found,
        shards_written=result.written,
        shards_kept=result.kept,
        verified=asked.verified,
        seconds=seconds,
    )


def count_rejections(root: UPath, side: SplitName = SplitName.TRAIN) -> dict[RejectReason, int]:
    """Rows of a catalog's `rejected.parquet` by reason, the most frequent first."""
    name, _ = NOT_WRITTEN[side]
    counts = count_values(root / name, "reason")
    return {RejectReason(reason): count for reason, count in counts.most_common()}


def _rejected_table(root: UPath, side: SplitName) -> str:
    name, _ = NOT_WRITTEN[side]
    if (root / name).is_file():
        return name
    return f"{part_path(root / name, 0).parent.name}/"


def _unknown_labels(root: UPath) -> dict[str, int]:
    table = read_unknown_labels(root)
    return dict(zip(*(table.column(name).to_pylist() for name in table.schema.names), strict=True))


def count_retryable(root: UPath) -> int:
    """Rejected images of an earlier run that may do when they are looked at again."""
    return sum(
        _retryable(count_rejections(root, side))
        for side in SplitName
        if table_parts(root / NOT_WRITTEN[side][0])[0].is_file()
    )


def _retryable(rejected: Mapping[RejectReason, int]) -> int:
    return sum(rejected.get(reason, 0) for reason in RETRYABLE)

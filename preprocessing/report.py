"""What a run of the job did, and what the dataset holds."""

from collections.abc import Mapping
from dataclasses import dataclass

from upath import UPath

from manylabel.preprocessing.planning.dataset_plan import read_totals
from manylabel.preprocessing.rejections import RETRYABLE, RejectReason
from manylabel.storage.manifest import REJECTED_NAME, ImageCounts, Manifest
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
        retried: Rejected images of an earlier run that were looked at again.
        retryable: Rejected images whose files were missing or broken.
        left_out: Files and folders that a folder catalog does not list, by name.
        large_groups, large_group_images: Groups that are too large to be held out.
        images: Records on each side.
        heldout_size: What was asked for, see `HeldoutConfig.size`.
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
    retried: int
    retryable: int
    left_out: Mapping[str, int]
    large_groups: int
    large_group_images: int
    images: dict[SplitName, int]
    heldout_size: float
    num_classes: int
    nothing_to_do: bool
    shards_written: int
    shards_kept: int
    verified: bool
    seconds: float


@dataclass(frozen=True)
class Asked:
    """What a run was asked for, and what it was told on its way; as the report's."""

    heldout_size: float
    retried: int
    verified: bool
    left_out: Mapping[str, int]


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
    return PreprocessingReport(
        dataset=str(root),
        content_digest=manifest.content_digest,
        counts=manifest.counts,
        rejected=rejected,
        rejected_table=_rejected_table(root),
        retried=asked.retried,
        retryable=sum(rejected.get(reason, 0) for reason in RETRYABLE),
        left_out=asked.left_out,
        large_groups=totals.large_groups,
        large_group_images=totals.large_group_images,
        images={split: manifest.splits[split].records for split in SplitName},
        heldout_size=asked.heldout_size,
        num_classes=manifest.num_classes,
        nothing_to_do=result.found,
        shards_written=result.written,
        shards_kept=result.kept,
        verified=asked.verified,
        seconds=seconds,
    )


def count_rejections(root: UPath) -> dict[RejectReason, int]:
    """Rows of `rejected.parquet` by reason, the most frequent first."""
    counts = count_values(root / REJECTED_NAME, "reason")
    return {RejectReason(reason): count for reason, count in counts.most_common()}


def _rejected_table(root: UPath) -> str:
    if (root / REJECTED_NAME).is_file():
        return REJECTED_NAME
    return f"{part_path(root / REJECTED_NAME, 0).parent.name}/"


def count_retryable(root: UPath) -> int:
    """Rejected images of an earlier run that may do when they are looked at again."""
    if not table_parts(root / REJECTED_NAME)[0].is_file():
        return 0
    rejected = count_rejections(root)
    return sum(rejected.get(reason, 0) for reason in RETRYABLE)

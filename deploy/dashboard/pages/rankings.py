"""What was predicted for held-out images: the rankings of predictions.parquet, as they are kept.

The file is read column by column and not checked again, which took longer than the page may: it was
checked when it was written, and its pages have checksums.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from upath import UPath

from manylabel.eval.errors import EvaluationError
from manylabel.eval.store.evaluations import predictions_path, why_dropped
from manylabel.storage.tables import opened_table

NEAR = 10
"""Best ranks of an image in which a wrong label is taken for a confusion."""

SHOWN = 8
"""Images, or labels, that a page shows of each kind."""


@dataclass(frozen=True, eq=False)
class Rankings:
    """The k best classes of N images.

    Attributes:
        image_rows: int64 [N], rows of the dataset's held-out images.
        class_ids: int32 [N, k], best first.
        scores: float32 [N, k].
    """

    image_rows: NDArray[np.int64]
    class_ids: NDArray[np.int32]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Found:
    """A label among an image's best, which the image does not have."""

    image_row: int
    rank: int


@dataclass(frozen=True)
class Instead:
    """A label that is often predicted where another one should be.

    Attributes:
        class_id: Which.
        images: Images of the other label that have it wrongly among their ten best, above the
            other label.
        share: Of the other label's images.
        overall: Share of all images that have it wrongly among their ten best.
    """

    class_id: int
    images: int
    share: float
    overall: float


@dataclass(frozen=True)
class Ranked:
    """One place of an image's ranking."""

    class_id: int
    score: float


def read_rankings(run_dir: Path, step: int, image_ids: pa.ChunkedArray) -> Rankings:
    """All rankings of a checkpoint.

    Args:
        image_ids: Of the dataset's held-out images, by row.

    Raises:
        EvaluationError: the predictions were not kept, or are of other images.
        TableError: the file is damaged.
    """
    path = _path(run_dir, step)
    with opened_table(path) as file:
        table = file.read(columns=["image_id", "class_ids", "scores"], use_threads=False)
    rows = pc.index_in(table.column("image_id"), value_set=image_ids.combine_chunks())
    if rows.null_count:
        raise EvaluationError(f"{path}: has images that are not in the dataset's held-out split")
    return Rankings(
        np.asarray(rows.to_numpy(), dtype=np.int64),
        _matrix(path, table.column("class_ids")),
        _matrix(path, table.column("scores")),
    )


def read_ranking(run_dir: Path, step: int, image_id: str, count: int) -> list[Ranked]:
    """The best `count` of one image.

    Raises:
        EvaluationError: the predictions were not kept, or the image is not among them.
        TableError: the file is damaged.
    """
    path = _path(run_dir, step)
    with opened_table(path) as file:
        ids = file.read(columns=["image_id"], use_threads=False).column("image_id")
        row = pc.index(ids, image_id).as_py()
        if row < 0:
            raise EvaluationError(f"{path}: has no image {image_id!r}")
        group, first = 0, 0
        while row >= first + file.metadata.row_group(group).num_rows:
            first += file.metadata.row_group(group).num_rows
            group += 1
        found = file.read_row_group(group, columns=["class_ids", "scores"], use_threads=False)
    place = found.slice(row - first, 1).to_pylist()[0]
    pairs = zip(place["class_ids"][:count], place["scores"][:count], strict=True)
    return [Ranked(class_id, score) for class_id, score in pairs]


def near_hits(positives: pa.Table, images: int) -> NDArray[np.bool_]:
    """Which of the ten best places hold labels of their images, bool [images, 10] by image row.

    Args:
        positives: `image_row` and `rank` of every held-out label of the evaluation.
    """
    near = positives.filter(pc.less_equal(positives.column("rank"), NEAR))
    hits = np.zeros((images, NEAR), dtype=bool)
    hits[near.column("image_row").to_numpy(), near.column("rank").to_numpy() - 1] = True
    return hits


def without_label(
    rankings: Rankings, class_id: int, image_rows: NDArray[np.int64]
) -> tuple[list[Found], int]:
    """Images that do not have a label and have it among their best: highest score first; and how
    many have it among their ten best.

    Args:
        image_rows: int64 [M], images of the label.
    """
    places, ranks = np.nonzero(rankings.class_ids == class_id)
    wrong = ~np.isin(rankings.image_rows[places], image_rows)
    places, ranks = places[wrong], ranks[wrong]
    rows, scores = rankings.image_rows[places], rankings.scores[places, ranks]
    order = np.lexsort((rows, ranks, -scores))
    found = [Found(int(rows[i]), int(ranks[i]) + 1) for i in order[:SHOWN]]
    return found, int(np.count_nonzero(ranks < NEAR))


def predicted_instead(
    rankings: Rankings,
    hits: NDArray[np.bool_],
    image_rows: NDArray[np.int64],
    ranks: NDArray[np.int64],
) -> list[Instead]:
    """Wrong labels among the ten best of a label's images, above it: those most in excess first.

    The excess is over the images that would have them anyway: a label that is wrong everywhere says
    nothing about this one.

    Args:
        hits: By image row, from `near_hits`.
        image_rows: int64 [M], images of the label.
        ranks: int64 [M], the label's ranks in them; 0: not found.
    """
    depth = min(NEAR, rankings.class_ids.shape[1])
    near = rankings.class_ids[:, :depth]
    wrong = ~hits[rankings.image_rows, :depth]
    own_rank = np.zeros(len(hits), dtype=np.int64)
    own_rank[image_rows] = np.where(ranks > 0, ranks, np.iinfo(np.int64).max)
    above = np.arange(1, depth + 1) < own_rank[rankings.image_rows][:, np.newaxis]
    classes = int(near.max(initial=0)) + 1
    everywhere = np.bincount(near[wrong], minlength=classes)
    here = np.bincount(near[wrong & above], minlength=classes)
    share = everywhere / max(len(near), 1)
    excess = here - len(image_rows) * share
    best = np.argsort(-excess, kind="stable")[:SHOWN]
    return [
        Instead(int(c), int(here[c]), float(here[c] / len(image_rows)), float(share[c]))
        for c in best
        if excess[c] > 0
    ]


def _path(run_dir: Path, step: int) -> UPath:
    path = predictions_path(run_dir, step)
    if not path.is_file():
        why = why_dropped(run_dir, step)
        raise EvaluationError(
            f"{path}: the predictions of step {step} are not kept{f' ({why})' if why else ''}"
        )
    return path


def _matrix(path: UPath, lists: pa.ChunkedArray) -> NDArray:
    """[N, k] of lists that are equally long."""
    values = lists.combine_chunks()
    flat = values.flatten().to_numpy()
    if len(values) == 0 or len(flat) % len(values):
        raise EvaluationError(
            f"{path}: expected as many predictions for every image, received {len(flat)} for "
            f"{len(values)} images"
        )
    return np.asarray(flat).reshape(len(values), -1)

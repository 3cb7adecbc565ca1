"""What was predicted for held-out images: the rankings of predictions.parquet, as they are kept.

The file is read a piece at a time, of which little is kept, and not checked again, which took
longer than a page may: it was checked when it was written, and its pages have checksums.
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

_PIECE = 2_048  # Images; whole, 14,000 of them with 100 predictions each take 60 MB.


@dataclass(frozen=True, eq=False)
class LabelRankings:
    """The best classes of N images, and the S places where one label is ranked.

    Attributes:
        image_rows: int64 [N], rows of the dataset's held-out images.
        near: int32 [N, 10], their ten best classes, or k where that is less.
        seen_rows: int64 [S], images that have the label among their k best.
        seen_ranks: int64 [S], its rank there, from 1.
        seen_scores: float32 [S].
    """

    image_rows: NDArray[np.int64]
    near: NDArray[np.int32]
    seen_rows: NDArray[np.int64]
    seen_ranks: NDArray[np.int64]
    seen_scores: NDArray[np.float32]


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


def read_label_rankings(
    run_dir: Path, step: int, image_ids: pa.ChunkedArray, class_id: int
) -> LabelRankings:
    """The rankings of a checkpoint, as far as they say something of a label.

    Args:
        image_ids: Of the dataset's held-out images, by row.

    Raises:
        EvaluationError: the predictions were not kept, or are of other images.
        TableError: the file is damaged.
    """
    path = _path(run_dir, step)
    ids, near, places, ranks, scores = [], [], [], [], []
    images = 0
    with opened_table(path) as file:
        columns = ["image_id", "class_ids", "scores"]
        for piece in file.iter_batches(_PIECE, columns=columns, use_threads=False):
            class_ids = _matrix(path, piece.column("class_ids"))
            rows, columns_seen = np.nonzero(class_ids == class_id)
            ids.append(piece.column("image_id"))
            near.append(class_ids[:, :NEAR].copy())
            places.append(rows + images)
            ranks.append(columns_seen + 1)
            scores.append(_matrix(path, piece.column("scores"))[rows, columns_seen])
            images += len(piece)
    found = pc.index_in(pa.chunked_array(ids), value_set=image_ids.combine_chunks())
    if found.null_count:
        raise EvaluationError(f"{path}: has images that are not in the dataset's held-out split")
    image_rows = np.asarray(found.to_numpy(), dtype=np.int64)
    return LabelRankings(
        image_rows,
        np.concatenate(near),
        image_rows[np.concatenate(places)],
        np.concatenate(ranks),
        np.concatenate(scores),
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
        pieces = file.iter_batches(
            _PIECE, row_groups=[group], columns=["class_ids", "scores"], use_threads=False
        )
        for piece in pieces:
            if row < first + len(piece):
                found = piece.slice(row - first, 1).to_pylist()[0]
                break
            first += len(piece)
    pairs = zip(found["class_ids"][:count], found["scores"][:count], strict=True)
    return [Ranked(class_id, score) for class_id, score in pairs]


def near_rows(positives: pa.RecordBatch) -> pa.BooleanArray:
    """Which held-out labels are among the ten best of their images."""
    return pc.less_equal(positives.column("rank"), NEAR)


def near_hits(positives: pa.Table, images: int) -> NDArray[np.bool_]:
    """Which of the ten best places hold labels of their images, bool [images, 10] by image row.

    Args:
        positives: `image_row` and `rank` of the held-out labels that `near_rows` keeps.
    """
    hits = np.zeros((images, NEAR), dtype=bool)
    hits[positives.column("image_row").to_numpy(), positives.column("rank").to_numpy() - 1] = True
    return hits


def without_label(
    rankings: LabelRankings, image_rows: NDArray[np.int64]
) -> tuple[list[Found], int]:
    """Images that do not have the label and have it among their best: highest score first; and how
    many have it among their ten best.

    Args:
        image_rows: int64 [M], images of the label.
    """
    wrong = ~np.isin(rankings.seen_rows, image_rows)
    rows, ranks = rankings.seen_rows[wrong], rankings.seen_ranks[wrong]
    order = np.lexsort((rows, ranks, -rankings.seen_scores[wrong]))[:SHOWN]
    found = [Found(int(rows[i]), int(ranks[i])) for i in order]
    return found, int(np.count_nonzero(ranks <= NEAR))


def predicted_instead(
    rankings: LabelRankings,
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
    near = rankings.near
    depth = near.shape[1]
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


def _matrix(path: UPath, lists: pa.ListArray) -> NDArray:
    """[N, k] of lists that are equally long."""
    flat = lists.flatten().to_numpy()
    if len(flat) % len(lists):
        raise EvaluationError(
            f"{path}: expected as many predictions for every image, received {len(flat)} for "
            f"{len(lists)} images"
        )
    return np.asarray(flat).reshape(len(lists), -1)

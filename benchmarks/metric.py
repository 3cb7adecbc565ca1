"""Claim: from arrays of the 100 best classes, both forms of the metric, with all that an evaluation
keeps of them, cost at most a tenth of the CPU time that the fastest of pytrec_eval, ranx,
torchmetrics and scikit-learn needs for the image form alone; and the class form's jackknife over
100 parts costs under 2 CPU seconds.

14,000 images of 36.5 labels on average out of 17,000 long-tailed ones, as the paper's held-out set.
Peers: pytrec_eval (map_cut_100), ranx (map@100 of its Qrels and Run), torchmetrics (RetrievalMAP),
scikit-learn (label ranking average precision, dense). Each is given what its guide asks for, made
from the same arrays, and making it counts; so do our checks and our join with the labels. Compiling
does not: every side first measures 50 images. All in one process, CPU seconds of all its threads,
medians of rounds in which the sides take turns; scikit-learn, which takes longest by far, has one.

    python benchmarks/metric.py [--rounds 5]

For scale, and outside of the claim: a compiled loop that reads the same arrays once; the frequency
baseline, where all scores of a class tie; and ranx without its Qrels and Run, from dense arrays
that its signature allows but its guide does not tell of, labels padded with ones of relevance 0.
Ends with 1 when the claim does not hold. A peer that is not installed is told with the command that
installs it.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from manylabel.eval.ranking.baseline import frequency_baseline
from manylabel.eval.ranking.judgements import Judgements, Positives
from manylabel.eval.ranking.measure import Rankings, measure
from manylabel.eval.ranking.parts import leave_one_part_out, part_of

IMAGES, CLASSES, K = 14_000, 17_000, 100
LABELS = 36.5  # of an image, on average; FastEval14k's, paper section 4.1
PRECISION_AT = (1, 5, 10)
BANDS = 6
CLAIM = 10.0  # times as fast as the fastest peer
JACKKNIFE_CLAIM = 2.0  # CPU seconds
WARM_UP = 50  # images
CHUNK = 500  # images whose dense scores are in memory at a time


class Problem(NamedTuple):
    """Predictions and labels of the first images.

    Attributes:
        class_ids: int32 [I, K], best first.
        scores: float32 [I, K].
        positives: Labels of the I images.
        frequency: float64 [CLASSES], how common each class is.
    """

    class_ids: NDArray[np.int32]
    scores: NDArray[np.float32]
    positives: Positives
    frequency: NDArray[np.float64]

    def first(self, images: int) -> "Problem":
        """The same of fewer images."""
        positives = self.positives.select(np.arange(images))
        return Problem(self.class_ids[:images], self.scores[:images], positives, self.frequency)


def make_problem(seed: int = 0) -> Problem:
    """Labels drawn by frequency without repeats, and predictions that find about 6 in 10.

    A class scores its log frequency, more where it is a label, and noise.
    """
    random = np.random.default_rng(seed)
    frequency = 1 / (np.arange(CLASSES) + 20.0)
    popularity = np.log(frequency / frequency.sum()).astype(np.float32)
    counts = np.clip(random.poisson(LABELS, IMAGES), 1, K)
    class_ids, scores, labels = [], [], []
    for start in range(0, IMAGES, CHUNK):
        rows = np.arange(min(CHUNK, IMAGES - start))
        chance = random.standard_exponential((len(rows), CLASSES), np.float32)
        drawn = popularity - np.log(chance + np.finfo(np.float32).tiny)
        by_chance = np.argpartition(-drawn, K, axis=1)[:, : 2 * K]
        dense = popularity + 2 * random.standard_normal((len(rows), CLASSES), np.float32)
        for row in rows:
            ahead = by_chance[row][np.argsort(-drawn[row, by_chance[row]])]
            chosen = np.sort(ahead[: counts[start + row]])
            dense[row, chosen] += 5
            labels.append(chosen.astype(np.int32))
        best = np.argpartition(-dense, K, axis=1)[:, :K].astype(np.int32)
        values = np.take_along_axis(dense, best, axis=1)
        order = np.lexsort((best, -values), axis=1)
        class_ids.append(np.take_along_axis(best, order, axis=1))
        scores.append(np.take_along_axis(values, order, axis=1))
    positives = Positives(np.concatenate([[0], np.cumsum(counts)]), np.concatenate(labels), CLASSES)
    return Problem(np.concatenate(class_ids), np.concatenate(scores), positives, frequency)


def collect(problem: Problem) -> Rankings:
    """Our input: the arrays as they are."""
    rankings = Rankings()
    rankings.add(np.arange(len(problem.class_ids)), problem.class_ids, problem.scores)
    return rankings


def both_forms(problem: Problem) -> float:
    """Both forms; gives the image form with equal weights, which the peers compute too."""
    judgements = Judgements(problem.positives)
    measured = measure(collect(problem), judgements, problem.frequency, PRECISION_AT)
    return measured.scores.map_image


def jackknife(problem: Problem) -> float:
    """The class form without each of 100 parts."""
    images = len(problem.class_ids)
    parts = leave_one_part_out(
        collect(problem),
        Judgements(problem.positives),
        problem.frequency,
        part_of(np.arange(images)),
        np.arange(CLASSES) * BANDS // CLASSES,
        BANDS,
    )
    return float(parts.weighted_map_class.mean())


def baseline(problem: Problem) -> float:
    """The same ranking for every image: every score of a class ties."""
    counts = (problem.frequency * 1e6).astype(np.int64)
    judgements = Judgements(problem.positives)
    return frequency_baseline(counts, K, judgements, problem.frequency, ()).scores.map_image


@numba.njit
def _read(class_ids, scores, label_ids):  # type: ignore[no-untyped-def]
    total = 0.0
    for row in range(len(class_ids)):
        for column in range(class_ids.shape[1]):
            total += class_ids[row, column] + scores[row, column]
    for class_id in label_ids:
        total += class_id
    return total


def read_once(problem: Problem) -> float:
    """The plainest loop over the same arrays."""
    return float(_read(problem.class_ids, problem.scores, problem.positives.class_ids))


def as_texts(problem: Problem) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    """Judged and ranked classes of each image as dictionaries of text."""
    names = np.array([str(class_id) for class_id in range(CLASSES)], dtype=object)
    ids, splits = names[problem.positives.class_ids].tolist(), problem.positives.row_splits.tolist()
    rows = [str(row) for row in range(len(problem.class_ids))]
    judged = {
        row: dict.fromkeys(ids[start:end], 1)
        for row, start, end in zip(rows, splits[:-1], splits[1:], strict=True)
    }
    lists = zip(rows, names[problem.class_ids].tolist(), problem.scores.tolist(), strict=True)
    return judged, {row: dict(zip(each, scores, strict=True)) for row, each, scores in lists}


def by_pytrec_eval(problem: Problem) -> float:
    """trec_eval's map_cut_100."""
    import pytrec_eval

    judged, ranked = as_texts(problem)
    evaluator = pytrec_eval.RelevanceEvaluator(judged, {f"map_cut.{K}"})
    values = evaluator.evaluate(ranked).values()
    return statistics.fmean(value[f"map_cut_{K}"] for value in values)


def by_ranx(problem: Problem) -> float:
    """ranx's map@100."""
    from ranx import Qrels, Run, evaluate  # type: ignore[import-not-found]

    judged, ranked = as_texts(problem)
    return float(evaluate(Qrels(judged), Run(ranked), f"map@{K}"))


def by_ranx_arrays(problem: Problem) -> float:
    """The same from [I, n, 2] of class id and relevance, and [I, K, 2] of class id and score."""
    from ranx import evaluate

    counts = problem.positives.counts
    there = np.arange(counts.max()) < counts[:, np.newaxis]
    judged = np.zeros((*there.shape, 2))
    judged[..., 0][there], judged[..., 1] = problem.positives.class_ids, there
    ranked = np.stack([problem.class_ids.astype(float), problem.scores.astype(float)], axis=-1)
    return float(evaluate(judged, ranked, f"map@{K}"))


def by_torchmetrics(problem: Problem) -> float:
    """RetrievalMAP of what is ranked: it divides by the labels found, not by all of them."""
    import torch  # type: ignore[import-not-found]
    from torchmetrics.retrieval import RetrievalMAP  # type: ignore[import-not-found]

    rows = np.repeat(np.arange(len(problem.class_ids)), K)
    keys = problem.positives.rows * CLASSES + problem.positives.class_ids
    wanted = rows * CLASSES + problem.class_ids.ravel()
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    metric = RetrievalMAP(top_k=K)
    metric.update(
        torch.from_numpy(problem.scores.ravel()),
        torch.from_numpy(keys[places] == wanted),
        torch.from_numpy(rows),
    )
    return float(metric.compute())


def by_scikit_learn(problem: Problem) -> float:
    """Label ranking average precision: dense, without a cut; what is not ranked ties at the end."""
    from scipy.sparse import csr_array
    from sklearn.metrics import label_ranking_average_precision_score

    total, positives = 0.0, problem.positives
    for start in range(0, len(problem.class_ids), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(problem.class_ids)))
        labels = positives.select(rows)
        shape = len(rows), CLASSES
        ones = np.ones(len(labels.class_ids), int)
        relevance = csr_array((ones, labels.class_ids, labels.row_splits), shape)
        dense = np.full(shape, problem.scores[rows].min() - 1, np.float32)
        np.put_along_axis(dense, problem.class_ids[rows], problem.scores[rows], axis=1)
        total += len(rows) * label_ranking_average_precision_score(relevance, dense)
    return total / len(problem.class_ids)


class Side(NamedTuple):
    """What is measured.

    Attributes:
        run: Gives the mean average precision that it found, to be compared by eye.
        modules: It needs.
        install: What pip installs for it.
        claimed: Whether the claim is about it.
        rounds: At most.
    """

    run: Callable[[Problem], float]
    modules: tuple[str, ...] = ()
    install: str = ""
    claimed: bool = False
    rounds: int = 1_000


OURS, JACKKNIFE = "both forms", "jackknife of 100 parts"
SIDES = {
    OURS: Side(both_forms),
    JACKKNIFE: Side(jackknife),
    "frequency baseline, both forms": Side(baseline),
    "reading the arrays once": Side(read_once),
    "pytrec_eval": Side(by_pytrec_eval, ("pytrec_eval",), "pytrec-eval-terrier", True),
    "ranx": Side(by_ranx, ("ranx",), "ranx", True),
    "torchmetrics": Side(by_torchmetrics, ("torch", "torchmetrics"), "torch torchmetrics", True),
    "scikit-learn": Side(by_scikit_learn, ("sklearn",), "scikit-learn", True, rounds=1),
    "ranx from padded arrays": Side(by_ranx_arrays, ("ranx",), "ranx"),
}


def installed() -> dict[str, Side]:
    """The sides that can be measured; the others are told."""
    there = {}
    for name, side in SIDES.items():
        if all(find_spec(module) for module in side.modules):
            there[name] = side
        else:
            print(f"{name}: not installed; pip install {side.install}")
    return there


def in_turn(sides: dict[str, Side], problem: Problem, rounds: int) -> dict[str, float]:
    """CPU seconds of each side, the median of rounds in which they take turns."""
    small = problem.first(WARM_UP)
    for side in sides.values():
        side.run(small)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    values = {}
    for round_ in range(rounds):
        for name, side in sides.items():
            if round_ < side.rounds:
                began = time.process_time()
                values[name] = side.run(problem)
                seconds[name].append(time.process_time() - began)
    for name, measured in seconds.items():
        rounds_ = ", ".join(f"{second:.4f}" for second in measured)
        print(f"{name}: {statistics.median(measured):.4f} CPU s ({rounds_}); {values[name]:.6g}")
    return {name: statistics.median(measured) for name, measured in seconds.items()}


def main() -> None:
    """Prints a line for each side; ends with 1 when the claim does not hold."""
    parser = argparse.ArgumentParser(description="Measures the metric beside other libraries.")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    problem = make_problem()
    print(
        f"{len(problem.class_ids):,} images, {len(problem.positives.class_ids):,} labels of "
        f"{CLASSES:,}, {K} predictions an image"
    )
    sides = installed()
    seconds = in_turn(sides, problem, rounds)
    peers = {name: seconds[name] for name, side in sides.items() if side.claimed}
    if not peers:
        sys.exit("expected a peer to compare with; pip install pytrec-eval-terrier")
    fastest = min(peers, key=peers.__getitem__)
    ratio = peers[fastest] / seconds[OURS]
    print(f"{OURS}: {ratio:.1f} times as fast as {fastest}, expected at least {CLAIM:.0f}")
    print(f"{JACKKNIFE}: {seconds[JACKKNIFE]:.3f} CPU s, expected under {JACKKNIFE_CLAIM:.0f}")
    sys.exit(ratio < CLAIM or seconds[JACKKNIFE] >= JACKKNIFE_CLAIM)


if __name__ == "__main__":
    main()

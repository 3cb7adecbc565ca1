"""What the labels of an image say together, where people and machines gave them and where some
labels are kinds of others.

A person outweighs a machine. What is present makes all that it is a kind of present; what was
verified to be absent makes all its kinds absent. What is overruled says nothing of other labels: a
machine's Dog that a person denies is no hint of an Animal. So in the end nothing contradicts
itself, whatever was said.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manylabel.preprocessing.decisions.columns import encode, found_in, run_starts


@dataclass(frozen=True)
class Relation:
    """Numbers that each number leads to, those of one after those of another.

    Attributes:
        starts: Where those of a number begin, and the end of the last.
        targets: All of them.
    """

    starts: np.ndarray
    targets: np.ndarray

    @classmethod
    def of(cls, sources: np.ndarray, targets: np.ndarray, size: int) -> Self:
        order = np.argsort(sources, kind="stable")
        starts = np.zeros(size + 1, np.int64)
        np.cumsum(np.bincount(sources, minlength=size), out=starts[1:])
        return cls(starts, targets[order])

    def follow(self, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each target of each source the source's row, and the target; numbers past the
        relation's own lead nowhere."""
        sources = np.minimum(sources, len(self.starts) - 1)
        begin = self.starts[sources]
        counts = self.starts[np.minimum(sources + 1, len(self.starts) - 1)] - begin
        rows = np.repeat(np.arange(len(sources)), counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        return rows, self.targets[begin[rows] + within]


@dataclass(frozen=True)
class Hierarchy:
    """Which labels are kinds of which, over any number of steps.

    Attributes:
        names: The labels that are in it, each once; their rows are their numbers.
        above: From a label to all that it is a kind of.
        below: From a label to all its kinds.
    """

    names: pa.Array
    above: Relation
    below: Relation

    @classmethod
    def of(cls, parents: Mapping[str, Iterable[str]]) -> Self:
        """The hierarchy where labels are directly kinds of others (`parents`), in no circle."""
        above: dict[str, set[str]] = {}
        for name in TopologicalSorter(parents).static_order():
            direct = parents.get(name, ())
            above[name] = set(direct).union(*(above[parent] for parent in direct))
        number = {name: at for at, name in enumerate(above)}
        pairs = [(number[name], number[other]) for name in above for other in sorted(above[name])]
        kind, parent = np.array(pairs, np.int64).reshape(-1, 2).T
        return cls(
            pa.array(list(above), pa.string()),
            Relation.of(kind, parent, len(above)),
            Relation.of(parent, kind, len(above)),
        )


class Judged(NamedTuple):
    """Labels of images, each once.

    Attributes:
        names: Of labels, by their numbers.
        image: Number of the image.
        label: Number of the label.
        confidence: 0 is a verified absence.
    """

    names: pa.Array
    image: np.ndarray
    label: np.ndarray
    confidence: np.ndarray


class _Labels(NamedTuple):
    """Labels of images, each once.

    Attributes:
        code: Number of the image times that of all labels, plus the label's; ascending.
        confidence: Of each.
    """

    code: np.ndarray
    confidence: np.ndarray

    @classmethod
    def of(cls, code: np.ndarray, confidence: np.ndarray) -> Self:
        """Each once, with its highest confidence."""
        order = np.argsort(code, kind="stable")
        code, confidence = code[order], confidence[order]
        starts = run_starts(code)
        if len(starts) == len(code):
            return cls(code, confidence)
        return cls(code[starts], np.maximum.reduceat(confidence, starts))

    def without(self, others: "_Labels") -> "_Labels":
        known, _ = found_in(self.code, others.code)
        return _Labels(self.code[~known], self.confidence[~known])

    def closed(self, relation: Relation, size: int) -> "_Labels":
        """With all labels that each leads to, of `size` labels."""
        image, label = np.divmod(self.code, size)
        row, target = relation.follow(label)
        return _Labels.of(
            np.append(self.code, image[row] * size + target),
            np.append(self.confidence, self.confidence[row]),
        )


def judge_labels(
    image: np.ndarray,
    label: pa.Array,
    confidence: np.ndarray,
    verified: np.ndarray,
    hierarchy: Hierarchy,
) -> Judged:
    """What rows amount to: each label of an image once, and the labels that follow.

    A machine's 0 says nothing; a person's is a verified absence. Among people, who saw a label or a
    kind of it outweighs who did not, as everywhere.

    Args:
        image: Number of each row's image, all of whose rows are here.
        label: Its label; null for none.
        confidence: In [0, 1] where there is a label.
        verified: Whether a person gave it; else a machine did.
        hierarchy: A label that it lacks is a kind of nothing and has none.
    """
    names, number = _numbered(label, hierarchy)
    size = len(names)
    code = image.astype(np.int64) * size + number
    given = number >= 0
    present = given & (confidence > 0)

    def said(where: np.ndarray) -> _Labels:
        return _Labels.of(code[where], confidence[where])

    seen = said(present & verified).closed(hierarchy.above, size)
    absent = said(given & ~present & verified).without(seen).closed(hierarchy.below, size)
    guessed = said(present & ~verified).without(absent).closed(hierarchy.above, size).without(seen)
    judged = (seen, absent, guessed)
    image, number = np.divmod(np.concatenate([each.code for each in judged]), size)
    return Judged(names, image, number, np.concatenate([each.confidence for each in judged]))


def _numbered(labels: pa.Array, hierarchy: Hierarchy) -> tuple[pa.Array, np.ndarray]:
    """All labels, those of the hierarchy first, and for each row the number of its label; -1 for
    none."""
    names, label = encode(labels)
    known = pc.index_in(names, value_set=hierarchy.names)
    new = known.is_null().to_numpy(zero_copy_only=False)
    number = known.fill_null(-1).to_numpy().astype(np.int64)
    number[new] = len(hierarchy.names) + np.arange(np.count_nonzero(new))
    every = pa.concat_arrays([hierarchy.names, names.filter(pa.array(new))])
    return every, np.append(number, -1)[label]  # A row without a label has -1: the last.

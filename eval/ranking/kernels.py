"""The passes over predictions and labels: compiled, each on one core, none sorts by comparing.

They are all in this file because numba's cache looks at the file of a function alone, not at what
the function calls elsewhere. They trust their input but for what they say they check.
"""

import numba
import numpy as np

WRONG = -1
"""In place of a label's number: the prediction is judged and no label."""
UNJUDGED = -2
"""In place of a label's number: nobody looked; the prediction is in no ranking."""
_SEEN = -3

_compiled = numba.njit(cache=True, error_model="numpy", nogil=True)


@_compiled
def match_labels(  # type: ignore[no-untyped-def]
    class_ids, scores, row_splits, label_ids, negative_splits, negative_ids, unlisted, num_classes
):
    """Finds the label that each prediction is, and each label's rank and precision in its image.

    Args:
        class_ids: int32 [I, k].
        scores: float32 [I, k].
        row_splits: int64 [I + 1] of `label_ids`, int32 [P]; labels are numbered by place.
        negative_splits: int64 [I + 1] of `negative_ids`, int32 [N].
        unlisted: What a class is that is neither: WRONG or UNJUDGED.
        num_classes: Size of the vocabulary.

    Returns:
        refused: the first place (row * k + column) with a class id outside the vocabulary or
            twice in its row, a score that is NaN, or one not in order; -1 when there is none. The
            rest is of use in that case only.
        labels: int32 [I, k], number of the label, WRONG or UNJUDGED.
        ranks: int32 [P], from 1, among what is judged; 0 when not found.
        gains: float64 [P], labels found up to this rank / rank; 0 when not found.
        found_scores: float32 [P], NaN when not found.
    """
    images, k = class_ids.shape
    labels = np.empty((images, k), np.int32)
    ranks = np.zeros(len(label_ids), np.int32)
    gains = np.zeros(len(label_ids))
    found_scores = np.full(len(label_ids), np.nan, np.float32)
    meaning = np.full(num_classes, unlisted, np.int32)
    for row in range(images):
        for place in range(negative_splits[row], negative_splits[row + 1]):
            meaning[negative_ids[place]] = WRONG
        for label in range(row_splits[row], row_splits[row + 1]):
            meaning[label_ids[label]] = label
        found = rank = 0
        last_score, last_class = np.float32(np.inf), -1
        for column in range(k):
            class_id, score = class_ids[row, column], scores[row, column]
            in_order = score < last_score or (score == last_score and class_id > last_class)
            if not in_order or class_id < 0 or class_id >= num_classes:
                return row * k + column, labels, ranks, gains, found_scores
            label = meaning[class_id]
            if label == _SEEN:
                return row * k + column, labels, ranks, gains, found_scores
            meaning[class_id] = _SEEN
            labels[row, column] = label
            last_score, last_class = score, class_id
            if label != UNJUDGED:
                rank += 1
            if label >= 0:
                found += 1
                ranks[label] = rank
                gains[label] = found / rank
                found_scores[label] = score
        for column in range(k):
            meaning[class_ids[row, column]] = unlisted
        for place in range(negative_splits[row], negative_splits[row + 1]):
            meaning[negative_ids[place]] = unlisted
        for label in range(row_splits[row], row_splits[row + 1]):
            meaning[label_ids[label]] = unlisted
    return -1, labels, ranks, gains, found_scores


@_compiled
def order_by_class(class_ids, num_classes):  # type: ignore[no-untyped-def]
    """A stable counting sort of int32 [P]: starts int64 [C + 1] and order int64 [P]."""
    starts = np.zeros(num_classes + 1, np.int64)
    for class_id in class_ids:
        starts[class_id + 1] += 1
    for class_id in range(num_classes):
        starts[class_id + 1] += starts[class_id]
    free = starts[:-1].copy()
    order = np.empty(len(class_ids), np.int64)
    for place in range(len(class_ids)):
        class_id = class_ids[place]
        order[free[class_id]] = place
        free[class_id] += 1
    return starts, order


@_compiled
def rank_images(class_ids, scores, labels, ranked):  # type: ignore[no-untyped-def]
    """Sorts the judged predictions by class, and within a class best score first.

    A radix sort by score and then by class, each pass stable: linear, 1.4 million predictions in
    hundredths of a second.

    Args:
        class_ids: int32 [N], of the predictions of all images.
        scores: float32 [N], none NaN.
        labels: int32 [N], as `match_labels` gives them.
        ranked: bool [C], the classes that matter; others are left out.

    Returns:
        starts: int64 [C + 1]; the ranking of class c is order[starts[c]:starts[c + 1]].
        order: int64 [M], places in `class_ids`.
    """
    packed = np.empty(len(class_ids), np.uint64)
    bits = scores.view(np.uint32)
    count = 0
    for place in range(len(class_ids)):
        if labels[place] != UNJUDGED and ranked[class_ids[place]]:
            # As unsigned integers these ascend where the floats descend. -0.0 comes just after
            # 0.0, to which it is equal.
            falls = bits[place] if bits[place] >> 31 else np.uint32(0x7FFFFFFF) - bits[place]
            packed[count] = np.uint64(falls) << np.uint64(32) | np.uint64(place)
            count += 1
    packed = packed[:count]
    for shift in (32, 43, 54):
        packed = _sorted_by_digit(packed, np.uint64(shift))
    by_score = packed & np.uint64(0xFFFFFFFF)
    kept = np.empty(count, np.int32)
    for n in range(count):
        kept[n] = class_ids[by_score[n]]
    starts, order = order_by_class(kept, len(ranked))
    for n in range(count):
        order[n] = by_score[order[n]]
    return starts, order


@_compiled
def _sorted_by_digit(packed, shift):  # type: ignore[no-untyped-def]
    digit = np.uint64(2047)
    free = np.zeros(2049, np.int64)
    for value in packed:
        free[((value >> shift) & digit) + np.uint64(1)] += 1
    for n in range(2048):
        free[n + 1] += free[n]
    sorted_ = np.empty_like(packed)
    for value in packed:
        bucket = (value >> shift) & digit
        sorted_[free[bucket]] = value
        free[bucket] += 1
    return sorted_


@_compiled
def _tied_gain(found, ranked, hits, size):  # type: ignore[no-untyped-def]
    """Expected precision at the place of one hit among `size` equal scores, `hits` of them hits,
    after `ranked` better ones, `found` of them hits; every order is as likely.

    With j of the others before it, (j · (hits - 1) / (size - 1)) of them are hits on average.
    McSherry and Najork, Computing information retrieval performance measures efficiently in the
    presence of tied scores, ECIR 2008.
    """
    if size == 1:
        return (found + 1) / (ranked + 1)
    share = (hits - 1) / (size - 1)
    total = 0.0
    for before in range(size):
        total += (found + 1 + before * share) / (ranked + before + 1)
    return total / size


@_compiled
def class_gains(starts, order, scores, labels, num_labels):  # type: ignore[no-untyped-def]
    """Expected precision at each label's place in its class's ranking of the images.

    Args:
        starts: int64 [C + 1], with `order` from `rank_images`.
        order: int64 [M].
        scores: float32 [N].
        labels: int32 [N].
        num_labels: P.

    Returns:
        float64 [P]; 0 for a label that is not ranked.
    """
    gains = np.zeros(num_labels)
    for class_id in range(len(starts) - 1):
        first, end, found = starts[class_id], starts[class_id + 1], 0
        tie = first
        while tie < end:
            after, hits = tie, 0
            while after < end and scores[order[after]] == scores[order[tie]]:
                hits += labels[order[after]] >= 0
                after += 1
            if hits:
                gain = _tied_gain(found, tie - first, hits, after - tie)
                for n in range(tie, after):
                    if labels[order[n]] >= 0:
                        gains[labels[order[n]]] = gain
            found += hits
            tie = after
    return gains


@_compiled
def class_form_without(  # type: ignore[no-untyped-def]
    starts, order, scores, labels, k, part_of_image, num_parts,
    label_starts, label_parts, weights, bands, num_bands,
):  # fmt: skip
    """The class form without each part in turn, in one pass: a hit costs one division a part.

    Args:
        starts: int64 [C + 1], with `order`, int64 [M], from `rank_images`.
        scores: float32 [N], N = I * k.
        labels: int32 [N].
        k: Predictions of an image.
        part_of_image: int64 [I], in [0, num_parts).
        label_starts: int64 [C + 1] of `label_parts`, int64 [P]: the part of each label's image,
            by class.
        weights: float64 [C].
        bands: int64 [C], in [0, num_bands).

    Returns:
        float64 [num_parts, num_bands], Σ w_c · AP_c of the band's classes, and float64
        [num_parts], Σ w_c; both over the classes that an image of another part has.
    """
    totals, total_weights = np.zeros((num_parts, num_bands)), np.zeros(num_parts)
    kept = np.empty(num_parts, np.int64)
    gains, away, hits_away = np.empty(num_parts), np.empty(num_parts), np.empty(num_parts)
    tied, hits_tied = np.zeros(num_parts, np.int64), np.zeros(num_parts, np.int64)
    for class_id in range(len(starts) - 1):
        kept[:] = label_starts[class_id + 1] - label_starts[class_id]
        if not kept[0]:
            continue
        for n in range(label_starts[class_id], label_starts[class_id + 1]):
            kept[label_parts[n]] -= 1
        gains[:], away[:], hits_away[:] = 0.0, 0.0, 0.0
        first, end, found = starts[class_id], starts[class_id + 1], 0
        tie = first
        while tie < end:
            after, hits = tie, 0
            while after < end and scores[order[after]] == scores[order[tie]]:
                hits += labels[order[after]] >= 0
                after += 1
            part, ranked = part_of_image[order[tie] // k], tie - first
            if after - tie == 1:
                if hits:
                    own = gains[part]
                    for p in range(num_parts):
                        gains[p] += (found + 1 - hits_away[p]) / (ranked + 1 - away[p])
                    gains[part] = own
                    hits_away[part] += 1
                away[part] += 1
            else:
                for n in range(tie, after):
                    part = part_of_image[order[n] // k]
                    tied[part] += 1
                    hits_tied[part] += labels[order[n]] >= 0
                for p in range(num_parts):
                    left = hits - hits_tied[p]
                    if left:
                        gains[p] += left * _tied_gain(
                            found - hits_away[p], ranked - away[p], left, after - tie - tied[p]
                        )
                for n in range(tie, after):
                    part = part_of_image[order[n] // k]
                    away[part] += 1
                    hits_away[part] += labels[order[n]] >= 0
                    tied[part] = hits_tied[part] = 0
            found += hits
            tie = after
        for p in range(num_parts):
            if kept[p]:
                totals[p, bands[class_id]] += weights[class_id] * gains[p] / kept[p]
                total_weights[p] += weights[class_id]
    return totals, total_weights

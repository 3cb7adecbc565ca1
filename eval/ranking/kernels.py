"""Which predictions are labels, and sums over labels: compiled passes, each on one core.

No function here calls one of another file: numba's cache looks at a function's own file alone.
They trust their input but for what they say they check.

Labels are numbered by class and then by image row, whatever the order in which they come.
"""

import numpy as np

from manylabel.storage.compiled import compiled


@compiled()
def _starts(class_ids, num_classes):  # type: ignore[no-untyped-def]
    """Where each class starts among sorted class ids, int64 [C + 1]."""
    starts = np.zeros(num_classes + 1, np.int64)
    for class_id in class_ids:
        starts[class_id + 1] += 1
    for class_id in range(num_classes):
        starts[class_id + 1] += starts[class_id]
    return starts


@compiled()
def number_labels(row_splits, class_ids, num_classes):  # type: ignore[no-untyped-def]
    """Numbers the labels of I images by class and then by row.

    Args:
        row_splits: int64 [I + 1] of `class_ids`, int32 [P].
        num_classes: C.

    Returns:
        starts: int64 [C + 1]; the labels of class c have the numbers starts[c] to
            starts[c + 1] - 1.
        numbers: int32 [P], of the labels as they come.
        image_rows: int32 [P], by number.
    """
    starts = _starts(class_ids, num_classes)
    free = starts[:-1].copy()
    numbers, image_rows = np.empty(len(class_ids), np.int32), np.empty(len(class_ids), np.int32)
    for row in range(len(row_splits) - 1):
        for n in range(row_splits[row], row_splits[row + 1]):
            number = free[class_ids[n]]
            free[class_ids[n]] += 1
            numbers[n] = number
            image_rows[number] = row
    return starts, numbers, image_rows


@compiled()
def find_refused(class_ids, scores, num_classes):  # type: ignore[no-untyped-def]
    """The first place (row * k + column) with a class id outside [0, num_classes) or twice in its
    row, a score that is NaN, or one not in order; -1 when there is none.

    Args:
        class_ids: int32 [I, k], to be best first, equal scores by ascending class id.
        scores: float32 [I, k].
    """
    newest_row = np.full(num_classes, -1, np.int32)
    for row in range(len(class_ids)):
        last_score, last_class = np.float32(np.inf), -1
        for column in range(class_ids.shape[1]):
            class_id, score = class_ids[row, column], scores[row, column]
            in_order = score < last_score or (score == last_score and class_id > last_class)
            known = 0 <= class_id < num_classes
            if not in_order or not known or newest_row[class_id] == row:
                return row * class_ids.shape[1] + column
            newest_row[class_id] = row
            last_score, last_class = score, class_id
    return -1


@compiled()
def match_labels(  # type: ignore[no-untyped-def]
    class_ids, scores, row_splits, label_ids, label_starts, numbers, negative_splits, negative_ids,
    ignore,
):  # fmt: skip
    """Finds the label that each prediction is, each label's rank and precision in its image, and
    deals the predictions to their classes.

    Args:
        class_ids: int32 [I, k], with `scores` as `find_refused` wants them.
        scores: float32 [I, k].
        row_splits: int64 [I + 1] of `label_ids`, int32 [P].
        label_starts: int64 [C + 1], with `numbers`, int32 [P], from `number_labels`.
        negative_splits: int64 [I + 1] of `negative_ids`, int32 [N].
        ignore: Whether what is neither label nor negative is in no ranking; else it is wrong.

    Returns:
        ranks: int32 [P] by number, from 1, among what is judged; 0 when not found.
        gains: float64 [P], labels found up to this rank / rank; 0 when not found.
        found_scores: float32 [P], NaN when not found.
        hits: int64 [C], labels found.
        starts: int64 [C].
        ends: int64 [C]; the predictions of class c are packed[starts[c]:ends[c]], unsorted.
        packed: uint64 [I * k]: in the upper half a number that is equal for equal scores and
            higher for lower ones; in the lower half, as int32, the number of the label that the
            prediction is, or -1 - the image's row.
    """
    (images, k), num_classes = class_ids.shape, len(label_starts) - 1
    ranks, gains = np.zeros(len(label_ids), np.int32), np.zeros(len(label_ids))
    found_scores = np.full(len(label_ids), np.nan, np.float32)
    starts = _starts(class_ids.ravel(), num_classes)[:-1]
    ends, packed = starts.copy(), np.empty(images * k, np.uint64)
    # By class: the newest row that has it as a label, with the label's number in the lower half;
    # and the newest row that has it as a negative.
    newest_label = np.full(num_classes, -1, np.int64)
    negative_row = np.full(num_classes, -1, np.int32)
    bits = scores.view(np.uint32)
    for row in range(images):
        for n in range(row_splits[row], row_splits[row + 1]):
            newest_label[label_ids[n]] = row << 32 | numbers[n]
        for n in range(negative_splits[row], negative_splits[row + 1]):
            negative_row[negative_ids[n]] = row
        found = rank = 0
        for column in range(k):
            class_id, mark = class_ids[row, column], -1 - row
            label = newest_label[class_id]
            if label >> 32 == row:
                rank += 1
                found += 1
                mark = label & 0xFFFFFFFF
                ranks[mark] = rank
                gains[mark] = found / rank
                found_scores[mark] = scores[row, column]
            elif ignore and negative_row[class_id] != row:
                continue
            else:
                rank += 1
            upper = np.uint64(_falling(bits[row, column])) << np.uint64(32)
            packed[ends[class_id]] = upper | np.uint64(np.uint32(mark))
            ends[class_id] += 1
    hits = np.zeros(num_classes, np.int64)
    for class_id in range(num_classes):
        for label in range(label_starts[class_id], label_starts[class_id + 1]):
            hits[class_id] += ranks[label] > 0
    return ranks, gains, found_scores, hits, starts, ends, packed


@compiled()
def _falling(bits):  # type: ignore[no-untyped-def]
    """From the bits of a float32 an unsigned integer that falls where the float rises; -0.0 and
    0.0 give the same."""
    magnitude, negative_zero = np.uint32(0x7FFFFFFF), np.uint32(0x80000000)
    if bits <= negative_zero:
        return magnitude - (bits & magnitude)
    return bits


@compiled()
def sum_by_image(row_splits, label_ids, numbers, weights, ranks, gains):  # type: ignore[no-untyped-def]
    """Over the labels of each image: Σ weight, Σ gain, Σ weight · gain, float64 [I] each, and the
    number found, int64 [I]. Arguments as in `match_labels`; `weights` is float64 [C]."""
    images = len(row_splits) - 1
    weight, gain, weighted_gain = np.zeros(images), np.zeros(images), np.zeros(images)
    found = np.zeros(images, np.int64)
    for row in range(images):
        for n in range(row_splits[row], row_splits[row + 1]):
            weight[row] += weights[label_ids[n]]
            gain[row] += gains[numbers[n]]
            weighted_gain[row] += weights[label_ids[n]] * gains[numbers[n]]
            found[row] += ranks[numbers[n]] > 0
    return weight, gain, weighted_gain, found


@compiled()
def sum_by_class(starts, image_rows, class_gains, gains, label_weight):  # type: ignore[no-untyped-def]
    """Over the labels of each class: Σ class_gain and Σ gain / label_weight of the image, float64
    [C] each. Images without weight are left out.

    Args:
        starts: int64 [C + 1] of the next three, [P] by number.
        label_weight: float64 [I].
    """
    class_gain, share = np.zeros(len(starts) - 1), np.zeros(len(starts) - 1)
    for class_id in range(len(starts) - 1):
        for label in range(starts[class_id], starts[class_id + 1]):
            class_gain[class_id] += class_gains[label]
            weight = label_weight[image_rows[label]]
            if weight > 0:
                share[class_id] += gains[label] / weight
    return class_gain, share

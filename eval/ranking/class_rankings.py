"""Rankings of the images by class, and what follows from them: compiled, each on one core.

No function here calls one of another file: numba's cache looks at a function's own file alone.
They trust their input.
"""

import numpy as np

from manylabel.storage.compiled import compiled

_SMALL = 64  # Below, insertion is faster than digits; from 32 to 128 it hardly matters.


@compiled()
def sort_rankings(starts, ends, packed, hits):  # type: ignore[no-untyped-def]
    """Puts the predictions of each class in order, best score first.

    A class without a hit is left as it is: its average precision is 0 in any order.

    Args:
        starts: int64 [C], with `ends`, int64 [C], and `packed`, uint64 [N], from
            `kernels.match_labels`; sorted in place. Equal scores end in no certain order.
        hits: int64 [C].
    """
    longest = 0
    for class_id in range(len(starts)):
        longest = max(longest, ends[class_id] - starts[class_id])
    room, free = np.empty(longest, np.uint64), np.empty(257, np.int64)
    for class_id in range(len(starts)):
        ranking = packed[starts[class_id] : ends[class_id]]
        if hits[class_id] and len(ranking) < _SMALL:
            _sort_by_insertion(ranking)
        elif hits[class_id]:
            _sort_by_digits(ranking, room[: len(ranking)], free)


@compiled()
def _sort_by_insertion(values):  # type: ignore[no-untyped-def]
    for end in range(1, len(values)):
        value, place = values[end], end
        while place > 0 and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value


@compiled()
def _sort_by_digits(values, room, free):  # type: ignore[no-untyped-def]
    """A radix sort by the upper 32 bits, 8 at a time; four passes, so that it ends in `values`."""
    byte = np.uint64(255)
    source, target = values, room
    for digit in range(4):
        shift = np.uint64(32 + 8 * digit)
        for bucket in range(257):
            free[bucket] = 0
        for n in range(len(source)):
            free[((source[n] >> shift) & byte) + np.uint64(1)] += 1
        for bucket in range(256):
            free[bucket + 1] += free[bucket]
        for n in range(len(source)):
            bucket = (source[n] >> shift) & byte
            target[free[bucket]] = source[n]
            free[bucket] += 1
        source, target = target, source


@compiled()
def _end_of_tie(ranking, start):  # type: ignore[no-untyped-def]
    score, end = ranking[start] >> np.uint64(32), start + 1
    while end < len(ranking) and ranking[end] >> np.uint64(32) == score:
        end += 1
    return end


@compiled()
def _mark(packed):  # type: ignore[no-untyped-def]
    return np.int32(np.uint32(packed & np.uint64(0xFFFFFFFF)))


@compiled()
def _tied_gain(found, ranked, hits, size):  # type: ignore[no-untyped-def]
    """Expected precision at the place of one hit among `size` equal scores, `hits` of them hits,
    after `ranked` better ones, `found` of them hits; every order is as likely.

    With j of the others before it, j · (hits - 1) / (size - 1) of them are hits on average.
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


@compiled()
def class_gains(starts, ends, packed, hits, num_labels):  # type: ignore[no-untyped-def]
    """Expected precision at each label's place in its class's ranking of the images.

    Args:
        starts: int64 [C], with `ends`, int64 [C], `packed`, uint64 [N], and `hits`, int64 [C], as
            `sort_rankings` leaves them.
        num_labels: P.

    Returns:
        float64 [P]; 0 for a label that is not ranked.
    """
    gains = np.zeros(num_labels)
    for class_id in range(len(starts)):
        if not hits[class_id]:
            continue
        ranking = packed[starts[class_id] : ends[class_id]]
        start = found = 0
        while start < len(ranking):
            end = _end_of_tie(ranking, start)
            if end - start > 1:
                found += _score_tie(ranking[start:end], found, start, gains)
            elif _mark(ranking[start]) >= 0:
                found += 1
                gains[_mark(ranking[start])] = found / end
            start = end
    return gains


@compiled()
def _score_tie(tied, found, ranked, gains):  # type: ignore[no-untyped-def]
    """Writes the gains of the labels among equal scores, uint64 [n], and returns their number."""
    hits = 0
    for packed in tied:
        hits += _mark(packed) >= 0
    if hits:
        gain = _tied_gain(found, ranked, hits, len(tied))
        for packed in tied:
            if _mark(packed) >= 0:
                gains[_mark(packed)] = gain
    return hits


@compiled()
def class_form_without(  # type: ignore[no-untyped-def]
    starts, ends, packed, hits, label_starts, image_rows, part_of_image, num_parts, weights, bands,
    num_bands,
):  # fmt: skip
    """The class form without each part in turn.

    Args:
        starts: int64 [C], with `ends`, int64 [C], `packed`, uint64 [N], and `hits`, int64 [C], as
            `sort_rankings` leaves them.
        label_starts: int64 [C + 1] of `image_rows`, int32 [P], of the labels by class.
        part_of_image: int64 [I], in [0, num_parts).
        weights: float64 [C].
        bands: int64 [C], in [0, num_bands).

    Returns:
        float64 [num_parts, num_bands], Σ w_c · AP_c of the band's classes, and float64
        [num_parts], Σ w_c; both over the classes that an image of another part has.
    """
    totals, total_weights = np.zeros((num_parts, num_bands)), np.zeros(num_parts)
    gains, kept = np.empty(num_parts), np.empty(num_parts, np.int64)
    room = np.empty((4, num_parts))
    for class_id in range(len(starts)):
        first, end = label_starts[class_id], label_starts[class_id + 1]
        for part in range(num_parts):
            kept[part], gains[part] = end - first, 0.0
        for label in range(first, end):
            kept[part_of_image[image_rows[label]]] -= 1
        if hits[class_id]:
            ranking = packed[starts[class_id] : ends[class_id]]
            _add_gains_without(ranking, image_rows, part_of_image, gains, room)
        for part in range(num_parts):
            if kept[part]:
                totals[part, bands[class_id]] += weights[class_id] * gains[part] / kept[part]
                total_weights[part] += weights[class_id]
    return totals, total_weights


@compiled()
def _add_gains_without(ranking, image_rows, part_of_image, gains, room):  # type: ignore[no-untyped-def]
    """Adds Σ gain of a class's ranking without each part to `gains`, float64 [parts].

    A prediction costs the same whatever the number of parts, a hit one division for each of them.
    `room` is float64 [4, parts], whatever it holds.
    """
    room.fill(0.0)
    # By part, what stands above and what ties, and how much of it are hits.
    above, hits_above, tied, hits_tied = room[0], room[1], room[2], room[3]
    start = found = 0
    while start < len(ranking):
        end, hits = _end_of_tie(ranking, start), 0
        for n in range(start, end):
            mark = _mark(ranking[n])
            hit = mark >= 0
            part = part_of_image[image_rows[mark] if hit else -1 - mark]
            tied[part] += 1
            hits_tied[part] += hit
            hits += hit
        if hits and end - start == 1:
            own = gains[part]
            for p in range(len(gains)):
                gains[p] += (found + 1 - hits_above[p]) / (start + 1 - above[p])
            gains[part] = own
        elif hits:
            for p in range(len(gains)):
                left = hits - hits_tied[p]
                if left:
                    gain = _tied_gain(
                        found - hits_above[p], start - above[p], left, end - start - tied[p]
                    )
                    gains[p] += left * gain
        for n in range(start, end):
            mark = _mark(ranking[n])
            part = part_of_image[image_rows[mark] if mark >= 0 else -1 - mark]
            above[part] += 1
            hits_above[part] += mark >= 0
            tied[part] = hits_tied[part] = 0.0
        found += hits
        start = end

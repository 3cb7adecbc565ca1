"""Stable 64-bit hashes of whole columns: the same in every process, version and machine.

BLAKE2b is in every Python and specified to the bit (RFC 7693). A dataset's split, its shards and
the order of its records follow from these numbers: another hash would move every image.
"""

import numpy as np
import pyarrow as pa

from manylabel.storage.compiled import compiled

HASH_RANGE = 1 << 63
"""Hashes fit a signed integer of 64 bits, as Parquet and its readers want them."""

_BLOCK = 128  # Bytes that are compressed at once.

_START = np.array(
    [
        0x6A09E667F3BCC908,
        0xBB67AE8584CAA73B,
        0x3C6EF372FE94F82B,
        0xA54FF53A5F1D36F1,
        0x510E527FADE682D1,
        0x9B05688C2B3E6C1F,
        0x1F83D9ABFB41BD6B,
        0x5BE0CD19137E2179,
    ],
    np.uint64,
)
"""RFC 7693, 2.6: IV."""

_ORDER = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    ],
    np.uint64,
)
"""RFC 7693, 2.7: SIGMA, the words of the message that each round takes."""


def hash_texts(texts: pa.Array, purpose: str) -> np.ndarray:
    """For each text an integer in [0, HASH_RANGE), uint64; a null counts as an empty text.

    BLAKE2b of eight bytes, big endian, of `purpose`, a zero byte and the text in UTF-8, modulo
    HASH_RANGE. `purpose` makes independent hashes of the same texts.
    """
    texts = texts.cast(pa.large_string()).fill_null("")
    if not len(texts):
        return np.empty(0, np.uint64)
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    content = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    digests = _hash_all(content, bounds, np.frombuffer(purpose.encode() + b"\0", np.uint8))
    return digests.byteswap() % np.uint64(HASH_RANGE)


def mix(numbers: np.ndarray) -> np.ndarray:
    """Spreads 64-bit numbers over all 64 bits, one to one: the last step of splitmix64 (Steele,
    Lea and Flood 2014, "Fast splittable pseudorandom number generators")."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


@compiled()
def _hash_all(content, bounds, prefix):  # type: ignore[no-untyped-def]
    """Of texts content[bounds[i]:bounds[i + 1]] behind `prefix`, bytes: the first of the eight
    words of state, as the first eight bytes of BLAKE2b are its bytes in little endian."""
    hashes = np.empty(len(bounds) - 1, np.uint64)
    block = np.empty(_BLOCK, np.uint8)
    words, state = block.view(np.uint64), np.empty(8, np.uint64)
    for row in range(len(hashes)):
        start, length = bounds[row] - len(prefix), bounds[row + 1] - bounds[row] + len(prefix)
        for word in range(8):
            state[word] = _START[word]
        state[0] ^= np.uint64(0x01010008)  # One lane, no key, eight bytes of digest.
        for done in range(0, length, _BLOCK):
            end = min(length, done + _BLOCK)
            for place in range(done, min(len(prefix), end)):
                block[place - done] = prefix[place]
            for place in range(max(len(prefix), done), end):
                block[place - done] = content[start + place]
            for place in range(end - done, _BLOCK):
                block[place] = 0
            _compress(state, words, end, end == length)
        hashes[row] = state[0]
    return hashes


@compiled()
def _compress(state, words, end, last):  # type: ignore[no-untyped-def]
    """RFC 7693, 3.2: F, of a block that ends at the message's byte `end`."""
    a0, a1, a2, a3 = state[0], state[1], state[2], state[3]
    b0, b1, b2, b3 = state[4], state[5], state[6], state[7]
    c0, c1, c2, c3 = _START[0], _START[1], _START[2], _START[3]
    d0, d1, d2, d3 = _START[4], _START[5], _START[6], _START[7]
    d0 ^= np.uint64(end)
    if last:
        d2 = ~d2
    for turn in range(len(_ORDER)):
        order = _ORDER[turn]
        a0, b0, c0, d0 = _mixed(a0, b0, c0, d0, words[order[0]], words[order[1]])
        a1, b1, c1, d1 = _mixed(a1, b1, c1, d1, words[order[2]], words[order[3]])
        a2, b2, c2, d2 = _mixed(a2, b2, c2, d2, words[order[4]], words[order[5]])
        a3, b3, c3, d3 = _mixed(a3, b3, c3, d3, words[order[6]], words[order[7]])
        a0, b1, c2, d3 = _mixed(a0, b1, c2, d3, words[order[8]], words[order[9]])
        a1, b2, c3, d0 = _mixed(a1, b2, c3, d0, words[order[10]], words[order[11]])
        a2, b3, c0, d1 = _mixed(a2, b3, c0, d1, words[order[12]], words[order[13]])
        a3, b0, c1, d2 = _mixed(a3, b0, c1, d2, words[order[14]], words[order[15]])
    state[0] ^= a0 ^ c0
    state[1] ^= a1 ^ c1
    state[2] ^= a2 ^ c2
    state[3] ^= a3 ^ c3
    state[4] ^= b0 ^ d0
    state[5] ^= b1 ^ d1
    state[6] ^= b2 ^ d2
    state[7] ^= b3 ^ d3


@compiled()
def _mixed(a, b, c, d, x, y):  # type: ignore[no-untyped-def]
    """RFC 7693, 3.1: G; the turns to the right are by 32, 24, 16 and 63 bits."""
    a += b + x
    d ^= a
    d = (d >> np.uint64(32)) | (d << np.uint64(32))
    c += d
    b ^= c
    b = (b >> np.uint64(24)) | (b << np.uint64(40))
    a += b + y
    d ^= a
    d = (d >> np.uint64(16)) | (d << np.uint64(48))
    c += d
    b ^= c
    b = (b >> np.uint64(63)) | (b << np.uint64(1))
    return a, b, c, d

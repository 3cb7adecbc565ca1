"""Tencent ML-Images' text: a line an image, `URL<TAB>class:confidence<TAB>...`.

What stands first may also be the path of a file, as in the lists that its own scripts work on.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs.class_names import label_names
from manylabel.preprocessing.catalogs.columns import MAX_SHOWN
from manylabel.preprocessing.catalogs.files import one_file
from manylabel.preprocessing.catalogs.rows import raw_table
from manylabel.preprocessing.catalogs.text_file import MAX_LINE_BYTES, open_text
from manylabel.preprocessing.errors import PreprocessingError

_BLOCK_BYTES = 1 << 20

_DICTIONARY_HEADER = ["category_index", "category_id", "index_of_parent_category", "category name"]

_BY_BLANK = r"^https?://|^[^\t]*$"
"""Matches lines whose image ends at the first white space; in others a path may have some."""

_PAIR = r"^(?P<name>.*?)(?::(?P<confidence>[^:]*))?$"


def read_ml_images(config: CatalogConfig, block_bytes: int = _BLOCK_BYTES) -> Iterator[pa.Table]:
    """Tables of `rows.raw_table`, one for each block of lines.

    A label is the number of a class, or what the dictionary calls it. One without a confidence is
    rejected later, where it is counted; an image without a label has a row without one.

    Raises:
        PreprocessingError: not UTF-8, or a class that the dictionary lacks; names file and line.
    """
    names = _read_dictionary(config)
    lines = 0
    with open_text(config, "text of ML-Images") as file:
        for block in _cut_at_line_ends(file, config.path, block_bytes):
            yield _table(_texts(block, config.path, lines), lines, names, config.path)
            lines += block.count(b"\n")


def _cut_at_line_ends(file: BinaryIO, path: str, block_bytes: int) -> Iterator[bytes]:
    rest = b""
    while data := file.read(block_bytes):
        lines, end, begun = (rest + data).rpartition(b"\n")
        if end:
            yield lines + end
        rest = begun
        if len(rest) > MAX_LINE_BYTES:
            raise PreprocessingError(
                f"{path}: expected lines of text, received one of more than {MAX_LINE_BYTES} bytes"
            )
    if rest:
        yield rest


def _texts(block: bytes, path: str, before: int) -> pa.Array:
    """Its lines, without a byte order mark; `before` lines stand before it."""
    try:
        text = block.decode("utf-8-sig" if before == 0 else "utf-8")
    except UnicodeDecodeError as error:
        line = before + block.count(b"\n", 0, error.start) + 1
        raise PreprocessingError(
            f"{path}: line {line}: expected UTF-8, received byte 0x{block[error.start]:02x}"
        ) from error
    return pa.array(text.split("\n"), pa.string())


def _table(lines: pa.Array, before: int, names: Mapping[str, str] | None, path: str) -> pa.Table:
    """The rows of some lines, `before` which there are others."""
    lines = pc.utf8_trim_whitespace(lines)
    filled = np.flatnonzero(pc.not_equal(lines, "").to_numpy(zero_copy_only=False))
    lines = lines.take(pa.array(filled))
    by_blank = pc.replace_substring_regex(lines, r"\s+", "\t", max_replacements=1)
    lines = pc.if_else(pc.match_substring_regex(lines, _BY_BLANK), by_blank, lines)
    image = pc.utf8_rtrim_whitespace(pc.replace_substring_regex(lines, r"\t.*", ""))
    cells = pc.split_pattern_regex(pc.replace_substring_regex(lines, r"^[^\t]*", ""), r"\s+")
    line, cell = pc.list_parent_indices(cells).to_numpy(), pc.list_flatten(cells)
    is_pair = pc.not_equal(cell, "")
    pair, owner = cell.filter(is_pair), line[is_pair.to_numpy(zero_copy_only=False)]
    bare = np.setdiff1d(np.arange(len(lines)), owner)
    label, confidence = _split(
        pair, names, lambda at: f"{path}: line {before + filled[owner[at]] + 1}"
    )
    nothing = pa.nulls(len(bare), pa.string())
    order = np.argsort(np.append(owner, bare), kind="stable")
    return raw_table(
        image.take(pa.array(np.append(owner, bare)[order])),
        pa.concat_arrays([label, nothing]).take(pa.array(order)),
        pa.concat_arrays([confidence, nothing]).take(pa.array(order)),
        None,
    )


def _split(
    pairs: pa.Array, names: Mapping[str, str] | None, where: Callable[[int], str]
) -> tuple[pa.Array, pa.Array]:
    """The labels and confidences of texts as `1193:0.8`; `where` says where one of them stands."""
    encoded = pairs.dictionary_encode()
    parts = pc.extract_regex(encoded.dictionary, _PAIR)
    classes, confidences = (pc.utf8_trim_whitespace(part) for part in parts.flatten())
    if names is not None:
        labels = pa.array([names.get(each) for each in classes.to_pylist()], pa.string())
        unknown = labels.is_null()
        if pc.any(unknown).as_py():
            at = pc.index(unknown.take(encoded.indices), True).as_py()
            raise PreprocessingError(
                f"{where(at)}: expected classes of the dictionary, which has {len(names):,}, "
                f"received {pairs[at].as_py()[:MAX_SHOWN]!r}"
            )
        classes = labels
    return classes.take(encoded.indices), confidences.take(encoded.indices)


def _read_dictionary(config: CatalogConfig) -> dict[str, str] | None:
    """What each class is called: lines `WordNet number<TAB>parent<TAB>name`, of the classes 0, 1,
    and so on; or with a header, and the class in front."""
    if config.ml_images is None or config.ml_images.dictionary is None:
        return None
    path = config.ml_images.dictionary
    with open_text(one_file(config, path), "the dictionary of ML-Images") as file:
        blocks = [_texts(block, path, 0) for block in _cut_at_line_ends(file, path, MAX_LINE_BYTES)]
    names: dict[str, str] = {}
    for number, line in enumerate(line for block in blocks for line in block.to_pylist()):
        cells = line.rstrip("\r").split("\t")
        if cells in ([""], _DICTIONARY_HEADER):
            continue
        if len(cells) == 3:
            cells = [str(len(names)), *cells]
        if len(cells) != 4 or not cells[0].isdecimal():
            raise PreprocessingError(
                f"{path}: line {number + 1}: expected WordNet number, parent and name of a class "
                f"between tabs, received {line[:MAX_SHOWN]!r}"
            )
        names[cells[0]] = cells[3]
    return label_names(names)

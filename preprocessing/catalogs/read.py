"""Reads a catalog of any format."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from manylabel.preprocessing.catalog_config import CatalogConfig, CatalogFormat
from manylabel.preprocessing.catalogs.coco import read_coco
from manylabel.preprocessing.catalogs.csv_file import read_csv
from manylabel.preprocessing.catalogs.files import (
    catalog_files,
    label_files,
    one_file,
    path_in_table,
    tar_names,
)
from manylabel.preprocessing.catalogs.folder import read_folder
from manylabel.preprocessing.catalogs.json_lines import read_json_lines
from manylabel.preprocessing.catalogs.location import TABLES, detect_format
from manylabel.preprocessing.catalogs.ml_images import read_ml_images
from manylabel.preprocessing.catalogs.open_images import read_open_images
from manylabel.preprocessing.catalogs.open_images_classes import read_classes
from manylabel.preprocessing.catalogs.parquet_file import read_parquet, row_group_ranges
from manylabel.preprocessing.catalogs.rows import gather, raw_table
from manylabel.preprocessing.catalogs.webdataset import (
    check_samples,
    read_samples,
    read_webdataset,
)
from manylabel.preprocessing.errors import PreprocessingError

FIRST_ROWS = 50_000
FIRST_TABLES = 16
FIRST_SAMPLES = 1000


@dataclass(frozen=True)
class Piece:
    """A part of a catalog that can be read without the others.

    Attributes:
        format: Of the catalog, never `auto`.
        file: One of `catalog_files`; of a folder of pictures its path.
        row_groups: Of a Parquet file; nothing else is cut.
        tar: Of a tar its path below the image root, with which the names of its images begin.
    """

    format: CatalogFormat
    file: str
    row_groups: range = range(0)
    tar: str = ""


def catalog_pieces(config: CatalogConfig) -> list[Piece]:
    """All parts, in the catalog's order.

    Raises:
        PreprocessingError: there is no such catalog, or it is not of its format.
    """
    found = detect_format(config)
    if found is CatalogFormat.FOLDER:
        return [Piece(found, config.path)]
    files = catalog_files(config)
    if found is CatalogFormat.PARQUET:
        return [
            Piece(found, file, row_groups)
            for file in files
            for row_groups in row_group_ranges(one_file(config, file), path_in_table(config, file))
        ]
    if found is CatalogFormat.WEBDATASET:
        check_samples(one_file(config, files[0]))
        names = tar_names(config, files)
        return [Piece(found, file, tar=name) for file, name in zip(files, names, strict=True)]
    return [Piece(found, file) for file in label_files(config)]


def read_piece(piece: Piece, config: CatalogConfig) -> Iterator[pa.Table]:
    """The rows, in the catalog's order, in tables as `rows.raw_table` describes them, of at most
    BATCH_ROWS rows.

    Raises:
        PreprocessingError: the catalog is broken; those before it have been given by then.
    """
    below = path_in_table(config, piece.file)
    config = one_file(config, piece.file)
    match piece.format:
        case CatalogFormat.CSV:
            return gather(read_csv(config))
        case CatalogFormat.JSONL:
            return gather(read_json_lines(config))
        case CatalogFormat.PARQUET:
            return gather(read_parquet(config, piece.row_groups, below))
        case CatalogFormat.WEBDATASET:
            return read_webdataset(config, piece.tar)
        case CatalogFormat.COCO:
            return read_coco(config)
        case CatalogFormat.OPEN_IMAGES:
            return read_open_images(config)
        case CatalogFormat.ML_IMAGES:
            return gather(read_ml_images(config))
        case _:
            return read_folder(config)


def first_rows(config: CatalogConfig) -> pa.Table | None:
    """The first rows of a table, or of the first of several tars, as `rows.raw_table` describes
    them; None where there are none, and for a catalog that is neither.

    At most about FIRST_ROWS of them, and those of FIRST_TABLES that a reader gives, since it may
    take megabytes to have a row of a wide table, and as many to pass over a sample's picture.

    Raises:
        PreprocessingError: the catalog is broken there.
    """
    taken: list[pa.Table] = []
    with closing(_tables_of_a_table(config)) as tables:
        for table in islice(tables, FIRST_TABLES):
            if taken and table.schema != taken[0].schema:
                break  # Another part, whose confidences are of another kind.
            taken.append(table)
            if sum(each.num_rows for each in taken) >= FIRST_ROWS:
                break
    rows = pa.concat_tables(taken).combine_chunks() if taken else None
    return rows if rows is not None and rows.num_rows else None


def _tables_of_a_table(config: CatalogConfig) -> Generator[pa.Table, None, None]:
    found = detect_format(config)
    if found is CatalogFormat.WEBDATASET:
        yield _first_samples(one_file(config, catalog_files(config)[0]))
    if found not in TABLES:
        return
    for file in catalog_files(config):
        one = one_file(config, file)
        if found is CatalogFormat.CSV:
            yield from read_csv(one)
        elif found is CatalogFormat.JSONL:
            yield from read_json_lines(one)
        else:
            below = path_in_table(config, file)
            for row_groups in row_group_ranges(one, below):
                yield from read_parquet(one, row_groups, below)


def _first_samples(config: CatalogConfig) -> pa.Table:
    """The rows of some samples that a tar begins with, whose pictures go by the samples' keys."""
    rows = [
        (sample.key, *label)
        for sample in islice(read_samples(config), FIRST_SAMPLES)
        for label in sample.labels or ()
    ]
    images, labels, confidences = ([row[part] for row in rows] for part in range(3))
    return raw_table(
        pa.array(images, pa.string()),
        pa.array(labels, pa.string()),
        pa.array(confidences, pa.float64()),
        None,
    )


def label_parents(config: CatalogConfig) -> Mapping[str, Sequence[str]] | None:
    """The labels that each label is directly a kind of, where the catalog's rows say whether people
    or machines gave their labels; None for all other catalogs.

    Raises:
        PreprocessingError: the files that say it are broken.
    """
    if detect_format(config) is not CatalogFormat.OPEN_IMAGES:
        return None
    return read_classes(config).parents


def count_rows(config: CatalogConfig, on_rows: Callable[[int], None] = lambda _: None) -> int:
    """The number of rows, having read each of them as `read_piece` does.

    Args:
        config: Which catalog.
        on_rows: Called on the way with the rows so far.

    Raises:
        PreprocessingError: the catalog cannot be read to its end, or lists nothing.
    """
    rows = 0
    for piece in catalog_pieces(config):
        for table in read_piece(piece, config):
            rows += table.num_rows
            on_rows(rows)
    if not rows:
        received = "the catalog is empty"
        if config.split is not None:
            received = f"no row has {config.split!r} in the column {config.split_column!r}"
        raise PreprocessingError(
            f"{config.path}: {received}; expected at least one image with a label"
        )
    return rows

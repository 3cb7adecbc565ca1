"""Pictures that a plan does not have, since its catalog was read with another image root, and that
would be found with the one that is given now."""

from collections.abc import Iterator
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import root_spellings
from manylabel.preprocessing.decisions.columns import column
from manylabel.preprocessing.decisions.rows import are_refused, below_roots
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.pictures.checking import BATCH_IMAGES, CheckJob, Pictures
from manylabel.preprocessing.pictures.fetch import fetch
from manylabel.preprocessing.planning.dataset_plan import NOT_WRITTEN
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason
from manylabel.preprocessing.running import here
from manylabel.storage.errors import TableError, UnreachableTableError
from manylabel.storage.schema import SplitName
from manylabel.storage.tables import read_table, table_parts

_REMEDY = "add --retry-rejected to look for them, or name the image root of before"


def paths_below_now(catalog: CatalogConfig, rejected: UPath) -> list[str]:
    """Paths that were refused, and are below the image root as it is spelled now.

    Args:
        catalog: Its settings; none of its paths are URLs.
        rejected: Table of its rejections; none where there is no plan yet.
    """
    roots = root_spellings(catalog)
    found: list[str] = []
    for names in _rejected_for(RejectReason.BAD_PATH, rejected):
        below = below_roots(names, roots)
        is_usable = pa.array(~are_refused(below))
        found += names.filter(pc.and_(pc.not_equal(below, names), is_usable)).to_pylist()
    return found


def refuse_paths_below_now(catalog: CatalogConfig, rejected: UPath) -> None:
    """Raises PreprocessingError where there are such paths."""
    if found := paths_below_now(catalog, rejected):
        raise PreprocessingError(
            f"{rejected}: {len(found):,} rejected paths, such as {found[0]!r:.200}, are below "
            f"{catalog.SECTION}.image_root as it is spelled now; {_REMEDY}"
        )


def refuse_files_found_now(side: SplitName, job: CheckJob) -> None:
    """Raises PreprocessingError where a file that was missing is in the place of now."""
    image_root, rejected = job.image_roots[side], job.root / NOT_WRITTEN[side][0]
    is_there = partial(_is_there, image_root=image_root)
    names = (
        name
        for part in _rejected_for(RejectReason.MISSING_FILE, rejected)
        for name in part.to_pylist()
    )
    for name in here().executor.map(is_there, names, BATCH_IMAGES):
        if isinstance(name, str):
            raise PreprocessingError(
                f"{rejected}: files are missing by that table, of which {image_root} has some, "
                f"such as {name!r:.200}; {_REMEDY}"
            )


def _rejected_for(reason: RejectReason, rejected: UPath) -> Iterator[pa.Array]:
    for part in table_parts(rejected):
        try:
            table = read_table(part)
        except UnreachableTableError:
            raise
        except TableError:  # It is lost, and made again with the plan.
            continue
        yield column(table.filter(pc.equal(table.column("reason"), reason)), "image_id")


def _is_there(image_id: str, image_root: Pictures) -> str | None:
    """The name where there is any file."""
    try:
        fetch(image_root, image_id, max_bytes=0)  # too many are there, and none is read
    except ImageRejectedError as rejected:
        return None if rejected.reason is RejectReason.MISSING_FILE else image_id
    return image_id

"""What reads a catalog, as a job does before it looks at a picture."""

from pathlib import Path

from pydantic import ValidationError

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs import catalog_digest, count_rows
from manylabel.preprocessing.catalogs.read import catalog_pieces, label_parents, read_piece
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.label_doubts import label_doubts
from tests.fuzz._target import ACCEPTED, check_line, refused


def read_catalog(name: str, data: bytes, settings: dict, folder: Path) -> tuple[str, list]:
    """ACCEPTED and its rows, or how it is refused; counting finds what reading finds."""
    (folder / name).write_bytes(data)
    try:
        config = CatalogConfig.model_validate({"path": str(folder / name), **settings})
    except ValidationError as error:
        return f"settings: {len(error.errors())}", []
    rows: list = []
    try:
        catalog_digest(config)
        label_parents(config)
        for piece in catalog_pieces(config):
            for table in read_piece(piece, config):
                table.validate(full=True)
                rows += zip(*(table.column(at).to_pylist() for at in range(3)), strict=True)
    except PreprocessingError as error:
        try:
            count_rows(config)
        except PreprocessingError:
            return refused(error), rows
        raise AssertionError(f"counted what cannot be read: {error}") from error
    if not rows:
        try:
            count_rows(config)
        except PreprocessingError as error:
            return f"{refused(error)}: empty", rows
    assert count_rows(config) == len(rows)
    try:
        for doubt in label_doubts(config):
            check_line(doubt)
    except PreprocessingError as error:
        return f"doubts: {refused(error)}", rows
    return ACCEPTED, rows

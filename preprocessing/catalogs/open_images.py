"""Open Images' image-level labels, V2 to V7: CSV with `ImageID,Source,LabelName,Confidence`.

A row says whether a person or a machine gave its label. Which of them is right about an image, and
what follows from the hierarchy, is decided where all rows of the image are together
(`decisions.hierarchy`): here rows are only read, so that 60 million of them need no memory.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from manylabel.preprocessing.catalog_config import CatalogConfig
from manylabel.preprocessing.catalogs.open_images_classes import read_classes
from manylabel.preprocessing.catalogs.open_images_csv import ImageUrls, read_columns
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.label_sets import FIRST_OF_ID, IMAGE_ID, OpenImagesConfig

MACHINE = "machine"
PEOPLE = ("verification", "crowdsource-verification", "human", "xclick", "activemil", "freeform")
"""`human` is what V2 and V3 call all of them; the last three are in files of boxes, which people
drew or, of `activemil`, confirmed."""


def read_open_images(config: CatalogConfig) -> Iterator[pa.Table]:
    """Tables of `rows.raw_table` with a further column `verified`: whether a person gave the label.

    A class without a description is called by its identifier; so is an image that the list of
    images lacks, which is rejected where it is fetched.

    Args:
        config: Of one file of labels.

    Raises:
        PreprocessingError: another kind of file, or a source that is neither person nor machine.
    """
    settings = config.open_images or OpenImagesConfig()
    labels = read_classes(config).labels
    classes = pa.array(list(labels), pa.string())
    names = pa.array(list(labels.values()), pa.string())
    urls = _read_urls(config, settings)
    for table in read_columns(config, config.path, "LabelName", "Confidence", "Source"):
        image, label, confidence, source = (column.combine_chunks() for column in table.columns)
        yield pa.table(
            {
                "image": _paths(image, settings.image_name) if urls is None else urls.of(image),
                "label": pc.coalesce(names.take(pc.index_in(label, value_set=classes)), label),
                "confidence": confidence,
                "group": pa.nulls(len(image), pa.string()),
                "verified": _verified(source, config.path),
            }
        )


def _read_urls(config: CatalogConfig, settings: OpenImagesConfig) -> ImageUrls | None:
    """None where images are files."""
    if config.http is None:
        return None
    if settings.image_list is None:
        raise PreprocessingError(
            f"{config.path}: expected a list of images to find URLs in, received none; set "
            f"{config.SECTION}.open_images.image_list to it, or remove http if pictures are files"
        )
    return ImageUrls(config, settings.image_list, settings.url_column)


def _paths(images: pa.Array, pattern: str) -> pa.Array:
    """What `OpenImagesConfig.image_name` makes of each ImageID; empty stays empty."""
    parts: list[pa.Array | str] = []
    for number, part in enumerate(pattern.split(IMAGE_ID)):
        for again, text in enumerate(part.split(FIRST_OF_ID)):
            parts += [pc.utf8_slice_codeunits(images, 0, 1)] * (again > 0)
            parts += [images] * (number > 0 and again == 0)
            parts.append(text)
    return pc.if_else(pc.equal(images, ""), images, pc.binary_join_element_wise(*parts, ""))


def _verified(source: pa.Array, path: str) -> pa.Array:
    machine = pc.equal(source, MACHINE)
    known = pc.or_(machine, pc.is_in(source, pa.array(PEOPLE)))
    if not pc.all(pc.coalesce(known, False), min_count=0).as_py():
        received = source.filter(pc.invert(pc.coalesce(known, False)))[0].as_py()
        raise PreprocessingError(
            f"{path}: expected {MACHINE}, {', '.join(PEOPLE)} for a Source, received {received!r}"
        )
    return pc.invert(machine)

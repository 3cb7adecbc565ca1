"""Commands of `manylabel dataset`."""

from typing import Annotated

import typer

from manylabel.pipeline.commands.options import location, new_terminal, report
from manylabel.pipeline.streams import check_written

_Pictures = Annotated[
    str | None,
    typer.Option(
        "--image-root",
        metavar="DIR|URI",
        parser=location,
        help="Where the pictures lie now, for --repair; without it, where they were.",
    ),
]
_HeldoutPictures = Annotated[
    str | None,
    typer.Option(
        "--heldout-image-root",
        metavar="DIR|URI",
        parser=location,
        help="Likewise those of a held-out catalog.",
    ),
]


def verify(
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET", parser=location, help="Directory or URI.")
    ],
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Write damaged files again, from plan/ and the pictures."),
    ] = False,
    image_root: _Pictures = None,
    heldout_image_root: _HeldoutPictures = None,
) -> int:
    """Read every byte of a dataset, wherever it lies now, and list what is damaged.

    Exit code 0: every byte is as its manifest says, or is so again. 2: something is damaged still,
    a line each. 75: the storage failed, which says nothing about the dataset.
    """
    from manylabel.storage.schema import SplitName

    given = {SplitName.TRAIN: image_root, SplitName.HELDOUT: heldout_image_root}
    image_roots = {side: root for side, root in given.items() if root is not None}
    if image_roots and not repair:
        raise typer.BadParameter("expected --repair beside where the pictures lie")

    from manylabel.pipeline.dataset import verify_dataset

    terminal = new_terminal()
    found = verify_dataset(dataset, terminal.on_event, repairing=repair, image_roots=image_roots)
    terminal.show_verification(found)
    check_written()
    report(*found.problems())
    return 0 if found.is_whole else 2

"""Thumbnails of a run's held-out images, as their pages link them."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from manylabel.deploy.dashboard.errors import UNREADABLE, NotThere, Unreadable, one_line
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.states import dataset_of
from manylabel.deploy.dashboard.thumbnails import thumbnail
from manylabel.deploy.dashboard.view import View, number

PATH = "/thumbnails/{run}/{row}.jpg"
"""Of a row of the heldout_images.parquet of the run's dataset; `size` is one of SIZES."""

SIZES = {"160": 160, "320": 320, "640": 640}
"""Pixels of the longer side; the first is the default."""

_AGE = 3_600
"""Seconds that browsers keep one without asking; then they ask by its tag."""


def address(view: View, run: str, row: int, size: int = 160) -> str:
    """Of a thumbnail, for a page."""
    changed = None if size == SIZES["160"] else str(size)
    return view.to(f"/thumbnails/{run}/{row}.jpg", size=changed, form=None, settings=None)


def answer(store: Store, request: Request) -> Response:
    """The JPEG at PATH.

    Raises:
        NotThere: there is no such run or image, or its dataset is not there or damaged.
        BadAddress: the size is none of SIZES.
    """
    names: Mapping[str, str] = request.path_params
    view = View(request.scope["path"], dict(request.query_params))
    size = SIZES[view.choice("size", tuple(SIZES)) or "160"]
    run = store.run(names["run"]).name
    row = number(names["row"])
    if row is None:
        raise NotThere(f"{names['row'][:40]!r} is no image: its row is a number")
    try:
        dataset = dataset_of(store, run)
        tag = f'"{dataset.content_digest[:16]}-{row}-{size}"'
        headers = {"etag": tag, "cache-control": f"private, max-age={_AGE}"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        data = thumbnail(dataset, row, size)
    except UNREADABLE as error:
        raise Unreadable(one_line(error)) from error
    return Response(data, media_type="image/jpeg", headers=headers)

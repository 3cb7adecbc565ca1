"""The server: addresses, and the shapes in which a page is answered."""

import json
import logging
import math
import shlex
import traceback
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp
from upath import UPath

from manylabel.deploy.dashboard import formats, tables
from manylabel.deploy.dashboard.charts.svg import STYLE_DIGEST
from manylabel.deploy.dashboard.errors import (
    UNREADABLE,
    DashboardError,
    NotThere,
    Refused,
    Unreadable,
    one_line,
)
from manylabel.deploy.dashboard.page import Page
from manylabel.deploy.dashboard.pages import image, label, review, run, runs, thumbnail
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.security import POLICY, Access, Guard
from manylabel.deploy.dashboard.view import View

Handler = Callable[[Store, View, Mapping[str, str]], Page]
"""Makes a page from the store, its address, and the names in its path."""

Endpoint = Callable[[Request], Response]
"""Starlette calls it in a thread of its own: reading files holds up no other visitor."""

PAGES: Mapping[str, Handler] = {
    "/": runs.page,
    "/runs/{run}": run.page,
    "/review": review.page,
    "/labels/{label}": label.page,
    "/images/{image}": image.page,
}
"""Every page by its path. Each is also PATH.json ("/" is /runs.json), and has its tables and
figures as PATH/NAME.csv, PATH/NAME.json and PATH/NAME.svg."""

_STATIC = Path(__file__).parent / "static"
_SVG_POLICY = f"{POLICY}; style-src '{STYLE_DIGEST}'"
_TOKEN_WANTED = Refused(
    "This dashboard asks for its token. Open the address that `manylabel dashboard` printed when "
    "it started; it ends in ?token=…"
)

_OUR_FAULT = (
    "This is a fault of the dashboard's own, and not of what lies on disk. The terminal in which "
    "it runs says where it happened."
)
_LOG = logging.getLogger(__name__)


def create_app(store: Store, access: Access) -> ASGIApp:
    """The whole site, which keeps nothing but what it has read; its guard stands outermost."""
    site = _Site(store, environment())
    pages = Starlette(
        routes=[
            Mount("/static", StaticFiles(directory=_STATIC), name="static"),
            *site.routes(),
        ],
        exception_handlers={
            DashboardError: site.failed,
            HTTPException: site.unknown_address,
            **dict.fromkeys(UNREADABLE, site.unreadable),
        },
    )
    return Guard(pages, access, refused=site.message(View("/"), _TOKEN_WANTED))


@cache
def environment() -> Environment:
    """The templates, compiled once, autoescaping; a misspelt name is an error, no empty place."""
    made = Environment(
        loader=PackageLoader("manylabel.deploy.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(cells=tables.cells, formats=formats, quoted=shlex.quote)
    made.filters.update(formats.FORMATS)
    return made


class _Site:
    """Answers for one store."""

    def __init__(self, store: Store, templates: Environment) -> None:
        self._store = store
        self._templates = templates

    def routes(self) -> list[Route]:
        """Whole pages as JSON come first, files last: "/{file}" would fit every page."""
        made = [(f"{_named(path)}.json", self._whole(path)) for path in PAGES]
        made += [(path, self._html(path)) for path in PAGES]
        made.append((thumbnail.PATH, lambda request: thumbnail.answer(self._store, request)))
        files = sorted(PAGES, key=len, reverse=True)
        made += [(f"{path.rstrip('/')}/{{file}}", self._file(path)) for path in files]
        return [Route(path, self._without_faults(endpoint)) for path, endpoint in made]

    def _without_faults(self, endpoint: Endpoint) -> Endpoint:
        """Answers by a page where the endpoint raises what nobody expected, and logs it."""

        def answer(request: Request) -> Response:
            try:
                return endpoint(request)
            except (DashboardError, HTTPException, *UNREADABLE):
                raise  # Expected: Starlette has a handler for each.
            except Exception as error:
                return self._our_fault(request, error)

        return answer

    def _html(self, path: str) -> Endpoint:
        def answer(request: Request) -> Response:
            page = self._page(path, request, request.scope["path"])
            return HTMLResponse(self._rendered(page, **page.context))

        return answer

    def _whole(self, path: str) -> Endpoint:
        def answer(request: Request) -> Response:
            own = "/" if path == "/" else request.scope["path"].removesuffix(".json")
            page = self._page(path, request, own)
            problems = [vars(problem) for problem in page.problems]
            return _json({"view": page.view.parameters, **page.data, "problems": problems})

        return answer

    def _file(self, path: str) -> Endpoint:
        def answer(request: Request) -> Response:
            page = self._page(path, request, request.scope["path"].rpartition("/")[0] or "/")
            return _file_of(page, request.path_params["file"])

        return answer

    def _page(self, path: str, request: Request, own: str) -> Page:
        view = View(own, dict(request.query_params))
        return PAGES[path](self._store, view, request.path_params)

    def message(self, view: View, error: DashboardError) -> Response:
        """An error as a page of its own; who may see nothing does not see where the folder is."""
        page = Page("message.html", error.title, view, {})
        known = {"root": ""} if isinstance(error, Refused) else {}
        return HTMLResponse(self._rendered(page, error=error, **known), error.status)

    def _rendered(self, page: Page, **context: Any) -> str:
        known = {
            "page": page,
            "view": page.view,
            "root": self._store.root,
            "read_at": f"{self._store.now().astimezone():%H:%M:%S %Z}",
        }
        return self._templates.get_template(page.template).render(**(known | context))

    def failed(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, DashboardError)
        return self.message(View(request.scope["path"]), error)

    def unreadable(self, request: Request, error: Exception) -> Response:
        """A file that vanished between two looks at it, that we may not read, that is damaged."""
        return self.message(View(request.scope["path"]), Unreadable(one_line(error)))

    def _our_fault(self, request: Request, error: Exception) -> Response:
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind, path = type(error).__name__, request.scope["path"]
        _LOG.error("%r: %s: %s (%s:%s)", path, kind, one_line(error), place.filename, place.lineno)
        return self.message(View(path), DashboardError(_OUR_FAULT))

    def unknown_address(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        missing = NotThere(f"There is no page {request.scope['path']}")
        return self.message(View(request.scope["path"]), missing)


def _named(path: str) -> str:
    return "/runs" if path == "/" else path


def _file_of(page: Page, name: str) -> Response:
    stem, _, ending = name.rpartition(".")
    table, chart = page.tables.get(stem), page.figures.get(stem)
    if ending == "csv" and table is not None:
        return Response(table.as_csv(page.view), media_type="text/csv")
    if ending == "json" and table is not None:
        return _json(table.as_json())
    if ending == "svg" and chart is not None:
        headers = {"content-security-policy": _SVG_POLICY}
        return Response(chart.document(), media_type="image/svg+xml", headers=headers)
    there = [f"{each}.csv" for each in page.tables] + [f"{each}.svg" for each in page.figures]
    raise NotThere(f"There is no {name} here; there is: {', '.join(there) or 'no file'}")


def _json(data: object) -> Response:
    """Numbers in full; what JSON has no word for is null (NaN, infinity) or text (times)."""
    text = json.dumps(_finite(data), allow_nan=False, default=_plain, separators=(",", ":"))
    return Response(text, media_type="application/json")


def _finite(data: object) -> object:
    match data:
        case float():
            return data if math.isfinite(data) else None
        case np.ndarray():
            return _finite(data.tolist())
        case Mapping():
            return {key: _finite(value) for key, value in data.items()}
        case list() | tuple():
            return [_finite(value) for value in data]
    return data


def _plain(value: object) -> Any:
    match value:
        case np.generic():
            return value.item()
        case datetime():
            return formats.moment_iso(value)
        case Path() | UPath():
            return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")

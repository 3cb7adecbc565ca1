"""Who may ask the server, and what browsers may do with its answers."""

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = "127.0.0.1"
PARAMETER = "token"

POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""Content security policy: nothing from elsewhere, no script or style in a page's text."""

_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_METHODS = ("GET", "HEAD")


@dataclass(frozen=True)
class Access:
    """Where the server listens and what it asks of those who come.

    Attributes:
        host: Address that it listens on.
        token: What every visitor must know; None: nothing, on the loopback interface alone.
        names: Host names under which it answers, beside addresses.
    """

    host: str = LOOPBACK
    token: str | None = None
    names: frozenset[str] = frozenset({"localhost"})

    @classmethod
    def of(cls, host: str | None, token: str | None, names: Iterable[str] = ()) -> "Access":
        """Access by the options of the command line: another host always has a token."""
        if host is None:
            return cls(token=token)
        own = {"localhost", host.lower(), *(name.lower() for name in names if name)}
        return cls(host, token or secrets.token_urlsafe(24), frozenset(own))

    def answers(self, host: str) -> bool:
        """Whether a Host header is one of ours.

        A page elsewhere can have its own name resolved to this machine's address and would then
        be of the same origin as the answers (DNS rebinding); such a name is not among ours, and an
        address cannot be rebound.
        """
        name = _without_port(host).lower()
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self.names
        return address.is_loopback or self.token is not None

    @property
    def cookie(self) -> str:
        """Name of the cookie: one for each token, as browsers tell hosts apart but not ports."""
        return f"manylabel-{hashlib.sha256((self.token or '').encode()).hexdigest()[:12]}"

    def knows(self, token: str | None) -> bool:
        """Compares in the same time whatever the token is."""
        if self.token is None:
            return True
        return token is not None and hmac.compare_digest(token.encode(), self.token.encode())


class Guard:
    """ASGI middleware: lets requests through that `Access` allows, and adds the headers.

    Args:
        refused: The answer to those who lack the token; static files, which hold nothing of
            anybody's, are given to all, so that it can be a page like the others.
    """

    def __init__(self, app: ASGIApp, access: Access, refused: Response) -> None:
        self._app = app
        self._access = access
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = self._refusal(scope)
        await (answer or self._app)(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that goes no further; None lets it pass."""
        headers = Headers(scope=scope)
        if scope["method"] not in _METHODS:
            allowed = {"allow": ", ".join(_METHODS)}
            return PlainTextResponse("The dashboard only shows.\n", 405, allowed)
        if not self._access.answers(headers.get("host", "")):
            return PlainTextResponse("Expected this server's own name in Host.\n", 421)
        # A page elsewhere may link here, but not load pictures or data from here.
        if (
            headers.get("sec-fetch-site") in ("cross-site", "same-site")
            and headers.get("sec-fetch-mode") != "navigate"
        ):
            return PlainTextResponse("Other sites may not read this one.\n", 403)
        return self._token_answer(scope, headers)

    def _token_answer(self, scope: Scope, headers: Headers) -> Response | None:
        if self._access.token is None or scope["path"].startswith("/static/"):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == PARAMETER]
        if given and self._access.knows(given[0]):
            # Kept in a cookie, and taken out of the address, which is copied and logged.
            rest = urlencode([(name, value) for name, value in query if name != PARAMETER])
            path = "/" if scope["path"].startswith("//") else quote(scope["path"], safe="/@:,")
            answer = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
            # A browser that came by a link elsewhere, in a mail say, would not send a strict one
            # after the redirect. Nothing here changes anything, and `_refusal` keeps others out.
            answer.set_cookie(
                self._access.cookie, self._access.token, httponly=True, samesite="lax"
            )
            return answer
        return None if self._access.knows(_cookie(headers, self._access.cookie)) else self._refused


def _cookie(headers: Headers, name: str) -> str | None:
    cookies = SimpleCookie()
    try:
        cookies.load(headers.get("cookie", ""))
    except CookieError:
        return None
    return cookies[name].value if name in cookies else None


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("content-security-policy", POLICY)
            headers.setdefault("cache-control", "no-cache")
            for name, value in _HEADERS.items():
                headers[name] = value
        await send(message)

    return send_with_headers

"""URLs of pictures: which may be fetched, and what each is known by.

They are changed no further than that: a server may tell any two spellings apart.
"""

import re

from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason

PLAIN_URL = (
    r"^https?://([^/?#@:\[\\\x00-\x20\x7fA-Z]+|\[[0-9a-f:.]+\])(:[0-9]{0,5})?"
    r"([/?]([^#\x00-\x1f\x7f]*[^#\x00-\x20\x7f])?)?$"
)
"""Matches what `url_id_of` leaves as it is, and nothing else (RE2)."""

HIDDEN_USER = "***@"
"""In place of a user's name and password."""

MISSPELLED_URL = (
    r"^([^A-Za-z0-9_/\\]*[A-Za-z][A-Za-z0-9+.-]+:(?:/|\\|[/\\]\\|\\/|[/\\]{3,}))"
    r"(?:[^/?#@:\\]*:[^@]*|\*\*\*)@"
)
"""Matches what is a URL with a password but for its slashes (RE2)."""

_USERS = (
    re.compile(
        r"^([^A-Za-z0-9_/\\]*(?:(?:[A-Za-z][A-Za-z0-9+.-]*:)?|https?)//)"
        r"(?:[^/?#]*|(?!\[)[^@/?#:]*:(?!\d{1,5}(?:[/?#]|$))[^@]*)@"
    ),
    re.compile(MISSPELLED_URL),
)
"""Also where a password was not quoted: it has a sign that ends the name of a server, and what goes
before that is no server with a port."""

_ORIGIN = re.compile(
    r"^(https?://(?:[^/?#:\[\\]+|\[[0-9a-f:.]+\])(?::\d{0,5})?)([/?].*)?$",
    re.IGNORECASE | re.DOTALL,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BLANK = "".join(map(chr, range(0x21)))

_SHOWN = 200
"""Characters of a URL in a message; a `data:` URL may be a whole picture."""


def url_id_of(raw: str) -> str:
    """What a URL is known by: scheme and host in lower case, without a fragment and white space
    around it.

    Raises:
        ImageRejectedError: it is no http or https URL, or has a user's name in it.
    """
    url = without_user(raw)
    received = repr(url) if len(url) <= _SHOWN else f"{url[:_SHOWN]!r}... ({len(url)} characters)"
    if HIDDEN_USER in url.partition("://")[2].partition("/")[0]:
        detail = f"expected a URL without a user's name and password, received {received}"
        raise ImageRejectedError(RejectReason.BAD_URL, detail)
    origin = _ORIGIN.match(url.partition("#")[0].strip(_BLANK))
    if origin is None or _CONTROL.search(origin[0]) or " " in origin[1]:
        detail = (
            f"expected an http or https URL, received {received}; without catalog.http image "
            "paths are files"
        )
        raise ImageRejectedError(RejectReason.BAD_URL, detail)
    lower = origin[1].encode().lower().decode()  # As bytes: of ASCII alone.
    return lower + (origin[2] or "")


def has_user(text: str) -> bool:
    """Whether it looks like a URL with a user's name, or with what stands in place of one."""
    return any(user.match(text.lstrip(_BLANK)) for user in _USERS)


def without_user(text: str) -> str:
    """A URL in which no password can be read; any other text as it is."""
    url = text.lstrip(_BLANK)
    for user in _USERS:
        if user.match(url):
            return user.sub(rf"\1{HIDDEN_USER}", url)
    return text


def url_key(raw: str) -> str:
    """What rows of the same URL have in common; one that is rejected stands for itself."""
    try:
        return url_id_of(raw)
    except ImageRejectedError:
        return without_user(raw)

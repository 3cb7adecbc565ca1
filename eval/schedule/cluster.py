"""Where schedules evaluate, if not in the process that looks what is due."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from manylabel.storage.problems import shown

EXAMPLE_ADDRESS = "http://HEAD:8265"


def jobs_api_address(value: str) -> str:
    """The value; raises ValueError where it is no address of a Jobs API."""
    try:
        parts = urlsplit(value)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port
    except ValueError:  # A port that is no number.
        fits = False
    if not fits or parts.path.strip("/") or parts.query or parts.username:
        raise ValueError(
            f"expected the address of a Ray cluster's Jobs API, as {EXAMPLE_ADDRESS}, received "
            f"{shown(value)}"
        )
    return value


@dataclass(frozen=True)
class EvaluationCluster:
    """A Ray cluster that evaluates.

    Attributes:
        address: Of its Jobs API.
        trust_open: Host of a cluster that asks for no token and is used all the same.
    """

    address: str
    trust_open: str | None = None

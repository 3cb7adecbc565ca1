"""Settings of pictures that are fetched: the section `http` of a catalog."""

from pydantic import Field, IPvAnyNetwork

from manylabel.storage.settings import SettingsSection


class HttpConfig(SettingsSection):
    """How pictures are fetched from the http and https URLs that a catalog lists.

    Nothing here changes what is written of a picture that arrives.
    """

    connect_timeout: float = Field(
        5.0,
        gt=0,
        description="Seconds for a connection, TLS included. TCP repeats a lost packet after 1 and "
        "3 seconds.",
    )
    deadline: float = Field(
        30.0,
        gt=0,
        description="Seconds for a picture at one attempt, from the name's resolution to the last "
        "byte and redirects included, however much arrives in between.",
    )
    attempts: int = Field(
        3,
        ge=1,
        le=10,
        description="At most, where a failure may pass: a connection that is refused or cut, "
        "408, 425, 429, 500, 502, 503 and 504. A picture that was too slow is not asked for again "
        "in the same run.",
    )
    backoff: float = Field(
        1.0,
        ge=0,
        description="Seconds before the second attempt, doubled before each further one, or more "
        "where the server says so by Retry-After.",
    )
    longest_wait: float = Field(
        30.0,
        ge=0,
        description="Seconds between two attempts at most, and those for which a server that is "
        "down is waited for, once; a server that asks for more is left alone for so long, and its "
        "pictures are rejected meanwhile.",
    )
    connections: int = Field(
        32, ge=1, le=1000, description="Pictures that a process fetches at a time."
    )
    connections_per_host: int = Field(
        16,
        ge=1,
        le=1000,
        description="Of those, from one server; each process of the executor has as many.",
    )
    allowed_networks: tuple[IPvAnyNetwork, ...] = Field(
        (),
        description="Networks, such as 10.1.0.0/16 or ::1/128, from which pictures are fetched "
        "although they are private, and only there; none: from public addresses alone.",
    )
    user_agent: str = Field(
        "manylabel",
        min_length=1,
        pattern=r"^[\x20-\x7e]+$",
        description="What servers are told of who asks; some want an address to write to.",
    )

"""The pictures of a catalog of URLs: fetched once, and kept until they are in a shard."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upath import UPath

from manylabel.preprocessing.http_config import HttpConfig
from manylabel.preprocessing.pictures.fetch import file_digest
from manylabel.preprocessing.pictures.fetched import Fetched, FetchedImage
from manylabel.preprocessing.pictures.images import examine, store
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason
from manylabel.storage.image_policy import ImageConfig

if TYPE_CHECKING:
    from manylabel.preprocessing.pictures.downloads import Downloads


@dataclass(frozen=True)
class HttpSource:
    """In place of the directory that image paths start from.

    Attributes:
        kept_in: See `fetched`; all processes see it.
    """

    http: HttpConfig
    kept_in: UPath

    def __str__(self) -> str:
        """As a plan names where its pictures were."""
        return "http"

    @property
    def kept(self) -> Fetched:
        return Fetched(self.kept_in)

    def expect(self, urls: Iterable[str], max_bytes: int, *, with_look: bool = False) -> None:
        """These are asked for next, in this order: those that are not kept are begun now.

        Args:
            with_look: They are to be checked, so what is kept of a shard does not do.
        """
        kept = self.kept
        if not kept.is_empty():
            urls = [url for url in urls if not kept.has(url, with_look=with_look)]
        self._downloads().expect(urls, max_bytes)

    def check(self, url: str, policy: ImageConfig) -> FetchedImage:
        """A picture, which is kept from now on.

        Raises:
            ImageRejectedError: it did not arrive, or cannot be used.
            OSError: it cannot be kept.
        """
        kept = self.kept.find(url)
        if kept is not None and kept.look is not None:
            return kept
        answer = self._downloads().take(url, policy.max_bytes)
        try:
            examined = examine(answer.data, policy)
            stored = store(answer.data, policy)
        except ImageRejectedError as rejected:
            if rejected.reason is not RejectReason.NOT_AN_IMAGE:
                raise
            detail = f"{rejected.detail}; the server calls it {answer.described!r}"
            raise ImageRejectedError(rejected.reason, detail) from rejected
        look = int.from_bytes(examined.perceptual_hash, "big")
        digest = bytes.fromhex(file_digest(answer.data))
        remarks = "; ".join(examined.remarks)
        image = FetchedImage(digest, look, examined.stored_bytes, stored, remarks)
        self.kept.keep(url, image)
        return image

    def fetch(self, url: str, max_bytes: int) -> bytes:
        """As `fetch.fetch`."""
        return self._downloads().take(url, max_bytes).data

    def _downloads(self) -> "Downloads":
        from manylabel.preprocessing.pictures.downloads import downloads_of  # a tenth of a second

        return downloads_of(self.http)

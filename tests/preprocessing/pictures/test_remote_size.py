"""Files below a root that is no disk, of which nobody says how large they are."""

import pytest
from upath import UPath

from manylabel.preprocessing.pictures.fetch import fetch
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason


@pytest.mark.parametrize("coding", [{}, {"Transfer_Encoding": "chunked"}])
def test_no_more_is_read_of_a_file_without_end_than_may_be_read(server, coding):
    def endless(handler):
        handler.send(200, Content_Length=None, **coding)
        handler.close_connection = True
        while handler.command == "GET" and not handler.server.closing.is_set():
            handler.wfile.write(b"4\r\nmore\r\n")

    server.answers["/a.jpg"] = endless
    with pytest.raises(ImageRejectedError) as error:
        fetch(UPath(server.url("")), "a.jpg", 100_000)
    assert error.value.reason is RejectReason.TOO_MANY_BYTES
    assert error.value.detail == "100001 bytes, images.max_bytes is 100000"


def test_all_of_a_file_whose_length_is_not_said_is_read(server):
    def until_the_end(handler):
        handler.send(200, Content_Length=None)
        handler.close_connection = True
        for _ in range(3 if handler.command == "GET" else 0):
            handler.wfile.write(bytes(30_000))
            handler.server.closing.wait(0.01)

    server.answers["/a.jpg"] = until_the_end
    assert fetch(UPath(server.url("")), "a.jpg", 100_000) == bytes(90_000)

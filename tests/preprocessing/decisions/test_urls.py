"""What a URL is known by, and which are refused."""

import pyarrow as pa
import pytest

from manylabel.preprocessing.decisions.listing import merge_rows
from manylabel.preprocessing.decisions.rows import are_refused, clean_rows
from manylabel.preprocessing.decisions.urls import url_id_of, url_key
from manylabel.preprocessing.rejections import ImageRejectedError, RejectReason

# As a catalog spells it -> what it is known by.
USABLE = {
    "http://a/b.jpg": "http://a/b.jpg",
    "HTTPS://A.Example:8080/B.jpg": "https://a.example:8080/B.jpg",
    " http://a/b c.jpg\r\n": "http://a/b c.jpg",
    "http://a/b.jpg#c d": "http://a/b.jpg",
    "http://a": "http://a",
    "http://a/": "http://a/",
    "http://a?b=c": "http://a?b=c",
    "http://a/b//c/../d%20e.jpg": "http://a/b//c/../d%20e.jpg",
    "http://a/b@c.jpg": "http://a/b@c.jpg",
    "http://Ä.example/é.jpg": "http://Ä.example/é.jpg",
    "http://[::1]:80/a.jpg": "http://[::1]:80/a.jpg",
    "http://[::1]/a@b.jpg": "http://[::1]/a@b.jpg",
    "http://a:80/b:c@d.jpg": "http://a:80/b:c@d.jpg",
    "http://a/b:c@d.jpg": "http://a/b:c@d.jpg",
    "http://a/b.jpg?c=http://d/#e": "http://a/b.jpg?c=http://d/",
}

# As a catalog spells it -> what stands for it.
REFUSED = {
    "": "",
    "a/b.jpg": "a/b.jpg",
    "/a.jpg": "/a.jpg",
    "ftp://a/b.jpg": "ftp://a/b.jpg",
    "s3://a/b.jpg": "s3://a/b.jpg",
    "file:///etc/passwd": "file:///etc/passwd",
    "http:/a/b.jpg": "http:/a/b.jpg",
    "http://": "http://",
    "http:///a.jpg": "http:///a.jpg",
    "http://?a": "http://?a",
    "http://a b/c.jpg": "http://a b/c.jpg",
    "http://a/b\0.jpg": "http://a/b\0.jpg",
    "http://a/b\nHost: c": "http://a/b\nHost: c",
    "http://a\\b/c.jpg": "http://a\\b/c.jpg",
    "http://me@a/b.jpg": "http://***@a/b.jpg",
    " http://me:secret@a/b.jpg#c": "http://***@a/b.jpg#c",
    "HTTP://me:se@cret@a/b.jpg": "HTTP://***@a/b.jpg",
    "ftp://me:secret@a/b.jpg": "ftp://***@a/b.jpg",
    "//me:secret@a/b.jpg": "//***@a/b.jpg",
    "http://me:sec/secret@a/b.jpg": "http://***@a/b.jpg",
    "http://me:secret#@a/b.jpg": "http://***@a/b.jpg",
    "htp://me:secret@a/b.jpg": "htp://***@a/b.jpg",
    "s3a:/me:secret@a/b.jpg": "s3a:/***@a/b.jpg",
    "http:/me:sec/secret@a/b.jpg": "http:/***@a/b.jpg",
    "http:///me:secret@a/b.jpg": "http:///***@a/b.jpg",
    "https//me:secret@a/b.jpg": "https//***@a/b.jpg",
    "http:\\\\me:secret@a\\b.jpg": "http:\\\\***@a\\b.jpg",
    "redis:/:secret@a/b.jpg": "redis:/***@a/b.jpg",
    "'http://me:secret@a/b.jpg": "'http://***@a/b.jpg",
    "\ufeffhttp:/me:secret@a/b.jpg": "\ufeffhttp:/***@a/b.jpg",
    "http://a:port/b.jpg": "http://a:port/b.jpg",
    "data:image/png;base64," + "A/+" * 99: "data:image/png;base64," + "A/+" * 99,
}


@pytest.mark.parametrize(("raw", "known_by"), USABLE.items())
def test_usable_urls(raw, known_by):
    assert url_id_of(raw) == url_key(raw) == url_id_of(known_by) == known_by


@pytest.mark.parametrize(("raw", "key"), REFUSED.items())
def test_refused_urls(raw, key):
    with pytest.raises(ImageRejectedError) as error:
        url_id_of(raw)
    assert error.value.reason is RejectReason.BAD_URL
    assert "secret" not in error.value.detail
    assert len(error.value.detail) < 400
    assert url_key(raw) == key
    with pytest.raises(ImageRejectedError):
        url_id_of(key)  # What stands for it is not taken for another.


def test_a_pattern_knows_which_are_refused():
    keys = [*USABLE.values(), *REFUSED.values()]
    refused = are_refused(pa.array(keys), urls=True)
    assert dict(zip(keys, refused.tolist(), strict=True)) == dict.fromkeys(
        USABLE.values(), False
    ) | dict.fromkeys(REFUSED.values(), True)


@pytest.mark.parametrize("urls", [True, False])
def test_no_table_holds_a_password(urls):
    spellings = [raw for raw in REFUSED if "me" in raw] + [*USABLE]
    raw = pa.table(
        {
            "image": spellings,
            "label": ["a"] * len(spellings),
            "confidence": [1.0] * len(spellings),
            "group": pa.nulls(len(spellings), pa.string()),
        }
    )
    rows, labels = clean_rows(raw, urls=urls)
    merged = merge_rows(rows, urls=urls)
    tables = (rows, labels, merged.images, merged.rejected, merged.duplicates)
    assert not any("secret" in str(table.to_pylist()) for table in tables)
    hidden = [raw for raw in spellings if "***" in REFUSED.get(raw, "")]
    assert are_refused(pa.array([REFUSED[raw] for raw in hidden]), urls=urls).all()
    counted = merged.images.num_rows + merged.rejected.num_rows + merged.duplicates.num_rows
    assert merged.listed == counted

"""A catalog of URLs, from the command's point of view; and what is kept of pictures meanwhile."""

import dataclasses
import gzip
import socket
import threading
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.decisions.work_items import PLAN_SCHEMA
from manylabel.preprocessing.http_config import HttpConfig
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.output import remove_leftovers
from manylabel.preprocessing.pictures.checking import CheckImage
from manylabel.preprocessing.pictures.http_source import HttpSource
from manylabel.preprocessing.planning.dataset_plan import write_planned
from manylabel.preprocessing.progress import Meter
from manylabel.preprocessing.rejections import ImageRejectedError
from manylabel.preprocessing.repair import repair
from manylabel.preprocessing.verification import verify
from manylabel.preprocessing.writing.shards import write_shard
from manylabel.storage.dataset import Dataset
from manylabel.storage.image_policy import ImageConfig
from manylabel.storage.manifest import RecordShard
from manylabel.storage.schema import SplitName

pytestmark = pytest.mark.slow

HTTP = {"allowed_networks": ["127.0.0.1/32"], "deadline": 1, "backoff": 0, "attempts": 2}
PICTURES = 10


def never(handler):
    handler.server.closing.wait()


def endless(handler):
    handler.send(200, Content_Length=None)
    while not handler.server.closing.is_set():
        handler.wfile.write(b"more")


def cut_short(handler):
    handler.send(200, b"less", Content_Length=5)
    handler.close_connection = True


def private(handler):
    handler.send(302, Location=handler.server.url("/0.png", "127.0.0.2"))


def bomb(handler):
    handler.send(200, gzip.compress(bytes(1_000_000)), Content_Encoding="gzip")


def page(handler):
    handler.send(200, b"<!doctype html>Sorry", Content_Type="text/html")


def busy(handler):
    handler.send(503)


BAD = {
    "absent": (None, "missing file", "404 Not Found"),
    "never": (never, "server too slow", "not all arrived within 1 seconds"),
    "endless": (endless, "unusable answer of the server", "no end came within images.max_bytes"),
    "cut": (cut_short, "unusable answer of the server", "received 4 of 5 bytes"),
    "private": (private, "private address", "127.0.0.2 is no public address"),
    "bomb": (bomb, "not an image of a known format", "the server calls it 'gzip'"),
    "page": (page, "not an image of a known format", "the server calls it 'text/html'"),
    "busy": (busy, "server does not serve it now", "503 Service Unavailable"),
}


def png(number):
    return f"/{number}.png"


@pytest.fixture
def http_config(server, picture, write_csv, tmp_path):
    """Of a catalog with ten pictures, and URLs of all that is bad."""
    server.answers |= {png(i): picture(i, (16, 16)) for i in range(PICTURES)}
    server.answers |= {f"/{name}": answer for name, (answer, _, _) in BAD.items()}
    urls = [server.url(path) for path in server.answers]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        urls.append(f"http://127.0.0.1:{closed.getsockname()[1]}/unreachable")
    urls += ["http://me:secret@127.0.0.1/password", "photos/file.png"]
    rows = [(url, "ab"[i % 2], 1) for i, url in enumerate(urls)]
    catalog = write_csv(tmp_path / "urls.csv", rows)
    return PreprocessingConfig.model_validate(
        {
            "catalog": {"path": str(catalog), "http": HTTP},
            "images": {"max_bytes": 100_000},
            "heldout": {"size": 2},
            "shards": {"images_per_shard": 4},
            "executor": "inline",
        }
    )


def rejected(root):
    rows = pq.read_table(root / "rejected.parquet").to_pylist()
    return {row["image_id"].rpartition("/")[2]: (row["reason"], row["detail"]) for row in rows}


def stored(root):
    dataset = Dataset.open(root)
    return {image.image_id: image.encoded for side in SplitName for image in dataset.iterate(side)}


def kept(root):
    return [path for path in root.rglob("*") if path.is_file()]


def test_what_a_server_does_costs_its_pictures_until_a_retry(
    server, picture, http_config, tmp_path
):
    root = tmp_path / "dataset"
    report = preprocess(http_config, str(root))
    assert (report.counts.written, report.counts.rejected, report.retryable) == (10, 11, 9)
    told = rejected(root)
    for name, (_, reason, detail) in BAD.items():
        assert (told[name][0], detail in told[name][1]) == (reason, True), told[name]
    assert told["unreachable"][0] == "server not reachable"
    assert told["password"][0] == told["file.png"][0] == "not a URL to fetch"
    assert b"secret" not in b"".join(path.read_bytes() for path in root.glob("*.parquet"))
    assert {server.asked[png(i)] for i in range(PICTURES)} == {1}
    before = stored(root)
    assert set(before) == {server.url(png(i)) for i in range(PICTURES)}
    # Now what was bad is good, and what was good is gone.
    server.answers = {f"/{name}": picture(100 + i, (16, 16)) for i, name in enumerate(BAD)}
    server.asked.clear()
    report = preprocess(http_config, str(root), retry_rejected=True)
    assert (report.counts.written, report.counts.rejected) == (18, 3)
    assert server.asked == {f"/{name}": 1 for name in BAD}
    after = stored(root)
    assert {url: after[url] for url in before} == before
    assert kept(root / "plan" / "fetched") == []
    # A shard that is lost is fetched again, while the pictures are there and the same.
    dataset = Dataset.open(root)
    shards = [dataset.path(shard.path) for shard in dataset.split(SplitName.TRAIN).shards]
    server.answers |= {png(i): picture(i, (16, 16)) for i in range(PICTURES)}
    whole = shards[0].read_bytes()
    shards[0].unlink()
    assert repair(dataset, verify(dataset, Meter()), Meter()).left == {}
    assert shards[0].read_bytes() == whole
    server.answers = dict.fromkeys(server.answers, picture(999, (16, 16)))
    shards[0].unlink()
    (why,) = repair(dataset, verify(dataset, Meter()), Meter()).left.values()
    assert why.endswith(": the file changed since it was checked")


def test_two_catalogs_each_fetch_in_their_own_way(server, picture, write_csv, tmp_path):
    """And in several processes, each of which asks for several pictures at a time: two arrive only
    when both are asked for."""
    server.answers |= {png(i): picture(i, (16, 16)) for i in range(PICTURES)}
    both = threading.Barrier(2)

    def together(data):
        def answer(handler):
            both.wait(5)
            handler.send(200, data)

        return answer

    server.answers |= {png(i): together(server.answers[png(i)]) for i in range(2)}
    rows = [(server.url(png(i)), "ab"[i % 2], 1) for i in range(PICTURES)]
    config = PreprocessingConfig.model_validate(
        {
            "catalog": {
                "path": str(write_csv(tmp_path / "train.csv", rows[:6])),
                "http": HTTP | {"user_agent": "training"},
            },
            "heldout": {
                "catalog": {
                    "path": str(write_csv(tmp_path / "heldout.csv", rows[6:])),
                    "http": HTTP | {"user_agent": "held out"},
                }
            },
            "runner": {"processes": 2},
        }
    )
    report = preprocess(config, str(tmp_path / "dataset"))
    assert report.images == {SplitName.TRAIN: 6, SplitName.HELDOUT: 4}
    agents = sorted(headers["User-Agent"] for headers in server.headers)
    assert agents == ["held out"] * 4 + ["training"] * 6


# Without a job.


@pytest.fixture
def source(tmp_path):
    return HttpSource(HttpConfig(**HTTP), UPath(tmp_path / "fetched"))


@pytest.fixture
def url(server, picture):
    server.answers["/a.png"] = picture(1, (16, 16))
    return server.url("/a.png")


def test_what_is_kept_is_not_asked_for_again(server, source, url):
    image = source.check(url, ImageConfig())
    again = HttpSource(source.http, source.kept_in)
    again.expect([url], 1000)
    assert again.check(url, ImageConfig()) == image
    assert server.asked == {"/a.png": 1}


def test_what_is_kept_of_a_shard_is_fetched_ahead_where_it_is_to_be_checked(server, source, url):
    check = CheckImage(source, ImageConfig())
    image = source.check(url, ImageConfig())
    source.kept.keep(url, dataclasses.replace(image, look=None))
    source.expect([url], 10_000)
    source.expect([f"{url}?other"], 10_000)
    wait_for(lambda: server.asked["/a.png?other"])
    assert server.asked["/a.png"] == 1
    check.expect([url])
    wait_for(lambda: server.asked["/a.png"] == 2)
    assert source.check(url, ImageConfig()) == image
    check.expect([url, f"{url}?another"])
    wait_for(lambda: server.asked["/a.png?another"])
    assert server.asked["/a.png"] == 2


def test_what_killed_processes_had_begun_is_deleted(source, url, tmp_path):
    source.check(url, ImageConfig())
    (picture,) = kept(source.kept_in)
    leftover = picture.with_name(f"{picture.name}.{'0' * 32}.tmp")
    leftover.write_bytes(b"half")
    root = UPath(tmp_path / "dataset")
    (root / "plan").mkdir(parents=True)
    source.kept_in.rename(root / "plan" / "fetched")
    remove_leftovers(root)
    assert [path.name for path in kept(root)] == [picture.name]


@pytest.mark.parametrize("length", [0, 5, 40, -1])
def test_what_is_kept_and_damaged_is_asked_for_again(server, source, url, length):
    image = source.check(url, ImageConfig())
    (file,) = kept(source.kept_in)
    file.write_bytes(file.read_bytes()[:length])
    assert source.kept.find(url) is None
    assert source.check(url, ImageConfig()) == image
    assert server.asked == {"/a.png": 2}


def test_what_cannot_be_kept_is_no_fault_of_the_picture(source, url):
    source.kept_in.write_bytes(b"a file where a directory should be")
    with pytest.raises(OSError, match="fetched"):
        source.check(url, ImageConfig())


def test_a_picture_that_is_not_expected_is_fetched_all_the_same(server, source, url, picture):
    server.answers |= {png(i): picture(i, (16, 16)) for i in range(3)}
    source.expect([server.url(png(i)) for i in range(3)], 10_000)
    for path in ("/2.png", "/a.png", "/0.png", "/0.png"):
        assert source.fetch(server.url(path), 10_000) == server.answers[path]


def test_what_is_no_longer_expected_is_ended(server, url, tmp_path):
    """It leaves its connection to what is expected then."""
    server.answers["/never"] = never
    patient = HttpConfig(**HTTP | {"deadline": 30}, connections=1)
    source = HttpSource(patient, UPath(tmp_path / "fetched"))
    source.expect([server.url("/never")], 10_000)
    wait_for(lambda: server.asked["/never"])
    source.expect([url], 10_000)
    wait_for(lambda: server.asked["/a.png"])
    assert source.fetch(url, 10_000)
    with pytest.raises(ImageRejectedError):
        source.fetch(server.url("/gone"), 10_000)
    assert source.fetch(url, 10_000)
    assert server.asked["/a.png"] == 2


def test_few_are_begun_at_a_time_and_the_first_come_first(server, tmp_path, picture):
    """While the first picture takes long, the next ones arrive."""
    server.answers |= {png(i): picture(i, (16, 16)) for i in range(8)}
    release = threading.Event()
    first = server.answers[png(0)]

    def late(handler):
        release.wait(5)
        handler.send(200, first)

    server.answers[png(0)] = late
    urls = [server.url(png(i)) for i in range(8)]
    source = HttpSource(
        HttpConfig(**HTTP | {"deadline": 5}, connections=2), UPath(tmp_path / "fetched")
    )
    source.expect(urls, 10_000)
    wait_for(lambda: len(server.asked) == 8)
    release.set()
    assert [source.fetch(url, 10_000) for url in urls] == [
        first,
        *list(server.answers.values())[1:],
    ]
    assert server.connections == 2


def wait_for(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_shard_that_is_written_needs_what_was_kept_no_more(server, source, url, tmp_path):
    """And nothing of it is fetched."""
    root, shard = UPath(tmp_path / "dataset"), "train-00000-of-00001"
    digest = source.check(url, ImageConfig()).digest.hex()
    source.check(f"{url}?other", ImageConfig())
    write_planned(
        root, shard, pa.table([[url], [digest], [[0]], [[1.0]], [[]], [7]], schema=PLAN_SCHEMA)
    )
    assert isinstance(write_shard(shard, root, source, ImageConfig()), RecordShard)
    assert source.kept.find(url) is None
    assert source.kept.find(f"{url}?other") is not None
    assert server.asked == {"/a.png": 1, "/a.png?other": 1}

"""Tables on the wire: their streams, the file that they are spilled to, their shuffles, errors."""

import errno
import gc
import importlib
import logging
import os
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from upath import UPath

from manylabel.preprocessing.config import RunnerConfig
from manylabel.preprocessing.decisions.columns import numbers
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.transport.beam import beam
from manylabel.preprocessing.transport.coder import TableCoder
from manylabel.preprocessing.transport.runner import check_runner, parse_options, run_pipeline
from manylabel.preprocessing.transport.scratch import Scratch, scratch, spilling_to
from manylabel.preprocessing.transport.shuffle import Collect, Shuffle, cut


def table_of(values):
    """With a column of each kind that travels."""
    values = list(values)
    return pa.table(
        {
            "number": pa.array(values, pa.uint64()),
            "text": pa.array([f"ä{value}" if value % 3 else None for value in values]),
            "digest": pa.array([value.to_bytes(16, "big") for value in values], pa.binary(16)),
            "labels": pa.array(
                [[{"key": value, "confidence": 0.5}] * (value % 3) for value in values],
                pa.list_(pa.struct([("key", pa.uint64()), ("confidence", pa.float64())])),
            ),
        }
    )


class TestCoder:
    @pytest.mark.parametrize("table", [table_of(range(100)), table_of([])])
    def test_a_table_comes_back(self, table, tmp_path):
        coder = TableCoder()
        assert coder.decode(coder.encode(table)).equals(table)
        with spilling_to(str(tmp_path)):
            assert coder.decode(coder.encode(table)).equals(table)

    def test_of_a_slice_the_slice_alone_travels(self):
        coder, table = TableCoder(), table_of(range(10_000))
        piece = coder.encode(table.slice(5000, 10))
        assert coder.decode(piece).equals(table.slice(5000, 10))
        assert len(piece) < len(coder.encode(table)) / 20

    def test_a_huge_table_has_a_size_that_beam_can_hold(self):
        """Beam takes sizes as C integers; 3 GiB that are never touched take no memory."""
        rows = (3 << 30) // 8
        numbers = pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(np.empty(rows))])
        table = pa.table({"number": numbers})
        assert table.nbytes > 2**31
        assert TableCoder().estimate_size(table) == 2**31 - 1

    def test_beam_uses_it(self):
        assert isinstance(beam.coders.registry.get_coder(pa.Table), TableCoder)

    def test_while_a_graph_spills_sixteen_bytes_are_moved(self, tmp_path):
        with spilling_to(str(tmp_path)):
            assert len(TableCoder().encode(table_of(range(10_000)))) == 16
        assert scratch() is None


class TestScratch:
    def test_what_was_put_is_got_in_any_order_and_while_more_is_put(self, tmp_path):
        file = Scratch(str(tmp_path))
        streams = [os.urandom(size) for size in (1, 5000, 0, 70_000, 3)]
        places = [file.put(pa.py_buffer(stream)) for stream in streams[:3]]
        first = file.get(places[1])
        places += [file.put(pa.py_buffer(stream)) for stream in streams[3:]]
        for stream, place in reversed(list(zip(streams, places, strict=True))):
            assert file.get(place).to_pybytes() == stream
        assert first.to_pybytes() == streams[1]
        file.close()

    def test_it_has_no_name_and_gives_its_room_back(self, tmp_path):
        with spilling_to(str(tmp_path)):
            TableCoder().encode(table_of(range(1000)))
            assert list(tmp_path.iterdir()) == []
            opened = _open_files_in(tmp_path)
            assert len(opened) == 1
        gc.collect()
        assert _open_files_in(tmp_path) == []

    def test_a_full_disk_is_named(self, monkeypatch):
        file = Scratch("/dev/shm")
        monkeypatch.setattr(os, "pwrite", _no_room)
        with pytest.raises(OSError, match=r"No space left .*runner\.scratch\): ./dev/shm."):
            file.put(pa.py_buffer(b"x"))
        file.close()

    def test_a_stream_that_the_system_takes_in_pieces_is_whole(self, tmp_path, monkeypatch):
        """Linux writes at most 2 GiB at once."""
        file = Scratch(str(tmp_path))
        real = os.pwrite
        monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:7], at))
        place = file.put(pa.py_buffer(b"abcdefghijklmnopqrstuvwxyz"))
        after = file.put(pa.py_buffer(b"after"))
        assert file.get(place).to_pybytes() == b"abcdefghijklmnopqrstuvwxyz"
        assert file.get(after).to_pybytes() == b"after"
        file.close()


def _no_room(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def _open_files_in(directory):
    links = (Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd"))
    return [link for link in links if link.is_symlink() and str(directory) in os.readlink(link)]


def by_number(table):
    return numbers(table, "number")


class TestShuffle:
    def test_rows_of_a_bucket_stay_in_order_and_none_is_lost(self):
        table = table_of([7, 3, 12, 7, 0, 5])
        pieces = dict(cut(table, by_number, 5))
        assert {bucket: by_number(piece).tolist() for bucket, piece in pieces.items()} == {
            0: [0, 5],
            2: [7, 12, 7],
            3: [3],
        }
        many = np.random.default_rng(0).integers(0, 1000, 5000)
        for bucket, piece in cut(table_of(many.tolist()), by_number, 3):
            assert by_number(piece).tolist() == many[many % 3 == bucket].tolist()

    def test_equal_keys_meet_in_one_table(self, tmp_path):
        """Through a real graph; the results are files, as those of the job are."""

        def write(bucket, table):
            values = sorted(by_number(table).tolist())
            (tmp_path / f"{bucket}.txt").write_text(repr(values))

        tables = [table_of(range(start, 60, 4)) for start in range(4)] + [table_of([])]
        run_pipeline(
            lambda pipeline: (
                pipeline
                | beam.Create(tables).with_output_types(pa.Table)
                | Shuffle(by_number, 7)
                | beam.MapTuple(write)
            ),
            RunnerConfig(),
            UPath(tmp_path / "scratch"),
        )
        found = {int(path.stem): eval(path.read_text()) for path in tmp_path.glob("*.txt")}
        assert found == {bucket: list(range(bucket, 60, 7)) for bucket in range(7)}

    @pytest.mark.parametrize("count", [0, 1, 5])
    def test_everything_is_collected_also_nothing(self, tmp_path, count):
        run_pipeline(
            lambda pipeline: (
                pipeline
                | beam.Create(list(range(count)))
                | Collect(sum)
                | beam.Map(lambda total: (tmp_path / "total").write_text(str(total)))
            ),
            RunnerConfig(),
            UPath(tmp_path / "scratch"),
        )
        assert (tmp_path / "total").read_text() == str(sum(range(count)))


def run_step(step, tmp_path):
    run_pipeline(
        lambda pipeline: pipeline | beam.Create([1]) | beam.Map(step),
        RunnerConfig(scratch=str(tmp_path)),
        UPath("memory://elsewhere"),
    )


class TestErrors:
    def test_ours_keep_their_words(self, tmp_path, caplog):
        def fail(_):
            raise PreprocessingError("a.csv: line 2: expected CSV")

        with pytest.raises(PreprocessingError) as error:
            run_step(fail, tmp_path)
        assert str(error.value) == "a.csv: line 2: expected CSV"
        assert caplog.text == ""

    def test_those_of_storage_keep_their_kind_and_file(self, tmp_path):
        def fail(_):
            raise TimeoutError(errno.ETIMEDOUT, "Connection timed out", "/far/away")

        with pytest.raises(TimeoutError) as error:
            run_step(fail, tmp_path)
        assert (error.value.errno, error.value.filename) == (errno.ETIMEDOUT, "/far/away")

    def test_what_ours_were_made_of_is_not_told_instead(self, tmp_path):
        """As of a catalog that Arrow calls damaged, by an error of its own, while Beam builds."""

        def build(_):
            raise PreprocessingError("a.parquet: expected Parquet") from OSError("damaged page")

        with pytest.raises(PreprocessingError, match=r"a\.parquet: expected Parquet"):
            run_pipeline(build, RunnerConfig(), UPath(tmp_path))

    def test_a_scratch_file_that_cannot_be_read_is_told_as_such(self, tmp_path, monkeypatch):
        """Beam makes a ValueError of it."""

        def fail(*_):
            raise OSError(errno.EIO, "Input/output error", "/far/away")

        monkeypatch.setattr(Scratch, "get", fail)
        tables = [table_of(range(3))]
        with pytest.raises(OSError, match="Input/output error"):
            run_pipeline(
                lambda pipeline: (
                    pipeline
                    | beam.Create(tables).with_output_types(pa.Table)
                    | Shuffle(by_number, 2)
                    | beam.MapTuple(lambda _, table: table.num_rows)
                ),
                RunnerConfig(),
                UPath(tmp_path),
            )

    def test_an_error_in_the_program_keeps_its_kind(self, tmp_path):
        with pytest.raises(ZeroDivisionError):
            run_step(lambda number: number / 0, tmp_path)

    def test_scratch_that_is_no_directory(self, tmp_path):
        with pytest.raises(PreprocessingError, match=r"runner\.scratch: .* received .*/nowhere"):
            check_runner(RunnerConfig(scratch=str(tmp_path / "nowhere")))

    def test_an_option_that_beam_does_not_know(self):
        message = r"preprocessing\.runner\.options: .* received --nonsense; see"
        with pytest.raises(PreprocessingError, match=message):
            parse_options(["--runner=FlinkRunner", "--nonsense=1"])


def test_tables_that_wait_need_no_memory(tmp_path):
    """Beam holds their places; else it would hold the streams of all of them."""

    def make(number):
        values = np.random.default_rng(number).integers(0, 1 << 62, 1 << 17, np.uint64)
        return number, pa.table({"number": values})

    def look(_, tables):
        with (tmp_path / "held").open("a") as file:
            file.write(f"{tracemalloc.get_traced_memory()[0]}\n")
        return sum(table.num_rows for table in tables)

    tracemalloc.start()
    run_pipeline(
        lambda pipeline: (
            pipeline
            | beam.Create(range(16))
            | beam.Map(make).with_output_types(tuple[int, pa.Table])
            | beam.GroupByKey()
            | beam.MapTuple(look)
        ),
        RunnerConfig(),
        UPath(tmp_path),
    )
    tracemalloc.stop()
    held = [int(line) for line in (tmp_path / "held").read_text().split()]
    assert len(held) == 16
    assert max(held) < 4 * (1 << 20)


@pytest.mark.parametrize("level", [logging.INFO, logging.NOTSET])
def test_beam_is_quiet_unless_it_was_asked_to_speak(level, monkeypatch):
    logger = logging.getLogger("apache_beam")
    monkeypatch.setattr(logger, "level", level)
    importlib.reload(sys.modules["manylabel.preprocessing.transport.beam"])
    assert logger.level == (level or logging.ERROR)


def test_a_graph_that_is_run_in_a_notebook_is_like_any_other(tmp_path, monkeypatch):
    """Beam's interactive ones want pandas, which is not installed. IPython is here what Beam asks
    of it."""
    kernel = SimpleNamespace(config={"IPKernelApp": {}}, execution_count=1)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: kernel))
    done = tmp_path / "done"
    assert beam.utils.interactive_utils.is_in_notebook()
    run_pipeline(
        lambda graph: graph | beam.Create(["once"]) | beam.Map(done.write_text),
        RunnerConfig(),
        UPath(tmp_path),
    )
    assert beam.utils.interactive_utils.is_in_notebook()
    assert done.read_text() == "once"

"""Files of lines that are cut and thinned without being read whole."""

import tracemalloc

import pytest

from manylabel.trainer.runs import line_file
from manylabel.trainer.runs.line_file import cut_behind, thin


def number_of(line, begin):
    return int(line.split()[0])


@pytest.mark.parametrize("block", [1, 3, 7, 64, 10_000])
@pytest.mark.parametrize("end", ["", "6", "6 cut sh"])
def test_it_is_cut_behind_the_last_line_that_stays(tmp_path, monkeypatch, block, end):
    monkeypatch.setattr(line_file, "_BLOCK", block)
    path = tmp_path / "lines"
    lines = [f"{number} {'x' * (5 * number % 13)}\n" for number in range(6)]
    for last in range(-1, 6):
        path.write_text("".join(lines) + end)
        seen: list[int] = []

        def stays(line, begin, last=last, seen=seen):
            assert path.read_bytes()[begin:].startswith(line)
            seen.append(number_of(line, begin))
            return seen[-1] <= last

        cut_behind(path, stays)
        assert path.read_text() == "".join(lines[: last + 1])
        assert seen == list(range(5, max(last, 0) - 1, -1))


def test_an_empty_file_stays_empty(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"")
    cut_behind(path, lambda line, begin: True)
    thin(path)
    assert path.read_bytes() == b""


def test_the_end_of_a_large_file_is_found_without_the_rest(tmp_path):
    path = tmp_path / "lines"
    line = b"1 " + b"x" * 297 + b"\n"
    path.write_bytes(line * 50_000 + b"2 x\n" * 3)
    looked_at: list[int] = []

    def stays(line, begin):
        looked_at.append(begin)
        return line[:1] == b"1"

    tracemalloc.start()
    try:
        cut_behind(path, stays)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert path.stat().st_size == 50_000 * len(line)
    assert len(looked_at) == 4
    assert peak < 1_000_000


def test_every_other_line_of_the_older_half_goes(tmp_path):
    path = tmp_path / "lines"
    path.write_text("".join(f"{number:02d}\n" for number in range(20)))
    thin(path)
    assert [*map(int, path.read_text().split())] == [0, 2, 4, 6, 8, *range(10, 20)]
    thin(path)
    assert [*map(int, path.read_text().split())] == [0, 4, 8, 11, *range(13, 20)]

"""`make proofs`: it runs all that the tests leave out, to the end, and nothing is skipped."""

import os
import subprocess
import sys

import pytest

from tests._proofs import PROOFS, REPOSITORY, SKIPPING, Proof, main, run_proofs

TESTS = REPOSITORY / "tests"
TOOLS = ("_line_coverage.py", "_proofs.py")


def test_each_script_beside_the_tests_is_one():
    scripts = {
        str(path.relative_to(REPOSITORY))
        for path in TESTS.rglob("_*.py")
        if 'if __name__ == "__main__"' in path.read_text("utf-8") and path.name not in TOOLS
    }
    words = [word for proof in PROOFS for word in proof.command]
    run = {word if word.endswith(".py") else word.replace(".", "/") + ".py" for word in words}
    assert scripts - run == set()


def test_each_test_that_may_skip_itself_is_in_one():
    may = {
        str(path.relative_to(REPOSITORY))
        for path in TESTS.rglob("*.py")
        if any(word in path.read_text("utf-8") for word in ("pytest.skip(", "mark.skip", "orskip("))
    } - {"tests/test_proofs.py"}
    assert may != set()
    assert {
        path for path in may if not path.startswith(tuple(f"{name}/" for name in SKIPPING))
    } == set()


def test_one_that_fails_does_not_keep_others_from_running(tmp_path, capfd):
    proofs = [
        Proof("worse", "it fails", ("-c", "raise SystemExit(3)")),
        Proof("absent", "it cannot run", ("-c", "print('ran')"), lambda: "needs a moon"),
        Proof("good", "it has data", ("-c", "import sys; print(sys.argv[1])", "{dataset}")),
    ]
    failed = run_proofs(proofs, lambda: tmp_path / "data")
    assert failed == {"worse": "exit code 3", "absent": "needs a moon"}
    lines = capfd.readouterr().out.splitlines()
    assert lines == [
        "== worse: it fails",
        "== worse: failed: exit code 3, 0 s",
        "== absent: it cannot run",
        "== absent: failed: needs a moon, 0 s",
        "== good: it has data",
        str(tmp_path / "data"),
        "== good: passed, 0 s",
    ]


def test_the_image_is_built_by_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (image,) = [proof for proof in PROOFS if proof.name == "image"]
    assert image.missing() == "images are built by root"


@pytest.mark.parametrize(("argument", "code"), [("--list", 0), ("training-kils", 2)])
def test_its_names_are_told_and_checked(argument, code, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["", argument])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code or 0) == code
    told = capsys.readouterr()
    assert all(proof.name in told.out + told.err for proof in PROOFS)


def test_what_skips_itself_fails_and_says_why(tmp_path):
    (tmp_path / "test_here.py").write_text(
        "import pytest\n"
        "def test_a(): pytest.skip('no moon')\n"
        "@pytest.mark.skipif(True, reason='no sun')\n"
        "def test_b(): pass\n"
        "@pytest.mark.xfail\n"
        "def test_c(): assert False\n"
        "def test_d(): pass\n"
    )
    (tmp_path / "test_module.py").write_text("import pytest\npytest.importorskip('absent_one')\n")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "pytest", "-p", "tests._no_skips", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--continue-on-collection-errors"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "test_here.py::test_a: no moon" in done.stdout
    assert "test_here.py::test_b: no sun" in done.stdout
    assert "test_module.py: could not import 'absent_one'" in done.stdout
    assert "1 failed, 1 passed, 1 xfailed, 2 errors" in done.stdout

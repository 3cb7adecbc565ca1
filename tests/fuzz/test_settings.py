"""Settings in YAML: any text and any values; what is accepted says the same when written again."""

from typing import Any

import yaml
from hypothesis import strategies as st

from manylabel.pipeline.config import PRESETS, dump_settings, load_settings
from manylabel.pipeline.errors import SettingsError
from tests.fuzz._damage import damaged
from tests.fuzz._edits import edited, to_json
from tests.fuzz._target import ACCEPTED, Target, check_line, fuzz, place_of

FILES = [path.read_bytes() for path in sorted(PRESETS.glob("*.yaml"))]
TREES = [yaml.safe_load(data) for data in FILES]
_levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12))
_merges = "\n".join(f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}" for n in range(1, 12))
LAUGHS = [
    f"m0: &m0 {{a: 1}}\n{_merges}\ntrainer: *m11\n".encode(),
    f"l0: &l0 [ha]\n{_levels}\ntrainer: {{epochs: !!pairs [a: *l11]}}\n".encode(),
    f"l0: &l0 [ha]\n{_levels}\ntrainer: {{epochs: *l11}}\npreprocessing: *l11\n".encode(),
    b"trainer: &a {model: *a}\npreprocessing: &b [*b]\n",
    b"? &k {a: 1}\n: *k\n? [x]\n: 1\n",
    b"preprocessing: {catalog: {path: " + b"[" * 3000 + b"\n",
    b"trainer: !!python/object/apply:os.system [x]\neval: !!binary aGk=\n",
    b"eval: {k: 0x10, batch_size: 1_000, precision_at: 190:20:30}\n? \n: 2001-01-01\n",
]
WORDS = (
    *(
        b"&a ",
        b"*a",
        b"<<: ",
        b"!!str ",
        b"!!int ",
        b"!!set ",
        b"!!timestamp ",
        b"? ",
        b": ",
        b"- ",
    ),
    *(
        b"|\n",
        b"> ",
        b"---\n",
        b"...\n",
        b"%YAML 1.1\n",
        b"#",
        b"'",
        b'"',
        b"{",
        b"[",
        b"\t",
        b"\0",
    ),
    *(
        b"\xff",
        b".inf",
        b".nan",
        b"~",
        b"\\x1b",
        b'"\\UFFFFFFFF"',
        b"\xc2\x85",
        b"\xe2\x80\xa8",
        b"9" * 5000,
    ),
    *(b"2026-13-45", b"0o777", b"1e999"),
)
_overrides = st.lists(
    st.builds(
        "{}={}".format,
        st.sampled_from(
            (
                "trainer.epochs",
                "eval.k",
                "preprocessing.catalog.path",
                "trainer.loss",
                "a",
                "",
                "trainer..x",
                "eval.weights.csv",
            )
        ),
        st.sampled_from(
            (
                "1",
                "null",
                "[",
                "{a: 1}",
                "&a [*a]",
                ".nan",
                "1e400",
                "'",
                "*",
                "!!python/name:os.system",
                "2026-13-45",
                "9" * 5000,
                '"\\U00110000"',
                "\x1b[2J",
                "a\nb",
                "",
            )
        )
        | st.text(max_size=4),
    ),
    max_size=2,
)
CASES = st.tuples(
    damaged([*FILES, *LAUGHS], WORDS)
    | edited(TREES).map(to_json)
    | edited(TREES).map(
        lambda tree: yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")
    ),
    _overrides,
)
SOUND: list[Any] = [(data, []) for data in FILES]


def check(case, folder):
    data, overrides = case
    path = folder / "settings.yaml"
    path.write_bytes(data)
    try:
        settings = load_settings(str(path), overrides)
    except SettingsError as error:
        for line in str(error).split("\n"):
            check_line(line)
        return place_of(error)
    path.write_text(dump_settings(settings), "utf-8")
    assert load_settings(str(path)) == settings
    return ACCEPTED


TARGET = Target("settings", CASES, check)


def test_settings(tmp_path):
    fuzz(TARGET, tmp_path / "case", 20, sound=SOUND)

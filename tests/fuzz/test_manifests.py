"""A dataset's manifest: damaged bytes, and odd values in the right places."""

import json

from manylabel.storage.manifest import SplitShards, content_digest
from tests.fuzz._damage import damaged
from tests.fuzz._datasets import read_all, sound_dataset, write
from tests.fuzz._edits import edited, edited_json, to_json
from tests.fuzz._target import Target, fuzz

FILES = sound_dataset()
FILE = FILES["manifest.json"]
SOUND = [FILE]
TREE = json.loads(FILE)
WORDS = (b"null", b"NaN", b"-1", b"1e999", b"\\ud800", b'"', b"{", b"[", b",", b"\0", b"../")


def with_digest(tree):
    """With the content digest of what it says, where it can have one."""
    try:
        splits = {name: SplitShards.model_validate(each) for name, each in tree["splits"].items()}
        tree["content_digest"] = content_digest(splits, tree["labels_digest"])
    except (TypeError, ValueError, KeyError, AttributeError):
        pass
    return tree


CASES = (
    damaged(SOUND, WORDS)
    | edited_json([TREE])
    | edited([TREE]).map(with_digest).map(to_json)
    | edited([TREE["splits"]]).map(lambda splits: to_json(with_digest({**TREE, "splits": splits})))
)


def check(data, folder):
    write(folder, FILES | {"manifest.json": data})
    return read_all(folder)


TARGET = Target("manifests", CASES, check)


def test_manifests(tmp_path):
    fuzz(TARGET, tmp_path / "case", 80, sound=SOUND)

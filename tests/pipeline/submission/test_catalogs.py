"""What a submitted preprocessing reads: all nodes must see it, at the same paths."""

from pathlib import Path

from manylabel.pipeline import cli
from manylabel.pipeline.commands import submitting


def test_both_catalogs_and_their_pictures_are_named_absolutely_and_looked_for(
    tmp_path, monkeypatch
):
    asked = []

    def submit(stage, place, arguments, settings, folders, delivery):
        asked.append((settings["preprocessing"], folders))
        return 0

    monkeypatch.setattr(submitting, "submit", submit)
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(
        "preprocessing:\n"
        "  catalog: {path: s3://bucket/train.csv, image_root: pictures}\n"
        "  heldout:\n"
        "    catalog: {path: fasteval.csv, image_root: fasteval/pictures}\n"
    )
    assert cli.run(["submit", "preprocess", "mine.yaml", "--output", "dataset"]) == 0
    ((section, folders),) = asked
    assert section["catalog"]["path"] == "s3://bucket/train.csv"
    heldout = section["heldout"]["catalog"]
    assert heldout["path"] == str(tmp_path / "fasteval.csv")
    assert heldout["image_root"] == str(tmp_path / "fasteval" / "pictures")
    assert folders.read == tuple(
        str(tmp_path / name) for name in ("pictures", "fasteval.csv", "fasteval/pictures")
    )

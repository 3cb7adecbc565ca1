"""Commands as a shell takes them: words come back as they went in."""

import shlex

import pytest

from manylabel.deploy.dashboard.errors import NotThere
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.remedies import (
    evaluate_command,
    evaluate_new,
    review_command,
    runs_command,
)
from manylabel.eval.store.names import EvaluationName


@pytest.fixture
def store(tmp_path):
    root = tmp_path / "my runs; rm -r $HOME"
    (root / "it's").mkdir(parents=True)
    return Store(root)


def test_paths_are_one_word_each(store):
    run = str(store.root / "it's")
    name, other = EvaluationName("it's", 7), EvaluationName("a b", 8)
    assert shlex.split(evaluate_new(store, "it's"))[2:] == [run, "--step", "new"]
    assert shlex.split(evaluate_command(store, name))[2:] == [run, "--step", "7"]
    assert shlex.split(review_command(store, name, other)) == [
        *("manylabel", "review", run, "7", "--against", "a b@8"),
    ]
    assert shlex.split(runs_command(store)) == ["manylabel", "runs", str(store.root)]
    with pytest.raises(NotThere) as caught:
        store.run("none")
    assert shlex.split(caught.value.command or "") == ["manylabel", "runs", str(store.root)]


def test_pages_quote_paths_in_their_commands(folder, tmp_path, client):
    folder.root = tmp_path / "my runs"
    folder.root.mkdir()
    assert f"--run &#39;{folder.root}/first&#39;" in client().get("/").text
    folder.add_run("a run", 0)
    page = client().get("/").text
    assert f"manylabel promote &#39;{folder.root}/a run&#39; --step N" in page
    assert f"manylabel evaluate &#39;{folder.root}/a run&#39; --step new" in page
    page = client().get("/runs/a run").text
    assert f"manylabel evaluate &#39;{folder.root}/a run&#39; --step new" in page

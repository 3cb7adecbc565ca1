"""Reviews on disk; files that are missing, cut short or of another evaluation."""

import shutil

import pytest

from manylabel.eval.config import MetricForm
from manylabel.eval.errors import EvaluationError
from manylabel.eval.review.build import build_review
from manylabel.eval.review.store import (
    find_review,
    read_review,
    read_review_images,
    read_review_labels,
    write_review,
)
from manylabel.eval.store.evaluations import evaluation_directory
from manylabel.storage.errors import DocumentError

TABLES = ("classes", "images", "positives", "parts")


@pytest.fixture
def two(runs):
    return runs.add("a", 10, skill=1.2, seed=1), runs.add("b", 20, skill=0.8, seed=2)


def folder_of(runs, review, side="reference"):
    reviewed = getattr(review, side)
    return evaluation_directory(runs.root / reviewed.run, reviewed.step, reviewed.settings)


def test_a_review_comes_back_equal(runs, two):
    tables = build_review(runs.root, *two)
    directory = write_review(runs.root, tables)
    assert directory == runs.root / "reviews" / tables.review.digest
    assert read_review(directory) == tables.review
    assert read_review_labels(directory) == tables.labels
    assert read_review_images(directory) == tables.images
    before = (directory / "review.json").read_bytes()
    write_review(runs.root, build_review(runs.root, *two))
    assert (directory / "review.json").read_bytes() == before
    assert len(list((runs.root / "reviews").iterdir())) == 1


def test_a_review_is_found_by_all_that_it_depends_on(runs, two):
    tables = build_review(runs.root, *two)
    assert find_review(runs.root, *two) is None
    directory = write_review(runs.root, tables)
    assert find_review(runs.root, *two) == directory
    assert find_review(runs.root, two[0], two[1], settings="training_share") == directory
    assert find_review(runs.root, *reversed(two)) is None
    assert find_review(runs.root, two[0], two[1], margin=0.01) is None
    assert find_review(runs.root, two[0], two[1], form=MetricForm.IMAGE) is None
    runs.add("a", 10, skill=1.2, seed=3)  # Trained again.
    assert find_review(runs.root, *two) is None


@pytest.mark.parametrize("name", ["labels", "images"])
@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_a_damaged_table_of_a_review_is_named_with_its_repair(runs, two, name, damage):
    directory = write_review(runs.root, build_review(runs.root, *two))
    break_it(directory / f"{name}.parquet", damage)
    read = {"labels": read_review_labels, "images": read_review_images}[name]
    with pytest.raises(EvaluationError) as caught:
        read(directory)
    text = str(caught.value)
    assert str(directory / f"{name}.parquet") in text
    assert f"run `manylabel review {runs.root / 'a'} 10 --against b@20`" in text


@pytest.mark.parametrize("text", ["", '{"format_version": 1', '{"format_version": 9}'])
def test_half_a_review_is_named(runs, two, text):
    directory = write_review(runs.root, build_review(runs.root, *two))
    (directory / "review.json").write_text(text)
    with pytest.raises(DocumentError, match="review again") as caught:
        read_review(directory)
    assert str(directory / "review.json") in str(caught.value)


def test_no_review(runs, two):
    with pytest.raises(EvaluationError, match=r"no such review; run `manylabel review RUN STEP`"):
        read_review(runs.root / "reviews" / "0123")


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("damage", ["cut", "missing", "json"])
def test_a_damaged_table_of_an_evaluation_is_named_with_its_repair(runs, two, name, damage):
    path = folder_of(runs, build_review(runs.root, *two).review) / f"{name}.parquet"
    break_it(path, damage)
    with pytest.raises(EvaluationError) as caught:
        build_review(runs.root, *two)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert text.endswith(f"run `manylabel evaluate {runs.root / 'b'} --step 20`")
    assert "\n" not in text


def test_predictions_of_another_tool_are_repaired_by_scoring_them_again(runs):
    two = runs.add("a", 10), runs.add("b", 20, seed=2, checkpoint="/x/the best.parquet")
    folder = folder_of(runs, build_review(runs.root, *two).review)
    break_it(folder / "images.parquet", "cut")
    with pytest.raises(EvaluationError) as caught:
        build_review(runs.root, *two)
    assert str(caught.value).endswith(
        f"run `manylabel score '/x/the best.parquet' --dataset {runs.dataset.root} "
        f"--run {runs.root / 'b'} --step 20 --samples 640`"
    )


@pytest.mark.parametrize("name", ["classes", "images"])
def test_a_table_of_another_evaluation_is_found_out(runs, two, name):
    review = build_review(runs.root, *two).review
    one, other = folder_of(runs, review, "candidate"), folder_of(runs, review)
    shutil.copy(one / f"{name}.parquet", other / f"{name}.parquet")
    with pytest.raises(EvaluationError, match=r"expected results that make up the weighted MAP"):
        build_review(runs.root, *two)


def test_other_near_duplicates_are_found_out(runs, make_dataset, two):
    """They are no part of a dataset's content: preprocessing may have found others."""
    shard = runs.dataset.split("heldout").shards[0]
    index = runs.dataset.read_index(shard)
    heldout = dict(
        zip(
            index.column("image_id").to_pylist(), index.column("label_ids").to_pylist(), strict=True
        )
    )
    counts = runs.dataset.labels().column("train_count").to_pylist()
    alike = make_dataset(heldout, counts)
    assert alike.content_digest == runs.dataset.content_digest
    runs.add("b", 20, on=alike)
    with pytest.raises(EvaluationError, match=r"others, though the dataset is the same") as caught:
        build_review(runs.root, *two)
    assert str(folder_of(runs, build_review(runs.root, two[0], two[0]).review)) in str(caught.value)


def break_it(path, damage):
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:-100])
        case "missing":
            path.unlink()
        case "json":
            path.write_text("{}")

"""Reviews against literal loops over the formulas of docs/metric.md."""

import datetime
import math
import shutil

import numpy as np
import pytest
from scipy.stats import t

from manylabel.eval.config import MetricForm
from manylabel.eval.errors import EvaluationError
from manylabel.eval.ranking.parts import part_of
from manylabel.eval.review.build import LISTED_IMAGES, build_review
from manylabel.eval.review.model import Check
from manylabel.eval.statistics.bands import BANDS, band_of
from manylabel.eval.statistics.differences import Verdict
from manylabel.eval.store.evaluations import read_classes, read_images, read_positives

IMAGE, CLASS = MetricForm.IMAGE, MetricForm.CLASS


def labels_of(runs):
    """Label sets and near-duplicate group by image, and the weights, read from the dataset."""
    index = runs.dataset.read_index(runs.dataset.split("heldout").shards[0])
    labels = dict(
        zip(
            index.column("image_id").to_pylist(),
            map(set, index.column("label_ids").to_pylist()),
            strict=True,
        )
    )
    images = runs.dataset.heldout_images()
    groups = dict(
        zip(
            images.column("image_id").to_pylist(),
            images.column("near_duplicate_group").to_pylist(),
            strict=True,
        )
    )
    counts = runs.dataset.labels().column("train_count").to_pylist()
    return labels, groups, [count / sum(counts) for count in counts]


def image_gains(batch, labels):
    """Precision at the rank of each label in its image's ranking: gains[image, label]."""
    gains = {}
    for image_id, class_ids in zip(batch.image_ids, batch.class_ids.tolist(), strict=True):
        hits = 0
        for rank, class_id in enumerate(class_ids, start=1):
            if class_id in labels[image_id]:
                hits += 1
                gains[image_id, class_id] = hits / rank
    return gains


def class_precision(batch, labels, num_classes, leaving_out=frozenset()):
    """Average precision of each label over the images that are not left out; None without one."""
    found = []
    for label in range(num_classes):
        positives = sum(
            label in ids for image_id, ids in labels.items() if image_id not in leaving_out
        )
        ranked = sorted(
            (
                (-score, image_id)
                for image_id, class_ids, scores in zip(
                    batch.image_ids, batch.class_ids.tolist(), batch.scores.tolist(), strict=True
                )
                for class_id, score in zip(class_ids, scores, strict=True)
                if class_id == label and image_id not in leaving_out
            ),
        )
        hits, gained = 0, 0.0
        for place, (_, image_id) in enumerate(ranked, start=1):
            if label in labels[image_id]:
                hits += 1
                gained += hits / place
        found.append(gained / positives if positives else None)
    return found


def class_parts(precision, weights):
    """Contribution of each label to the class form."""
    total = sum(w for w, ap in zip(weights, precision, strict=True) if ap is not None)
    return [0 if ap is None else w * ap / total for w, ap in zip(weights, precision, strict=True)]


@pytest.fixture
def two(runs):
    return runs.add("a", 10, skill=1.2, seed=1), runs.add("b", 20, skill=0.8, seed=2)


def test_the_image_form_is_that_of_literal_loops(runs, two):
    tables = build_review(runs.root, *two)
    labels, groups, weights = labels_of(runs)
    gains = [image_gains(runs.batches[name], labels) for name in two]
    counted = [image_id for image_id, ids in labels.items() if ids]
    contributions = [0.0] * len(weights)
    changes = {}
    for image_id in counted:
        total = sum(weights[c] for c in labels[image_id])
        changes[image_id] = 0.0
        for c in labels[image_id]:
            change = gains[0].get((image_id, c), 0) - gains[1].get((image_id, c), 0)
            changes[image_id] += weights[c] * change / total
            contributions[c] += weights[c] * change / total / len(counted)
    mean = sum(changes.values()) / len(counted)
    by_group: dict[int, float] = {}
    for image_id, change in changes.items():
        group = groups[image_id]
        by_group[group] = by_group.get(group, 0) + change - mean
    squares = sum(value**2 for value in by_group.values())
    error = math.sqrt(len(by_group) / (len(by_group) - 1) * squares) / len(counted)

    difference = tables.review.forms[IMAGE].difference
    assert difference.value == pytest.approx(mean, abs=1e-12)
    assert difference.standard_error == pytest.approx(error, rel=1e-9)
    assert difference.low == pytest.approx(mean - t.ppf(0.975, len(by_group) - 1) * error, rel=1e-9)
    assert tables.labels.column("image_contribution").to_numpy() == pytest.approx(
        np.array(contributions), abs=1e-12
    )
    assert tables.review.groups == len(by_group)
    signs = [np.sign(value) for value in changes.values()]
    images = tables.review.images
    assert (images.better, images.worse, images.equal) == tuple(map(signs.count, (1, -1, 0)))
    assert images.counted == len(counted) == 119
    listed = tables.images.to_pylist()
    sizes = sorted((abs(value) for value in changes.values() if abs(value) > 1e-12), reverse=True)
    assert [abs(row["difference"]) for row in listed] == pytest.approx(sizes, abs=1e-12)
    assert len({row["image_row"] for row in listed}) == len(listed) > 100
    for row in listed:
        assert row["difference"] == pytest.approx(changes[row["image_id"]], abs=1e-12)
        assert row["difference"] == pytest.approx(
            row["candidate_average_precision"] - row["reference_average_precision"], abs=1e-12
        )


def test_the_class_form_is_that_of_literal_loops(runs, two):
    tables = build_review(runs.root, *two)
    labels, groups, weights = labels_of(runs)
    batches = [runs.batches[name] for name in two]
    precisions = [class_precision(batch, labels, len(weights)) for batch in batches]
    contributions = np.subtract(*(class_parts(each, weights) for each in precisions))
    part = dict(zip(groups, part_of(np.array(list(groups.values()))).tolist(), strict=True))
    without = []
    for number in sorted({part[image_id] for image_id, ids in labels.items() if ids}):
        left_out = {image_id for image_id in labels if part[image_id] == number}
        sums = [
            sum(class_parts(class_precision(batch, labels, len(weights), left_out), weights))
            for batch in batches
        ]
        without.append(sums[0] - sums[1])
    count = len(without)
    spread = sum((value - sum(without) / count) ** 2 for value in without)

    difference = tables.review.forms[CLASS].difference
    assert difference.value == pytest.approx(contributions.sum(), abs=1e-12)
    assert difference.standard_error == pytest.approx(
        math.sqrt((count - 1) / count * spread), rel=1e-9
    )
    found = tables.labels
    assert found.column("class_contribution").to_numpy() == pytest.approx(contributions, abs=1e-12)
    for side, precision in zip(("candidate", "reference"), precisions, strict=True):
        column = found.column(f"{side}_average_precision").to_pylist()
        assert column == [None if ap is None else pytest.approx(ap) for ap in precision]


@pytest.mark.parametrize("form", MetricForm)
@pytest.mark.parametrize("weights", ["training_share", "uniform"])
def test_parts_add_up_to_the_difference(runs, form, weights):
    kind = {"kind": weights}
    two = [runs.add(run, 10, skill, seed, weights=kind) for run, skill, seed in RANDOM]
    tables = build_review(runs.root, *two)
    review = tables.review.forms[form]
    value = review.difference.value
    assert abs(value) > 0.01
    assert tables.labels.column(f"{form}_contribution").to_numpy().sum() == pytest.approx(
        value, abs=1e-12
    )
    assert sum(band.difference.value for band in review.bands) == pytest.approx(value, abs=1e-12)
    assert sum(band.labels for band in review.bands) == 12  # Two are on no held-out image.
    assert review.candidate.value - review.reference.value == pytest.approx(value, abs=1e-12)
    bands = tables.labels.column("band").to_pylist()
    counts = tables.labels.column("train_count").to_numpy()
    assert bands == [BANDS[place].name for place in band_of(counts)]
    by_band = {band.band.name: band.difference.value for band in review.bands}
    contributions = tables.labels.column(f"{form}_contribution").to_pylist()
    for name, expected in by_band.items():
        inside = [c for c, band in zip(contributions, bands, strict=True) if band == name]
        assert sum(inside) == pytest.approx(expected, abs=1e-12)


RANDOM = (("a", 1.0, 5), ("b", 0.6, 6))


def test_swapping_flips_signs_and_nothing_else(runs, two):
    there, back = build_review(runs.root, *two), build_review(runs.root, *reversed(two))
    for form in MetricForm:
        one, other = there.review.forms[form], back.review.forms[form]
        assert one.difference.value == -other.difference.value
        there_by, back_by = one.difference, other.difference
        assert there_by.low is not None
        assert back_by.high is not None
        assert there_by.low == -back_by.high
        assert one.difference.p_value == other.difference.p_value
        assert [band.difference.value for band in one.bands] == [
            -band.difference.value for band in other.bands
        ]
        assert [band.p_holm for band in one.bands] == [band.p_holm for band in other.bands]
        assert one.labels.shown_better == other.labels.shown_worse > 0
        for name, sign in (("contribution", -1), ("p", 1), ("q", 1)):
            column = f"{form}_{name}"
            assert there.labels.column(column).to_numpy() == pytest.approx(
                sign * back.labels.column(column).to_numpy(), abs=1e-15, nan_ok=True
            )
    assert there.review.images.better == back.review.images.worse
    assert there.review.forms[CLASS].verdict is Verdict.BETTER
    assert back.review.forms[CLASS].verdict is Verdict.WORSE


@pytest.mark.parametrize("copy", ["a", "copy"])
def test_an_evaluation_against_itself_or_a_copy_is_exactly_0_and_not_shown(runs, copy):
    one = runs.add("a", 10, skill=1.0, seed=1)
    other = runs.add(copy, 10, skill=1.0, seed=1)
    tables = build_review(runs.root, one, other)
    for form in MetricForm:
        review = tables.review.forms[form]
        assert (review.difference.value, review.difference.low, review.difference.high) == (0, 0, 0)
        assert review.difference.p_value == 1
        assert review.verdict is Verdict.NOT_SHOWN
        assert {band.difference.value for band in review.bands} == {0}
        assert (review.labels.shown_better, review.labels.shown_worse) == (0, 0)
        assert not tables.labels.column(f"{form}_contribution").to_numpy().any()
    assert tables.images.num_rows == 0
    assert tables.review.images.equal == tables.review.images.counted
    assert build_review(runs.root, one, other, margin=0.001).review.headline.verdict is (
        Verdict.EQUAL
    )


def test_labels_are_all_there_and_those_with_few_images_have_no_q(runs, two):
    tables = build_review(runs.root, *two)
    rows = tables.labels.to_pylist()
    assert [row["class_id"] for row in rows] == list(range(14))
    groups = read_images(runs.root / "a", 10, tables.review.candidate.settings)
    group_of = groups.column("near_duplicate_group").to_pylist()
    positives = read_positives(runs.root / "a", 10, tables.review.candidate.settings).to_pylist()
    testable = {
        c
        for c in range(14)
        if len({group_of[p["image_row"]] for p in positives if p["class_id"] == c}) >= 8
    }
    for form in MetricForm:
        counts = tables.review.forms[form].labels
        assert {row["class_id"] for row in rows if row[f"{form}_q"] is not None} == testable
        assert counts.testable == len(testable)
        assert counts.too_few == 12 - len(testable) > 0
        shown = [row for row in rows if (row[f"{form}_q"] or 1) <= 0.1]
        assert counts.shown_better == sum(row[f"{form}_contribution"] > 0 for row in shown) > 0


def test_the_review_says_what_was_reviewed(runs, two):
    review = build_review(runs.root, two[0], two[1], margin=0.25).review
    candidate = review.candidate
    assert (candidate.name, review.reference.name) == two
    assert (candidate.samples, candidate.k, candidate.weights) == (320, 6, "training_share")
    assert candidate.dataset_digest == runs.dataset.content_digest
    assert candidate.settings == review.reference.settings
    assert review.form is CLASS
    assert review.margin == 0.25
    assert review.headline.verdict is Verdict.NOT_SHOWN
    classes = read_classes(runs.root / "a", 10, candidate.settings)
    weights = classes.column("weight").to_numpy()
    baseline = classes.column("baseline_average_precision").to_numpy()
    present = ~np.isnan(baseline)
    assert review.headline.candidate_baseline == pytest.approx(
        weights[present] @ baseline[present] / weights[present].sum()
    )
    by_image = build_review(runs.root, two[0], two[1], form=IMAGE).review
    assert by_image.headline == by_image.forms[IMAGE] != review.forms[CLASS]


def test_the_headline_is_in_the_form_of_the_candidates_settings(runs):
    two = [runs.add(run, 10, skill, seed, form="image") for run, skill, seed in RANDOM]
    assert build_review(runs.root, *two).review.form is IMAGE


def test_the_checks(runs, two):
    fact = Check(name="intact", passed=False, text="gone")
    better = build_review(runs.root, two[0], two[1], facts=[fact]).review.checks
    assert [(check.name, check.passed) for check in better] == [
        ("difference", True),
        ("bands", True),
        ("labels", True),
        ("comparable", True),
        ("intact", False),
    ]
    difference, bands, labels, comparable, _ = better
    assert difference.text.startswith("Better by +0.")
    assert bands.text == "No frequency band shown to be worse"
    assert labels.text == (
        "0 labels shown to be worse (false discovery rate 10%), of 9 with at least 8 images, "
        "near-duplicates counting once; 3 labels have too few to tell"
    )
    assert runs.dataset.content_digest[:12] in comparable.text
    worse = build_review(runs.root, *reversed(two)).review.checks
    assert [check.passed for check in worse] == [False, False, False, True]
    assert worse[1].text.startswith("1 of 5 frequency bands shown to be worse: 1,000–2,999")


def test_as_many_images_as_somebody_looks_at(runs, two, monkeypatch):
    monkeypatch.setattr("manylabel.eval.review.build.LISTED_IMAGES", 3)
    assert LISTED_IMAGES == 200
    every = build_review(runs.root, *two).images
    assert every.num_rows == 3


def test_a_dataset_that_is_gone_costs_the_images_names_alone(runs, two):
    before = build_review(runs.root, *two)
    (runs.dataset.root / "manifest.json").unlink()
    after = build_review(runs.root, *two)
    assert after.review == before.review
    assert after.images.drop_columns("image_id") == before.images.drop_columns("image_id")
    assert set(after.images.column("image_id").to_pylist()) == {None}


def test_another_dataset_in_its_place_does_not_name_the_images(runs, two, make_dataset):
    other = make_dataset({"x.jpg": [0]}, [1] * 14)
    shutil.rmtree(runs.dataset.root)
    shutil.copytree(other.root, runs.dataset.root)
    images = build_review(runs.root, *two).images
    assert set(images.column("image_id").to_pylist()) == {None}


def test_how_many_checkpoints_were_looked_at(runs, two):
    assert build_review(runs.root, *two).review.looked_at == 1
    for step in (20, 30):
        runs.add("a", step, seed=step)
    runs.add("a", 40, seed=4, k=5)  # In another way.
    later = datetime.datetime(2026, 1, 3, tzinfo=datetime.UTC)
    runs.add("a", 30, seed=3, at=later, weights={"kind": "uniform"})
    assert build_review(runs.root, *two).review.looked_at == 3


def test_a_margin_below_0_is_refused(runs, two):
    with pytest.raises(EvaluationError, match="margin of 0 or more"):
        build_review(runs.root, two[0], two[1], margin=-0.1)

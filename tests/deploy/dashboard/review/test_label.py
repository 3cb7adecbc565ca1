"""The Label page against literal loops over labels and rankings."""

import csv
import html
import io
import re
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest

from manylabel.deploy.dashboard.pages.rankings import (
    NEAR,
    near_hits,
    near_rows,
    predicted_instead,
    read_label_rankings,
    without_label,
)
from manylabel.eval.store.evaluations import (
    drop_predictions,
    predictions_path,
    read_classes,
    read_positives,
)
from manylabel.eval.store.names import EvaluationName

NEW, OLD = EvaluationName("new", 200), EvaluationName("old", 100)
ADDRESS = "/labels/{}?a=new@200&b=old@100"


def text_of(page: str) -> str:
    shown = re.sub(r"<(style|title|desc)[ >].*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", shown)).split())


def precision_in_class(reviewed, name, class_id):
    """AP's summands by a literal loop: class_gain of each image of the class, no equal scores."""
    positives = read_positives(reviewed.root / name.run, name.step, reviewed.settings, class_id)
    return dict(
        zip(
            positives.column("image_row").to_pylist(),
            positives.column("class_gain").to_pylist(),
            strict=True,
        )
    )


def rankings_of(reviewed, class_id):
    ids = reviewed.dataset.heldout_images().column("image_id")
    return read_label_rankings(reviewed.root / "new", 200, ids, class_id)


def test_rankings_are_those_of_their_images_in_any_order_of_the_file(reviewed, monkeypatch):
    monkeypatch.setattr("manylabel.deploy.dashboard.pages.rankings._PIECE", 7)
    rankings = rankings_of(reviewed, 3)
    expected = reviewed.rankings[NEW]
    assert sorted(rankings.image_rows.tolist()) == list(range(len(expected)))
    assert (rankings.image_rows != np.arange(len(expected))).any()
    for place, row in enumerate(rankings.image_rows):
        assert rankings.near[place].tolist() == expected[row].tolist()
    seen = {
        row: rank
        for row, ranking in enumerate(expected.tolist())
        for rank in range(1, 7)
        if ranking[rank - 1] == 3
    }
    places = zip(rankings.seen_rows.tolist(), rankings.seen_ranks.tolist(), strict=True)
    assert dict(places) == seen


@pytest.mark.parametrize("class_id", [0, 3, 9])
def test_images_without_the_label_that_rank_it(reviewed, class_id):
    path = predictions_path(reviewed.root / "new", 200)
    rows = {
        each: row
        for row, each in enumerate(reviewed.dataset.heldout_images().column("image_id").to_pylist())
    }
    expected = []
    for each in pq.read_table(path).to_pylist():
        row = rows[each["image_id"]]
        if class_id in each["class_ids"] and class_id not in reviewed.labels[row]:
            rank = each["class_ids"].index(class_id)
            expected.append((-each["scores"][rank], row, rank + 1))
    own = np.array([row for row, labels in enumerate(reviewed.labels) if class_id in labels])
    found, near = without_label(rankings_of(reviewed, class_id), own)
    assert expected
    assert [(each.image_row, each.rank) for each in found] == [
        (row, rank) for _, row, rank in sorted(expected)[:8]
    ]
    assert near == len(expected)  # All K ranks are among the ten best here.


@pytest.mark.parametrize("class_id", [0, 3, 9])
def test_what_is_predicted_instead(reviewed, class_id):
    positives = read_positives(reviewed.root / "new", 200, reviewed.settings)
    own = read_positives(reviewed.root / "new", 200, reviewed.settings, class_id)
    rows = own.column("image_row").to_numpy().astype(np.int64)
    ranks = own.column("rank").fill_null(0).to_numpy().astype(np.int64)
    here: Counter[int] = Counter()
    everywhere: Counter[int] = Counter()
    for row, ranking in enumerate(reviewed.rankings[NEW].tolist()):
        labels = reviewed.labels[row]
        wrong = [each for each in ranking if each not in labels]
        everywhere.update(wrong)
        if class_id in labels:
            above = ranking[: ranking.index(class_id)] if class_id in ranking else ranking
            here.update(each for each in above if each not in labels)
    excess = {
        each: here[each] - len(rows) * everywhere[each] / len(reviewed.labels) for each in here
    }
    expected = sorted((each for each in here if excess[each] > 0), key=lambda each: -excess[each])
    hits = near_hits(positives.filter(near_rows(positives)), len(reviewed.labels))
    found = predicted_instead(rankings_of(reviewed, class_id), hits, rows, ranks)
    assert {each.class_id for each in found} == set(expected[:8])
    for each in found:
        assert each.images == here[each.class_id]
        assert each.share == pytest.approx(here[each.class_id] / len(rows))
        assert each.overall == pytest.approx(everywhere[each.class_id] / len(reviewed.labels))
    gains = [excess[each.class_id] for each in found]
    assert gains == sorted(gains, reverse=True)
    assert NEAR == 10


def test_the_page_names_the_label_and_its_average_precisions(reviewed):
    page = text_of(reviewed.get(ADDRESS.format(1)).text)
    ends = [
        read_classes(reviewed.root / name.run, name.step, reviewed.settings).slice(1, 1).to_pylist()
        for name in (NEW, OLD)
    ]
    new, old = ends[0][0], ends[1][0]
    change = new["average_precision"] - old["average_precision"]
    assert f"AP {new['average_precision']:.3f} against {old['average_precision']:.3f}" in page
    assert f"{change:+.3f}".replace("-", "\N{MINUS SIGN}") in page
    assert f"1,200 training images (band 1,000–2,999) · {new['heldout_count']} held-out" in page
    contribution = (new["contribution"] - old["contribution"]) * 1e4
    assert f"adds {contribution:+.2f} × 10⁻⁴".replace("-", "\N{MINUS SIGN}") in page
    assert f"{new['hits']} of {new['heldout_count']}" in page


def test_the_image_form_has_other_contributions(reviewed):
    new, old = (
        read_classes(reviewed.root / name.run, name.step, reviewed.settings).slice(1, 1).to_pylist()
        for name in (NEW, OLD)
    )
    contribution = (new[0]["image_contribution"] - old[0]["image_contribution"]) * 1e4
    page = text_of(reviewed.get(ADDRESS.format(1) + "&form=image").text)
    assert f"adds {contribution:+.2f} × 10⁻⁴ to the difference (image form)" in page


def test_held_out_images_of_the_label_with_both_ranks(reviewed):
    found = reviewed.get("/labels/1/images.csv?a=new@200&b=old@100").text
    rows = {int(row["image_row"]): row for row in csv.DictReader(io.StringIO(found))}
    assert sorted(rows) == [row for row, labels in enumerate(reviewed.labels) if 1 in labels]
    new, old = (precision_in_class(reviewed, name, 1) for name in (NEW, OLD))
    for row, told in rows.items():
        for key, name in (("rank_a", NEW), ("rank_b", OLD)):
            ranking = reviewed.rankings[name][row].tolist()
            expected = float(ranking.index(1) + 1) if 1 in ranking else None
            assert (float(told[key]) if told[key] else None) == expected
        assert (told["image"], told["image_id"]) == (f"{row:03}.jpg", f"folder, one/{row:03}.jpg")
        assert float(told["change"]) == pytest.approx(new[row] - old[row])
    changes = [abs(float(row["change"])) for row in rows.values()]
    assert changes == sorted(changes, reverse=True)


def test_pictures_are_those_that_changed_most(reviewed):
    page = reviewed.get(ADDRESS.format(1)).text
    new, old = (precision_in_class(reviewed, name, 1) for name in (NEW, OLD))
    change = {row: new[row] - old[row] for row in new}
    for title, sign in (("gained", 1), ("lost", -1)):
        part = page.partition(f"Images where it {title}")[2].partition("</section>")[0]
        found = [int(row) for row in re.findall(r'href="/images/(\d+)\?', part)]
        changes = [sign * change[row] for row in found]
        assert changes == sorted(changes, reverse=True)
        expected = min(8, sum(sign * each > 0 for each in change.values()))
        assert len(found) == expected
        assert all(each > 0 for each in changes)


def test_its_history_over_the_checkpoints(reviewed):
    figure = reviewed.get("/labels/1/history.svg?a=new@200&b=old@100").text
    values = [
        read_classes(reviewed.root / "new", step, reviewed.settings)
        .column("average_precision")[1]
        .as_py()
        for step in (100, 200)
    ]
    assert f"{values[0]:.3f} at step 100, {values[1]:.3f} at step 200" in figure
    assert "old@100 has" in figure


def test_a_label_that_no_held_out_image_has(reviewed):
    page = text_of(reviewed.get(ADDRESS.format(15)).text)
    assert "No held-out image has this label: nothing can be said of it." in page
    assert "No images" in page or "0 images" in page


def test_without_a_reference_the_label_is_shown_alone(reviewed):
    page = text_of(reviewed.get("/labels/1?a=new@200").text)
    assert "against" not in page.partition("In numbers")[0]
    assert ">was<" not in page
    assert "Its held-out images" in page


def test_a_run_stands_for_its_newest_evaluation(reviewed):
    page = reviewed.get("/labels/1?run=new&b=old@100")
    assert "Label in new step 200 against old step 100" in text_of(page.text)
    (reviewed.root / "bare").mkdir()
    assert reviewed.get("/labels/1?run=bare").status_code == 404
    assert reviewed.get("/labels/1").status_code == 400


def test_a_reference_that_cannot_be_compared_leaves_the_candidate(reviewed):
    page = reviewed.get("/labels/1?a=new@200&b=old@7")
    assert page.status_code == 200
    assert "old@7 was not evaluated" in page.text
    assert ">was<" not in page.text


def test_a_reference_on_other_images_is_not_compared(reviewed):
    path = reviewed.evaluation(OLD) / "summary.json"
    digest = reviewed.dataset.content_digest
    path.write_text(path.read_text().replace(digest, digest[::-1]))
    page = reviewed.get(ADDRESS.format(1)).text
    assert "new@200 and old@100 are not comparable" in page
    assert ">was<" not in page


def test_predictions_that_were_dropped_are_told_with_their_reason(reviewed):
    drop_predictions(reviewed.root / "new", 200, "older than the newest 10")
    page = html.unescape(reviewed.get(ADDRESS.format(1)).text)
    assert "The predictions of new@200 are not kept: older than the newest 10." in page
    command = f"manylabel evaluate {reviewed.root / 'new'} --step 200"
    assert f"{command} --set eval.keep_predictions=null<" in page  # Else nothing is done.
    assert "problems" not in page
    assert "Images where it gained" in page


@pytest.mark.parametrize("how", ["cut", "gone"])
@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("evals/00000200/SETTINGS/classes.parquet", "Images where it gained"),
        ("evals/00000200/SETTINGS/positives.parquet", "In numbers"),
        ("history/SETTINGS/classes.parquet", "Images where it gained"),
        ("evals/00000200/predictions.parquet", "Images where it gained"),
    ],
)
def test_a_damaged_file_is_named_and_the_rest_shown(reviewed, name, left, how):
    path = reviewed.root / "new" / name.replace("SETTINGS", reviewed.settings)
    if how == "gone":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
    answer = reviewed.get(ADDRESS.format(1))
    page = html.unescape(answer.text)
    assert answer.status_code == 200
    assert str(path) in page or (path.name == "predictions.parquet" and "are not kept" in page)
    assert f"manylabel evaluate {reviewed.root / 'new'}" in page
    assert left in page


def test_a_damaged_summary_of_the_candidate_is_named(reviewed):
    path = reviewed.evaluation(NEW) / "summary.json"
    path.write_text("{")
    answer = reviewed.get(ADDRESS.format(1))
    assert answer.status_code == 404
    assert str(path) in answer.text
    assert "manylabel evaluate" in answer.text


def test_without_the_dataset_images_are_numbers(reviewed):
    reviewed.dataset.root.rename(reviewed.dataset.root.with_name("moved"))
    page = html.unescape(reviewed.get(ADDRESS.format(1)).text)
    assert "<img" not in page
    assert "held-out image " in page
    assert "--dataset DIR" in page


@pytest.mark.parametrize(("label", "status"), [("16", 404), ("sky", 404), ("-1", 404), ("1", 200)])
def test_labels_are_numbers_of_the_dataset(reviewed, label, status):
    assert reviewed.get(ADDRESS.format(label)).status_code == status


def test_predictions_of_another_dataset_are_refused(reviewed):
    path = predictions_path(reviewed.root / "new", 200)
    other = predictions_path(reviewed.root / "old", 100)
    assert path.read_bytes() != other.read_bytes()
    ids = reviewed.dataset.heldout_images().column("image_id").slice(1)
    with pytest.raises(Exception, match="not in the dataset's held-out split"):
        read_label_rankings(reviewed.root / "new", 200, ids, 1)

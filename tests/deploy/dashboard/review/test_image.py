"""The Image page: both rankings, the image's share of the difference, and corrections."""

import csv
import html
import io
import re

import pytest

from manylabel.deploy.dashboard.pages.image_labels import (
    ImageLabel,
    correction,
    image_labels,
    rows_of_image,
)
from manylabel.eval.config import MetricForm
from manylabel.eval.review.store import read_review, read_review_images
from manylabel.eval.store.evaluations import (
    drop_predictions,
    read_classes,
    read_images,
    read_positives,
)
from manylabel.eval.store.names import EvaluationName

NEW, OLD = EvaluationName("new", 200), EvaluationName("old", 100)
ADDRESS = "/images/{}?a=new@200&b=old@100"


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def labels_in(reviewed, row, form):
    tables = [
        read_positives(reviewed.root / each.run, each.step, reviewed.settings)
        for each in (NEW, OLD)
    ]
    new, old = (table.filter(rows_of_image(row, table)) for table in tables)
    classes = read_classes(reviewed.root / "new", 200, reviewed.settings)
    images = read_images(reviewed.root / "new", 200, reviewed.settings)
    counted = len(images) - images.column("weighted_average_precision").null_count
    return image_labels(new, old, classes, form, counted)


@pytest.mark.parametrize("form", MetricForm)
def test_shares_of_all_images_add_up_to_the_difference(reviewed, form):
    total = sum(
        label.contribution
        for row in range(len(reviewed.labels))
        for label in labels_in(reviewed, row, form)
    )
    review = read_review(reviewed.review)
    assert total == pytest.approx(review.forms[form].difference.value, abs=1e-12)


def test_a_share_in_the_image_form_is_that_of_its_average_precisions(reviewed):
    images = read_review_images(reviewed.review).to_pylist()[0]
    row, counted = images["image_row"], 59
    share = sum(each.contribution for each in labels_in(reviewed, row, MetricForm.IMAGE))
    assert share == pytest.approx(images["difference"] / counted, abs=1e-12)
    page = text_of(reviewed.get(ADDRESS.format(row) + "&form=image").text)
    assert f"{share * 1e6:+.2f} × 10⁻⁶ (image form)".replace("-", "\N{MINUS SIGN}") in page
    assert "place 1 of 59 images" in page
    ends = images["candidate_average_precision"], images["reference_average_precision"]
    assert f"{ends[0]:.3f} against {ends[1]:.3f}" in page


def test_labels_have_their_ranks_in_both(reviewed):
    row = 0
    found = {each.class_id: each for each in labels_in(reviewed, row, MetricForm.CLASS)}
    assert sorted(found) == reviewed.labels[row]
    for class_id, label in found.items():
        for name, rank in ((NEW, label.candidate), (OLD, label.reference)):
            ranking = reviewed.rankings[name][row].tolist()
            assert rank == (ranking.index(class_id) + 1 if class_id in ranking else None)


def test_both_rankings_are_listed_with_their_hits_marked(reviewed):
    row = 7
    page = reviewed.get(ADDRESS.format(row)).text
    for title, name in (("Candidate", NEW), ("Reference", OLD)):
        part = page.partition(f"{title}'s best")[2].partition("</table>")[0]
        rows = re.findall(r'<tr[^>]*?( class="hit")?>.*?href="/labels/(\d+)\?', part)
        assert [int(class_id) for _, class_id in rows] == reviewed.rankings[name][row].tolist()
        assert [bool(hit) for hit, _ in rows] == [
            int(class_id) in reviewed.labels[row] for _, class_id in rows
        ]


def test_scores_are_probabilities_by_their_kind(reviewed):
    page = reviewed.get(ADDRESS.format(7)).text
    part = page.partition("Candidate's best")[2].partition("</table>")[0]
    scores = [float(each) for each in re.findall(r'class="number quiet">([\d.]+)<', part)]
    assert len(scores) == 6
    assert all(0 < score < 1 for score in scores)
    assert scores == sorted(scores, reverse=True)


def test_near_duplicates_lead_to_their_pages(reviewed):
    images = reviewed.dataset.heldout_images()
    groups = images.column("near_duplicate_group").to_pylist()
    row = next(row for row, group in enumerate(groups) if groups.count(group) > 1)
    page = reviewed.get(ADDRESS.format(row)).text
    part = page.partition("<h2>Near-duplicates</h2>")[2]
    found = {int(each) for each in re.findall(r'href="/images/(\d+)\?', part)}
    assert found == {each for each, group in enumerate(groups) if group == groups[row]} - {row}
    alone = next(row for row, group in enumerate(groups) if groups.count(group) == 1)
    assert "none held out" in reviewed.get(ADDRESS.format(alone)).text


def test_labels_called_wrong_become_catalog_lines(reviewed):
    row = next(row for row, labels in enumerate(reviewed.labels) if {0, 2} <= set(labels))
    page = reviewed.get(ADDRESS.format(row) + "&wrong=2,0,13").text
    (shown,) = re.findall(r'id="correction".*?<code[^>]*>(.*?)</code>', page, re.DOTALL)
    lines = html.unescape(shown)
    assert sorted(csv.reader(io.StringIO(lines))) == sorted(
        [[f"folder, one/{row:03}.jpg", name, "0"] for name in ("<b>bold</b>", "sea, sand")]
    )
    assert page.count('class="wrong"') == 2
    # Each link adds its label to those of the address, or takes it out again.
    assert "wrong=2#correction" in page
    assert 'id="correction"' not in reviewed.get(ADDRESS.format(row)).text


def test_a_correction_quotes_what_needs_it():
    labels = [ImageLabel(3, 'say "cheese"', 1, None, None, None)]
    assert correction("a,b.jpg", labels, [3]) == '"a,b.jpg","say ""cheese""",0'
    assert correction("a.jpg", labels, []) == ""


def test_an_image_without_labels(reviewed):
    page = text_of(reviewed.get(ADDRESS.format(5)).text)
    assert "It has no labels, or they cannot be read." in page
    assert "Candidate's best" in page
    assert "weighted average precision –" in page


def test_without_a_reference_the_image_is_shown_alone(reviewed):
    page = text_of(reviewed.get("/images/7?a=new@200").text)
    assert "Reference's best" not in page
    assert "against" not in page
    assert "its part of the difference" not in page


def test_dropped_predictions_leave_the_ranks(reviewed):
    drop_predictions(reviewed.root / "old", 100, "older than the newest 10")
    page = html.unescape(reviewed.get(ADDRESS.format(7)).text)
    assert "The predictions of old@100 are not kept: older than the newest 10." in page
    assert "Candidate's best" in page
    assert "looks wrong" in page


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("new/evals/00000200/SETTINGS/classes.parquet", "Near-duplicates"),
        ("new/evals/00000200/SETTINGS/positives.parquet", "Candidate's best"),
        ("old/evals/00000100/SETTINGS/positives.parquet", "looks wrong"),
        ("old/evals/00000100/SETTINGS/images.parquet", "looks wrong"),
        ("new/evals/00000200/predictions.parquet", "looks wrong"),
        ("old/evals/00000100/SETTINGS/summary.json", "looks wrong"),
    ],
)
def test_a_damaged_file_is_named_and_the_rest_shown(reviewed, name, left):
    groups = reviewed.dataset.heldout_images().column("near_duplicate_group").to_pylist()
    row = next(row for row, group in enumerate(groups) if groups.count(group) > 1)
    path = reviewed.root / name.replace("SETTINGS", reviewed.settings)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    answer = reviewed.get(ADDRESS.format(row))
    page = html.unescape(answer.text)
    assert answer.status_code == 200
    assert str(path) in page
    assert f"manylabel evaluate {reviewed.root / name.partition('/')[0]}" in page
    assert left in page


def test_without_the_dataset_the_labels_are_still_shown(reviewed):
    reviewed.dataset.root.rename(reviewed.dataset.root.with_name("moved"))
    page = html.unescape(reviewed.get(ADDRESS.format(7)).text)
    assert "<img" not in page
    assert "held-out image 7" in page
    assert "looks wrong" in page


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/images/60?a=new@200", 404),
        ("/images/x?a=new@200", 404),
        ("/images/1", 400),
        ("/images/1?a=new@200&wrong=sky", 400),
    ],
)
def test_an_address_that_makes_no_sense_is_told(reviewed, address, status):
    assert reviewed.get(address).status_code == status


def test_the_json_has_the_labels_and_their_parts(reviewed):
    data = reviewed.get("/images/7.json?a=new@200&b=old@100").json()
    assert data["image_id"] == "folder, one/007.jpg"
    assert [each["class_id"] for each in data["labels"]]

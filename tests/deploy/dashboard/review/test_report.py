"""The report file: whole, small, without script or network."""

import base64
import hashlib
import html
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from manylabel.deploy.dashboard import report
from manylabel.deploy.dashboard.report import build_report, write_report
from manylabel.eval.config import MetricForm
from manylabel.eval.errors import EvaluationError
from manylabel.eval.review.store import read_review, read_review_images, read_review_labels


class Elements(HTMLParser):
    """All elements with their attributes, and the text of the styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.styles: list[str] = []
        self._in_style = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_endtag(self, tag):
        self._in_style = False

    def handle_data(self, data):
        if self._in_style:
            self.styles.append(data)


@pytest.fixture
def text(reviewed) -> str:
    return build_report(reviewed.root, reviewed.review).decode()


def test_it_loads_nothing_and_runs_nothing(text):
    for tag, attributes in Elements(text).found:
        assert tag not in ("script", "link", "iframe", "object", "form")
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name != "style"
            if name in ("src", "href", "srcset", "action", "xlink:href"):
                assert value is not None
                assert value.startswith("data:image/jpeg;base64,")
    assert re.findall(r"https?://[^\"' ]+", text.replace("http://www.w3.org/2000/svg", "")) == []
    assert "url(" not in text
    assert "@import" not in text


def test_its_policy_allows_its_own_styles_alone(text):
    parsed = Elements(text)
    policies = [
        each["content"]
        for tag, each in parsed.found
        if tag == "meta" and each.get("http-equiv") == "Content-Security-Policy"
    ]
    digests = [
        base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        for style in parsed.styles
    ]
    assert len(digests) == 2
    allowed = " ".join(f"'sha256-{each}'" for each in digests)
    assert policies == [f"default-src 'none'; style-src {allowed}; img-src data:; base-uri 'none'"]


def test_it_says_what_the_review_says_in_both_forms(reviewed, text):
    review = read_review(reviewed.review)
    page = html.unescape(text)
    for form in MetricForm:
        difference = review.forms[form].difference
        assert f"Better by +{difference.value:.4f}" in page
        assert f"+{difference.low:.4f} to +{difference.high:.4f}" in page
        assert f"all labels: +{difference.value:.4f}" in page
    assert all(check.text in page for check in review.checks)
    assert "not over seeds" in page


def test_it_has_the_labels_that_add_most(reviewed, monkeypatch):
    labels = read_review_labels(reviewed.review).to_pylist()
    order = sorted(labels, key=lambda row: -abs(row["class_contribution"]))
    monkeypatch.setattr(report, "LABELS", 5)
    text = build_report(reviewed.root, reviewed.review).decode()
    part = text.partition("The 5 labels that add most")[2].partition("</table>")[0]
    found = [html.unescape(each) for each in re.findall(r'<th scope="row">(.*?)</th>', part)]
    assert found == [row["name"] for row in order[:5]]
    assert f"All 16 labels are in reviews/{reviewed.review.name}/labels.parquet" in text


def test_it_shows_the_images_that_changed_most(reviewed, text):
    images = read_review_images(reviewed.review).to_pylist()
    pictures = [each for tag, each in Elements(text).found if tag == "img"]
    gained = [row["image_id"] for row in images if row["difference"] > 0][:6]
    lost = [row["image_id"] for row in images if row["difference"] < 0][:6]
    assert [each["alt"] for each in pictures] == gained + lost
    for each in pictures:
        data = base64.b64decode((each["src"] or "").partition(",")[2])
        assert Image.open(io.BytesIO(data)).format == "JPEG"


def test_without_the_dataset_it_says_why_there_are_no_pictures(reviewed):
    reviewed.dataset.root.rename(reviewed.dataset.root.with_name("moved"))
    text = build_report(reviewed.root, reviewed.review).decode()
    assert "Their pictures are not in this report" in text
    assert str(reviewed.dataset.root) in text
    assert "<img" not in text


def test_a_name_cannot_break_out(text):
    assert "<b>bold</b>" not in text
    assert "&lt;b&gt;bold&lt;/b&gt;" in text


def test_ids_are_there_once(text):
    ids = [each["id"] for _, each in Elements(text).found if "id" in each]
    assert len(ids) == len(set(ids))


def test_it_appears_at_once_and_is_small(reviewed, tmp_path):
    path = tmp_path / "deeper" / "review.html"
    write_report(reviewed.root, reviewed.review, path)
    assert path.read_bytes() == build_report(reviewed.root, reviewed.review)
    assert path.stat().st_size < 2_000_000
    assert [each.name for each in path.parent.iterdir()] == ["review.html"]


def test_a_damaged_review_is_named_with_its_command(reviewed, tmp_path):
    (reviewed.review / "labels.parquet").write_bytes(b"PAR1")
    with pytest.raises(EvaluationError, match=r"labels.parquet.*manylabel review"):
        write_report(reviewed.root, reviewed.review, tmp_path / "review.html")
    assert not (tmp_path / "review.html").exists()

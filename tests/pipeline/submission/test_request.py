"""What is asked of a cluster."""

import re

import pytest

from manylabel.pipeline.config import load_settings
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.submission.request import (
    absolute,
    cluster_settings,
    differences,
    request_of,
)
from manylabel.storage.jobs import JobStage


def test_equal_requests_do_not_differ(make_request):
    assert differences(make_request(), make_request()) == []
    # Who submits, how often it may be tried, and by what address: none of it is the job's.
    others = make_request(retries=9, address="http://10.0.0.1:8265", code_version="0.2")
    assert differences(make_request(), others) == []


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (
            {"settings": {"trainer": {"epochs": 3.0, "topology": {"workers": 3}}}},
            ["trainer.epochs: 2.0 there, 3.0 here"],
        ),
        (
            {"settings": {"trainer": {"epochs": 2.0, "topology": {"shards": 3}}}},
            [
                "trainer.topology.shards: not set there, 3 here",
                "trainer.topology.workers: 3 there, not set here",
            ],
        ),
        (
            {"arguments": ("train", "settings.yaml", "--run", "/data/runs/other")},
            [
                'arguments: "train settings.yaml --run /data/runs/first" there, '
                '"train settings.yaml --run /data/runs/other" here'
            ],
        ),
        (
            {"settings": {"trainer": {"epochs": 2.0, "topology": {"workers": "drei µ"}}}},
            ['trainer.topology.workers: 3 there, "drei µ" here'],
        ),
    ],
)
def test_what_differs_is_named_a_line_each(make_request, change, lines):
    assert differences(make_request(), make_request(**change)) == lines


@pytest.mark.parametrize(
    "place",
    [
        "/data/first",
        "/data/with space & $(rm -rf)/'x'",
        "/data/Übung-日本",
        "/data/" + "x" * 200,
        "/data/\udcff",
        "/",
    ],
)
def test_ids_are_plain_whatever_the_runs_name(make_request, place):
    prefix = make_request(place=place).prefix
    assert re.fullmatch(r"manylabel-train-[A-Za-z0-9_-]{0,40}-[0-9a-f]{8}-", prefix)


def test_ids_tell_places_and_stages_apart_and_nothing_else(make_request):
    first = make_request()
    assert first.prefix == make_request(retries=9, settings=None).prefix
    places = ("/data/runs/first", "/other/first", "/data/runs/fi rst", "/data/runs/日本", "/x/本日")
    prefixes = {
        make_request(place=place, stage=stage).prefix for place in places for stage in JobStage
    }
    assert len(prefixes) == len(places) * len(JobStage)


def test_a_request_travels_in_the_jobs_metadata(make_request):
    request = make_request()
    assert all(isinstance(value, str) for value in request.to_metadata().values())
    assert request_of(request.to_metadata()) == request
    assert request_of(None) is None
    assert request_of({"name": "another's"}) is None
    newer = request.model_dump_json().replace('"format_version":1', '"format_version":2')
    assert request_of({"manylabel.request": newer}) is None


def test_settings_that_no_process_can_be_told_are_refused(make_request):
    job = make_request(settings={"preprocessing": {"catalog": {"path": "x" * 150_000}}})
    with pytest.raises(CommandError, match=r"at most 100,000 bytes for a job, received 150,"):
        job.to_metadata()


def test_two_spellings_of_a_folder_are_one():
    assert absolute("/data/runs/../runs/a/") == absolute("/data/runs/a")


@pytest.mark.parametrize(
    ("location", "sent"),
    [
        ("x.keras", "HERE/x.keras"),
        ("runs/first", "HERE/runs/first"),
        ("s3://weights/x.keras", "s3://weights/x.keras"),
        ("Xception", "Xception"),
    ],
)
def test_initial_weights_are_named_as_all_nodes_see_them(location, sent, monkeypatch, tmp_path):
    """A name of keras.applications is no path."""
    monkeypatch.chdir(tmp_path)
    settings = load_settings("demo", [f"trainer.model.initial_weights={location}"])
    tree = cluster_settings(settings, JobStage.TRAIN)
    assert tree["trainer"]["model"]["initial_weights"] == sent.replace("HERE", str(tmp_path))

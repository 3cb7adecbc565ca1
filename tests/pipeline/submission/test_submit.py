"""A request is given to a cluster once, and only to one that is fit for it."""

import zipfile
from io import BytesIO

import pytest

from manylabel.cluster.facts import ClusterFacts, NodeFacts, Package, Resources, Seen, Versions
from manylabel.cluster.jobs_api import AlreadySubmittedError, RayJob, RayJobState, Submission
from manylabel.pipeline.config import load_settings
from manylabel.pipeline.errors import CommandError
from manylabel.pipeline.submission import submit
from manylabel.pipeline.submission.request import JobRequest
from manylabel.pipeline.submission.submit import STOP_SECONDS, Fit, Folders, Submitter
from manylabel.storage.jobs import JobStage

SEEN = Seen(
    python="3.11.7",
    ray="2.60.0",
    package=Package(version="0.1.0", location="/code"),
    agent=401,
    agent_port=52365,
    shared_memory_bytes=10**12,
    open_files=65536,
)


class Cluster:
    """In place of the Jobs API and of the look at a cluster's nodes."""

    address = "http://head:8265"

    def __init__(self) -> None:
        self.known: list[RayJob] = []
        self.submitted: list[Submission] = []
        self.others: list[RayJob] = []  # each is quicker than one of ours
        self.meanwhile: list[RayJob] = []  # begun while the nodes are looked at
        self.is_open = False
        self.seen, self.cpus, self.gpus = SEEN, 8.0, 0.0
        self.looks = 0

    def asks_for_token(self) -> bool:
        return not self.is_open

    def version(self) -> None:
        pass

    def jobs(self) -> list[RayJob]:
        return self.known

    def submit(self, submission: Submission) -> None:
        if self.others:
            self.known.append(self.others.pop(0))
            raise AlreadySubmittedError("exists")
        self.submitted.append(submission)

    def look(self, api, shared, read) -> ClusterFacts:
        self.looks += 1
        self.known += self.meanwhile
        assert (shared, read) == (("/shared",), ("/data",))
        room = Resources(cpus=self.cpus, gpus=self.gpus)
        node = NodeFacts(address="10.0.0.1", total=room, free=room, seen=self.seen)
        here = Versions(python="3.11.7", ray="2.60.0", package="0.1.0")
        return ClusterFacts(
            address=self.address,
            asks_for_token=not self.is_open,
            nodes=(node,),
            here=here,
            seconds=1.0,
        )


@pytest.fixture
def cluster(monkeypatch) -> Cluster:
    cluster = Cluster()
    monkeypatch.setattr(submit, "JobsApi", lambda address: cluster)
    monkeypatch.setattr(submit, "check_cluster", cluster.look)
    return cluster


@pytest.fixture
def request_(make_request) -> JobRequest:
    settings = load_settings("demo", ["trainer.topology.workers=3"]).model_dump(mode="json")
    return make_request(settings=settings)


def submitter(request: JobRequest, **options) -> Submitter:
    return Submitter(request, Folders(("/shared",), ("/data",)), **options)


def job(request: JobRequest, number: int, status=RayJobState.RUNNING, **change) -> RayJob:
    metadata = request.model_copy(update=change).to_metadata()
    name = f"{request.prefix}{number}"
    return RayJob(submission_id=name, status=status, metadata=metadata)


def test_a_job_is_numbered_after_those_that_the_cluster_remembers(cluster, request_):
    cluster.known = [job(request_, n, RayJobState.FAILED) for n in (9, 10)]
    cluster.known.append(RayJob(submission_id="another-11", status=RayJobState.RUNNING))
    found = submitter(request_).submit()
    (submission,) = cluster.submitted
    assert found.submission == submission.submission_id == f"{request_.prefix}11"
    assert not found.found
    assert submission.variables == {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}
    assert submission.entrypoint == "python -m manylabel supervise job.json"
    assert submission.metadata == request_.to_metadata()


@pytest.mark.parametrize("status", [RayJobState.RUNNING, RayJobState.PENDING])
def test_a_job_at_work_is_found_and_nothing_is_looked_at(cluster, request_, status):
    cluster.known = [job(request_, 1, RayJobState.FAILED), job(request_, 2, status)]
    found = submitter(request_).submit()
    assert (found.found, found.submission) == (True, f"{request_.prefix}2")
    assert (cluster.submitted, cluster.looks) == ([], 0)


def test_a_job_at_work_with_other_settings_is_told_with_what_differs(cluster, request_):
    settings = load_settings("demo", ["trainer.topology.workers=4"]).model_dump(mode="json")
    cluster.known = [job(request_, 1, settings=settings)]
    with pytest.raises(CommandError) as info:
        submitter(request_).submit()
    first, second = str(info.value).splitlines()
    assert "a job with other settings is at work there" in first
    assert f"`manylabel stop {request_.place}` first" in first
    assert second == "trainer.topology.workers: 4 there, 3 here"
    assert cluster.submitted == []


def test_a_job_of_another_version_is_told(cluster, request_):
    unknown = RayJob(submission_id=f"{request_.prefix}1", status=RayJobState.RUNNING, metadata={})
    cluster.known = [unknown]
    with pytest.raises(CommandError, match="of another version of manylabel, is at work there"):
        submitter(request_).submit()


def test_who_submits_the_same_at_the_same_moment_gets_the_job_of_the_quicker(cluster, request_):
    cluster.others = [job(request_, 1)]
    found = submitter(request_).submit()
    assert (found.found, found.submission) == (True, f"{request_.prefix}1")
    assert cluster.submitted == []


def test_a_job_that_began_while_the_nodes_were_looked_at_is_found(cluster, request_):
    cluster.meanwhile = [job(request_, 1)]
    found = submitter(request_).submit()
    assert (found.found, found.submission) == (True, f"{request_.prefix}1")
    assert cluster.submitted == []


def test_where_the_quicker_one_has_ended_the_next_number_is_taken(cluster, request_):
    cluster.others = [job(request_, 1, RayJobState.FAILED)]
    assert submitter(request_).submit().submission == f"{request_.prefix}2"
    assert len(cluster.submitted) == 1


def test_an_open_cluster_is_refused_before_a_job_looks_at_it(cluster, request_):
    cluster.is_open = True
    for trusted in (None, "another"):
        with pytest.raises(CommandError, match=r"asks for no token, .* --trust-open head$"):
            submitter(request_, trusted=trusted).submit()
    assert (cluster.looks, cluster.submitted) == (0, [])

    cluster.seen = SEEN.model_copy(update={"agent": 405})
    assert submitter(request_, trusted="head").submit().submission == f"{request_.prefix}1"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"ray": "2.59.0"}, "expected Ray 2.60.0 as on this machine, it has 2.59.0"),
        ({"python": "3.12.1"}, "expected Python 3.11.7 as on this machine, it has 3.12.1"),
        ({"package": Package(version="9.9", location="/old")}, "expected manylabel 0.1.0"),
        ({"agent": 405}, "asks for no token"),
    ],
)
def test_a_cluster_that_is_not_fit_is_refused(cluster, request_, change, what):
    cluster.seen = SEEN.model_copy(update=change)
    with pytest.raises(CommandError, match=what) as info:
        submitter(request_).submit()
    assert len(str(info.value).splitlines()) == 1
    assert cluster.submitted == []


def test_a_cluster_without_room_is_refused_a_training_alone(cluster, request_):
    cluster.cpus = 1.0
    with pytest.raises(CommandError, match="expected room for 3 workers"):
        submitter(request_).submit()
    other = request_.model_copy(update={"stage": JobStage.EVALUATE, "settings": None})
    assert submitter(other).submit().submission == f"{other.prefix}1"


def test_what_hinders_nothing_is_told(cluster, request_):
    cluster.seen = SEEN.model_copy(update={"python": "3.11.9"})
    told: list[str] = []
    submitter(request_, on_finding=lambda finding: told.append(finding.line())).submit()
    (line,) = told
    assert "expected Python 3.11.7 as on this machine, it has 3.11.9" in line
    assert len(cluster.submitted) == 1


@pytest.mark.parametrize("is_installed", [True, False])
def test_our_code_travels_where_a_node_lacks_it(cluster, request_, is_installed):
    if not is_installed:
        cluster.seen = SEEN.model_copy(update={"package": None})
    found = submitter(request_, on_finding=pytest.fail).submit()
    assert found.with_code is not is_installed
    (submission,) = cluster.submitted
    with zipfile.ZipFile(BytesIO(submission.package or b"")) as archive:
        assert ("manylabel/__init__.py" in archive.namelist()) is not is_installed


@pytest.mark.parametrize(
    ("stage", "has_gpus", "gpus"),
    [
        (JobStage.EVALUATE, True, 1.0),
        (JobStage.EXPORT, True, 1.0),
        (JobStage.EVALUATE, False, 0.0),
        (JobStage.TRAIN, True, 0.0),  # its workers ask
        (JobStage.PREPROCESS, True, 0.0),
    ],
)
def test_one_process_asks_for_one_gpu(cluster, request_, stage, has_gpus, gpus):
    request = request_.model_copy(update={"stage": stage})
    assert submitter(request).submission(1, Fit(with_code=False, has_gpus=has_gpus)).gpus == gpus

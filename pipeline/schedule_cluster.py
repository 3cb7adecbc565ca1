"""Evaluates on a Ray cluster for a schedule: submits `evaluate`, waits, and reads what it left.

Nothing is kept here. A job that is at work for the same evaluation is found and waited for, so it
does not matter which process submitted it, or whether that lives.
"""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from manylabel.eval.schedule.cluster import EvaluationCluster
from manylabel.eval.schedule.records import FireJob
from manylabel.eval.store.summary import EvaluationSummary
from manylabel.pipeline.choice import choose_checkpoints
from manylabel.pipeline.errors import CommandError, EvaluationBusyError, Interrupted
from manylabel.pipeline.schedule_runs import evaluations_of
from manylabel.storage.jobs import JobStage
from manylabel.storage.provenance import code_version
from manylabel.trainer.runs.checkpoint import list_checkpoints

if TYPE_CHECKING:  # They load the client of clusters.
    from manylabel.cluster.jobs_api import JobsApi
    from manylabel.pipeline.submission.request import JobRequest

Show = Callable[[str], None]
EvaluateOn = Callable[
    [EvaluationCluster, Path, str, Sequence[str], Callable[[FireJob], None], Show],
    list[EvaluationSummary],
]


def evaluate_on_cluster(
    cluster: EvaluationCluster,
    run: Path,
    step: str,
    overrides: Sequence[str],
    on_job: Callable[[FireJob], None],
    show: Show,
) -> list[EvaluationSummary]:
    """Has a cluster evaluate checkpoints of a run; what has been evaluated needs no job.

    A KeyboardInterrupt ends the waiting, and leaves the job at work.

    Args:
        run: Absolute, the same on all nodes and here.
        step: As `evaluate --step` has it: a number, or "all".
        on_job: Told of the job before it is waited for.
        show: Is given what the job prints, for people.

    Raises:
        ClusterError: the cluster cannot be asked, or refuses.
        EvaluationBusyError: another job evaluates the run there.
        CommandError: the job failed or was stopped, or left less than it was asked for.
        TrainingError, EvaluationError, SettingsError, StorageError: the run cannot be read.
    """
    found = list_checkpoints(run)
    evaluated, form = evaluations_of(run, overrides)
    chosen = choose_checkpoints(found, step, evaluated, form)
    if any(evaluated.find(info) is None for info in chosen):
        _carry_out(cluster, run, step, overrides, on_job, show)
    made = [(info, evaluated.find(info)) for info in chosen]
    there = {info.step for info in list_checkpoints(run)}  # Retention may have taken one meanwhile.
    lacking = [str(info.step) for info, summary in made if summary is None and info.step in there]
    if lacking:
        raise CommandError(
            f"{run}: the job on {cluster.address} is done, and there is no evaluation of step "
            f"{', '.join(lacking)}; do its nodes have this very folder there?"
        )
    return [summary for _, summary in made if summary is not None]


def _carry_out(
    cluster: EvaluationCluster,
    run: Path,
    step: str,
    overrides: Sequence[str],
    on_job: Callable[[FireJob], None],
    show: Show,
) -> None:
    from manylabel.cluster.jobs_api import JobsApi  # Most calls find nothing to evaluate.
    from manylabel.pipeline.submission.following import follow
    from manylabel.pipeline.submission.request import JobRequest
    from manylabel.pipeline.submission.submit import Folders, Submitter

    place = str(run)
    sets = (word for override in overrides for word in ("--set", override))
    request = JobRequest(
        stage=JobStage.EVALUATE,
        place=place,
        arguments=("evaluate", place, "--step", step, *sets),
        address=cluster.address,
        code_version=code_version(),
    )
    api = JobsApi(cluster.address)
    submitter = Submitter(
        request,
        Folders((place,)),
        trusted=cluster.trust_open,
        on_finding=lambda finding: show(f"note: {finding.line()}"),
    )
    submitter.check_door()
    _check_free(api, request)
    submitted = submitter.submit()
    job = FireJob(run=run.name, submission=submitted.submission, address=cluster.address)
    on_job(job)
    show(
        f"{'found at work' if submitted.found else 'submitted'}: {job.submission} on {job.address}"
    )
    try:
        code = follow(api, run, JobStage.EVALUATE, job.submission, show)
    except Interrupted as stop:  # It tells a user who followed; here the fire says what follows.
        raise KeyboardInterrupt from stop
    if code != 0:
        raise CommandError(
            f"{job.submission} on {job.address}: {_why(run, job, code)}; manylabel status "
            f"{shlex.quote(place)}"
        )


def _check_free(api: "JobsApi", request: "JobRequest") -> None:
    """Raises EvaluationBusyError where another evaluation of the run is at work or waits."""
    from manylabel.pipeline.submission.request import differences, request_of
    from manylabel.pipeline.submission.submit import unfinished

    job = unfinished(api, request.prefix)
    if job is None:
        return
    there = request_of(job.metadata)
    if there is None or differences(there, request):
        raise EvaluationBusyError(
            f"{request.place}: another evaluation of it is at work, {job.submission_id} on "
            f"{request.address}"
        )


def _why(run: Path, job: FireJob, code: int) -> str:
    """Of a job that ended without success, from the run's own files."""
    from manylabel.pipeline.submission.following import files_of

    files = files_of(run, JobStage.EVALUATE)
    attempts = (
        [each for each in files.attempts if each.submission == job.submission] if files else []
    )
    return (attempts[-1].reason if attempts else None) or f"exit code {code}"

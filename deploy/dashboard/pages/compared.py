"""Which two evaluations an address names, and where what is known about them lies."""

from dataclasses import dataclass

from manylabel.deploy.dashboard.errors import UNREADABLE, BadAddress, NotThere, Problems
from manylabel.deploy.dashboard.reading import Store
from manylabel.deploy.dashboard.remedies import evaluate_command, evaluate_new, runs_command
from manylabel.deploy.dashboard.view import View, number
from manylabel.eval.errors import EvaluationError
from manylabel.eval.store.evaluations import step_directory
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.promotions import newest_promotion

EXAMPLE = "RUN@STEP"


@dataclass(frozen=True)
class Compared:
    """The evaluations of a view.

    Attributes:
        view: The address, which leaves out the reference where it is the champion.
        candidate: The one that is judged.
        reference: The one it is held against; None: none was named, and there is no champion.
        champion: None before the first promotion, and where it cannot be read.
    """

    view: View
    candidate: EvaluationName
    reference: EvaluationName | None
    champion: EvaluationName | None

    @property
    def against(self) -> str:
        """What the reference is called before its name."""
        return "champion " if self.reference == self.champion else ""

    def link(self, path: str) -> str:
        """Another page about the same two evaluations."""
        reference = None if self.reference == self.champion else str(self.reference)
        return self.view.to(path, a=str(self.candidate), b=reference)


def compared(store: Store, view: View, problems: Problems) -> Compared:
    """Reads `a` and `b` of an address; without `b` the reference is the champion.

    Instead of `a`, `run` stands for the newest evaluation of a run.

    Raises:
        BadAddress: one of them is no RUN@STEP, or there is neither `a` nor `run`.
        NotThere: there is no such run.
    """
    promotion = problems.attempt(lambda: newest_promotion(store.root), runs_command(store))
    champion = None if promotion is None else promotion.candidate.name
    if champion is not None:
        view = view.with_defaults(b=str(champion))
    candidate = _candidate(store, view)
    given = view.text("b")
    reference = None if given is None else evaluation_name("b", given)
    for each in (candidate, reference):
        if each is not None:
            store.run(each.run)
    return Compared(view, candidate, reference, champion)


def _candidate(store: Store, view: View) -> EvaluationName:
    run = view.text("run")
    if run is None or view.text("a") is not None:
        return evaluation_name("a", view.required("a", EXAMPLE))
    paths = (store.run(run) / "evals").glob("*/*/summary.json")
    steps = [int(path.parts[-3]) for path in paths if path.parts[-3].isdigit()]
    if not steps:
        raise NotThere(f"{run} has no evaluation yet", evaluate_new(store, run))
    return EvaluationName(run, max(steps))


def evaluated_settings(store: Store, name: EvaluationName, wanted: str) -> list[str]:
    """Names of the settings of a checkpoint's evaluations, newest first; at least one.

    Args:
        wanted: What the names begin with.

    Raises:
        NotThere: there is none.
    """
    directory = step_directory(store.root / name.run, name.step)
    try:
        paths = [path for path in directory.glob("*/summary.json") if path.is_file()]
        paths.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    except UNREADABLE as error:
        raise NotThere(f"{directory}: {error}", evaluate_command(store, name)) from error
    found = [path.parent.name for path in paths if path.parent.name.startswith(wanted)]
    if found:
        return found
    with_these = f" with settings {wanted}" if wanted else ""
    raise NotThere(f"{name} was not evaluated{with_these}", evaluate_command(store, name))


def evaluation_name(parameter: str, text: str) -> EvaluationName:
    """A parameter's value as RUN@STEP; raises BadAddress for another."""
    if number(text.rpartition("@")[2]) is None:
        raise BadAddress(f"{parameter}={text[:80]}: expected RUN@STEP, e.g. first@1200")
    try:
        name = EvaluationName.parse(text)
    except EvaluationError as error:
        raise BadAddress(f"{parameter}={error}") from error
    return name

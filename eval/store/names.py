"""How an evaluation is named: RUN@STEP."""

from typing import NamedTuple, Self

from manylabel.eval.errors import EvaluationError


class EvaluationName(NamedTuple):
    """A checkpoint of a run that was evaluated.

    Attributes:
        run: Name of the run's directory below the root.
        step: Updates applied.
    """

    run: str
    step: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads RUN@STEP, where RUN may hold an @ of its own.

        Raises:
            EvaluationError: it is something else.
        """
        run, separator, step = text.rpartition("@")
        if not (separator and run and step.isascii() and step.isdigit()):
            raise EvaluationError(f"{text!r}: expected RUN@STEP, e.g. first@1200")
        return cls(run, int(step))

    def __str__(self) -> str:
        return f"{self.run}@{self.step}"

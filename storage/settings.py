"""What all sections of settings have in common."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from manylabel.storage.problems import shown

_WHOLE_NUMBERS = 2**63
"""Whole numbers are stored and computed with in 64 bits, as Parquet, NumPy and TensorFlow do."""


class SettingsSection(BaseModel):
    """Settings that stand together. Keys that are none, numbers that are not finite, whole numbers
    beyond 64 bits and truths in place of numbers are refused, in every section."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, tree: Any) -> Any:
        """YAML 1.1 makes true of yes, on and true, which pydantic takes for a 1."""
        for name, value in tree.items() if isinstance(tree, Mapping) else ():
            truth = next((each for each in values_in(value) if isinstance(each, bool)), None)
            if truth is not None and name in cls.model_fields:
                kinds = _kinds(cls.model_fields[name].annotation)
                if kinds & {int, float} and not any(map(_is_other, kinds)):
                    raise ValueError(
                        f"expected a number for {name}, received {truth}, as which YAML reads "
                        f"{'yes and on' if truth else 'no and off'} too"
                    )
        return tree

    @field_validator("*", mode="after")
    @classmethod
    def _in_64_bits(cls, value: Any) -> Any:
        for each in values_in(value):
            if isinstance(each, int) and abs(each) >= _WHOLE_NUMBERS:
                raise ValueError(f"expected a whole number below 2**63, received {shown(each)}")
        return value


def values_in(value: Any) -> Iterator[Any]:
    """A setting's value; in place of a list or tuple, what is in it."""
    if not isinstance(value, list | tuple):
        yield value
        return
    for item in value:
        yield from values_in(item)


def _is_other(kind: Any) -> bool:
    """Than a number: a truth, or one of some texts, whose own error names them."""
    return isinstance(kind, str) or (isinstance(kind, type) and issubclass(kind, bool | str))


def _kinds(annotation: Any) -> set[Any]:
    return {annotation}.union(*map(_kinds, get_args(annotation)))

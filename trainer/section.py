"""What all sections of the trainer's settings have in common."""

import struct
from typing import Any, ClassVar, get_args

from pydantic import ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from manylabel.storage.settings import SettingsSection, values_in

_LARGEST = 3.4028234663852886e38
_SMALLEST = 2.0**-149
_BELOW_1 = 1 - 2.0**-24


class TrainerSection(SettingsSection):
    """Settings that training computes with in float32.

    A number is refused that is not 0 and becomes 0 there, becomes infinite, or becomes 1 where it
    has to be below: a momentum of 1 - 1e-11 would never forget, an epsilon of 1e-50 divide by 0.

    Attributes:
        IN_FLOAT32: False where all of a section's numbers are only counted or waited with.
    """

    IN_FLOAT32: ClassVar[bool] = True

    @field_validator("*", mode="after")
    @classmethod
    def _the_same_in_float32(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        field = cls.model_fields[info.field_name]
        for each in values_in(value):
            if cls.IN_FLOAT32 and isinstance(each, float):
                _check(each, below_1=_has_to_be_below_1(field))
        return value


def _check(value: float, *, below_1: bool) -> None:
    rounded = _rounded(value)
    if rounded == 0 != value:
        bound = f"at least {_SMALLEST:.2g}"
    elif abs(rounded) > _LARGEST:
        bound = f"at most {_LARGEST:.2g}"
    elif below_1 and rounded >= 1:
        bound = f"at most {_BELOW_1:.8f}"
    else:
        return
    raise ValueError(
        f"expected {bound}, received {value!r}, which is {rounded:g} in the float32 that training "
        "computes with"
    )


def _rounded(value: float) -> float:
    """The nearest float of 32 bits."""
    try:
        (rounded,) = struct.unpack("f", struct.pack("f", value))
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    return float(rounded)


def _has_to_be_below_1(field: FieldInfo) -> bool:
    bounds = [*field.metadata]
    for branch in get_args(field.annotation):
        for given in get_args(branch)[1:]:
            bounds += given.metadata if isinstance(given, FieldInfo) else [given]
    return any(getattr(bound, "lt", None) == 1 for bound in bounds)

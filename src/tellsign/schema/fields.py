"""Types of fields: numbers with a range, lists, mappings by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

T = TypeVar("T")


def _in_unit_interval(number: float) -> float:
    if not 0 <= number <= 1:
        percent = f" Percent? Write {number / 100:g}." if 1 < number <= 100 else ""
        raise ValueError(f"{number:g} is outside [0, 1].{percent}")
    return number


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _as_pair(value: Any) -> Any:
    pair = _as_tuple(value)
    if isinstance(pair, tuple) and len(pair) != 2:
        raise ValueError(f"expected 2 values, got {value!r}.")
    return pair


def _forwards(value: tuple[T, T]) -> tuple[T, T]:
    if value[0] > value[1]:  # type: ignore[operator]
        raise ValueError(f"the range {list(value)} runs backwards.")
    return value


def _by_text(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    for key in value:
        if isinstance(key, bool):
            raise ValueError(f"YAML reads a key such as on, yes or no as {key}; put it in quotes.")
    return {str(key): named for key, named in value.items()}


Fraction = Annotated[float, AfterValidator(_in_unit_interval), Field(json_schema_extra={"minimum": 0, "maximum": 1})]
"""A number in [0, 1]."""

Positive = Annotated[T, Field(gt=0)]
"""``Positive[int]``: a number above 0."""

NonNegative = Annotated[T, Field(ge=0)]
"""``NonNegative[int]``: a number from 0 on."""

Several = Annotated[tuple[T, ...], BeforeValidator(_as_tuple)]
"""``Several[str]``: a list of any length."""

Pair = Annotated[tuple[T, T], BeforeValidator(_as_pair)]
"""``Pair[float]``: a list of two."""

Interval = Annotated[tuple[T, T], BeforeValidator(_as_pair), AfterValidator(_forwards)]
"""``Interval[float]``: the lowest and the highest value."""

Named = Annotated[dict[str, T], BeforeValidator(_by_text)]
"""``Named[Split]``: a mapping from names; a number for a name is read as text."""

"""Plain data to settings, strictly, and back."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tellsign.errors import UserError, near_miss
from tellsign.schema.settings import Settings, UnknownKeyError, UnknownNameError

T = TypeVar("T", bound=Settings)
Path = tuple[str | int, ...]

# What pydantic calls a wrong type: what we call the right one.
TYPES = {"int_type": "int", "float_type": "float", "string_type": "str", "bool_type": "bool"}


def build(cls: type[T], data: Any, where: str) -> T:
    """Build settings from plain YAML data, strictly.

    Raises:
        UserError: everything that is wrong, a line each: unknown keys (with the near miss), missing keys, wrong types,
            values out of range. ``where`` names the place.
    """
    try:
        return cls.model_validate(dict(data) if isinstance(data, Mapping) else data)
    except ValidationError as problem:
        raise UserError("\n".join(_faults(problem, data, where))) from None


def _faults(problem: ValidationError, data: Any, where: str) -> Iterator[str]:
    """What is wrong, a line each; where several types are allowed, what is wrong with the one that was meant."""
    errors = [(error, *_place(error, data)) for error in problem.errors(include_url=False)]
    meant: dict[Path, str | int] = {}
    for _, _, tried in sorted(errors, key=lambda one: (-len(one[1]), _of_another_type(one[0]))):
        meant = tried | meant  # the type that fits furthest, or the first
    for error, path, tried in errors:
        if all(meant[at] == option for at, option in tried.items()):
            place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
            yield _sentence(error, where + place)


def _place(error: ErrorDetails, data: Any) -> tuple[Path, dict[Path, str | int]]:
    """Where in the data an error is, and which of several allowed types was tried on the way, by place."""
    path: Path = ()
    tried: dict[Path, str | int] = {}
    missing = error["type"] == "missing"
    for step in error["loc"][:-1] if missing or isinstance(_cause(error), UnknownKeyError) else error["loc"]:
        inside: Any = data
        if isinstance(data, Mapping):
            inside = {str(key): value for key, value in data.items()}
        elif isinstance(data, (list, tuple)):
            inside = dict(enumerate(data))
        if isinstance(inside, dict) and step in inside:
            data, path = inside[step], (*path, step)
        else:
            tried.setdefault(path, step)
    return path, tried


def _of_another_type(error: ErrorDetails) -> bool:
    """Whether what came is not even of the type that was tried, rather than out of its range."""
    return error["type"].endswith("_type") or error["type"] == "literal_error"


def _cause(error: ErrorDetails) -> Any:
    """The exception that a validator of ours raised, if one did."""
    return error.get("ctx", {}).get("error")


def _sentence(error: ErrorDetails, where: str) -> str:
    """One fault in words that a user can act on: what came, what is allowed."""
    kind, came, context, cause = error["type"], error["input"], error.get("ctx", {}), _cause(error)
    if isinstance(cause, UnknownNameError):
        return cause.at(where)
    if cause is not None:
        return f"{where}: {cause}"
    if kind == "missing":
        return f"{where}: key {error['loc'][-1]!r} is missing."
    if kind in ("model_type", "dict_type"):
        return f"{where}: expected a mapping, got {came!r}."
    if kind == "tuple_type":
        return f"{where}: expected a list, got {came!r}."
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", context["expected"])
        return f"{where}: got {came!r}.{near_miss(str(came), allowed)} Allowed: {', '.join(allowed)}."
    if kind == "float_type" and isinstance(came, str):
        return f"{where}: expected a number, got the text {came!r}."
    if kind in TYPES:
        return f"{where}: expected {TYPES[kind]}, got {came!r}."
    if kind == "greater_than":
        return f"{where}: {came:g} must be above {context['gt']:g}."
    if kind == "greater_than_equal":
        return f"{where}: {came:g} must be at least {context['ge']:g}."
    return f"{where}: {error['msg']}, got {came!r}."


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge: mappings merge, everything else is replaced. A mapping that names another kind replaces whole."""
    out = dict(base)
    for key, value in change.items():
        old = out.get(key)
        if not (isinstance(old, Mapping) and isinstance(value, Mapping)) or (
            "name" in value and value["name"] != old.get("name")
        ):
            out[key] = value
        else:
            out[key] = merge(old, value)
    return out


def expand_grid(name: str, grid: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Runs of a grid: ``over`` maps dotted fields to lists; every combination is a run ``name-value-value``,
    the values in the order of their fields' names.

    Raises:
        UserError: ``over`` is missing or not a mapping of lists.
    """
    over = grid.get("over")
    if not isinstance(over, Mapping) or not all(isinstance(v, list) for v in over.values()):
        raise UserError(f"grids.{name}: 'over' must map a field such as mask.ratio to a list of values.")
    rest = {k: v for k, v in grid.items() if k != "over"}
    runs = {}
    fields = sorted(over)  # so that the order in the file names nothing
    for values in itertools.product(*(over[dotted] for dotted in fields)):
        change: dict[str, Any] = rest
        for dotted, value in zip(fields, values, strict=True):
            nested: Any = value
            for part in reversed(dotted.split(".")):
                nested = {part: nested}
            change = merge(change, nested)
        runs["-".join([name, *(slug(v) for v in values)])] = change
    return runs


def slug(value: Any) -> str:
    """A value as part of a run's name: ``[0.6, 0.8]`` is ``0.6_0.8``."""
    if isinstance(value, (list, tuple)):
        return "_".join(slug(v) for v in value)
    if isinstance(value, Mapping):
        return slug(list(dict.fromkeys(slug(v) for v in value.values())))
    return str(value).replace("/", "_")


def differences(value: Any, other: Any) -> str:
    """What differs between two settings of one class, as ``field=value`` texts; empty where nothing does."""

    def flat(node: Any, where: str) -> dict[str, Any]:
        if not isinstance(node, Mapping):
            return {where: node}
        parts = (flat(child, f"{where}.{key}" if where else key) for key, child in node.items())
        return {key: leaf for part in parts for key, leaf in part.items()}

    fields, rivals = flat(plain(value), ""), flat(plain(other), "")
    return ", ".join(f"{key}={_spelled(leaf)}" for key, leaf in fields.items() if leaf != rivals.get(key))


def _spelled(value: Any) -> str:
    return "null" if value is None else " ".join(map(str, value)) if isinstance(value, list) else str(value)


def plain(value: Any) -> Any:
    """Settings as plain data (dicts, lists, scalars), for JSON."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Settings):
        return {name: plain(part) for name, part in value}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    return value

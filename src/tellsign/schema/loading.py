"""Plain data to settings, strictly, and back."""

from __future__ import annotations

import dataclasses
import itertools
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING
from typing import Any, Literal, TypeVar, Union

from tellsign.errors import UserError, choose, near_miss
from tellsign.schema.annotation import CAPTIONER_SETTINGS, GROUNDER_SETTINGS, Captioner, Grounder
from tellsign.schema.training import AUGMENT_SETTINGS, MASK_SETTINGS, Augment, Mask

T = TypeVar("T")


def build(cls: type[T], data: Any, where: str) -> T:
    """Build a dataclass from plain YAML data, strictly.

    Raises:
        UserError: an unknown key (with the near miss), a missing key, a wrong type, or a value out of range;
            ``where`` names the place.
    """
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: expected a mapping, got {data!r}.")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            raise UserError(f"{where}: unknown key {key!r}.{near_miss(str(key), fields)} Known: {', '.join(fields)}.")
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for name, spec in fields.items():
        if name in data:
            values[name] = _convert(hints[name], data[name], f"{where}.{name}")
            _in_range(values[name], spec.metadata, f"{where}.{name}")
        elif spec.default is MISSING and spec.default_factory is MISSING:
            raise UserError(f"{where}: key {name!r} is missing.")
    return cls(**values)


# Settings whose fields depend on what their ``name`` says.
KINDS: tuple[tuple[str, Any, dict[str, type]], ...] = (
    ("mask", Mask, MASK_SETTINGS),
    ("augmentation", Augment, AUGMENT_SETTINGS),
    ("captioner", Captioner, CAPTIONER_SETTINGS),
    ("grounder", Grounder, GROUNDER_SETTINGS),
)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    for what, kind, known in KINDS:
        if hint == kind:
            name = value.get("name", "none") if isinstance(value, Mapping) else value
            return build(choose(known, str(name), f"{what} at {where}"), value, where)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        problems = []
        for option in (a for a in args if a is not type(None)):
            try:
                return _convert(option, value, where)
            except UserError as problem:
                problems.append(str(problem))
        raise UserError(problems[0])
    if origin is Literal:
        if value not in args:
            names = [str(a) for a in args]
            raise UserError(f"{where}: got {value!r}.{near_miss(str(value), names)} Allowed: {', '.join(names)}.")
        return value
    if origin is tuple:
        return _convert_tuple(args, value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{where}: expected a mapping, got {value!r}.")
        for key in value:
            if isinstance(key, bool):
                raise UserError(f"{where}: YAML reads a key such as on, yes or no as {key}; put it in quotes.")
        return {str(k): _convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    return _convert_scalar(hint, value, where)


def _convert_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise UserError(f"{where}: expected a list, got {value!r}.")
    if args[-1] is Ellipsis:
        return tuple(_convert(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if len(value) != len(args):
        raise UserError(f"{where}: expected {len(args)} values, got {value!r}.")
    return tuple(_convert(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(args, value, strict=True)))


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):
        raise UserError(f"{where}: expected a number, got the text {value!r}.")
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise UserError(f"{where}: expected {hint.__name__}, got {value!r}.")
    return value


def _in_range(value: Any, limits: Mapping[str, float], where: str) -> None:
    numbers = [v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, (int, float))]
    for number in numbers:
        if "high" in limits and not limits["low"] <= number <= limits["high"]:
            percent = f" Percent? Write {number / 100:g}." if 1 < number <= 100 else ""
            raise UserError(f"{where}: {number:g} is outside [{limits['low']:g}, {limits['high']:g}].{percent}")
        if "above" in limits and number <= limits["above"]:
            raise UserError(f"{where}: {number:g} must be above {limits['above']:g}.")
        if "least" in limits and number < limits["least"]:
            raise UserError(f"{where}: {number:g} must be at least {limits['least']:g}.")
    if "high" in limits and where.endswith("ratio") and len(numbers) == 2 and numbers[0] > numbers[1]:
        raise UserError(f"{where}: the range {numbers} runs backwards.")


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

    def flat(held: Any, where: str) -> dict[str, Any]:
        if not isinstance(held, Mapping):
            return {where: held}
        parts = (flat(part, f"{where}.{key}" if where else key) for key, part in held.items())
        return {key: part for found in parts for key, part in found.items()}

    one, rival = flat(plain(value), ""), flat(plain(other), "")
    return ", ".join(f"{key}={_spelled(held)}" for key, held in one.items() if held != rival.get(key))


def _spelled(value: Any) -> str:
    return "null" if value is None else " ".join(map(str, value)) if isinstance(value, list) else str(value)


def plain(value: Any) -> Any:
    """A dataclass as plain data (dicts, lists, scalars), for JSON."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    return value

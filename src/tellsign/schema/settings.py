"""The base class of everything that a YAML file may say, and settings whose class depends on their ``name``.

A class of settings is written as a pydantic model on `Settings`, with fields from `tellsign.schema.fields`, and read by
`tellsign.schema.loading.build`, which tells the user all that is wrong at once::

    class Column(Settings):
        '''A column of a table.

        Attributes:
            metric: Name of a metric.
            width: In millimetres; null for as wide as its text.
        '''

        metric: Literal["accuracy", "ap"]
        label: str = ""
        width: Positive[float] | None = None
        subsets: Several[str] = ()

    column = build(Column, {"metric": "ap"}, "table x, column 1")

A rule over several fields is a pydantic validator that raises ``ValueError("text.")``; the place is put before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self, Union

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, core_schema

from tellsign.errors import UserError, near_miss
from tellsign.registry import Registry

# Keys of old that have another name now, by class: {"Recipe": {"optimizer": "optimiser"}}.
RENAMED: dict[str, dict[str, str]] = {}


class UnknownKeyError(ValueError):
    """A key that a class of settings does not have; says which it has."""

    def __init__(self, cls: type[Settings], key: Any) -> None:
        known = list(cls.model_fields)
        now = RENAMED.get(cls.__name__, {}).get(str(key))
        super().__init__(
            f"key {key!r} is called {now!r} now."
            if now
            else f"unknown key {key!r}.{near_miss(str(key), known)} Known: {', '.join(known)}."
        )


class UnknownNameError(ValueError):
    """A ``name`` that no class of settings goes by.

    Attributes:
        what: What is named: ``mask``.
        name: What came.
        known: The names there are.
    """

    def __init__(self, what: str, name: str, known: list[str]) -> None:
        super().__init__(f"unknown {what} {name!r}")
        self.what, self.name, self.known = what, name, known

    def at(self, where: str) -> str:
        """As a sentence."""
        known = ", ".join(sorted(self.known))
        return f"unknown {self.what} at {where} {self.name!r}.{near_miss(self.name, self.known)} Known: {known}."


class Settings(BaseModel):
    """Immutable settings, read strictly: no unknown keys, no text for a number, no bool for an int.

    A whole number is taken where a float is meant. Descriptions in the JSON schema come from the docstring.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    @model_validator(mode="wrap")
    @classmethod
    def _say_which_keys_there_are(cls, data: Any, validate: Callable[[Any], Self]) -> Self:
        try:
            return validate(data)
        except ValidationError as problem:
            details = []
            for error in problem.errors(include_url=False):
                kind, context = error["type"], error.get("ctx", {})
                if len(error["loc"]) == 1 and kind in ("extra_forbidden", "invalid_key"):
                    key = error["loc"][0] if kind == "extra_forbidden" else error["input"]
                    kind, context = "value_error", {"error": UnknownKeyError(cls, key)}
                details.append(InitErrorDetails(type=kind, loc=error["loc"], input=error["input"], ctx=context))
            raise ValidationError.from_exception_data(problem.title, details) from None


class ByName:
    """Marks a field whose class of settings depends on what its ``name`` says; without a name it is the default.

    ``Mask = Annotated[NoMask | CutOut, ByName("mask", MASKS)]``, where MASKS maps each name to its class of settings.

    Args:
        what: What is named, for messages.
        registry: Name → class.
        key: What the name stands under.
        default: The name where none is given.
    """

    def __init__(
        self, what: str, registry: Mapping[str, type[Settings]], *, key: str = "name", default: str = "none"
    ) -> None:
        self.what, self.registry, self.key, self.default = what, registry, key, default

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """The class is looked up when a value comes; the JSON schema allows each of them."""
        either = Union[tuple(dict.fromkeys(self.registry.values()))]  # noqa: UP007
        return core_schema.no_info_plain_validator_function(
            self._validate, json_schema_input_schema=handler.generate_schema(either)
        )

    def _validate(self, value: Any) -> Settings:
        if isinstance(value, Settings):
            name = str(getattr(value, self.key, self.default))
        else:
            name = str(value.get(self.key, self.default) if isinstance(value, Mapping) else value)
        if name not in self.registry:
            raise UnknownNameError(self.what, name, list(self.registry))
        return self.registry[name].model_validate(value)


class EntryOf:
    """Marks a text that must name an entry of a registry: ``Annotated[str, EntryOf(BACKBONES)]``.

    Args:
        registry: The entries.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """A text that is looked up when it comes."""
        return core_schema.no_info_after_validator_function(self._validate, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The names, and a pattern for each library whose names all count."""
        names = [name for name in self.registry if not name.endswith(":")]
        libraries = [{"pattern": f"^{name}.+"} for name in self.registry if name.endswith(":")]
        return {"type": "string", "anyOf": [{"enum": names}, *libraries]}

    def _validate(self, name: str) -> str:
        try:
            self.registry.find(name)
        except UserError:
            raise UnknownNameError(self.registry.kind, name, self.registry.names) from None
        return name

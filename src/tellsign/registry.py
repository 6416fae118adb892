"""Registries: what a ``name:`` of a configuration may choose, as plain data that imports nothing.

How to add an entry, here the mask ``cutout``:

1. One file, ``methods/masks/cutout.py``, with the function and, beside it, the class of its settings. The function
   takes the settings as keyword arguments; defaults, ranges and allowed values stand in the class alone.
2. One line in the registry, ``methods/masks/__init__.py``::

       "cutout": Record("tellsign.methods.masks.cutout", "cutout", settings="CutOut"),

The schema then accepts ``mask: {name: cutout, ratio: [0.6, 0.8]}``, and a training finds the function by
``MASKS.load("cutout")``.

An entry's module is imported only when it is chosen, or when the schema reads its settings. It must therefore import
without torch: torch under ``if TYPE_CHECKING`` for annotations, ``import torch`` inside functions. Code that needs
torch to be defined (a network's class) goes into a module of its own that the entry's function imports.

Why text instead of imports: an artifact's fingerprint holds the code that its stage's module imports. What is chosen by
name is not imported; the plan adds the chosen entry's code instead (`tellsign.plan.fingerprint`). So an entry that is
added makes nothing again, and an edited one only what uses it. For this to hold,

- nobody but tests imports an entry, unless a neighbour is made of it, as the perturbation ``combined`` is of four;
- the registry's module holds records alone and is named in `tellsign.plan.fingerprint.NEUTRAL`;
- the plan hands the records that the settings choose to each artifact whose stage loads them.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tellsign.errors import choose


@dataclass(frozen=True)
class Record:
    """Where an entry of a registry is to be found.

    Attributes:
        module: Its module's full name.
        attribute: Name of the function or class in it.
        settings: Name of the class of its settings in the same module; empty for an entry without settings.
        options: Fixed keyword arguments of the function, plain data; they enter fingerprints.
    """

    module: str
    attribute: str
    settings: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def fingerprinted(self) -> list[Any]:
        """What of the record itself enters fingerprints, beside the module's code."""
        return [self.attribute, dict(self.options)]


class Registry(Mapping[str, Record]):
    """Records by the name that a configuration gives.

    Args:
        kind: What an entry is, for messages: ``mask``.
        records: The entries. One whose name ends with a colon, ``timm:``, stands for all names that begin so: a library
            that knows more of them than this file.
    """

    def __init__(self, kind: str, records: Mapping[str, Record]) -> None:
        self.kind, self.records = kind, dict(records)

    def __getitem__(self, name: str) -> Record:
        return self.records[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def find(self, name: str) -> Record:
        """The record of a name.

        ``timm:resnet18`` has the record of ``timm:``, with ``resnet18`` as its option ``name``.

        Raises:
            UserError: the name is unknown; the message lists the known ones and the near miss.
        """
        library, colon, rest = name.partition(":")
        if rest and f"{library}{colon}" in self.records:
            record = self.records[f"{library}{colon}"]
            return replace(record, options={**record.options, "name": rest})
        return choose(dict(zip(self.names, self.values(), strict=True)), name, self.kind)

    @property
    def names(self) -> list[str]:
        """The names as messages list them: ``timm:NAME`` for all names that begin so."""
        return [f"{name}NAME" if name.endswith(":") else name for name in self]

    def load(self, name: str) -> Any:
        """Import an entry's module and take its function or class, with the record's options bound.

        Raises:
            UserError: the name is unknown.
        """
        record = self.find(name)
        function = getattr(importlib.import_module(record.module), record.attribute)
        return functools.partial(function, **record.options) if record.options else function

    def settings(self) -> dict[str, type]:
        """The settings classes by the name of their entry."""
        return {
            name: getattr(importlib.import_module(record.module), record.settings)
            for name, record in self.records.items()
            if record.settings
        }

    def settings_of(self, name: str) -> type[Any]:
        """The settings class of one entry, whose module alone is imported.

        Raises:
            UserError: the name is unknown.
        """
        record = self.find(name)
        return getattr(importlib.import_module(record.module), record.settings)

"""Artifacts: what each is made from, and therefore where it lies.

An artifact's path carries a fingerprint: a digest of its stage's code, of the settings the stage reads, and of the
fingerprints of what it needs. Equal recipe, equal path, in any clone: an artifact is current exactly when its file
exists.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from tellsign.errors import UserError
from tellsign.plan.fingerprint import code_digest
from tellsign.registry import Record
from tellsign.schema.loading import plain
from tellsign.stages.registry import STAGES

Owner = TypeVar("Owner")
Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def answered_once(
    method: Callable[Concatenate[Owner, Arguments], Answer],
) -> functools.cached_property[Callable[Arguments, Answer]]:
    """``functools.cache`` for a method: the answers live and go with the object. Arguments must be hashable."""
    made = functools.cached_property(lambda owner: functools.cache(functools.partial(method, owner)))
    return cast("functools.cached_property[Callable[Arguments, Answer]]", made)


@dataclass(frozen=True, eq=False)
class Artifact:
    """One file or folder that a stage makes; two are equal when they are the same object.

    Attributes:
        stage: The stage, its rule, module, folder and log share this name.
        name: What it is, for people: ``mpft/tam-s0``.
        settings: Everything outside its inputs that can change it.
        needs: Inputs by role; each is a list of (key, artifact), the key empty where order or kind says enough.
        entries: Records of registries that the settings choose; their code enters, their neighbours' does not.
        raw: Content digests of folders outside the pipeline, by key.
        roots: Those folders, by key (they do not enter the fingerprint).
        pin: A fingerprint that the configuration holds for it.
        expected: What its job holds its result against, which decides whether there is one but never what it is:
            counts, sources.
        store: Folder of rows that were made before and that other artifacts share; it saves time and changes
            nothing.
    """

    stage: str
    name: str
    settings: dict[str, Any]
    needs: dict[str, list[tuple[str, Artifact]]] = field(default_factory=dict)
    entries: tuple[Record, ...] = ()
    raw: dict[str, str] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    pin: str | None = None
    store: str = ""
    expected: dict[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def recipe(self) -> dict[str, Any]:
        """What the fingerprint is taken of."""
        needs = {role: [(key, one.fingerprint) for key, one in inputs] for role, inputs in self.needs.items()}
        code = code_digest(f"tellsign.stages.{self.stage}", *(entry.module for entry in self.entries))
        recipe = {"code": code, "settings": without_places(self.settings), "needs": needs, "raw": self.raw}
        chosen = [entry.fingerprinted for entry in self.entries]
        return recipe | {"entries": chosen} if chosen else recipe

    @functools.cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits."""
        return self.pin or digest(self.recipe)[:12]

    @functools.cached_property
    def path(self) -> str:
        """Where it lives, relative to the working folder."""
        return STAGES[self.stage].path_of(self.name, self.fingerprint)

    @property
    def inputs(self) -> Iterator[Artifact]:
        """What it needs, in the order of its roles."""
        return (one for inputs in self.needs.values() for _, one in inputs)


Needs = Mapping[str, Artifact | list[tuple[str, Artifact]] | None]
"""Inputs by role, as an artifact is made: one, several with their keys, or none."""


def ancestors(artifacts: Iterable[Artifact]) -> dict[str, Artifact]:
    """Artifacts and all that they need, however deeply, by path; each once."""
    known: dict[str, Artifact] = {}
    waiting = list(artifacts)
    while waiting:
        artifact = waiting.pop()
        if artifact.path not in known:
            known[artifact.path] = artifact
            waiting += artifact.inputs
    return known


def unmade(artifacts: Iterable[Artifact], is_made: Callable[[Artifact], bool]) -> dict[str, Artifact]:
    """What is left to make of artifacts, by path: those that are not made and, of what these need, what is not.

    What only made artifacts were made from is not left, whether or not it is still there.
    """
    known: dict[str, Artifact] = {}
    waiting = list(artifacts)
    while waiting:
        artifact = waiting.pop()
        if artifact.path not in known and not is_made(artifact):
            known[artifact.path] = artifact
            waiting += artifact.inputs
    return known


def digest(value: Any) -> str:
    """Hex sha256 of plain data; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(plain(value), sort_keys=True).encode()).hexdigest()


def without_places(value: Any) -> Any:
    """Plain data without the places of weights whose digest stands beside: the same file may lie anywhere."""
    if isinstance(value, Mapping):
        known = value.get("digest") not in (None, "none")
        return {k: without_places(v) for k, v in value.items() if not (known and k == "weights")}
    return [without_places(v) for v in value] if isinstance(value, list) else value


class Workshop:
    """Makes the artifacts of a plan, each once.

    Args:
        pins: Fingerprints that the configuration holds, by ``stage/name``.
    """

    def __init__(self, pins: Mapping[str, str]) -> None:
        self._pins = pins
        self._by_name: dict[tuple[str, str], Artifact] = {}
        self._by_fingerprint: dict[tuple[str, str], Artifact] = {}

    def make(
        self,
        stage: str,
        name: str,
        settings: Any,
        needs: Needs | None = None,
        *,
        entries: tuple[Record, ...] = (),
        raw: dict[str, str] | None = None,
        roots: dict[str, str] | None = None,
        expected: dict[str, Any] | None = None,
        store: str = "",
    ) -> Artifact:
        """The artifact of a stage and name; a role of its ``needs`` that is None is left out.

        Raises:
            UserError: the name would lead out of the stage's folder.
        """
        if (stage, name) in self._by_name:
            return self._by_name[stage, name]
        if {"", ".", ".."} & set(name.split("/")):
            raise UserError(f"{name!r} cannot name a {stage}: its files would lie outside data/{stage}/. Rename it.")
        inputs = {role: v if isinstance(v, list) else [("", v)] for role, v in (needs or {}).items() if v is not None}
        pin = self._pins.get(f"{stage}/{name}")
        made = Artifact(
            stage, name, plain(settings), inputs, entries, raw or {}, roots or {}, pin, store, expected or {}
        )
        # equal recipes under two names (a main run and a grid's cell) are one artifact, made once
        made = self._by_fingerprint.setdefault((stage, made.fingerprint), made)
        self._by_name[stage, name] = made
        return made

"""What ``config/detectors.yaml`` says of detectors by other authors: publication, public code, released weights."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, model_validator

from tellsign.schema.fields import Named, Positive, Several
from tellsign.schema.settings import Settings


class Publication(Settings):
    """Where a detector was published.

    Attributes:
        venue: Conference; empty for a preprint.
        arxiv: Number of the preprint; empty where there is none.
    """

    title: str
    authors: str
    year: Positive[int]
    venue: str = ""
    arxiv: str = ""


class PublicCode(Settings):
    """The public repository, as it was read.

    Attributes:
        page: Its address.
        commit: 40 hex digits.
        licence: As it states it.
    """

    page: str
    commit: str
    licence: str

    @model_validator(mode="after")
    def _whole_commit(self) -> Self:
        if not re.fullmatch(r"[0-9a-f]{40}", self.commit):
            raise ValueError(f"commit is {self.commit!r}; give the whole commit, 40 hex digits.")
        return self


class Released(Settings):
    """A released checkpoint: a file that can be fetched by one of ``url``, ``path`` and, by a person, ``get``.

    Attributes:
        file: What it is called.
        url: A plain address.
        path: Its place in the repository.
        get: Where and how a person gets it.
        sha256: Where a public source states it.
        blob: Git's id of the file, where it lies in a repository.
        megabytes: About its size, where a public source states it.
        trained_on: Its training images.
        layout: What the file holds.
        tensors: Names that it must hold.
    """

    file: str
    url: str = ""
    path: str = ""
    get: str = ""
    sha256: str = ""
    blob: str = ""
    megabytes: Positive[float] | None = None
    trained_on: str
    layout: str
    tensors: Several[str]

    @model_validator(mode="after")
    def _one_way_to_it(self) -> Self:
        if len([way for way in (self.url, self.path, self.get) if way]) != 1:
            raise ValueError("give one of url, path and get.")
        for name, digits in (("sha256", 64), ("blob", 40)):
            if (digest := getattr(self, name)) and not re.fullmatch(rf"[0-9a-f]{{{digits}}}", digest):
                raise ValueError(f"{name} must be {digits} hex digits, got {digest!r}.")
        return self


class Printed(Settings):
    """Numbers that a detector's own pages print, in percent.

    Attributes:
        of: Which weights, on which images.
        source: Where they stand.
        metrics: What each entry's numbers are, in their order.
        values: Test set to its numbers.
    """

    of: str
    source: str
    metrics: Several[str]
    values: Named[Several[float]]

    @model_validator(mode="after")
    def _a_number_a_metric(self) -> Self:
        for name, numbers in self.values.items():
            if len(numbers) != len(self.metrics) or not all(0 <= number <= 100 for number in numbers):
                raise ValueError(f"{name} needs {len(self.metrics)} numbers from 0 to 100, got {list(numbers)}.")
        return self


class DetectorRecord(Settings):
    """One detector; ``config/detectors.yaml`` explains the fields.

    Attributes:
        name: How tables call it.
        recipes: Recipes of ``config/papers/baselines.yaml``, or methods, by which it runs here.
        input: What the released code does to a test picture before the network.
        outputs: How many numbers the network gives.
        fake_class: The class that means fake; with one output 1 where a fake's number is high.
        checkpoints: Released weights by a short name; ``DETECTOR-NAME`` is a value of ``weights:``.
        numbers: What its own pages print.
    """

    name: str
    paper: Publication
    code: PublicCode
    recipes: Several[str]
    input: str
    outputs: Literal[1, 2]
    fake_class: Literal[0, 1]
    checkpoints: Named[Released] = Field(default_factory=dict)
    numbers: Several[Printed] = ()

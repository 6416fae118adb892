"""What the plan and the catalogue of weights say to one another."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from tellsign.errors import UserError
from tellsign.schema.fields import Named, Positive, Several
from tellsign.schema.settings import Settings

# Stands for what NLTK needs to find noun phrases: no weights, but looked for in the same way.
NLTK = "nltk-data"


class WeightsEntry(Settings):
    """One entry of the catalogue; ``config/weights.yaml`` explains the fields.

    Attributes:
        megabytes: About its size; null where no source states it.
        get: How a person gets it, where there is no address to fetch it from.
        blob: Git's id of its one file.
        tensors: Names that its one file must hold.
        detector: Of released weights: whose they are.
    """

    files: Several[str]
    megabytes: Positive[float] | None = None
    licence: str
    papers: Several[Literal["mpft", "lol", "rescale", "tidy"]]
    page: str
    repository: str | None = None
    revision: str = "main"
    url: str | None = None
    get: str = ""
    sha256: Named[str] = Field(default_factory=dict)
    blob: str = ""
    tensors: Several[str] = ()
    detector: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The files that must be there: ``files`` without the patterns."""
        return tuple(name for name in self.files if not re.search(r"[*?\[]", name))

    @property
    def single(self) -> bool:
        """Whether the weights are one file rather than a folder."""
        return len(self.files) == len(self.names) == 1

    def matches(self, file: str) -> bool:
        """Whether a file (relative, posix) belongs to the weights."""
        return any(fnmatch.fnmatchcase(file, pattern) for pattern in self.files)


@dataclass(frozen=True)
class ResolvedWeights:
    """Weights that are there and are what they should be.

    Attributes:
        path: The file or folder; ``shipped`` and ``none`` stand for themselves.
        digest: Hex sha256: of a file, its own; of a folder, over its files' names and sha256; ``none`` of nothing.
        recorded: The lock had no entry, so these files were taken as they are.
    """

    path: str
    digest: str
    recorded: bool = False


class MissingWeightsError(UserError):
    """Weights that are not there, or not whole.

    Attributes:
        value: What the configuration says.
        state: ``missing``, or what an incomplete folder lacks.
        how: How to get them, one or more lines.
        entry: The catalogue's entry, if it has one.
    """

    def __init__(self, value: str, state: str, how: str, entry: WeightsEntry | None = None) -> None:
        super().__init__(f"weights {value!r}: {state}.\n{how}")
        self.value, self.state, self.how, self.entry = value, state, how, entry

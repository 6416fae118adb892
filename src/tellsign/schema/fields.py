"""Fields with a range."""

from __future__ import annotations

from dataclasses import MISSING, field
from typing import Any


def fraction(default: Any = MISSING) -> Any:
    """A field of one or more numbers in [0, 1]."""
    return field(default=default, metadata={"low": 0.0, "high": 1.0})


def positive(default: Any = MISSING) -> Any:
    """A field of one or more numbers above 0."""
    return field(default=default, metadata={"above": 0.0})


def whole(default: Any = MISSING) -> Any:
    """A field of numbers from 0 on."""
    return field(default=default, metadata={"least": 0.0})

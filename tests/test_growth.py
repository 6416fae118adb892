"""The benchmark of growth works on every stage it measures, so that `make bench` does."""

from __future__ import annotations

import importlib.util

import pytest
from conftest import ROOT

SPEC = importlib.util.spec_from_file_location("growth", ROOT / "benchmarks" / "growth.py")
assert SPEC is not None and SPEC.loader is not None
growth = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(growth)


@pytest.mark.parametrize(("case", "size"), [("index", 40), ("split", 64), ("evaluate", 64), ("plan", 2), ("score", 1)])
def test_a_case_prints_seconds_and_megabytes(case, size, capsys):
    growth.one(case, size)
    seconds, megabytes = map(float, capsys.readouterr().out.split())
    assert seconds >= 0 and megabytes >= 0


def test_the_exponent_is_that_of_the_two_largest_sizes(monkeypatch):
    said = iter(("9.0 5", "1.0 5", "4.0 50"))
    monkeypatch.setattr(growth.subprocess, "run", lambda *_, **__: type("Done", (), {"stdout": next(said)}))
    assert growth.row("split", (1, 10, 100)).endswith("100: 4.00 s, 50 MB | 0.60 |\n")

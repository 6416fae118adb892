"""What is said at the end of a run of the jobs that failed."""

from __future__ import annotations

import pytest

from tellsign.system.last_words import LINES, failures, last_words


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("10:00:00 INFO a\n10:00:01 ERROR b is wrong.\nTry c.\n", "b is wrong.\nTry c."),
        ("10:00:00 ERROR first\n10:00:01 ERROR second\n", "second"),
        ("10:00:00 INFO a\nKilled\n\n", "Killed"),
        ("", ""),
        ("10:00:00 ERROR " + "x\n" * (LINES + 1), "x\n" * LINES + "…"),
    ],
)
def test_a_log_ends_in_its_error_or_its_last_line(log, said):
    assert last_words(log) == said


def test_each_failed_job_is_named_with_its_log(tmp_path):
    (tmp_path / "a.log").write_text("10:00:00 ERROR train: the disk is full\n")
    (tmp_path / "b.log").write_text("")
    told = failures([("train lol/lol-s0", tmp_path / "a.log"), ("index d", tmp_path / "b.log"), ("table t", None)])
    assert told.splitlines() == [
        *("3 jobs failed:", ""),
        *("train lol/lol-s0: the disk is full", f"  log: {tmp_path}/a.log", ""),
        *("index d: it said nothing", f"  log: {tmp_path}/b.log", ""),
        *("table t: it said nothing", "  it left no log; see above"),
    ]

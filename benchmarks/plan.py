"""CPU seconds of what a user waits for before any job of config/paper.yaml: the dry run and the word of the doctor.

None of it needs data. The number of jobs stands beside the times, since they follow from it. Run:
python benchmarks/plan.py
"""

from __future__ import annotations

import contextlib
import io
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tellsign.__main__ import run

ROOT = Path(__file__).resolve().parent.parent
PAPERS = ROOT / "config" / "paper.yaml"


def cpu_seconds() -> float:
    """CPU time so far of this process, and of those that it started and waited for."""
    return time.process_time() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


def once(work: Callable[[str], str], folder: str) -> tuple[float, str]:
    """CPU seconds of work, and what it said; once, since much is kept for a second time."""
    start = cpu_seconds()
    said = work(folder)
    return cpu_seconds() - start, said


def doctor(folder: str) -> str:
    """What the doctor says of the tables."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        run(["doctor", "--configfile", str(PAPERS), "--config", f"data={folder}"])
    return said.getvalue()


def dry_run(folder: str) -> str:
    """What Snakemake says of its jobs."""
    words = ["-n", "-s", str(ROOT / "Snakefile"), "all", "--configfile", str(PAPERS), "--config", f"data={folder}"]
    place = Path(sys.executable).parent / "snakemake"
    return subprocess.run([place, *words], cwd=folder, capture_output=True, text=True, check=True).stdout


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        seconds, said = once(dry_run, folder)
        jobs = re.search(r"^total +(\d+)$", said, re.MULTILINE)
        print(f"dry run: {seconds:.1f} s, {jobs[1] if jobs else 'no'} jobs")
        print(f"doctor: {once(doctor, folder)[0]:.1f} s")


if __name__ == "__main__":
    main()

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


def once(work: Callable[[], object]) -> float:
    """CPU seconds of this process and of those it starts and waits for; once, since much is kept for a second time."""
    start = time.process_time() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    work()
    return time.process_time() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - start


def doctor(folder: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        run(["doctor", "--configfile", str(PAPERS), "--config", f"data={folder}"])


def dry_run(folder: str) -> str:
    """What Snakemake says of its jobs."""
    words = ["-n", "-s", str(ROOT / "Snakefile"), "all", "--configfile", str(PAPERS), "--config", f"data={folder}"]
    place = Path(sys.executable).parent / "snakemake"
    return subprocess.run([place, *words], cwd=folder, capture_output=True, text=True, check=True).stdout


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print(f"dry run: {once(lambda: dry_run(folder)):.1f} s")
        jobs = re.search(r"^total +(\d+)$", dry_run(folder), re.MULTILINE)
        print(f"of {jobs[1] if jobs else 'no'} jobs")
        print(f"doctor: {once(lambda: doctor(folder)):.1f} s")


if __name__ == "__main__":
    main()

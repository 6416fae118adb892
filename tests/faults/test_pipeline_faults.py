"""The shrunken demo while things go wrong: kills, full disks, damaged files. The same command ends it whatever happens.

In continuous integration a few of each; ``make faults`` runs all.
"""

import base64
import contextlib
import io
import logging
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil
import pytest
from pipeline import BIN, copy_of_tree, edited, environment, fork_processes, planned, shrink, snakemake, tables_of
from scale import FULL, record, scaled

from tellsign.system.integrity import sha256_of_file

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("state_every_epoch")]

WRITING = (
    "demo_photos", "demo_generator", "index", "split", "crops", "caption", "ground", "embed",
    "pretrain", "train", "train_head", "score", "score_head", "evaluate", "table",
)  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """The shrunken demo, made without any fault."""
    folder = shrink(copy_of_tree(tmp_path_factory.mktemp("small")))
    snakemake(folder, "tables")
    return folder


@pytest.fixture(scope="module")
def commands(small) -> dict[str, list[str]]:
    """The command of every job by stage, without its GPUs and where its log goes."""
    said = snakemake(small, "-n", "-p", "--forceall", "tables")
    found: dict[str, list[str]] = {}
    for words in re.findall(r"^Shell command: +tellsign (?:--gpus \d+ )?(.*) > logs/\S+ 2>&1$", said, flags=re.M):
        found.setdefault(words.split()[0], []).append(f"tellsign {words}")
    return found


def run_stage(folder: Path, command: str, before: str = "") -> tuple[int, str]:
    """Run a job's command as its rule would; its exit status and all that it said."""
    path = f"{BIN}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"{before} {command}"], cwd=folder, env=environment(folder) | {"PATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def out_of(command: str) -> str:
    """What a job writes."""
    return re.search(r" --out (\S+)", command)[1]


def copy_without(made: Path, command: str, folder: Path) -> tuple[Path, Path]:
    """A copy in which a job has not run yet, and what the job will write there."""
    shutil.copytree(made, folder, symlinks=True)
    out = folder / out_of(command)
    (shutil.rmtree if out.is_dir() else Path.unlink)(out)
    return folder, out


def start(folder: Path, said: IO[str] | int = subprocess.DEVNULL) -> subprocess.Popen:
    return subprocess.Popen(
        [str(BIN / "snakemake"), "--cores", "2", "tables"],
        cwd=folder, env=environment(folder), stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def jobs_of(process: subprocess.Popen) -> list[psutil.Process]:
    """The stages that a snakemake runs now: what its fork server has forked."""
    found = fork_processes(process.pid)
    jobs: list[psutil.Process] = []
    for number in sorted(found):
        with contextlib.suppress(psutil.Error):
            if found[number].ppid() in found:
                jobs.append(found[number])
    return jobs


def weights_of(folder: Path) -> dict[str, str]:
    """Digest of everything that was trained."""
    found = sorted((folder / "data").glob("*train*/**/*.safetensors"))
    assert found
    return {str(p.relative_to(folder)): sha256_of_file(p) for p in found}


def artifacts_of(path: Path) -> dict[str, str]:
    """Digest of every file of an artifact, but of what tells its seconds and of the list with that one's digest."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    timed = {"log.csv", "provenance.json", "files.sha256"}
    return {
        str(p.relative_to(path.parent)): sha256_of_file(p) for p in files if p.name not in timed and p.name[0] != "."
    }


# ------------------------------------------------------------------------------------------------ kills


def kill_tree(process: subprocess.Popen, _: random.Random) -> bool:
    """Kill -9 snakemake and every job it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return True


def kill_snakemake(process: subprocess.Popen, _: random.Random) -> bool:
    """Kill -9 snakemake alone; its jobs live on."""
    process.kill()
    process.wait()
    return True


def kill_job(process: subprocess.Popen, moments: random.Random) -> bool:
    """Kill -9 one job, if there is one; snakemake goes on with what does not need it."""
    jobs = jobs_of(process)
    if jobs:
        moments.choice(jobs).kill()
    process.wait()
    assert bool(jobs) == bool(process.returncode)
    return bool(jobs)


def test_killed_at_any_moment_the_same_command_ends_with_the_same_bytes(small, tmp_path):
    moments = random.Random(3407)
    kinds = [kill_tree, kill_snakemake, kill_job]
    wanted, done, rounds = scaled(2, 50), Counter(), 0
    while done.total() < wanted:
        folder = shrink(copy_of_tree(tmp_path / str(rounds)))
        rounds += 1
        while done.total() < wanted:
            process = start(folder)
            while process.poll() is None and not jobs_of(process):  # nothing is at stake before
                time.sleep(0.05)
            try:
                process.wait(moments.uniform(0, 10))
                assert process.returncode == 0
                break
            except subprocess.TimeoutExpired:
                kind = kinds[done.total() % len(kinds)]
                if kind(process, moments):
                    done[kind.__name__] += 1
                    record("kill -9", kind=kind.__name__, round=rounds)
        snakemake(folder, "tables")
        assert tables_of(folder) == tables_of(small)
        assert weights_of(folder) == weights_of(small)
        assert not list((folder / "data").rglob("*.part"))
        shutil.rmtree(folder)
        record("round of kills: same bytes", round=rounds)


@pytest.mark.parametrize("told", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("stage", ["train", "pretrain"])
def test_a_training_goes_on_from_its_last_epoch_to_the_same_bytes(small, commands, tmp_path, stage, told):
    command = next(c for c in commands[stage] if " lol" in c or stage == "pretrain" or "/lol/" in c)
    folder = shutil.copytree(small, tmp_path / "copy", symlinks=True)
    shutil.rmtree(folder / out_of(command))
    work = folder / re.search(r" --work (\S+)", command)[1]
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command}"], cwd=folder,
        env=environment(folder) | {"PATH": f"{BIN}:{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not list(work.rglob("state-*")):
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(told)
    assert process.wait() == -told
    code, said = run_stage(folder, command)
    assert code == 0, said
    assert re.search(r"resuming after epoch [1-9]", said)
    assert artifacts_of(folder / out_of(command)) == artifacts_of(small / out_of(command))
    assert not work.exists()


def test_a_kill_between_a_stages_last_write_and_snakemakes_note_of_it_stops_nothing(small):
    """Snakemake would do such a job again and then call the run finished, whatever is missing behind it."""
    trained = next((small / "data" / "train" / "mpft").iterdir()).relative_to(small)
    marks = small / ".snakemake" / "incomplete"
    marks.mkdir(exist_ok=True)
    mark = marks / base64.b64encode(str(trained).encode()).decode()
    away = (small / "data" / "table" / "lol").rename(small / "away")
    mark.touch()
    try:
        assert planned(small, "tables") == Counter(table=1)
    finally:
        mark.unlink()
        away.rename(small / "data" / "table" / "lol")


def test_without_the_cache_an_edit_of_one_run_still_trains_that_run_alone(small):
    """Its crops are made anew; Snakemake would take them for newer than all that was made from them before."""
    paper = small / "config" / "demo" / "mpft.yaml"
    away = (small / "cache" / "crops").rename(small / "away")
    try:
        assert planned(small, "tables") == Counter()
        with edited(paper, "lr: 0.001", "lr: 0.002"):
            counts = planned(small, "tables")
    finally:
        away.rename(small / "cache" / "crops")
    assert counts == Counter(crops=2, train=1, score=1, evaluate=1, table=1)


# ------------------------------------------------------------------------------------------------ disk, memory, clock


@pytest.fixture
def mounted(tmp_path) -> Iterator:
    """Mounts a small file system in memory at a folder; gives a function that mounts and one that takes it away."""
    places: list[Path] = []

    def mount(place: Path, options: str) -> None:
        place.mkdir(parents=True, exist_ok=True)
        tried = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if subprocess.run(tried, capture_output=True, check=False).returncode:
            pytest.skip("mounting a small file system needs root and the right to mount")
        places.append(place)

    def unmount() -> None:
        while places:
            subprocess.run(["umount", str(places.pop())], check=True)

    yield mount, unmount
    unmount()


@pytest.mark.parametrize("stage", WRITING if FULL else ["index", "crops"])
def test_a_full_disk_is_said_and_the_next_run_completes(small, commands, tmp_path, mounted, stage):
    mount, unmount = mounted
    command = commands[stage][0]
    folder, out = copy_without(small, command, tmp_path / "copy")
    shutil.rmtree(folder / "data" / "store", ignore_errors=True)
    mount(out.parent, "size=4k")  # a page, which the filler takes
    (out.parent / "filler").write_bytes(b"x" * 4096)
    code, said = run_stage(folder, command)
    assert code == 2, (code, said)
    assert "No space left on device" in said and "Free some space" in said and "Traceback" not in said
    assert {p.name for p in out.parent.iterdir()} == {"filler"}
    unmount()
    code, said = run_stage(folder, command)
    assert code == 0, said
    assert artifacts_of(out) == artifacts_of(small / out_of(command))
    record("disk full", stage=stage)


@pytest.mark.parametrize("stage", [s for s in ("train", "pretrain", "caption", "ground", "embed") if FULL])
def test_a_disk_that_is_full_for_state_and_stores_is_said_too(small, commands, tmp_path, mounted, stage):
    mount, unmount = mounted
    command = commands[stage][0]
    folder, out = copy_without(small, command, tmp_path / "copy")
    kept = folder / "data" / ("work" if "--work" in command else "store")
    shutil.rmtree(kept, ignore_errors=True)
    mount(kept, "size=4k")  # what begins a store takes it
    code, said = run_stage(folder, command)
    assert code == 2, (code, said)
    assert "No space left on device" in said and "Free some space" in said and "Traceback" not in said
    unmount()
    code, said = run_stage(folder, command)
    assert code == 0, said
    assert artifacts_of(out) == artifacts_of(small / out_of(command))
    record("disk full of state", stage=stage)


def test_a_data_folder_that_cannot_be_written_is_said_before_any_job(small, tmp_path, mounted):
    mount, unmount = mounted
    folder = shrink(copy_of_tree(tmp_path / "copy"))
    mount(folder / "data", "size=1m,ro")
    said = snakemake(folder, "tables", check=False)
    assert f"{folder / 'data'} cannot be written. Give yourself permission" in said and "Traceback" not in said
    assert "rule " not in said
    unmount()
    assert planned(folder, "tables") == planned(folder, "tables", "--forceall")


def test_a_stage_on_a_read_only_disk_says_so(small, commands, tmp_path, mounted):
    mount, _ = mounted
    command = commands["split"][0]
    mount(tmp_path / "read-only", "size=1m,ro")
    code, said = run_stage(small, command.replace(out_of(command), str(tmp_path / "read-only" / "x.parquet")))
    assert code == 2 and "run in a folder that can be written" in said and "Traceback" not in said


def test_two_runs_in_one_folder_the_second_is_refused_and_the_first_ends_well(small, tmp_path):
    folder = shutil.copytree(small, tmp_path / "copy", symlinks=True)
    for made in ("train", "score", "evaluate", "table"):
        shutil.rmtree(folder / "data" / made)
    first = start(folder)
    locks = folder / ".snakemake" / "locks"
    while not (locks.is_dir() and list(locks.iterdir())):
        assert first.poll() is None
        time.sleep(0.01)
    said = snakemake(folder, "tables", check=False)
    assert "Directory cannot be locked" in said and "no other Snakemake process" in said and "Traceback" not in said
    first.wait()
    assert first.returncode == 0
    assert tables_of(folder) == tables_of(small)


def test_times_of_files_mean_nothing(small, tmp_path):
    """The clock moved back or forth by years, for every file alone: nothing is made again."""
    folder = shutil.copytree(small, tmp_path / "copy", symlinks=True)
    moments = random.Random(3407)
    year = 365.25 * 86400
    files = [p for p in folder.rglob("*") if p.is_file() or p.is_dir()]
    for path in files:
        os.utime(path, (time.time(), time.time() + moments.uniform(-10, 10) * year))
    assert planned(folder, "tables") == Counter()
    record("clock moved", files=len(files))


LIMITED = """
import importlib, resource, sys
from pathlib import Path
importlib.import_module("tellsign.stages." + sys.argv[2])
import torch, pyarrow.parquet
pages = int(Path("/proc/self/statm").read_text().split()[0])
allowed = pages * resource.getpagesize() + (int(sys.argv[1]) << 20)
resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
from tellsign.__main__ import run
sys.exit(run(sys.argv[2:]))
"""


@pytest.mark.parametrize("stage", ("crops", "train", "pretrain", "embed", "score") if FULL else ["train"])
def test_a_stage_without_memory_says_so_and_the_next_run_completes(small, commands, tmp_path, stage):
    """What it may have is what it has once everything is imported, and a few megabytes."""
    command = commands[stage][0]
    folder, out = copy_without(small, command, tmp_path / "copy")
    shutil.rmtree(folder / "data" / "store", ignore_errors=True)
    (tmp_path / "limited.py").write_text(LIMITED)
    limited = command.replace("tellsign ", f"{sys.executable} {tmp_path / 'limited.py'} 1 ", 1)
    code, said = run_stage(folder, limited)
    assert code == 2, (code, said)
    assert "needs more memory" in said and "run fewer jobs at once" in said and "Traceback" not in said
    code, said = run_stage(folder, command)
    assert code == 0, said
    assert artifacts_of(out) == artifacts_of(small / out_of(command))
    record("memory limit", stage=stage)


def test_a_job_that_the_system_kills_is_explained_and_the_next_run_completes(small, tmp_path):
    folder = shutil.copytree(small, tmp_path / "copy", symlinks=True)
    shutil.rmtree(folder / "data" / "table")
    with (tmp_path / "said").open("w") as said:
        process = start(folder, said)
        while not (jobs := jobs_of(process)):
            assert process.poll() is None
            time.sleep(0.005)
        jobs[0].kill()
        process.wait()
    assert process.returncode != 0
    assert "table was killed (SIGKILL), most often for want of memory" in (tmp_path / "said").read_text()
    snakemake(folder, "tables")
    assert tables_of(folder) == tables_of(small)


# ------------------------------------------------------------------------------------------------ damaged files


def damaged(path: Path, draws: random.Random) -> Iterator[str]:
    """Damage a file in several ways, one after another; it is whole again after the last."""
    whole = path.read_bytes()
    for number in range(scaled(1, 8)):
        held = bytearray(whole)
        held[draws.randrange(len(held))] ^= 1 << draws.randrange(8)
        path.write_bytes(held)
        yield f"bit {number}"
    for keep in (0, draws.randrange(1, len(whole))) if FULL else (draws.randrange(1, len(whole)),):
        path.write_bytes(whole[:keep])
        yield f"first {keep} bytes"
    path.write_bytes(whole)


def inputs_of(stage: str, command: str, folder: Path) -> list[Path]:
    """The files below a job's inputs, one of each suffix of each input."""
    words = shlex.split(command.replace(f"--out {out_of(command)}", ""))
    named = [folder / word.rpartition("=")[2] for word in words if re.match(r"(\w[\w.-]*=)?(data|cache)/", word)]
    named = [path for path in named if "data/work" not in str(path)]
    found: dict[tuple[Path, str], Path] = {}
    for path in named:
        for file in (
            [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and p.stat().st_size > 1)
        ):
            found.setdefault((path.parent if stage != "embed" else path, file.suffix), file)
    return list(found.values())


READING = ("demo_generator", "index", "split", "crops", "caption", "ground", "embed", "pretrain", "train", "train_head",
           "score", "score_head", "evaluate", "table")  # fmt: skip


def test_every_damaged_input_of_every_stage_is_refused_by_name(small, commands, tmp_path):
    """In one process, each stage's own main function behind the command line: no stage may start on damaged bytes."""
    draws, counts = random.Random(3407), Counter()
    folder = shutil.copytree(small, tmp_path / "copy", symlinks=True)
    for stage in READING:
        command = commands[stage][0]
        for file in inputs_of(stage, command, folder):
            kind = f"{file.relative_to(folder).parts[1]}: *{file.suffix}"
            for how in damaged(file, draws):
                said, code = refused(folder, command)
                assert code == 2 and "Traceback" not in said, (stage, file, how, said)
                assert file.name in said or str(file.parent.relative_to(folder)) in said, (stage, file, how, said)
                assert "the same command" in said or "made anew" in said, (stage, file, how, said)
                counts[kind] += 1
    record("damaged files", **counts)


def refused(folder: Path, command: str) -> tuple[str, int]:
    """Run a stage in this process; what it said and its exit status."""
    from tellsign.__main__ import run

    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    before = Path.cwd()
    os.chdir(folder)
    try:
        words = shlex.split(command)[1:]
        words[words.index("--out") + 1] = "never"
        code = run(words)
        return stream.getvalue(), code
    finally:
        os.chdir(before)
        logging.getLogger().removeHandler(handler)

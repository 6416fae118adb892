"""Jobs in processes that share their imports: they say and end what they would on their own."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from conftest import ROOT
from pipeline import fork_processes

from tellsign import __version__
from tellsign.system.gpus import try_to_take

CLIENT = [sys.executable, "-I", "-S", str(ROOT / "workflow" / "fork_client.py")]

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the fork server needs Linux")


@pytest.fixture
def owner() -> Iterator[subprocess.Popen]:
    """The process that a server serves."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def address(owner) -> str:
    return f"tellsign-{secrets.token_hex(8)}-{owner.pid}"


@pytest.fixture
def start(address, tmp_path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts a job through the owner's server, in a folder of its own."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    with contextlib.ExitStack() as jobs:

        def start(*arguments: str, **more: str) -> subprocess.Popen:
            job = subprocess.Popen(
                [*CLIENT, address, *arguments], cwd=tmp_path, env=environment | more, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            return jobs.enter_context(job)

        yield start


def processes_of(owner: subprocess.Popen) -> list[int]:
    """The server of a process, and its jobs."""
    return sorted(fork_processes(owner.pid))


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("30 seconds have passed")


def test_a_job_answers_as_it_would_alone(start):
    for arguments in (["--version"], ["tabel"], ["split", "--settings", "no JSON"], ["split"]):
        alone = subprocess.run(
            [sys.executable, "-m", "tellsign", *arguments], capture_output=True, text=True, check=False
        )
        job = start(*arguments)
        assert job.communicate(timeout=60) == (alone.stdout, alone.stderr.replace("__main__.py", "tellsign"))
        assert job.returncode == alone.returncode


@pytest.fixture
def waiting(start, owner) -> Iterator[tuple[subprocess.Popen, psutil.Process]]:
    """A job that waits for a GPU, which its own environment names and this process has taken."""
    gpu = secrets.token_hex(8)
    taken = try_to_take([gpu], 1)
    job = start("--gpus", "1", "split", "--settings", "{}", "--index", "i", "--out", "o", CUDA_VISIBLE_DEVICES=gpu)
    wait_until(lambda: len(processes_of(owner)) == 2)
    said = job.stderr.readline()
    assert f"waiting for 1 of the GPUs {gpu}" in said
    yield job, psutil.Process(processes_of(owner)[1])
    os.close(taken[gpu])
    Path(f"/tmp/tellsign-gpu-machine-{gpu}.lock").unlink()


def test_a_job_that_is_killed_ends_its_client_as_a_shell_would(waiting):
    job, process = waiting
    process.kill()
    assert job.wait(timeout=60) == 128 + signal.SIGKILL


def test_a_job_ends_with_its_client(waiting, owner):
    job, process = waiting
    job.kill()
    job.wait()
    wait_until(lambda: not process.is_running())
    assert len(processes_of(owner)) == 1


def test_jobs_share_one_server(start, owner):
    jobs = [start("--version") for _ in range(4)]
    assert {job.communicate(timeout=60)[0] for job in jobs} == {f"tellsign {__version__}\n"}
    wait_until(lambda: len(processes_of(owner)) == 1)  # of four that were started, three find the address taken


@pytest.mark.parametrize("sent", [b"", b"\0\0", b"\0\0\0\x10[[]"])
def test_a_client_that_is_killed_while_it_asks_harms_no_other(start, address, sent):
    start("--version").communicate(timeout=60)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"\0{address}")
        client.sendall(sent)
    assert start("--version").communicate(timeout=60)[0] == f"tellsign {__version__}\n"


def test_it_ends_with_the_process_that_it_serves(start, owner):
    start("--version").communicate(timeout=60)
    assert len(processes_of(owner)) == 1
    owner.kill()
    owner.wait()
    wait_until(lambda: not processes_of(owner))


def test_without_a_server_the_job_starts_as_usual(tmp_path):
    (tmp_path / "tellsign").write_text("#!/bin/sh\necho alone $*\nexit 3\n")
    (tmp_path / "tellsign").chmod(0o755)
    gone = subprocess.Popen(["true"])
    gone.wait()
    job = subprocess.run(
        [*CLIENT, f"tellsign-x-{gone.pid}", "--version"],
        env=os.environ | {"PATH": f"{tmp_path}:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (job.stdout, job.returncode) == ("alone --version\n", 3)

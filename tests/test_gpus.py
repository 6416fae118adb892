"""Free GPUs for jobs, without a GPU: devices by name, jobs as processes that only hold them."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tellsign import __main__ as command_line
from tellsign.errors import UserError
from tellsign.system import gpus
from tellsign.system.devices import loader_threads, visible_gpus

JOB = """
import os, sys, time
from pathlib import Path
from tellsign.system import gpus
gpus.LOCKS = Path(sys.argv[1])
with gpus.reserve_gpus(int(sys.argv[2]), every=0.02):
    print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Path:
    """A machine with three GPUs and its folder of locks."""
    monkeypatch.setattr(gpus, "LOCKS", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,GPU-5a")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return tmp_path


def job(folder: Path, count: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", JOB, str(folder), str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def shown(process: subprocess.Popen) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@pytest.mark.parametrize(("named", "seen"), [("0, 1", ["0", "1"]), ("-1", []), ("0,-1,1", ["0"]), ("", [])])
def test_a_negative_number_hides_what_follows(monkeypatch, named, seen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == seen


def test_jobs_take_different_gpus_and_the_next_waits(machine):
    first, second = job(machine, 1), job(machine, 2)
    held = [*shown(first).split(","), *shown(second).split(",")]
    assert sorted(held) == ["0", "1", "GPU-5a"]
    third = job(machine, 1)
    assert not list(select.select([third.stdout], [], [], 0.5)[0])
    freed = held[0]
    first.communicate("")
    assert shown(third) == freed
    for process in (second, third):
        process.communicate("")


def test_a_killed_job_holds_nothing(machine):
    first = job(machine, 3)
    assert shown(first) == "0,1,GPU-5a"
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second = job(machine, 3)
    assert shown(second) == "0,1,GPU-5a"
    second.communicate("")


def test_children_go_on_holding_what_their_killed_parent_took(machine):
    with gpus.reserve_gpus(3):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    assert gpus.try_to_take(["0", "1", "GPU-5a"], 1) == {}
    child.communicate(b"\n")
    held = gpus.try_to_take(["0", "1", "GPU-5a"], 1)
    assert list(held) == ["0"]
    os.close(held["0"])


def test_whoever_lacks_one_keeps_none(machine):
    held = gpus.try_to_take(["1"], 1)
    assert gpus.try_to_take(["0", "1", "GPU-5a"], 3) == {}
    rest = gpus.try_to_take(["0", "1", "GPU-5a"], 2)
    assert list(rest) == ["0", "GPU-5a"]
    for descriptor in [*held.values(), *rest.values()]:
        os.close(descriptor)


def test_inside_the_block_cuda_sees_what_was_taken_and_the_cores_are_shared_by_all(machine, monkeypatch):
    import torch

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)))
    before = dict(os.environ)
    with gpus.reserve_gpus(1):
        assert visible_gpus() == ["0"] and loader_threads(torch.device("cuda")) == 4
    assert dict(os.environ) == before


def test_none_are_taken_of_none_and_by_who_asks_for_none(machine, monkeypatch):
    with gpus.reserve_gpus(0):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with gpus.reserve_gpus(4):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert not list(machine.iterdir())


def test_more_than_there_are_is_refused(machine):
    said = r"4 GPUs were asked for, but this machine has 3 .* pretrain:gpu=3"
    with pytest.raises(UserError, match=said), gpus.reserve_gpus(4):
        pytest.fail("began")


def test_jobs_of_two_allocations_are_not_in_each_others_way(machine, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    held = gpus.try_to_take(["0"], 1)
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    other = gpus.try_to_take(["0"], 1)
    assert held and other
    for descriptor in [*held.values(), *other.values()]:
        os.close(descriptor)


def test_the_command_line_takes_them_for_a_stage(machine, monkeypatch, capsys):
    seen = []

    def main(*, out: str) -> None:
        seen.append((out, os.environ["CUDA_VISIBLE_DEVICES"]))

    monkeypatch.setattr("tellsign.stages.report.main", main)
    assert command_line.run(["--gpus", "2", "report", "--out", "x"]) == 0
    assert seen == [("x", "0,1")]
    assert command_line.run(["--gpus", "two", "report"]) == 2
    assert "say how many" in capsys.readouterr().err

"""The demo on a real SLURM cluster of two nodes, started from Debian's packages on this machine.

Pre-training takes both nodes. One job is cancelled and a node's daemon is killed midway. It needs root, slurmctld,
slurmd, munged, and the executor that `make test` puts into .venv/plugins; without one of them it is skipped, and says
which.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from pipeline import BIN, copy_of_tree, environment, planned, shrink

pytestmark = pytest.mark.slow

ETC = Path("/etc/slurm")
PLUGINS = ROOT / ".venv" / "plugins"
PROFILE = ["--workflow-profile", "workflow/profiles/slurm"]

NODES = ("n1", "n2")

# As many cores and as much memory as the profile asks for, whatever this machine has; GPUs that are empty files.
CONF = """
ClusterName=tellsign
SlurmctldHost={host}(127.0.0.1)
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
GresTypes=gpu
MinJobAge=300
ReturnToService=2
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port=17001 CPUs=32 RealMemory=256000 Gres=gpu:1 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port=17002 CPUs=32 RealMemory=256000 Gres=gpu:1 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
GRES = "".join(f"NodeName={node} Name=gpu File={{folder}}/gpu-{node}\n" for node in NODES)
TWO_NODES = "pretrain: {gpu: 2, nodes: 2, tasks: 2, tasks_per_gpu: 0, mpi: srun, "  # as docs/cluster.md says


def clear_what_a_killed_test_left() -> None:
    """End the daemons of a test whose process is gone, and remove its files."""
    conf = ETC / "slurm.conf"
    found = re.search(r"/tmp/tellsign-slurm-(\d+)$", conf.read_text(), flags=re.M) if conf.exists() else None
    if found is not None and not Path("/proc", found[1]).exists():
        remove_cluster(Path(found[0]))


def remove_cluster(folder: Path) -> None:
    """End a cluster's daemons and remove its files."""
    for name in (*NODES, "slurmctld"):
        end(folder / f"{name}.pid")
    for name in ("slurm.conf", "gres.conf"):
        (ETC / name).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def lacking() -> str | None:
    """What this machine lacks for a cluster."""
    if os.geteuid() != 0:
        return "root, which the daemons run as"
    programs = [name for name in ("slurmctld", "slurmd", "munged", "sbatch") if shutil.which(name) is None]
    if programs:
        return f"{', '.join(programs)}: apt-get install slurm-wlm munge"
    clear_what_a_killed_test_left()
    if (ETC / "slurm.conf").exists():
        return f"to be no part of another cluster, which {ETC / 'slurm.conf'} says it is"
    if not (PLUGINS / "snakemake_executor_plugin_slurm").is_dir() and not importlib.util.find_spec(
        "snakemake_executor_plugin_slurm"
    ):
        return "SLURM's executor: make .venv/plugins/.ready"
    return None


def wait_for(what: str, happened: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, f"no {what} in {seconds} s"
        time.sleep(0.2)


def say(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def start(*daemon: str) -> None:
    subprocess.run(daemon, check=True, capture_output=True)


def end(pid_file: Path) -> None:
    """Kill a daemon and wait until it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGKILL)
        wait_for("end of a daemon", lambda: not Path(f"/proc/{pid}/exe").exists())


@contextlib.contextmanager
def munge() -> Iterator[None]:
    """Munge's daemon: the one that runs, or one for this test."""
    if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
        yield
        return
    user, run = pwd.getpwnam("munge"), Path("/run/munge")
    run.mkdir(exist_ok=True)
    os.chown(run, user.pw_uid, user.pw_gid)
    ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    subprocess.run(["setpriv", *ids, "munged", "--force"], check=True, capture_output=True)
    try:
        yield
    finally:
        end(run / "munged.pid")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """The folder of a cluster's daemons, which run."""
    missing = lacking()
    if missing is not None:
        pytest.skip(f"a SLURM cluster needs {missing}")
    folder = Path("/tmp") / f"tellsign-slurm-{os.getpid()}"
    folder.mkdir()
    for node in NODES:
        (folder / f"gpu-{node}").touch()
        (folder / node).mkdir()
    host = socket.gethostname().partition(".")[0]
    for name, text in {"slurm.conf": CONF, "gres.conf": GRES}.items():
        (ETC / name).write_text(text.format(host=host, folder=folder))
    try:
        with munge():
            start("slurmctld")
            wait_for("controller", lambda: "UP" in say("scontrol", "ping"))
            for node in NODES:
                start("slurmd", "-N", node)
            wait_for("idle nodes", lambda: say("sinfo", "--noheader", "--format=%D %t") == "2 idle\n")
            yield folder
            say("scancel", "--user=root")
    finally:
        remove_cluster(folder)


def test_the_demo_finishes_though_a_job_and_a_daemon_are_killed(cluster, tmp_path):
    folder, heard = shrink(copy_of_tree(tmp_path / "tree")), tmp_path / "heard"
    profile = folder / "workflow" / "profiles" / "slurm" / "config.yaml"
    profile.write_text(profile.read_text().replace("pretrain: {", TWO_NODES, 1))
    path = os.pathsep.join([str(folder / "src"), str(PLUGINS)])
    # accounting is what a test's cluster lacks; the rest is the profile's
    ours = ["--slurm-no-account", "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"]
    with heard.open("w") as stream:
        process = subprocess.Popen(
            [str(BIN / "snakemake"), "rescale", *PROFILE, "--jobs", "4", *ours],
            cwd=folder, env=environment(folder) | {"PYTHONPATH": path}, stdout=stream, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def running(rule: str) -> str:
        """The number of a rule's job once it runs."""
        assert process.poll() is None, heard.read_text()[-6000:]
        jobs = say("squeue", "--noheader", "--states=running", "--format=%i %k").splitlines()
        return next((line.split()[0] for line in jobs if f" rule_{rule}_" in line), "")

    try:
        wait_for("pre-training", lambda: running("pretrain") != "", 600)
        end(cluster / "n2.pid")
        time.sleep(3)
        start("slurmd", "-N", "n2")
        wait_for("training", lambda: running("train") != "", 600)
        job = running("train")
        asked = say("scontrol", "show", "job", job)
        say("scancel", job)
        assert process.wait(timeout=900) == 0, heard.read_text()[-6000:]
    finally:
        process.kill()
        process.wait()
    for figure in ("CPUs/Task=4", "MinMemoryNode=16000M", "gres:gpu:1", "TimeLimit=1-00:00:00"):
        assert figure in asked, asked
    text = heard.read_text()
    assert f"SLURM-job '{job}' failed" in text, text[-6000:]
    submitted = text.count("has been submitted with SLURM jobid")
    assert 5 < submitted < 12, submitted  # 20 jobs and one again: groups share submissions
    (encoder,) = (folder / "data" / "pretrain" / "rescale").iterdir()
    assert json.loads((encoder / "provenance.json").read_text())["processes"] == 2
    assert planned(folder, "rescale") == Counter()
    assert (folder / "results" / "demo" / "rescale" / "table1" / "table.md").is_file()

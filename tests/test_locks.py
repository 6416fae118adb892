import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tellsign.system.locks import clear_stale_lock, exclusive_lock


def locked(folder, owner):
    (folder / ".snakemake" / "locks").mkdir(parents=True)
    (folder / ".snakemake" / "locks" / "0.output.lock").write_text("data/x\n")
    (folder / ".snakemake" / "owners").mkdir(exist_ok=True)
    (folder / ".snakemake" / "owners" / "signer").write_text(owner)
    clear_stale_lock(folder)
    return list((folder / ".snakemake" / "locks").iterdir())


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_lock_of_a_dead_run_is_cleared(tmp_path):
    assert not locked(tmp_path, f"{socket.gethostname()} {dead_process()} 1.00\n")


def test_the_lock_of_a_living_run_stays(tmp_path):
    clear_stale_lock(tmp_path)  # signs as this process
    (signed,) = (tmp_path / ".snakemake" / "owners").iterdir()
    assert locked(tmp_path, signed.read_text())


def test_a_lock_of_another_machine_or_of_nobody_stays(tmp_path):
    assert locked(tmp_path / "a", f"elsewhere {dead_process()} 1.00\n")
    assert locked(tmp_path / "b", "")


def test_a_reused_process_number_is_not_the_owner(tmp_path):
    assert not locked(tmp_path, f"{socket.gethostname()} {os.getpid()} 1.00\n")


def test_of_two_that_start_at_once_the_later_ones_end_frees_nothing(tmp_path):
    """Both sign, the first locks, the second is refused and ends: the lock is the first one's."""
    clear_stale_lock(tmp_path)
    (tmp_path / ".snakemake" / "locks").mkdir()
    lock = tmp_path / ".snakemake" / "locks" / "0.output.lock"
    lock.write_text("data/x\n")
    ended = tmp_path / ".snakemake" / "owners" / "second"
    ended.write_text(f"{socket.gethostname()} {dead_process()} 1.00\n")
    clear_stale_lock(tmp_path)
    assert lock.exists() and not ended.exists()


def test_alone_waits_for_the_other(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from tellsign.system.locks import exclusive_lock\n"
        "with exclusive_lock(Path(sys.argv[1])):\n    print('in', flush=True); time.sleep(1); Path(sys.argv[2]).touch()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "w"), str(tmp_path / "done")], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None and other.stdout.readline() == "in\n"
    with exclusive_lock(tmp_path / "w"):
        assert (tmp_path / "done").exists()
    other.communicate()


def test_one_at_a_time_though_each_removes_the_lock_file(tmp_path):
    """Whoever waits for a file that its holder removes must not hold it beside who locks the next one."""
    inside: list[int] = []

    def work(number: int) -> int:
        with exclusive_lock(tmp_path / "w"):
            inside.append(number)
            alone = len(inside)
            time.sleep(0.002)
            inside.remove(number)
            return alone

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(40))) == {1}
    assert not list(tmp_path.iterdir())

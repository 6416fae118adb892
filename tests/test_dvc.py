import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

DVC = Path(sys.executable).parent / "dvc"
pytestmark = pytest.mark.slow


def run(folder: Path, *command: str) -> str:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_dvc_versions_data_but_not_what_belongs_to_this_machine(tmp_path):
    for name in ("data.dvc", ".dvcignore", ".gitignore"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / ".dvc", tmp_path / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache"))
    run(tmp_path, "git", "init", "-q")
    for name in ("split/a.0123.parquet", "work/0123/state", "split/.a.0123.parquet.77.part", "index/a.bad.csv"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(name)
    run(tmp_path, str(DVC), "add", "-q", "data")
    assert "nfiles: 1" in (tmp_path / "data.dvc").read_text()
    run(tmp_path, str(DVC), "remote", "add", "-q", "-d", "here", str(tmp_path / "remote"))
    run(tmp_path, str(DVC), "push", "-q")
    shutil.rmtree(tmp_path / "data")
    run(tmp_path, str(DVC), "pull", "-q")
    found = [p.relative_to(tmp_path).as_posix() for p in (tmp_path / "data").rglob("*") if p.is_file()]
    assert found == ["data/split/a.0123.parquet"]

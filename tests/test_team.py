"""Two clones that share artifacts: over a folder, SSH and S3; links; merging; damage; pruning."""

import contextlib
import getpass
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from conftest import ROOT
from PIL import Image
from pipeline import BIN, copy_of_tree, planned, snakemake

from tellsign.commands.prune import spent
from tellsign.errors import UserError
from tellsign.plan.artifact import Artifact
from tellsign.sharing.artifacts import covering, damage, files_below, merged, unit_of
from tellsign.sharing.dvc import entries_of
from tellsign.system.files import folder_beside, write_text
from tellsign.system.integrity import check_files
from tellsign.system.parquet import write_rows
from tellsign.system.store import Store

DVC = str(BIN / "dvc")
REMOTES = ROOT / ".venv" / "remotes"
WHO = {f"GIT_{role}_{what}": "tester@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
FP = "0123456789ab"


def run(folder: Path, *command: str, check: bool = True) -> str:
    """What a command says, both streams."""
    path = os.pathsep.join([str(folder / "src"), str(REMOTES)])
    done = subprocess.run(
        command, cwd=folder, env=os.environ | WHO | {"PYTHONPATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def tellsign(folder: Path, *arguments: str, check: bool = True) -> str:
    return run(folder, sys.executable, "-m", "tellsign", *arguments, check=check)


def commit(folder: Path, message: str) -> None:
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "-q", "-m", message)


def bytes_of(folder: Path) -> dict[str, str]:
    """sha256 of every artifact's file in data/, by path."""
    names = [name for name in files_below(folder / "data") if unit_of(name.removeprefix(f"{folder}/"))]
    return {name.removeprefix(f"{folder}/"): hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in names}


def damaged_objects(store: Path) -> list[str]:
    """Files of a cache or remote whose bytes have not the md5 that is their name."""
    held = [p for p in (store / "files" / "md5").rglob("*") if p.is_file()]
    assert len(held) > 10
    return [
        str(p) for p in held if hashlib.md5(p.read_bytes()).hexdigest() != (p.parent.name + p.name).removesuffix(".dir")
    ]


# ------------------------------------------------------------------------------------------------ a small team


def smallest(folder: Path, images: Path) -> None:
    """Give a copy one paper with two runs, of which a table shows the first, on a folder of noise."""
    draw = np.random.default_rng(3407)
    for label in ("0_real", "1_fake"):
        (images / "noise" / label).mkdir(parents=True)
        for n in range(12):
            pixels = draw.integers(0, 256, (80, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(images / "noise" / label / f"{n}.png")
    config = yaml.safe_load((folder / "config" / "folder.yaml").read_text())
    config |= {"root": str(images), "train": "noise", "papers": ["config/folder/lol.yaml"]}
    config["evaluate"] = {"resamples": 20}
    del config["benchmarks"]["photos"], config["splits"]["photos"]
    path = folder / "config" / "folder" / "lol.yaml"
    paper = yaml.safe_load(path.read_text())
    table = {"title": "Small", "kind": "subsets", "metric": "accuracy", "rows": [{"run": "first"}]}
    paper |= {"seeds": [0], "grids": {}, "figures": {}, "tables": {"table1": table}}
    paper |= {"runs": {name: {"optimiser": {"lr": rate}} for name, rate in (("first", 1e-4), ("second", 2e-4))}}
    paper["base"]["epochs"] = 1
    path.write_text(yaml.safe_dump(paper, sort_keys=False))
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


@pytest.fixture(scope="module")
def team(tmp_path_factory) -> Path:
    """A folder with A's clone ``a``, which has made its tables and shared them, and the team's remote ``remote``."""
    place = tmp_path_factory.mktemp("team")
    a = copy_of_tree(place / "a")
    smallest(a, place / "images")
    run(a, "git", "init", "-q", "-b", "main")
    run(a, DVC, "remote", "add", "-q", "--default", "lab", str(place / "remote"))
    snakemake(a, "tables")
    store = Store.open(a / "data" / "store" / f"caption-x.{FP}", ("id",), {"captioner": "x"})
    store.add({"id": ["a"], "caption": ["a photograph"]})
    said = tellsign(a, "share")
    assert "train 1" in said and "store 2" in said and "git commit data.dvc" in said
    commit(a, "First tables")
    return place


def pretend(folder: Path) -> None:
    """Put a text where each job of a dry run would put its artifact."""
    for path in re.findall(r"^    output: (data/\S+)$", snakemake(folder, "-n", "tables"), flags=re.M):
        if path.endswith(".parquet"):
            write_rows(folder / path, {"path": [path]})
        else:
            with folder_beside(folder / path) as part:
                (part / "text").write_text(path)


def clone(team: Path, name: str, branch: str = "main") -> Path:
    """A clone of what A shared first, whatever other tests have committed since."""
    run(team, "git", "clone", "-q", "--branch", branch, "a", name)
    return team / name


@pytest.mark.slow
def test_two_clones_share_and_merge(team):
    a, b = team / "a", clone(team, "b")
    run(b, DVC, "config", "-q", "--local", "cache.type", "symlink")  # real stages read links and write beside them
    assert "arrived" in tellsign(b, "get")
    assert planned(b, "tables") == Counter()
    here = bytes_of(a)
    assert bytes_of(b) == {name: digest for name, digest in here.items() if "/store/" not in name}

    run(b, "git", "switch", "-q", "-c", "b")
    lol = Path("config", "folder", "lol.yaml")
    (b / lol).write_text((b / lol).read_text().replace("lr: 0.0001", "lr: 0.0003"))
    # exactly what depends on that run; crops are not shared
    assert planned(b, "tables") == Counter(crops=2, train=1, score=1, evaluate=1, table=1)
    snakemake(b, "tables")
    assert "4 new in data/: evaluate 1, score 1, table 1, train 1." in tellsign(b, "share")
    commit(b, "The first run at another rate")

    run(a, "git", "switch", "-q", "-c", "a")
    with_second = (a / lol).read_text().replace("- run: first\n", "- run: first\n    - run: second\n")
    (a / lol).write_text(with_second)
    pretend(a)
    assert "4 new in data/" in tellsign(a, "share")
    commit(a, "The second run in the table")

    run(a, "git", "fetch", "-q", str(b), "b")
    run(a, "git", "merge", "-q", "-m", "Both", "FETCH_HEAD")
    assert "3 artifacts arrived: evaluate 1, score 1, train 1." in tellsign(a, "get")
    assert planned(a, "tables") == Counter(table=1)
    assert "0 new in data/" in tellsign(a, "share")  # pushes the merged list
    assert damaged_objects(b / ".dvc" / "cache") == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["copy", "hardlink", "symlink"])
def test_whatever_stages_replace_the_cache_keeps_its_bytes(team, kind):
    c = clone(team, kind)
    run(c, DVC, "config", "-q", "--local", "cache.type", kind)
    tellsign(c, "get")
    cache = c / ".dvc" / "cache"
    objects = {p.stat().st_ino for p in cache.rglob("*") if p.is_file()}
    names = [c / name for name in bytes_of(c)]
    assert len(names) > 10
    assert {p.is_symlink() for p in names} == {kind == "symlink"}
    assert {p.stat().st_ino in objects for p in names} == {kind != "copy"}
    for path in names:  # as stages write
        if path.suffix == ".parquet":
            write_text(path, "other")
        else:
            with folder_beside(path.parent) as part:
                (part / path.name).write_text("other")
    assert damaged_objects(cache) == []


# ------------------------------------------------------------------------------------------------ servers


def there_and_back(team: Path, name: str, url: str, options: dict[str, str]) -> None:
    """A shares all to a remote; a fresh clone gets all of it."""
    b = clone(team, name, run(team / "a", "git", "branch", "--show-current").strip())
    for folder in (team / "a", b):
        run(folder, DVC, "remote", "add", "-q", "--local", name, url)
        for option, value in options.items():
            run(folder, DVC, "remote", "modify", "-q", "--local", name, option, value)
    tellsign(team / "a", "share", "--remote", name)
    tellsign(b, "get", "--remote", name)
    found, here = bytes_of(b), bytes_of(team / "a")
    assert len(found) > 10 and all(here[path] == digest for path, digest in found.items())
    assert damaged_objects(b / ".dvc" / "cache") == []


def needs_remotes() -> None:
    """Skip where DVC's remotes and their test server are not there."""
    if not (REMOTES / ".ready").exists():
        pytest.skip("needs DVC's remotes by SSH and S3: make .venv/remotes/.ready")


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@contextlib.contextmanager
def server(command: list[str], port: int, log: Path):
    """A server that runs until the block ends, listening when it begins."""
    path = os.environ | {"PYTHONPATH": str(REMOTES)}
    with log.open("w") as stream, subprocess.Popen(command, stdout=stream, stderr=stream, env=path) as process:
        try:
            for _ in range(600):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
            yield
        finally:
            process.terminate()


@pytest.mark.slow
def test_over_ssh(team, tmp_path):
    needs_remotes()
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if sshd is None:
        pytest.skip("needs a server, sshd (Debian's openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it of root
    for key in ("host", "user"):
        run(tmp_path, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / key))
    port = free_port()
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nPidFile {tmp_path}/pid\nUsePAM no\n"
        f"AuthorizedKeysFile {tmp_path}/user.pub\nStrictModes no\nSubsystem sftp internal-sftp\nMaxStartups 100\n"
    )
    options = {"user": getpass.getuser(), "keyfile": str(tmp_path / "user")}
    with server([sshd, "-D", "-e", "-f", str(tmp_path / "sshd_config")], port, tmp_path / "log"):
        there_and_back(team, "over-ssh", f"ssh://127.0.0.1:{port}{tmp_path}/store", options)
    assert damaged_objects(tmp_path / "store") == []


@pytest.mark.slow
def test_over_s3(team, tmp_path):
    needs_remotes()
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    url = f"http://127.0.0.1:{port}"
    with server(command, port, tmp_path / "log"):
        request = urllib.request.Request(f"{url}/team", method="PUT")
        urllib.request.urlopen(request).close()
        keys = {"access_key_id": "any", "secret_access_key": "any", "endpointurl": url, "region": "us-east-1"}
        there_and_back(team, "over-s3", "s3://team/store", keys)


# ------------------------------------------------------------------------------------------------ damage


@pytest.mark.slow
def test_bytes_that_are_not_what_was_shared_are_refused_by_name(team):
    c, remote = clone(team, "c"), team / "remote"
    (out,) = yaml.safe_load((c / "data.dvc").read_text())["outs"]
    listed = json.loads((remote / "files" / "md5" / out["md5"][:2] / out["md5"][2:]).read_text())
    victim = next(e for e in listed if e["relpath"].endswith("model.safetensors"))
    held = remote / "files" / "md5" / victim["md5"][:2] / victim["md5"][2:]
    whole = held.read_bytes()
    held.chmod(0o644)
    held.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        said = tellsign(c, "get", "--table", "lol-table1", check=False)
    finally:
        held.write_bytes(whole)
    checkpoint = c / "data" / Path(victim["relpath"]).parent
    assert "1 artifacts were refused" in said and checkpoint.name in said and "Traceback" not in said
    assert not checkpoint.exists() and (c / "data" / "table").exists()
    assert "1 artifacts arrived: train 1." in tellsign(c, "get", "--table", "lol-table1")

    # what the remote has lost is pushed again by whoever has it
    held.unlink()
    assert "0 new in data/" in (said := tellsign(team / "a", "share")) and "1 files pushed" in said
    assert held.read_bytes() == whole

    # what was damaged before it was listed contradicts its seal
    path = checkpoint / "model.safetensors"
    path.write_bytes(whole[:-1])
    run(c, DVC, "add", "-q", str(checkpoint.relative_to(c)))
    shutil.rmtree(checkpoint)
    said = tellsign(c, "get", check=False)
    assert checkpoint.name in said and "files.sha256 says" in said and not checkpoint.exists()


@pytest.mark.slow
def test_a_list_that_is_not_the_one_in_git_is_refused(team):
    d, remote = clone(team, "d"), team / "remote" / "files" / "md5"
    (out,) = yaml.safe_load((d / "data.dvc").read_text())["outs"]
    place = remote / out["md5"][:2] / out["md5"][2:]
    whole = place.read_bytes()
    place.chmod(0o644)
    place.write_bytes(whole.replace(b"table1.", b"tableX.", 1))
    try:
        said = tellsign(d, "get", check=False)
    finally:
        place.write_bytes(whole)
    assert "is not to be had (its md5 is" in said and "Traceback" not in said and not (d / "data").exists()
    tellsign(d, "get")
    cached = len(list((d / ".dvc" / "cache" / "files").rglob("*")))
    assert "0 artifacts arrived" in tellsign(d, "get")  # and for nothing that is wanted, nothing comes
    assert len(list((d / ".dvc" / "cache" / "files").rglob("*"))) == cached
    said = tellsign(d, "share", "--remote", "labb", check=False)
    assert "labb" in said and "Traceback" not in said


@pytest.mark.slow
def test_a_conflict_is_not_committed(team):
    e = clone(team, "e")
    blob = run(e, "git", "rev-parse", "HEAD:data.dvc").strip()
    stages = "".join(f"100644 {blob} {stage}\tdata.dvc\n" for stage in (1, 2, 3))
    subprocess.run(["git", "update-index", "--index-info"], cwd=e, input=stages, text=True, check=True)
    said = tellsign(e, "share", check=False)
    assert "git merge --abort" in said and "Now: git commit" not in said


@pytest.mark.slow
def test_hidden_files_are_nobodys_artifact(team):
    a = team / "a"
    hidden = [next((a / "data" / "table" / "lol").iterdir()) / name for name in (".~lock.table.csv#", ".x/y")]
    for path in hidden:
        path.parent.mkdir(exist_ok=True)
        path.write_text("an editor's")
    try:
        check_files(hidden[0].parent)
        run(a, DVC, "add", "-q", str(hidden[0].parent.relative_to(a)))
        (out,) = yaml.safe_load((a / "data.dvc").read_text())["outs"]
        cache = a / ".dvc" / "cache" / "files" / "md5" / out["md5"][:2] / out["md5"][2:]
        assert not [e for e in json.loads(cache.read_text()) if "/." in e["relpath"]]
    finally:
        hidden[0].unlink()
        shutil.rmtree(hidden[1].parent)


# ------------------------------------------------------------------------------------------------ pruning


@pytest.mark.slow
def test_prune_lists_then_removes_what_no_plan_names(team):
    c = clone(team, "pruned")
    tellsign(c, "get")
    here = set(bytes_of(c))
    lol = c / "config" / "folder" / "lol.yaml"
    lol.write_text(lol.read_text().replace("lr: 0.0001", "lr: 0.0009").replace("lr: 0.0003", "lr: 0.0009"))
    (c / "data" / "notes.txt").write_text("mine")
    said = tellsign(c, "prune")
    assert "first-s0" in said and "add --yes" in said and set(bytes_of(c)) == here
    kept = tellsign(c, "prune", "--configfile", "config/config.yaml", "--configfile", "config/config.yaml", "--yes")
    assert "Removed." in kept
    left = set(bytes_of(c))
    assert left < here and not any("first" in name for name in left) and any("split" in name for name in left)
    assert (c / "data" / "notes.txt").exists()
    said = tellsign(c, "prune", "--configfile", "config/paper.yaml", check=False)
    assert "Nothing was removed" in said
    assert "expected at least one argument" in tellsign(c, "prune", "--configfile", "--yes", check=False)


# ------------------------------------------------------------------------------------------------ the parts


def test_a_checkpoint_has_done_its_work_when_all_that_reads_it_is_made(tmp_path):
    base, other = (Artifact("train", f"p/{name}-s0", {"n": name}, {}) for name in ("base", "other"))
    child = Artifact("train", "p/child-s0", {}, {"start": [("", base)]})
    score = Artifact("score", "p/child", {}, {"checkpoints": [("0", child), ("1", other)]})
    figure = Artifact("figure", "p/fig", {}, {"checkpoints": [("other", other)]})
    everything = [base, child, other, score, figure]
    for made in (base, child, other):
        (tmp_path / made.path).mkdir(parents=True)
    assert spent(everything, tmp_path) == [base.path]
    (tmp_path / score.path).parent.mkdir(parents=True)
    (tmp_path / score.path).touch()
    assert spent(everything, tmp_path) == sorted([base.path, child.path])
    (tmp_path / child.path).rmdir()
    assert spent(everything, tmp_path) == [base.path]
    (tmp_path / score.path).unlink()
    assert spent(everything, tmp_path) == []


def test_of_what_both_branches_made_one_is_taken_whole():
    def made(name: str, *digits: str) -> dict[str, str]:
        return {f"data/train/{name}.{FP}/{file}": digit * 32 for file, digit in zip("xy", digits, strict=True)}

    before = made("old", "0", "1") | made("both-drop", "2", "2") | made("we-drop", "3", "3") | {"data/note": "4" * 32}
    ours = made("old", "0", "1") | made("twice", "a", "b") | made("ours", "c", "d") | {"data/note": "4" * 32}
    theirs = made("old", "0", "1") | made("we-drop", "3", "3") | made("twice", "a", "e") | made("theirs", "f", "f")
    found, both = merged(before, ours, theirs)
    assert found == made("old", "0", "1") | made("twice", "a", "b") | made("ours", "c", "d") | made("theirs", "f", "f")
    assert both == [f"data/train/twice.{FP}"]
    assert set(merged(before, theirs, ours)[0]) == set(found)


def test_folders_that_are_new_as_a_whole_are_added_at_once():
    new = [f"data/train/m/a.{FP}", f"data/train/n/b.{FP}", f"data/split/c.{FP}.parquet", f"data/score/m/d.{FP}.parquet"]
    others = [f"data/split/e.{FP}.parquet", f"data/train/n/f.{FP}/model", "data/score/notes"]
    assert covering(new, others) == [
        "data/score/m",
        f"data/split/c.{FP}.parquet",
        "data/train/m",
        f"data/train/n/b.{FP}",
    ]
    assert covering(new, []) == ["data/score", "data/split", "data/train"]


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        (f"data/train/mpft/tam-s0.{FP}/model.safetensors", f"data/train/mpft/tam-s0.{FP}"),
        (f"data/train/mpft/tam-s0.{FP}", f"data/train/mpft/tam-s0.{FP}"),
        (f"data/train/mpft/tam-s0.{FP}0/model.safetensors", None),
        (f"data/index/demo.{FP}.parquet", f"data/index/demo.{FP}.parquet"),
        (f"data/index/demo.{FP}.parquet.bad.csv", None),
        (f"data/work/{FP}/whole", None),
        (f"data/store/caption-blip.{FP}/made.json", f"data/store/caption-blip.{FP}/made.json"),
        (f"data/store/caption-blip.{FP}/made.json.lock", None),
        (f"data/report/demo.{FP}.html", f"data/report/demo.{FP}.html"),
        ("data/notes.txt", None),
    ],
)
def test_a_file_belongs_to_the_artifact_whose_path_it_has(path, unit):
    assert unit_of(path) == unit


def test_seals_name_what_contradicts_them(tmp_path):
    unit = f"data/train/m/a.{FP}"
    with folder_beside(tmp_path / unit) as part:
        (part / "model.safetensors").write_bytes(b"weights")
    files = [f"{unit}/model.safetensors", f"{unit}/files.sha256"]
    assert damage(unit, files, tmp_path.joinpath) is None
    assert "names model.safetensors, which is missing" in damage(unit, files[1:], tmp_path.joinpath)
    assert "does not name more" in damage(unit, [*files, f"{unit}/more"], tmp_path.joinpath)
    assert "no files.sha256" in damage(unit, files[:1], tmp_path.joinpath)
    (tmp_path / unit / "model.safetensors").write_bytes(b"weight5")
    assert "sha256 of model.safetensors" in damage(unit, files, tmp_path.joinpath)

    rows = f"data/split/a.{FP}.parquet"
    write_rows(tmp_path / rows, {"id": ["a"]})
    assert damage(rows, [rows], tmp_path.joinpath) is None
    folder = tmp_path / "data" / "store" / f"x.{FP}"
    Store.open(folder, ("id",), {}).add({"id": ["a"]})
    (shard,) = folder.glob("*.parquet")
    wrong = shutil.copyfile(shard, folder / f"{'0' * 20}.parquet")
    names = [f"data/store/x.{FP}/{one.name}" for one in (shard, wrong)]
    good, bad = (damage(name, [name], tmp_path.joinpath) for name in names)
    assert good is None and "its name says 0000" in bad
    with (tmp_path / rows).open("r+b") as stream:
        stream.write(b"X")
    assert "footer" in damage(rows, [rows], tmp_path.joinpath)


@pytest.mark.parametrize("key", [("..", "x"), ("a", "..", "..", "x"), ("", "x"), ("a/../../x",), ("a\\x",)])
def test_a_list_cannot_lead_out_of_data(key):
    digest = SimpleNamespace(value="0" * 32)
    with pytest.raises(UserError, match="leads out of"):
        entries_of([(key, None, digest)])
    assert entries_of([(("a", "..x"), None, digest)]) == {"data/a/..x": "0" * 32}

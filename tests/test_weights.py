from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import pytest

from tellsign.__main__ import run
from tellsign.commands import weights as command
from tellsign.commands.configuration import plan_without_data, read_configuration
from tellsign.data.inventory import FileDigests
from tellsign.errors import UserError
from tellsign.networks import hub
from tellsign.networks.catalogue import read_catalogue
from tellsign.networks.weights import WeightsCatalogue, shopping_list, shortened
from tellsign.schema.weights import MissingWeightsError, WeightsEntry
from tellsign.system.integrity import sha256_of_file

ROOT = Path(__file__).parent.parent
COMMIT, OTHER = "a" * 40, "b" * 40
FILES = {"config.json": b"{}", "model.safetensors": b"tensors", "notes.md": b"not asked for"}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def entry(*files: str, **change) -> WeightsEntry:
    facts = {"repository": "owner/name", "revision": COMMIT, "megabytes": 5, "licence": "MIT", "papers": ("tidy",)}
    return WeightsEntry(files=files, page="https://huggingface.co/owner/name", **(facts | change))


CATALOGUE = {
    "one-file": entry("model.safetensors", sha256={"model.safetensors": sha(FILES["model.safetensors"])}),
    "unknown-digest": entry("model.safetensors", revision="main"),
    "folder": entry("config.json", "*.safetensors"),
    "elsewhere": entry("x.pth", repository=None, revision="main", url="http://127.0.0.1:1/x.pth"),
}


@pytest.fixture
def catalogue(tmp_path, monkeypatch):
    """A catalogue in an empty folder, with an empty cache of the hub's client."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return WeightsCatalogue(CATALOGUE, tmp_path / "weights", sha256_of_file, tmp_path)


def put(root: Path, **files: bytes) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (root / name.replace("__", ".")).write_bytes(data)
    return root


# ------------------------------------------------------------------------------------------------ the catalogue


def test_every_full_size_network_has_an_entry_of_its_name():
    from tellsign.networks.backbones import BACKBONES, CLIPS

    catalogue = read_catalogue(ROOT / "config" / "weights.yaml")
    trained_from_scratch, in_a_folder = {"npr"}, {"open-clip"}
    names = {*BACKBONES, *CLIPS}
    full_size = {name for name in names if not name.startswith("demo-") and not name.endswith(":")}
    assert full_size - trained_from_scratch - in_a_folder <= catalogue.keys()
    assert all(catalogue[name].single for name in BACKBONES if name in catalogue)  # their loaders take a file
    for name, spec in catalogue.items():
        assert spec.page.startswith("https://") and spec.licence and spec.papers, name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"revison": "main"}, "Did you mean 'revision'"),
        ({"revision": "v1.0"}, "whole commit"),
        ({"sha256": {"modell.safetensors": "0" * 64}}, "Did you mean 'model.safetensors'"),
        ({"sha256": {"model.safetensors": "0" * 63}}, "64 hex digits"),
        ({"url": "https://a/b"}, "either repository"),
        ({"megabytes": 0}, "above 0"),
        ({"papers": ["mptf"]}, "Did you mean 'mpft'"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, change, said):
    fields = {"repository": "a/b", "files": ["model.safetensors"], "megabytes": 1, "licence": "MIT"}
    fields |= {"papers": ["mpft"], "page": "https://huggingface.co/a/b"} | change
    (tmp_path / "weights.yaml").write_text(json.dumps({"name": fields}))
    with pytest.raises(UserError, match=r"weights.yaml: name") as raised:
        read_catalogue(tmp_path / "weights.yaml")
    assert said in str(raised.value)


# ------------------------------------------------------------------------------------------------ finding


def test_values_that_need_no_file(catalogue):
    assert (catalogue.find("none").path, catalogue.find("none").digest) == ("none", "none")
    assert catalogue.find("shipped").path == "shipped" and len(catalogue.find("shipped").digest) == 64


def test_one_file_has_its_own_digest_wherever_it_lies(catalogue):
    root = put(catalogue.folder / "one-file", model__safetensors=FILES["model.safetensors"])
    by_name, by_path = catalogue.find("one-file"), catalogue.find("weights/one-file/model.safetensors")
    assert by_name.path == by_path.path == str(root / "model.safetensors")
    assert by_name.digest == by_path.digest == sha(FILES["model.safetensors"])
    assert not by_name.recorded  # the catalogue knows it


def test_a_folder_digest_is_over_names_and_contents_but_not_hidden_files(catalogue):
    root = put(catalogue.folder / "folder", config__json=b"{}", model__safetensors=b"tensors", notes__md=b"x")
    (root / ".cache").mkdir()
    (root / ".cache" / "x.safetensors").write_bytes(b"of the client")
    lines = f"config.json\0{sha(b'{}')}\nmodel.safetensors\0{sha(b'tensors')}\n"
    assert catalogue.find("folder").digest == sha(lines.encode())
    assert catalogue.find("weights/folder").digest == sha(f"{lines}notes.md\0{sha(b'x')}\n".encode())
    (root / "config.json").rename(root / "konfig.json")
    assert catalogue.find("weights/folder").digest != sha(f"{lines}notes.md\0{sha(b'x')}\n".encode())


def test_a_misspelt_name_is_told_from_a_missing_path(catalogue):
    with pytest.raises(UserError, match="Did you mean 'one-file'"):
        catalogue.find("one-fiel")
    for path in ("./one-fiel", "one-fiel.pth", "~/one-fiel"):
        with pytest.raises(MissingWeightsError, match="Put the file or folder there"):
            catalogue.find(path)


def test_a_missing_entry_says_how_to_get_it(catalogue):
    with pytest.raises(MissingWeightsError) as raised:
        catalogue.find("one-file")
    assert raised.value.state == "missing"
    assert raised.value.how.replace("\\\n    ", "") == (
        f"hf download owner/name model.safetensors --revision {COMMIT} --local-dir {catalogue.folder}/one-file"
    )
    with pytest.raises(MissingWeightsError, match=r"curl .*/weights/elsewhere/x\.pth"):
        catalogue.find("elsewhere")


def test_an_incomplete_folder_says_what_it_lacks(catalogue):
    root = put(catalogue.folder / "folder", config__json=b"{}")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    shards = entry("config.json", "model.safetensors.index.json", "model-*.safetensors")
    catalogue.entries = CATALOGUE | {"folder": shards}
    put(root, **{"model.safetensors.index.json": json.dumps(index).encode(), "model-1.safetensors": b"1"})
    with pytest.raises(MissingWeightsError) as raised:
        catalogue.find("folder")
    assert raised.value.state == "incomplete, lacks model-2.safetensors"
    put(root, **{"model-2.safetensors": b"2"})
    assert catalogue.find("folder").path == str(root)


def test_everything_missing_is_said_at_once(catalogue):
    put(catalogue.folder / "folder", model__safetensors=b"tensors")
    needed = {"one-file": ["tidy: run a", "tidy: run b"], "x/y.pth": ["lol: run c"], "folder": ["tidy: annotate d"]}
    with pytest.raises(UserError) as raised:
        catalogue.require(needed | {"none": ["lol: run e"], "folderr": ["lol: run f"]})
    text = str(raised.value)
    assert "tellsign weights --only one-file folder --fetch\n" in text
    assert "3 of these weights are missing" in text
    assert "no such name" in text and "Used by lol: run f" in text
    assert "used by tidy: run a, tidy: run b\n    hf download owner/name" in text
    put(catalogue.folder / "one-file", model__safetensors=b"tensors")
    put(catalogue.folder / "folder", config__json=b"{}")
    put(catalogue.folder.parent / "x", y__pth=b"mine")
    assert catalogue.require(needed)["x/y.pth"].digest == sha(b"mine")


# ------------------------------------------------------------------------------------------------ verifying


def test_a_flipped_bit_is_found_against_the_catalogue(catalogue):
    put(catalogue.folder / "one-file", model__safetensors=b"tensorr")
    with pytest.raises(UserError) as raised:
        catalogue.find("one-file")
    text = str(raised.value)
    assert f"expected sha256 {sha(b'tensors')} (config/weights.yaml)" in text
    assert f"found    sha256 {sha(b'tensorr')}" in text
    assert f"rm {catalogue.folder}/one-file/model.safetensors && tellsign weights --only one-file --fetch" in text


def test_what_is_seen_first_is_recorded_then_verified(catalogue):
    root = put(catalogue.folder / "unknown-digest", model__safetensors=b"first")
    assert catalogue.find("unknown-digest").recorded
    assert not catalogue.find("unknown-digest").recorded
    locked = json.loads((catalogue.folder / "lock.json").read_text())["weights"]["unknown-digest"]
    assert locked["files"] == {"model.safetensors": {"sha256": sha(b"first"), "bytes": 5}}
    put(root, model__safetensors=b"other")
    with pytest.raises(UserError, match=r"not the file it should be(.|\n)*If the change is meant, delete the entry"):
        catalogue.find("unknown-digest")
    put(root, model__safetensors=b"first")
    assert catalogue.find("unknown-digest").digest == sha(b"first")


def test_a_file_that_appears_later_is_refused(catalogue):
    root = put(catalogue.folder / "folder", config__json=b"{}", model__safetensors=b"tensors")
    catalogue.find("folder")
    put(root, pytorch__safetensors=b"another")
    with pytest.raises(UserError, match="was not there when"):
        catalogue.find("folder")
    (root / "pytorch.safetensors").unlink()
    (root / "model.safetensors").unlink()  # recorded, so it is lacking although only a pattern names it
    with pytest.raises(MissingWeightsError, match=r"lacks model\.safetensors"):
        catalogue.find("folder")


def test_a_new_revision_in_the_catalogue_wants_new_files(catalogue):
    root = put(catalogue.folder / "folder", config__json=b"{}", model__safetensors=b"tensors")
    note = root / ".cache" / "huggingface" / "download" / "config.json.metadata"
    put(note.parent)
    note.write_text(f"{COMMIT}\netag\n0\n")
    catalogue.find("folder")
    assert catalogue.lock()["folder"]["revision"] == COMMIT
    catalogue.entries = CATALOGUE | {"folder": entry("config.json", "*.safetensors", revision=OTHER)}
    with pytest.raises(UserError, match=f"records revision {COMMIT}, but config/weights.yaml wants {OTHER}"):
        catalogue.find("folder")


def test_a_damaged_lock_is_told(catalogue):
    put(catalogue.folder, lock__json=b'{"version": 1, "weights": []}')
    with pytest.raises(UserError, match=r"lock.json is damaged"):
        catalogue.find("one-file")


def test_a_folder_that_cannot_be_written_is_used_as_it_is(catalogue, monkeypatch):
    put(catalogue.folder / "unknown-digest", model__safetensors=b"first")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert catalogue.find("unknown-digest").recorded
    assert not (catalogue.folder / "lock.json").exists()


def test_records_of_two_at_once_both_stay(catalogue, tmp_path):
    values = ["unknown-digest", "folder"]
    for value in values:
        put(catalogue.folder / value, config__json=b"{}", model__safetensors=b"tensors")
    shelves = [WeightsCatalogue(CATALOGUE, catalogue.folder, sha256_of_file, tmp_path) for _ in values]
    threads = [threading.Thread(target=s.find, args=(v,)) for s, v in zip(shelves, values, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert catalogue.lock().keys() == set(values)


def test_weights_in_the_clients_cache_are_found(catalogue, tmp_path):
    home = tmp_path / "hub" / "models--owner--name"
    put(home / "blobs", x=FILES["model.safetensors"])
    put(home / "snapshots" / COMMIT)
    (home / "snapshots" / COMMIT / "model.safetensors").symlink_to("../../blobs/x")
    held = catalogue.find("one-file")
    assert held.path == str(home / "snapshots" / COMMIT / "model.safetensors")
    assert held.digest == sha(FILES["model.safetensors"])
    with pytest.raises(MissingWeightsError):  # main: no branch of that name was ever fetched
        catalogue.find("unknown-digest")
    put(home / "refs", main=COMMIT.encode())
    assert catalogue.find("unknown-digest").path == held.path
    assert catalogue.lock()["unknown-digest"]["revision"] == COMMIT
    assert catalogue.revision("unknown-digest") == COMMIT  # what its main was, from now on


def test_unchanged_files_are_not_read_again(catalogue, tmp_path, monkeypatch):
    from tellsign.data import inventory

    read = []
    monkeypatch.setattr(inventory, "SETTLED_NS", -(10**12))
    monkeypatch.setattr(inventory, "sha256_of_file", lambda path: read.append(path) or sha256_of_file(path))
    root = put(catalogue.folder / "folder", config__json=b"{}", model__safetensors=b"tensors")
    for _ in range(2):
        WeightsCatalogue(CATALOGUE, catalogue.folder, FileDigests(tmp_path / "cache.json"), tmp_path).find("folder")
    assert len(read) == 2
    put(root, model__safetensors=b"tensorz")
    with pytest.raises(UserError, match="not the file it should be"):
        WeightsCatalogue(CATALOGUE, catalogue.folder, FileDigests(tmp_path / "cache.json"), tmp_path).find("folder")
    assert len(read) == 3


# ------------------------------------------------------------------------------------------------ the command


def test_places_are_cut_to_the_column():
    assert shortened(["tidy: a", "tidy: a", "lol: b"], 28) == "tidy: a, lol: b"
    assert shortened([f"mpft: run {i}" for i in range(9)], 28) == "mpft: run 0, mpft: run 1 +7"
    assert shortened([], 28) == "–"


def test_the_table_shows_every_state(catalogue):
    put(catalogue.folder / "one-file", model__safetensors=b"tensors")
    put(catalogue.folder / "unknown-digest", model__safetensors=b"first")
    put(catalogue.folder / "folder", model__safetensors=b"tensors")
    (catalogue.folder.parent / "mine.pth").write_bytes(b"mine")
    needed = {value: ["tidy: run a"] for value in [*CATALOGUE, "shipped", "none", "mine.pth", "no.pth"]}
    rows = command.states(catalogue, needed, {})
    assert command.table(catalogue, rows) == (
        "name            used by      licence  size  state\n"
        "one-file        tidy: run a  MIT      5 MB  present, verified\n"
        "unknown-digest  tidy: run a  MIT      5 MB  present, now recorded\n"
        "folder          tidy: run a  MIT      5 MB  incomplete\n"
        "elsewhere       tidy: run a  MIT      5 MB  missing\n"
        "shipped         tidy: run a  –           –  ships with the package\n"
        "none            tidy: run a  –           –  random start\n"
        "mine.pth        tidy: run a  –           –  present\n"
        "no.pth          tidy: run a  –           –  missing\n"
    )
    text = command.summary(rows, needed)
    assert text.startswith("3 of these weights are missing.\nTo fetch what is published (10 MB):\n    tellsign weights")
    missing = [row.problem for row in rows if isinstance(row.problem, MissingWeightsError)]
    assert text == shopping_list(missing, needed) + "\n"


class FakeHub(http.server.BaseHTTPRequestHandler):
    """What the client asks of huggingface.co: a repository's facts, its tree, a file's head and its bytes."""

    asked: ClassVar[list[str]] = []

    def answer(self, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(200)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        self.asked.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        if path in (f"/api/models/owner/name/revision/{ref}" for ref in (COMMIT, "main")):
            self.answer(json.dumps({"id": "owner/name", "sha": COMMIT, "siblings": []}).encode())
        elif path == f"/api/models/owner/name/tree/{COMMIT}":
            tree = [{"type": "file", "path": f, "size": len(d), "oid": sha(d)[:40]} for f, d in FILES.items()]
            for file in tree:
                if file["path"].endswith(".safetensors"):
                    file["lfs"] = {"oid": sha(FILES[file["path"]]), "size": file["size"], "pointerSize": 130}
            self.answer(json.dumps(tree).encode())
        elif path.startswith(f"/owner/name/resolve/{COMMIT}/") and path.rsplit("/", 1)[1] in FILES:
            data = FILES[path.rsplit("/", 1)[1]]
            linked = {"X_Linked_Etag": f'"{sha(data)}"', "X_Linked_Size": str(len(data)), "X_Repo_Commit": COMMIT}
            self.answer(data, "application/octet-stream", ETag=f'"{sha(data)[:40]}"', **linked)
        elif path == "/x.pth":
            self.answer(b"from elsewhere", "application/octet-stream")
        else:
            self.send_error(404)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format, *args):
        pass


@pytest.fixture
def fake_hub(monkeypatch):
    """The client talks to a server of ours; gives its address."""
    from huggingface_hub import constants

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(FakeHub, "asked", [])
    yield address
    server.shutdown()
    server.server_close()


@pytest.fixture
def project(tmp_path, monkeypatch, catalogue):
    """A working folder with a small catalogue."""
    fields = {"megabytes": 1, "licence": "MIT", "papers": ["tidy"], "page": "https://huggingface.co/owner/name"}
    hosted = {"repository": "owner/name", "files": ["model.safetensors"]} | fields
    digest = {"sha256": {"model.safetensors": sha(FILES["model.safetensors"])}}
    catalogue = {
        "one-file": hosted | {"revision": COMMIT} | digest,
        "folder": hosted | {"files": ["config.json", "*.safetensors"]},
        "elsewhere": fields | {"url": "http://127.0.0.1:1/x.pth", "files": ["x.pth"]},
    }
    put(tmp_path / "config", weights__yaml=json.dumps(catalogue).encode())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TELLSIGN_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    return tmp_path


def test_fetch_through_the_true_client(project, fake_hub, capsys):
    assert run(["weights", "--only", "one-file", "folder"]) == 1
    assert "2 of these weights are missing" in capsys.readouterr().out
    assert run(["weights", "--only", "one-file", "folder", "--fetch"]) == 0
    text = capsys.readouterr().out
    assert "Nothing is missing." in text and "present, verified" in text and "present, now recorded" in text
    assert sorted(p.name for p in (project / "weights" / "folder").iterdir() if not p.name.startswith(".")) == [
        "config.json",
        "model.safetensors",
    ]
    lock = json.loads((project / "weights" / "lock.json").read_text())["weights"]
    assert lock["folder"]["revision"] == COMMIT  # what main was
    count = len(FakeHub.asked)
    assert run(["weights", "--only", "one-file", "folder", "--fetch", "--verify"]) == 0
    assert len(FakeHub.asked) == count  # nothing was missing, so nobody was asked


def test_a_lost_file_is_fetched_and_the_others_are_kept(project, fake_hub):
    assert run(["weights", "--only", "folder", "--fetch"]) == 0
    (project / "weights" / "folder" / "config.json").unlink()
    FakeHub.asked.clear()
    assert run(["weights", "--only", "folder", "--fetch"]) == 0
    assert not [line for line in FakeHub.asked if line.startswith("GET") and "model.safetensors" in line]


def test_leftovers_of_killed_transfers_are_swept(project, fake_hub):
    assert run(["weights", "--only", "folder", "--fetch"]) == 0
    parts = put(project / "weights" / "folder" / ".cache" / "huggingface" / "download")
    put(parts, old__incomplete=b"x", young__incomplete=b"x")
    os.utime(parts / "old.incomplete", (0, 0))
    (project / "weights" / "folder" / "config.json").unlink()
    assert run(["weights", "--only", "folder", "--fetch"]) == 0
    assert [path.name for path in parts.glob("*.incomplete")] == ["young.incomplete"]


def test_a_file_that_the_repository_has_not_is_told(project, fake_hub, caplog):
    path = project / "config" / "weights.yaml"
    path.write_text(path.read_text().replace('"config.json"', '"konfig.json"'))
    assert run(["weights", "--only", "folder", "--fetch"]) == 1
    assert "owner/name has no konfig.json at revision" in caplog.text


def test_what_came_wrong_is_not_taken(project, fake_hub, monkeypatch, capsys):
    monkeypatch.setitem(FILES, "model.safetensors", b"something else")
    assert run(["weights", "--only", "one-file", "--fetch"]) == 1
    assert "is not the file it should be" in capsys.readouterr().out


def test_what_fails_does_not_keep_the_others_from_coming(project, fake_hub, capsys, caplog):
    path = project / "config" / "weights.yaml"
    path.write_text(path.read_text().replace('"config.json"', '"konfig.json"'))
    assert run(["weights", "--only", "folder", "one-file", "--fetch"]) == 1
    assert "has no konfig.json" in caplog.text
    assert (project / "weights" / "one-file" / "model.safetensors").is_file()
    assert "1 of these weights is missing" in capsys.readouterr().out


def test_the_printed_command_fetches(project, fake_hub, catalogue):
    """What `tellsign weights` prints is what the client's own command line takes."""
    line = WeightsCatalogue(CATALOGUE, project / "weights", sha256_of_file, project).command("folder")
    settings = {"HF_ENDPOINT": fake_hub, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HOME": str(project / "home")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(line, shell=True, check=True, env=os.environ | settings | {"PATH": path}, capture_output=True)
    assert (
        WeightsCatalogue(CATALOGUE, project / "weights", sha256_of_file, project).find("folder").path.endswith("folder")
    )
    assert not (project / "weights" / "folder" / "notes.md").exists()


def test_no_network_is_said_plainly(project, monkeypatch, caplog):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    assert run(["weights", "--only", "one-file", "--fetch"]) == 1
    assert "owner/name at " in caplog.text and "cannot be fetched: " in caplog.text
    assert run(["weights", "--only", "elsewhere", "--fetch"]) == 1
    assert "http://127.0.0.1:1/x.pth cannot be fetched: " in caplog.text
    assert not list((project / "weights" / "elsewhere").iterdir())


def test_offline_with_files_in_place(project, monkeypatch, caplog):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("one-file", "elsewhere"):
        assert run(["weights", "--only", name, "--fetch"]) == 1
        assert "HF_HUB_OFFLINE is set" in caplog.text
        caplog.clear()
    put(project / "weights" / "one-file", model__safetensors=FILES["model.safetensors"])
    assert run(["weights", "--only", "one-file", "--fetch"]) == 0


def test_a_file_from_elsewhere(project, fake_hub):
    hub.fetch_url(f"{fake_hub}/x.pth", project / "weights" / "elsewhere" / "x.pth")
    assert (project / "weights" / "elsewhere" / "x.pth").read_bytes() == b"from elsewhere"
    assert run(["weights", "--only", "elsewhere"]) == 0


def test_a_disk_without_room_is_told_before_anything_is_fetched(project, monkeypatch, caplog):
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr(command.shutil, "disk_usage", lambda path: usage)
    assert run(["weights", "--only", "one-file", "--fetch"]) == 2
    assert "1 MB are to be fetched" in caplog.text


def test_a_team_shares_a_folder(project, monkeypatch, capsys):
    put(project / "team" / "one-file", model__safetensors=FILES["model.safetensors"])
    monkeypatch.setenv("TELLSIGN_WEIGHTS", str(project / "team"))
    assert run(["weights", "--only", "one-file"]) == 0
    assert f"kept in {project}/team/" in capsys.readouterr().out


def test_only_takes_names_of_the_catalogue(project, caplog):
    assert run(["weights", "--only", "one-flie"]) == 2
    assert "Did you mean 'one-file'" in caplog.text


@pytest.mark.parametrize("configfile", ["config/config.yaml", "config/folder.yaml"])
def test_what_a_configuration_needs_is_known_without_its_images(configfile, monkeypatch):
    monkeypatch.chdir(ROOT)
    needed = plan_without_data(read_configuration(Path(configfile), [])).networks_needed()
    assert needed["shipped"] and all(needed.values())
    with pytest.raises(UserError, match="KEY=VALUE"):
        read_configuration(Path(configfile), ["root"])


def test_nltks_data_is_found_where_nltk_looks_and_its_contents_count(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.prefix", str(tmp_path / "nowhere"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NLTK_DATA", str(tmp_path / "here"))
    catalogue = WeightsCatalogue({}, tmp_path / "weights", sha256_of_file, tmp_path)
    words, tags = "tokenizers/punkt_tab/english", "taggers/averaged_perceptron_tagger_eng"
    with pytest.raises(MissingWeightsError, match=r"nltk\.downloader punkt_tab averaged"):
        catalogue.find("nltk-data")
    (tmp_path / "here" / words).mkdir(parents=True)
    (tmp_path / "here" / words / "x.tab").write_text("1")
    with pytest.raises(MissingWeightsError, match="lacks taggers/averaged_perceptron_tagger_eng"):
        catalogue.find("nltk-data")
    (tmp_path / "home" / "nltk_data" / tags).mkdir(parents=True)
    (tmp_path / "home" / "nltk_data" / tags / "y.json").write_text("2")
    first = catalogue.find("nltk-data")
    (tmp_path / "here" / words / "x.tab").write_text("3")
    assert first.digest != catalogue.find("nltk-data").digest


def test_the_list_of_places_is_nltks(monkeypatch):
    nltk_data = pytest.importorskip("nltk.data")
    asked = []
    monkeypatch.setattr(Path, "is_dir", lambda self: asked.append(self))
    monkeypatch.delenv("NLTK_DATA", raising=False)
    hub.nltk_folders()
    here = [str(p.parents[2]) for p in asked if p.name == "english"]
    assert here == [place for place in nltk_data.path if place not in os.environ.get("NLTK_DATA", "").split(os.pathsep)]

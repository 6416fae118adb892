from __future__ import annotations

import hashlib
import json
import os
from collections import Counter

import pytest

from tellsign.data import inventory
from tellsign.data.inventory import (
    FileDigests,
    contents,
    digest_of,
    image_folders,
    images_in,
    listings,
    walk,
    watched_images,
)
from tellsign.errors import UserError


def inventory_digest(roots, *arguments, **named):
    return {key: digest_of(folders) for key, folders in contents(roots, *arguments, **named).items()}


@pytest.fixture
def root(tmp_path):
    """Six images, older than the cache's doubt about fresh files."""
    folder = tmp_path / "raw"
    for i in range(6):
        path = folder / ("0_real" if i % 2 else "1_fake") / f"{i}.PNG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"image %d" % i)
    return folder


@pytest.fixture
def hashed(monkeypatch):
    """Paths that were hashed, and files count as settled at once."""
    paths = []
    real = inventory.sha256_of_file
    monkeypatch.setattr(inventory, "SETTLED_NS", -(10**12))
    monkeypatch.setattr(inventory, "sha256_of_file", lambda path: paths.append(path) or real(path))
    return paths


def test_digest_outlives_new_times_and_a_lost_cache(root, tmp_path):
    first = inventory_digest({"a": root}, tmp_path / "cache.json")
    for path in root.rglob("*.PNG"):
        os.utime(path, ns=(1, 1))
    assert inventory_digest({"a": root}, tmp_path / "cache.json") == first
    assert inventory_digest({"a": root}, tmp_path / "other.json") == first


def test_digest_does_not_depend_on_where_the_folder_is(root, tmp_path):
    first = inventory_digest({"a": root}, tmp_path / "cache.json")
    root.rename(tmp_path / "moved")
    assert inventory_digest({"a": tmp_path / "moved"}, tmp_path / "cache.json") == first


@pytest.mark.parametrize("change", ["byte", "rename", "remove", "add"])
def test_any_change_gives_a_new_digest(root, tmp_path, change):
    first = inventory_digest({"a": root}, tmp_path / "cache.json")
    file = root / "1_fake" / "0.PNG"
    times = file.stat()
    if change == "byte":  # same size, and even the same modification time
        file.write_bytes(b"imagE 0")
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    elif change == "rename":
        file.rename(file.with_name("9.PNG"))
    elif change == "remove":
        file.unlink()
    else:
        (root / "new.jpg").write_bytes(b"")
    assert inventory_digest({"a": root}, tmp_path / "cache.json") != first


def test_what_no_layout_reads_does_not_count(root, tmp_path):
    first = inventory_digest({"a": root}, tmp_path / "cache.json")
    (root / "README.md").write_text("hello")
    (root / ".DS_Store").write_text("hello")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "0.PNG").write_text("hello")
    assert inventory_digest({"a": root}, tmp_path / "cache.json") == first


def test_excluded_folders_do_not_count(root, tmp_path):
    first = inventory_digest({"a": root}, tmp_path / "cache.json", exclude=["photos"])
    (root / "photos").mkdir()
    (root / "photos" / "1.jpg").write_bytes(b"")
    assert inventory_digest({"a": root}, tmp_path / "cache.json", exclude=["photos"]) == first
    assert inventory_digest({"a": root}, tmp_path / "cache.json") != first


def test_only_changed_files_are_hashed_again(root, tmp_path, hashed):
    cache = tmp_path / "cache.json"
    inventory_digest({"a": root}, cache)
    assert len(hashed) == 6
    hashed.clear()
    inventory_digest({"a": root}, cache)
    assert hashed == []
    (root / "1_fake" / "0.PNG").write_bytes(b"another")
    inventory_digest({"a": root}, cache)
    assert hashed == [root / "1_fake" / "0.PNG"]


def test_a_file_as_young_as_its_hash_is_hashed_again(root, tmp_path, hashed, monkeypatch):
    monkeypatch.setattr(inventory, "SETTLED_NS", 3600 * 10**9)
    for _ in range(2):
        inventory_digest({"a": root}, tmp_path / "cache.json")
    assert len(hashed) == 12


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 0}', '{"version": 1, "roots": 3}'])
def test_a_damaged_cache_is_rebuilt(root, tmp_path, hashed, text):
    cache = tmp_path / "cache.json"
    first = inventory_digest({"a": root}, cache)
    cache.write_text(text)
    assert inventory_digest({"a": root}, cache) == first
    assert len(hashed) == 12
    inventory_digest({"a": root}, cache)
    assert len(hashed) == 12


def test_walk_counts_what_it_passes_over(root):
    (root / "notes.TXT").write_text("")
    (root / "Makefile").write_text("")
    (root / ".hidden.png").write_text("")
    (root / "gone.png").symlink_to(root / "nowhere.png")
    (root / "0_real" / "loop").symlink_to(root)
    (root / "linked").symlink_to(root / "1_fake")
    skipped: Counter[str] = Counter()
    paths = {path for path, *_ in walk(root, skipped)}
    # a folder linked from two places counts twice, a link to a folder above ends there
    assert paths == {f"{'0_real' if i % 2 else '1_fake'}/{i}.PNG" for i in range(6)} | {
        f"linked/{i}.PNG" for i in (0, 2, 4)
    }
    assert skipped == {
        "suffix .txt": 1,
        "suffix (none)": 1,
        "hidden (name starts with a dot)": 1,
        "broken link or special file": 1,
        "link to a folder above": 1,
    }


def test_a_single_file_is_read_once(tmp_path, hashed):
    path, cache = tmp_path / "model.safetensors", tmp_path / "cache.json"
    path.write_bytes(b"weights")
    first = FileDigests(cache)(path)
    assert first == hashlib.sha256(b"weights").hexdigest()
    link = tmp_path / "link"
    link.symlink_to(path)
    assert FileDigests(cache)(path) == FileDigests(cache)(link) == first
    assert hashed == [path]


def test_a_changed_file_is_read_again_even_under_its_old_time(tmp_path, hashed):
    path, cache = tmp_path / "model.safetensors", tmp_path / "cache.json"
    path.write_bytes(b"weights")
    times = path.stat()
    digests = FileDigests(cache)
    first = digests(path)
    path.write_bytes(b"weighty")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert digests(path) != first
    assert len(hashed) == 2


def test_a_file_as_young_as_its_reading_is_not_remembered(tmp_path, hashed, monkeypatch):
    monkeypatch.setattr(inventory, "SETTLED_NS", 3600 * 10**9)
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    for _ in range(2):
        FileDigests(tmp_path / "cache.json")(path)
    assert len(hashed) == 2


def test_files_that_are_gone_leave_the_cache(tmp_path, hashed):
    paths, cache = [tmp_path / "a", tmp_path / "b"], tmp_path / "cache.json"
    for path in paths:
        path.write_bytes(b"weights")
        FileDigests(cache)(path)
        path.unlink()
    assert list(json.loads(cache.read_text())["files"]) == [str(paths[1])]
    cache.write_text("{")
    paths[0].write_bytes(b"weights")
    assert FileDigests(cache)(paths[0])


def test_a_long_reading_is_announced(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(FileDigests, "WORTH_A_WORD", 3)
    (tmp_path / "a").write_bytes(b"weights")
    FileDigests(tmp_path / "cache.json")(tmp_path / "a")
    assert "this is done once" in caplog.text


# ---------------------------------------------------------------------------------------------- listings


@pytest.fixture
def scanned(monkeypatch):
    """Folders that were listed, and all count as settled at once."""
    folders = []
    real = inventory._scan
    monkeypatch.setattr(inventory, "SETTLED_NS", -(10**12))
    monkeypatch.setattr(inventory, "_scan", lambda folder, *rest: folders.append(folder) or real(folder, *rest))
    return folders


def listed(root, tmp_path, *exclude):
    return digest_of(listings({"a": root}, tmp_path / "cache.json", exclude)["a"])


def test_a_listing_is_made_once_and_again_only_where_a_folder_has_changed(root, tmp_path, scanned):
    first = listed(root, tmp_path)
    assert len(scanned) == 3 and listed(root, tmp_path) == first and len(scanned) == 3
    (root / "0_real/new.png").write_bytes(b"x")
    assert listed(root, tmp_path) != first
    assert scanned[3:] == [f"{root}/0_real/"]
    (root / "0_real/new.png").unlink()
    assert listed(root, tmp_path) == first


@pytest.mark.parametrize("change", ["rename", "remove", "add", "add below", "resize and list"])
def test_any_change_of_names_or_sizes_gives_a_new_listing(root, tmp_path, scanned, change):
    first, file = listed(root, tmp_path), root / "1_fake/0.PNG"
    if change == "rename":
        file.rename(file.with_name("9.PNG"))
    elif change == "remove":
        file.unlink()
    elif change == "add":
        (root / "more.png").write_bytes(b"x")
    elif change == "add below":
        (root / "new/deep").mkdir(parents=True)
        (root / "new/deep/more.png").write_bytes(b"x")
    else:
        file.write_bytes(b"longer than before")
        (root / "1_fake/notes.txt").touch()
    assert listed(root, tmp_path) != first


def test_what_a_listing_cannot_see(root, tmp_path, scanned):
    first = listed(root, tmp_path)
    (root / "1_fake/0.PNG").write_bytes(b"imagE 0")
    assert listed(root, tmp_path) == first  # crops verify the bytes
    (root / "1_fake/notes.txt").touch()
    assert listed(root, tmp_path) == first  # and no layout reads that


def test_a_listing_depends_on_no_times_no_place_and_no_cache(root, tmp_path):
    first = listed(root, tmp_path)
    (tmp_path / "cache.json").write_text("damaged")
    assert listed(root, tmp_path) == first
    root.rename(tmp_path / "moved")
    assert listed(tmp_path / "moved", tmp_path) == first
    (tmp_path / "moved/photos").mkdir()
    (tmp_path / "moved/photos/1.png").touch()
    assert listed(tmp_path / "moved", tmp_path, "photos") == first != listed(tmp_path / "moved", tmp_path)


def test_a_fresh_folder_is_listed_again(root, tmp_path, monkeypatch):
    folders = []
    real = inventory._scan
    monkeypatch.setattr(inventory, "_scan", lambda folder, *rest: folders.append(folder) or real(folder, *rest))
    listed(root, tmp_path), listed(root, tmp_path)
    assert len(folders) == 6


def test_every_way_to_look_finds_the_same_images_folder_by_folder(root, tmp_path):
    (root / "new/deep").mkdir(parents=True)
    (root / "new/deep/more.png").write_bytes(b"x")
    (root / "new/notes.txt").touch()
    counts, paths = {"0_real": 3, "1_fake": 3, "new/deep": 1}, {path for path, *_ in walk(root)}
    assert image_folders(root) == (counts, {"new": {"suffix .txt": 1}})
    assert image_folders(root, elsewhere=["new", "0_real"])[0] == {"1_fake": 3}
    assert {path for folder in counts for path in images_in(root, folder)} == paths
    for look in (contents, listings):
        held = look({"a": root}, tmp_path / f"{look.__name__}.json")["a"]
        assert {folder: images.count for folder, images in held.items()} == counts


def test_links_back_up_end(root, tmp_path):
    (root / "0_real/loop").symlink_to(root)
    assert len(listed(root, tmp_path)) == 64


def test_watch_is_chosen_by_name(root, tmp_path):
    assert digest_of(watched_images({"a": root}, (), "listing", tmp_path)["a"]) == listed(root, tmp_path)
    assert watched_images({"a": root}, (), "contents", tmp_path) == contents({"a": root}, tmp_path / "c.json")
    with pytest.raises(UserError, match="Did you mean 'listing'"):
        watched_images({"a": root}, (), "listings", tmp_path)

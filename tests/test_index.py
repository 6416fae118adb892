from __future__ import annotations

import csv
import json
import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from tellsign.__main__ import run
from tellsign.data.benchmarks import PASSED_OVER, passed_over
from tellsign.errors import UserError
from tellsign.stages.index import main
from tellsign.system.integrity import sha256_of_file
from tellsign.system.parquet import read_notes, read_rows

SETTINGS = {
    "benchmark": "mine",
    "layout": "folder",
    "subsets": [],
    "exclude": [],
    "min_side": 8,
    "max_pixels": 100_000_000,
    "test_fraction": 0.5,
    "seed": 0,
    "on_bad": "fail",
}


def picture(path, seed, size=(20, 12), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def root(tmp_path):
    for i in range(4):
        picture(tmp_path / f"raw/sd/0_real/{i}.JPEG", i, quality=90)
        picture(tmp_path / f"raw/sd/1_fake/{i}.png", 10 + i)
    return tmp_path / "raw"


def index(root, out, **changes):
    main(settings=SETTINGS | changes, roots={"root": root}, out=out)
    return read_rows(out).to_pylist()


def test_a_list_of_digests_among_the_users_images_is_none_of_ours(root, tmp_path):
    (root / "files.sha256").write_text("something of theirs")
    flags = ["--settings", json.dumps(SETTINGS), "--roots", f"root={root}", "--out", str(tmp_path / "out.parquet")]
    assert run(["index", *flags]) == 0
    assert len(read_rows(tmp_path / "out.parquet")) == 8


def spoil(root):
    """One file of every kind that cannot be used; returns path → status."""
    real = root / "sd/0_real"
    whole = (real / "0.JPEG").read_bytes()
    (real / "empty.png").write_bytes(b"")
    (real / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (real / "page.jpg").write_text("<html>404</html>")
    picture(real / "dot.png", 0, size=(1, 1))
    Image.new("1", (20_000, 10_000)).save(real / "poster.png")
    return {
        "sd/0_real/empty.png": "empty",
        "sd/0_real/cut.jpg": "corrupt",
        "sd/0_real/page.jpg": "not an image",
        "sd/0_real/dot.png": "too small",
        "sd/0_real/poster.png": "too large",
    }


def test_a_row_states_the_facts_of_its_file(root, tmp_path):
    rows = index(root, tmp_path / "i.parquet")
    assert len(rows) == 8
    assert [(r["label"], r["generator"]) for r in rows if r["path"].startswith("sd/1_fake")] == [(1, "sd")] * 4
    row = next(r for r in rows if r["path"] == "sd/0_real/2.JPEG")
    file = root / row["path"]
    assert row["id"] == sha256_of_file(file)
    assert (row["width"], row["height"], row["format"], row["mode"], row["quality"]) == (
        20,
        12,
        "JPEG",
        "RGB",
        90,
    )
    assert (row["bytes"], row["status"], row["reason"], row["root"]) == (
        file.stat().st_size,
        "ok",
        "",
        "root",
    )
    assert not (tmp_path / "i.bad.csv").exists()


def test_the_index_carries_what_was_passed_over(root, tmp_path):
    index(root, tmp_path / "whole.parquet")
    assert read_notes(tmp_path / "whole.parquet") == {PASSED_OVER: "{}"}
    for name in ("sd/1_fake/a.jxl", "sd/1_fake/b.jxl", "sd/0_real/.hidden.png", "sd/elsewhere/c.png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"")
    rows = index(root, tmp_path / "more.parquet")
    assert len(rows) == 8
    places = json.loads(read_notes(tmp_path / "more.parquet")[PASSED_OVER])
    assert places["root/sd/1_fake"] == {"suffix .jxl": 2}
    assert sorted(passed_over([places, places]).values()) == [1, 1, 2]  # two indexes that look at one place


def test_parts_made_by_hash_follow_the_image_not_the_folder(root, tmp_path):
    first = {r["id"]: r["part"] for r in index(root, tmp_path / "a.parquet")}
    assert set(first.values()) == {"train", "test"}
    shutil.copytree(root / "sd", root / "other")
    rows = index(root, tmp_path / "b.parquet")
    assert len(rows) == 16
    assert all(first[r["id"]] == r["part"] for r in rows)


def test_the_same_folder_gives_the_same_bytes_with_any_number_of_threads(root, tmp_path, monkeypatch):
    index(root, tmp_path / "a.parquet")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    index(root, tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_fail_lists_every_unusable_file_at_once(root, tmp_path):
    bad = spoil(root)
    with pytest.raises(UserError) as error:
        index(root, tmp_path / "i.parquet")
    message = str(error.value)
    assert "5 of 13 files cannot be used" in message
    for path, status in bad.items():
        assert f"{status}: {root / path} (" in message
    assert "on_bad: fail\nto\n  on_bad: drop" in message
    assert not (tmp_path / "i.parquet").exists()


def test_drop_keeps_them_with_their_status_and_reports_them(root, tmp_path, caplog):
    bad = spoil(root)
    with caplog.at_level(logging.INFO, "tellsign"):
        rows = index(root, tmp_path / "i.parquet", on_bad="drop")
    assert {r["path"]: r["status"] for r in rows if r["status"] != "ok"} == bad
    assert all(str(root / path) in caplog.text for path in bad)
    with (tmp_path / "i.bad.csv").open(newline="") as stream:
        report = list(csv.DictReader(stream))
    assert {r["path"]: r["status"] for r in report} == bad
    assert all(r["reason"] for r in report)


def test_a_mended_folder_takes_its_report_away(root, tmp_path):
    bad = spoil(root)
    with pytest.raises(UserError):
        index(root, tmp_path / "i.parquet")
    for path in bad:
        (root / path).unlink()
    index(root, tmp_path / "i.parquet")
    assert not (tmp_path / "i.bad.csv").exists()


def test_unusual_but_usable_files_say_what_was_done(root, tmp_path):
    real, base = root / "sd/0_real", Image.new("RGB", (20, 12), "teal")
    base.convert("CMYK").save(real / "cmyk.jpg")
    Image.fromarray(np.full((12, 20), 4660, np.uint16)).save(real / "deep.png")
    Image.new("RGBA", (20, 12), (9, 9, 9, 100)).save(real / "alpha.png")
    base.save(real / "moving.gif", save_all=True, append_images=[Image.new("RGB", (20, 12))])
    exif = Image.Exif()
    exif[0x0112] = 6
    base.save(real / "turned.jpg", exif=exif)
    rows = {r["path"].rpartition("/")[2]: r for r in index(root, tmp_path / "i.parquet")}
    assert {r["status"] for r in rows.values()} == {"ok"}
    assert rows["cmyk.jpg"]["reason"] == "CMYK converted"
    assert rows["deep.png"]["reason"] == "16 bits a channel reduced to the upper 8"
    assert rows["alpha.png"]["reason"] == "alpha composited over white"
    assert rows["moving.gif"]["reason"] == "first of 2 frames; palette expanded"
    assert rows["turned.jpg"]["reason"] == "EXIF orientation 6 applied"
    assert (rows["turned.jpg"]["width"], rows["turned.jpg"]["height"]) == (12, 20)


def test_an_image_under_both_labels_is_unusable(root, tmp_path):
    shutil.copy(root / "sd/0_real/1.JPEG", root / "sd/1_fake/copy.jpg")
    with pytest.raises(UserError, match="2 of 9 files cannot be used"):
        index(root, tmp_path / "i.parquet")
    rows = index(root, tmp_path / "i.parquet", on_bad="drop")
    two_labels = sorted(r["path"] for r in rows if r["status"] == "two labels")
    assert two_labels == ["sd/0_real/1.JPEG", "sd/1_fake/copy.jpg"]


def test_an_image_of_the_test_part_may_not_be_trained_on(root, tmp_path):
    for part in ("train", "test"):
        shutil.copytree(root / "sd/0_real", root / f"adm/{part}/0_real")
        picture(root / f"adm/{part}/1_fake/{part}.png", len(part))
    picture(root / "adm/test/0_real/own.png", 99)
    rows = index(root, tmp_path / "i.parquet", on_bad="drop", subsets=["adm"])
    assert {(r["part"], r["status"]) for r in rows if r["label"] == 0} == {
        ("train", "two parts"),
        ("test", "ok"),
    }

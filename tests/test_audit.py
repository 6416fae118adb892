"""What files give away without their pixels."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tellsign.__main__ import run
from tellsign.commands.audit import audited
from tellsign.commands.audit_text import words
from tellsign.data.cues import CUES, Cues, columns_of, cues_of
from tellsign.data.separation import SAME, balanced, separation, wilson


def picture(path: Path, seed: int, size: tuple[int, int] = (40, 32), **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*reversed(size), 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)  # type: ignore[arg-type]


def test_cues_are_what_the_file_says(tmp_path: Path) -> None:
    text, exif = PngImagePlugin.PngInfo(), Image.Exif()
    exif[0x010F] = "maker"
    text.add_text("parameters", "a cat, steps: 20")
    picture(tmp_path / "a.jpg", 0, quality=73, exif=exif)
    picture(tmp_path / "b.jpg", 0, format="PNG", pnginfo=text)
    one, other = cues_of(tmp_path / "a.jpg"), cues_of(tmp_path / "b.jpg")
    assert (one.format, one.width, one.height, one.quality) == ("JPEG", 40, 32, 73)
    assert one.bytes == (tmp_path / "a.jpg").stat().st_size and "EXIF" in one.metadata
    assert (other.format, other.quality, other.metadata) == ("PNG", -1, {"a generator's parameters"})
    (tmp_path / "c.png").write_bytes(b"%PDF-1.4")
    with pytest.raises(ValueError, match="a document"):
        cues_of(tmp_path / "c.png")


def test_wilsons_interval_and_the_one_of_the_mean() -> None:
    z, n = 1.959963984540054, 10
    assert wilson(10, 10) == pytest.approx((n / (n + z * z), 1.0))  # its closed form where all are right
    labels = np.repeat([0, 1], 10)
    found = balanced(labels, labels)
    assert found.value == 1.0 and found.high == 1.0
    assert found.low == pytest.approx(1 - np.hypot(1 - n / (n + z * z), 1 - n / (n + z * z)) / 2)


def test_a_tree_finds_what_differs_and_nothing_where_nothing_does() -> None:
    labels, draws = np.tile([0, 1], 100), np.random.default_rng(0)
    told = separation(labels, labels[:, None] + draws.normal(0, 0.1, (200, 1)), 0)
    blind = separation(labels, draws.normal(size=(200, 3)), 0)
    assert told is not None and told.value == 1.0 and told.found
    assert blind is not None and blind.low < 0.5 < blind.high
    assert separation(labels, np.ones((200, 1)), 0) == SAME
    assert separation(labels[:18], np.ones((18, 1)), 0) is None  # nine of each


def files(count: int, **change: object) -> list[Cues]:
    usual = {"format": "PNG", "width": 64, "height": 64, "quality": -1, "bytes": 9000, "metadata": frozenset()}
    return [Cues(**{**usual, "bytes": 9000 + k % 7, **change}) for k in range(count)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fakes", "said"),
    [
        (files(20, bytes=5000), "file size and bits per pixel each separate the labels alone. Fakes are the smaller"),
        (files(20, metadata=frozenset(["EXIF"])), "metadata alone separates the labels. 0 % of reals and 100 % of"),
        (files(20), "nothing was found"),
        (files(5), "20 real and 5 fake files; at least 10"),
        ([], "all files that could be read are real"),
    ],
)
def test_the_words_say_what_tells_the_labels_apart(fakes: list[Cues], said: str) -> None:
    assert said in words(audited("a", {0: files(20), 1: fakes}, 0))


def test_columns_hold_every_cue_and_all_of_them_together() -> None:
    columns = columns_of([*files(1, format="JPEG", quality=80), *files(2, metadata=frozenset(["EXIF", "XMP"]))])
    assert tuple(columns) == CUES
    assert columns["format"].tolist() == [[1, 0], [0, 1], [0, 1]]
    assert columns["metadata"].tolist() == [[0, 0], [1, 1], [1, 1]]
    assert columns["bits per pixel"][0, 0] == 8 * 9000 / 64**2
    assert columns[CUES[-1]].shape == (3, 2 + 2 + 1 + 1 + 1 + 2)


def test_a_folder_is_audited_and_the_files_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k in range(12):
        picture(tmp_path / f"in/set/0_real/{k}.jpg", k)
        picture(tmp_path / f"in/set/1_fake/{k}.png", k)
    out = tmp_path / "out"
    assert run(["audit", str(tmp_path / "in"), "--out", str(out), "--limit", "11"]) == 0
    said = capsys.readouterr().out
    assert "set: format," in said and "2 further files were not read" in said
    assert (out / "audit.md").read_text() == said
    rows = list(csv.DictReader((out / "audit.csv").read_text().splitlines()))
    assert [row["cue"] for row in rows] == list(CUES) and rows[0]["balanced_accuracy"] == "1.0000"
    assert {path.name for path in out.iterdir()} == {"audit.md", "audit.csv", "audit.png", "audit.svg"}
    (tmp_path / "in/set/1_fake/0.png").write_bytes(b"")
    assert run(["audit", str(tmp_path / "in")]) == 1
    assert "Could not be read, and left out: 1" in capsys.readouterr().out


def test_what_is_neither_folder_nor_benchmark_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    assert run(["audit", "nowhere"]) == 2
    assert "no folder here, and no benchmark of config/config.yaml. Its benchmarks: demo, demo-photos" in caplog.text


def test_the_audit_of_real_pictures_finds_the_format(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", str(corpus), "--limit", "30"]) == 0
    assert "sd_v1: format," in " ".join(capsys.readouterr().out.split())

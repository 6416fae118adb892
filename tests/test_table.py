"""The stage that writes a table's files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tellsign.data.benchmarks import PASSED_OVER
from tellsign.errors import UserError
from tellsign.schema.tables import table_settings
from tellsign.stages import table
from tellsign.stages.evaluate import COLUMNS
from tellsign.system.integrity import sha256_of_file
from tellsign.system.parquet import write_rows

SETTINGS = table_settings({
    "paper": "mpft", "name": "t", "title": "T", "kind": "subsets", "metric": "accuracy", "quoted": "table1",
    "rows": [{"run": "tam", "quoted": "MPFT"}],
})  # fmt: skip
PUBLISHED = "artifact,method,setting,subset,metric,value,std,note\ntable1,MPFT,,Avg,accuracy,98.2,,\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    row = (
        "mpft",
        "tam",
        0,
        "last",
        1,
        1,
        "demo",
        "",
        "none",
        "0.5",
        "accuracy",
        0.9,
        0.8,
        1.0,
        float("nan"),
        9,
        9,
    )
    rows = [
        dict(zip(COLUMNS, (*row[:7], subset, *row[8:], 3.0, "r", "c", "d", ""), strict=True))
        for subset in ("ldm", "mean")
    ]
    write_rows(tmp_path / "m.parquet", {name: [row[name] for row in rows] for name in COLUMNS})
    (tmp_path / "p.csv").write_text(PUBLISHED)
    return tmp_path / "m.parquet", tmp_path / "p.csv"


def test_four_files_of_equal_bytes_each_time(files: tuple[Path, Path], tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        table.main(settings=SETTINGS, metrics=[files[0]], published=files[1], out=tmp_path / name)
        written = sorted((tmp_path / name).iterdir())
        assert [path.name for path in written] == [
            "files.sha256", "table.csv", "table.html", "table.json", "table.md", "table.tex",
        ]  # fmt: skip
        digests.append([sha256_of_file(path) for path in written])
    assert digests[0] == digests[1]
    assert "90.0 ± –" in (tmp_path / "one" / "table.md").read_text(encoding="utf-8")


def test_quoting_without_printed_numbers_is_an_error(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give --published"):
        table.main(settings=SETTINGS, metrics=[files[0]], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    table.main(settings=SETTINGS | {"quoted": None}, metrics=[files[0]], out=tmp_path / "out")


def index(path: Path, *rows: tuple[str, str, str, int], passed_over: dict[str, int] | None = None) -> Path:
    names = ("id", "part", "status", "label")
    columns: dict = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    count = len(rows)
    columns |= {"root": ["r"] * count, "path": [f"{i}.png" for i in range(count)], "subset": ["sd"] * count}
    notes = {PASSED_OVER: json.dumps(passed_over or {})}
    write_rows(path, columns | {name: [8] * count for name in ("bytes", "height", "width")}, notes)
    return path


def test_footnotes_tell_what_was_left_out_and_what_was_seen_before(files: tuple[Path, Path], tmp_path: Path) -> None:
    tested = index(
        tmp_path / "genimage.x.parquet",
        ("a", "test", "ok", 0), ("b", "test", "ok", 1), ("b", "train", "two parts", 1), ("c", "train", "empty", 0),
    )  # fmt: skip
    write_rows(tmp_path / "train.parquet", {"id": ["b", "p", "q"]})
    write_rows(tmp_path / "photos.parquet", {"id": ["a", "b", "p"]})
    seen = {"training split t": tmp_path / "train.parquet", "pre-training split p": tmp_path / "photos.parquet"}
    settings = SETTINGS | {"quoted": None}
    table.main(settings=settings, metrics=[files[0]], out=tmp_path / "o", indexes={"genimage": tested}, seen=seen)
    text = (tmp_path / "o/table.md").read_text(encoding="utf-8")
    assert "2 of genimage's 4 files cannot be used and were left out, 1 of them because the same image" in text
    assert "1 of genimage's 2 test images are in the training split t of a run in this table." in text
    assert "2 of genimage's 2 test images are in the pre-training split p of a run" in text
    assert "2 of the 3 images of the training split t are also in the pre-training split p, which" in text


def test_a_footnote_counts_what_was_passed_over(files: tuple[Path, Path], tmp_path: Path) -> None:
    images = ("a", "test", "ok", 0), ("b", "test", "ok", 1)
    settings = SETTINGS | {"quoted": None}
    reasons = {"suffix .heic": 3, "hidden (name starts with a dot)": 12} | {f"in folder {n}": 1 for n in range(9)}
    for name, passed_over in (("none", None), ("many", reasons)):
        tested = index(tmp_path / f"{name}.parquet", *images, passed_over=passed_over and {"r": passed_over})
        table.main(settings=settings, metrics=[files[0]], out=tmp_path / name, indexes={"own": tested})
    assert "other file" not in (tmp_path / "none/table.md").read_text(encoding="utf-8")
    text = (tmp_path / "many/table.md").read_text(encoding="utf-8")
    assert "24 other files in own's folders: 12 × hidden (name starts with a dot); 3 × suffix .heic; 1 × in" in text
    assert "in folder 5; 3 for other reasons." in text

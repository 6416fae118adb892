"""`tellsign look`: what a folder of images holds, and what is to be mended."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tellsign.__main__ import run
from tellsign.data.kinds import JXL, PAGE, VIDEO, kind_of_bytes
from tellsign.data.survey import Head, head_of, survey


def picture(path: Path, size: tuple[int, int] = (20, 12), **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "teal").save(path, **options)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i in range(6):
        picture(tmp_path / f"sd/Real/{i}.jpg", (20 + i, 12))
        picture(tmp_path / f"sd/FAKE/{i}.png")
    picture(tmp_path / "photos/a.jpg")
    (tmp_path / "sd/FAKE/new.jxl").write_bytes(b"\xff\x0a")
    return tmp_path


def test_groups_formats_and_sizes(root):
    real, fake = survey(root, ["photos"], None).groups
    assert (real.subset, real.label, real.names, real.parts) == ("sd", 0, {"Real": 6}, {"": 6})
    assert real.heads == [Head("JPEG", 20 + i, 12) for i in range(6)]
    assert (fake.label, fake.count, fake.formats) == (1, 6, {"PNG": 6})


def test_a_sample_is_spread_over_the_files(root):
    assert [head.width for head in survey(root, ["photos"], 2).groups[0].heads] == [20, 23]


def test_what_is_passed_over_is_named(root):
    seen = survey(root, ["photos"], None)
    assert seen.skipped == {f"suffix .jxl ({JXL})": 1} and seen.excluded == {"photos": 1}


def test_misnamed_and_broken_files(root):
    picture(root / "sd/Real/wrong.png", format="JPEG")
    (root / "sd/Real/page.jpg").write_bytes(b"<html>")
    (root / "sd/Real/void.jpg").write_bytes(b"")
    group = survey(root, ["photos"], None).groups[0]
    assert group.misnamed == {"JPEG called .png": 1}
    assert group.unreadable == [("sd/Real/page.jpg", PAGE), ("sd/Real/void.jpg", "the file has zero bytes")]


@pytest.mark.parametrize(
    ("start", "kind"), [(b"\0\0\0\x14ftypqt  ", VIDEO), (b"\x1aE\xdf\xa3", VIDEO), (b"\x89PNG", "")]
)
def test_files_are_known_by_their_first_bytes(start, kind):
    assert kind_of_bytes(start) == kind


def test_avif_is_read(tmp_path):
    picture(tmp_path / "a.avif")
    assert head_of(tmp_path / "a.avif") == Head("AVIF", 20, 12)


def test_a_good_folder(root, capsys):
    assert run(["look", str(root)]) == 0
    said = capsys.readouterr().out
    assert f"{root}: 12 images in 1 subsets" in said and "JPEG 6" in said and "20×12 to 25×12" in said
    assert "photos: 1 images, not taken for a subset" in said and f"--config root={root} train=sd" in said


def test_what_is_to_be_mended(root, capsys):
    picture(root / "swapped/fakes/1.png")
    picture(root / "half/1/1.png")
    assert run(["look", str(root)]) == 1
    said = capsys.readouterr().out
    assert "swapped has no label folder: it holds fakes (1 images). Did you mean 'fake'?" in said
    assert "half has fake images alone" in said and "<root>/<subset>/" in said


def test_a_wrong_question(tmp_path, capsys):
    assert run(["look", str(tmp_path / "none")]) == 2
    with pytest.raises(SystemExit, match="2"):
        run(["look"])

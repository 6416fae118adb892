"""HEIF and AVIF: opened in one place, upright, by their bytes whatever the suffix says."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from tellsign.data.cues import cues_of
from tellsign.data.formats import open_picture
from tellsign.data.images import decode, inspect
from tellsign.data.survey import Head, head_of
from tellsign.prediction.evidence import metadata_of

pillow_heif.register_heif_opener()
CORNERS = np.zeros((64, 96, 3), np.uint8)
CORNERS[:32, :48], CORNERS[32:, 48:] = [255, 0, 0], [0, 0, 255]
TURNED = {3: np.rot90(CORNERS, 2), 5: CORNERS.transpose(1, 0, 2), 6: np.rot90(CORNERS, -1), 8: np.rot90(CORNERS)}
"""EXIF orientation → what CORNERS stands for (EXIF 3.0, table 6)."""


def encoded(format: str, pixels: np.ndarray = CORNERS, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format, quality=95, **options)
    return stream.getvalue()


def exif_of(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    return exif.tobytes()


@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
@pytest.mark.parametrize("orientation", TURNED)
def test_orientation_is_applied_once(format, orientation):
    data = encoded(format, exif=exif_of(orientation))
    assert b"irot" in data or b"imir" in data  # beside EXIF's, as phones write it
    found = decode(data).pixels
    assert found.shape == TURNED[orientation].shape
    assert np.abs(found.astype(int) - TURNED[orientation]).mean() < 3  # lossy; of another orientation more than 40
    facts = inspect(data)
    assert (facts.height, facts.width, facts.format, facts.status) == (*found.shape[:2], format, "ok")


def test_a_wrong_suffix_misleads_nobody(tmp_path):
    path = tmp_path / "phone.jpg"
    path.write_bytes(encoded("HEIF", exif=exif_of()))
    assert head_of(path) == Head("HEIF", 96, 64) and cues_of(path).format == "HEIF"
    assert "EXIF" in cues_of(path).metadata and metadata_of(path.read_bytes()) == ("EXIF maker: Maker",)
    assert open_picture(io.BytesIO(path.read_bytes())).mode == "RGB"


@pytest.mark.parametrize(("format", "brand"), [("HEIF", b"heic"), ("AVIF", b"avif")])
def test_a_major_brand_of_either_coding(format, brand):
    data = encoded(format)
    assert data[8:12] == brand
    general = data[:8] + b"mif1" + data[12:]
    np.testing.assert_array_equal(decode(general).pixels, decode(data).pixels)


def test_what_decoding_changes_is_noted():
    frames = [Image.fromarray(np.full((16, 16, 3), level, np.uint8)) for level in (0, 250)]
    stream = io.BytesIO()
    frames[0].save(stream, "HEIF", save_all=True, append_images=frames[1:], primary_index=1)
    found = decode(stream.getvalue())
    assert found.notes == "number 2 of 2 frames" and found.pixels.min() > 240


@pytest.mark.parametrize("mode", ["L;16", "RGB;16"])
def test_ten_bits_become_the_upper_eight(mode):
    ramp = np.linspace(0, 65535, 32 * 32).astype(np.uint16).repeat(len(mode.partition(";")[0]))
    stream = io.BytesIO()
    pillow_heif.from_bytes(mode, (32, 32), ramp.tobytes()).save(stream, quality=-1, chroma=444)
    found = decode(stream.getvalue())
    assert found.notes == "10 bits a channel reduced to the upper 8"
    due = (ramp >> 8).astype(int).reshape(32, 32, -1)
    assert np.abs(found.pixels - due).max() <= 2


@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
def test_damage_is_refused(format):
    data = encoded(format, np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for cut in (20, len(data) // 2):
        assert inspect(data[:cut]).status == "corrupt"
    for at in range(16, 400, 8):  # every eighth byte of the boxes
        facts = inspect(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        assert facts.status in ("ok", "corrupt", "not an image", "too small", "too large")


def test_size_is_limited_before_pixels_are_decoded():
    data = encoded("HEIF")
    assert inspect(data, max_pixels=6143).status == "too large" and inspect(data, max_pixels=6144).status == "ok"


def test_the_plugin_is_imported_when_it_is_needed(tmp_path: Path):
    (tmp_path / "a.heic").write_bytes(encoded("HEIF"))
    code = (
        "import sys; from pathlib import Path; from tellsign.data.survey import head_of\n"
        "before = 'pillow_heif' in sys.modules; head_of(Path(sys.argv[1]))\n"
        "sys.exit(before or 'pillow_heif' not in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.heic")], check=False).returncode == 0

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, JpegImagePlugin
from torchvision.transforms import InterpolationMode, v2

from tellsign.data.images import (
    BIAS_CONTROLS,
    RefusedError,
    center_window,
    control_bias,
    decode,
    in_order,
    inspect,
    recompress,
    resized,
    resized_shape,
)
from tellsign.data.views import clip_view
from tellsign.errors import UserError

RGB = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def huge_png(width: int, height: int) -> bytes:
    """A PNG whose header claims a size and whose pixels were never written."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_lossless_files_decode_to_their_pixels():
    for format in ("PNG", "BMP", "TIFF", "PPM"):
        found = decode(encoded(Image.fromarray(RGB), format))
        assert found.pixels.dtype == np.uint8
        assert found.notes == ""
        np.testing.assert_array_equal(found.pixels, RGB)


@pytest.mark.parametrize("quality", range(1, 101))
def test_jpeg_quality_is_what_the_file_was_saved_with(quality):
    for mode in ("RGB", "L"):
        data = encoded(Image.fromarray(RGB).convert(mode), "JPEG", quality=quality)
        assert inspect(data).quality == quality


def test_quality_is_minus_one_where_there_is_no_jpeg():
    assert inspect(encoded(Image.fromarray(RGB), "PNG")).quality == -1


def test_nearly_standard_tables_give_the_nearest_quality():
    stream = Image.open(io.BytesIO(encoded(Image.fromarray(RGB), "JPEG", quality=80)))
    assert isinstance(stream, JpegImagePlugin.JpegImageFile)
    tables = [[min(255, value + (i == 5)) for i, value in enumerate(t)] for t in stream.quantization.values()]
    assert inspect(encoded(Image.fromarray(RGB), "JPEG", qtables=tables)).quality == 80


def test_cmyk_becomes_rgb():
    plain = Image.new("RGB", (16, 16), (200, 30, 60))
    facts = inspect(data := encoded(plain.convert("CMYK"), "JPEG", quality=100))
    assert (facts.mode, facts.status, facts.reason) == ("CMYK", "ok", "CMYK converted")
    assert np.abs(decode(data).pixels.astype(int) - [200, 30, 60]).max() <= 2


def test_sixteen_bit_grey_keeps_the_upper_eight():
    values = np.arange(100, dtype=np.uint16).reshape(10, 10) * 600
    for format in ("PNG", "TIFF"):
        found = decode(encoded(Image.fromarray(values), format))
        assert found.notes == "16 bits a channel reduced to the upper 8"
        np.testing.assert_array_equal(found.pixels, np.repeat((values // 256)[:, :, None], 3, axis=2))


def test_alpha_is_composited_over_white():
    alpha = np.linspace(0, 255, 240).round().astype(np.uint8).reshape(12, 20, 1)
    found = decode(encoded(Image.fromarray(np.concatenate([RGB, alpha], axis=2)), "PNG"))
    share = alpha / 255
    assert found.notes == "alpha composited over white"
    assert np.abs(found.pixels - (RGB * share + 255 * (1 - share))).max() <= 1


def test_opaque_alpha_changes_nothing():
    alpha = np.full((12, 20, 1), 255, np.uint8)
    found = decode(encoded(Image.fromarray(np.concatenate([RGB, alpha], axis=2)), "PNG"))
    np.testing.assert_array_equal(found.pixels, RGB)


def test_palettes_expand_and_their_transparency_is_white():
    palette = Image.fromarray(RGB).quantize(16)
    found = decode(encoded(palette, "PNG"))
    assert found.notes == "palette expanded"
    np.testing.assert_array_equal(found.pixels, np.asarray(palette.convert("RGB")))
    clear = decode(encoded(palette, "PNG", transparency=int(np.asarray(palette)[0, 0])))
    assert clear.pixels[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(format):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    found = decode(encoded(frames[0], format, save_all=True, append_images=frames[1:]))
    assert "first of 3 frames" in found.notes
    assert np.abs(found.pixels.astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [(2, RGB[:, ::-1]), (3, RGB[::-1, ::-1]), (6, np.rot90(RGB, -1)), (8, np.rot90(RGB, 1))],
)
def test_exif_orientation_is_applied(orientation, expected):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(RGB), "PNG", exif=exif)
    np.testing.assert_array_equal(decode(data).pixels, expected)
    facts = inspect(data)
    assert (facts.height, facts.width) == expected.shape[:2]
    assert facts.reason == f"EXIF orientation {orientation} applied"


def test_refused_files_name_status_and_reason():
    jpeg = encoded(Image.fromarray(RGB), "JPEG")
    floats = encoded(Image.fromarray(RGB[:, :, 0].astype(np.float32)), "TIFF")
    cases = {
        b"": "empty",
        b"GIF89a": "corrupt",
        b"<html>not here</html>": "not an image",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n": "not an image",
        jpeg[: len(jpeg) // 2]: "corrupt",
        floats: "not an image",
        encoded(Image.new("RGB", (1, 1)), "PNG"): "too small",
        encoded(Image.new("RGB", (7, 99)), "PNG"): "too small",
    }
    for data, status in cases.items():
        facts = inspect(data)
        assert facts.status == status, (data[:20], facts)
        assert facts.reason
        assert facts.bytes == len(data)
        with pytest.raises(RefusedError, match=status):
            decode(data, min_side=8)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_a_cut_file_is_refused_or_whole(format):
    data = encoded(Image.fromarray(RGB), format)
    whole = decode(data).pixels
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow remarks on cut metadata
        for end in range(0, len(data), 3):
            try:
                np.testing.assert_array_equal(decode(data[:end]).pixels, whole)
            except RefusedError as refused:
                assert refused.status in ("empty", "corrupt", "not an image")
    assert inspect(data[: int(0.9 * len(data))]).status == "corrupt"
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_huge_image_is_refused_from_its_header_without_a_warning():
    facts = inspect(huge_png(20_000, 10_000))
    assert (facts.status, facts.width, facts.height) == ("too large", 20_000, 10_000)
    assert "200,000,000 pixels, more than 100,000,000 (max_pixels)" in facts.reason
    assert inspect(huge_png(20_000, 10_000), max_pixels=10**9).status == "corrupt"


def test_a_missing_file_is_no_bad_image(tmp_path):
    with pytest.raises(FileNotFoundError):
        inspect(tmp_path / "none.png")


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 40))
def test_center_window_is_the_centre_of_the_tiled_canvas(height, width, size):
    image = np.arange(height * width * 3, dtype=np.int64).reshape(height, width, 3)
    canvas = np.tile(image, (-(-size // height), -(-size // width), 1))
    top, left = (round((n - size) / 2.0) for n in canvas.shape[:2])
    np.testing.assert_array_equal(center_window(image, size), canvas[top : top + size, left : left + size])


def test_recompression_gives_every_image_the_same_tables_and_subsampling():
    stream = io.BytesIO()
    Image.fromarray(RGB).save(stream, "JPEG", quality=70, subsampling=2)
    np.testing.assert_array_equal(recompress(RGB, 70), np.asarray(Image.open(stream)))


def test_bias_controls():
    image = np.random.default_rng(1).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    found = {n: control_bias(image, c, quality=90, size=24) for n, c in BIAS_CONTROLS.items()}
    np.testing.assert_array_equal(found["none"], image)
    np.testing.assert_array_equal(found["jpeg"], recompress(image, 90))
    np.testing.assert_array_equal(found["jpeg+size"], recompress(image[3:27, 13:37], 90))


@pytest.mark.parametrize("workers", [1, 3])
def test_in_order_keeps_the_order_and_raises(workers):
    assert list(in_order(lambda x: x * x, range(50), workers)) == [x * x for x in range(50)]
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda x: 1 // x, [2, 1, 0, 1], workers))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 600), st.integers(1, 600), st.integers(1, 300))
def test_the_shorter_side_becomes_the_size_and_the_longer_follows_rounded_down(height, width, size):
    found = resized_shape(height, width, "shorter", size)
    assert min(found) == size and max(found) == size * max(height, width) // min(height, width)
    assert (found[0] <= found[1]) == (height <= width) or found[0] == found[1]
    assert resized_shape(height, width, "squash", size) == (size, size)


def test_resizing_a_ramp_by_half_averages_with_a_triangle():
    ramp = np.repeat((np.arange(16, dtype=np.uint8) * 8)[None, :, None], 3, axis=2).repeat(2, axis=0)
    found = resized(ramp, mode="squash", size=8, filter="bilinear")
    assert found.shape == (8, 8, 3)
    # output i lies between pixels 2 i and 2 i + 1, whose neighbours weigh 1, 3, 3, 1; those beyond the border nothing
    wide = {i: 8 * 2 * i + 4 for i in range(1, 7)}
    assert {k: int(found[0, k, 0]) for k in wide} == wide
    assert int(found[0, 0, 0]) == round((3 * 0 + 3 * 8 + 1 * 16) / 7)


def test_resizing_and_the_centre_crop_equal_torchvision_on_200_sizes():
    rng, size, crop = np.random.default_rng(0), 32, v2.CenterCrop(32)
    for height, width in rng.integers(8, 200, (200, 2)):
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for filter in ("lanczos", "bilinear", "bicubic"):
            squash, shorter = (v2.Resize(to, interpolation=InterpolationMode(filter)) for to in ([size, size], size))
            public = np.array(squash(Image.fromarray(image)))
            np.testing.assert_array_equal(resized(image, mode="squash", size=size, filter=filter), public)
            public = np.array(crop(shorter(Image.fromarray(image))))
            ours = center_window(resized(image, mode="shorter", size=size, filter=filter), size)
            np.testing.assert_array_equal(ours, public)
        np.testing.assert_array_equal(clip_view(image, size).permute(1, 2, 0).numpy(), public)  # CLIP's is bicubic


def test_an_image_of_the_size_already_stays_the_same_object_and_unknown_names_are_refused():
    assert resized(RGB, mode="shorter", size=12, filter="bicubic") is RGB
    with pytest.raises(UserError, match="squash"):
        resized(RGB, mode="squish", size=5, filter="bicubic")
    with pytest.raises(UserError, match="bilinear"):
        resized(RGB, mode="squash", size=5, filter="linear")


def test_more_may_wait_than_four_a_thread():
    assert list(in_order(lambda x: -x, range(50), 2, waiting=30)) == [-x for x in range(50)]

"""Image files that are broken in every way we could think of, through index, split and crops.

100 in continuous integration, 1,000 by ``make faults``. No crash, nothing put in the place of what cannot be read,
memory bounded, every file accounted for.
"""

from __future__ import annotations

import hashlib
import io
import random
import re
import struct
import subprocess
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scale import record, scaled

from tellsign.data.images import STATUSES
from tellsign.data.pixels import PixelTable
from tellsign.system.parquet import read_rows

SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif", "PPM": ".ppm"}
MAX_PIXELS = 1_000_000
# What two threads may take beside the libraries: decoded images of MAX_PIXELS, three and four bytes a pixel, copies.
ALLOWED_MEGABYTES = 400

Draws = random.Random


def whole(draws: Draws) -> tuple[bytes, str]:
    """A good image file: its bytes and suffix."""
    kind = draws.choice(sorted(SUFFIXES))
    height, width = draws.randint(8, 60), draws.randint(8, 60)
    pixels = np.random.default_rng(draws.getrandbits(32)).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    options = {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"} if kind == "JPEG" and draws.random() < 0.3 else {}
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue(), SUFFIXES[kind]


def flipped(draws: Draws) -> tuple[bytes, str]:
    """One to twenty bits, anywhere or in the header."""
    data, suffix = whole(draws)
    held = bytearray(data)
    reach = len(held) if draws.random() < 0.5 else min(64, len(held))
    for _ in range(draws.randint(1, 20)):
        held[draws.randrange(reach)] ^= 1 << draws.randrange(8)
    return bytes(held), suffix


def truncated(draws: Draws) -> tuple[bytes, str]:
    data, suffix = whole(draws)
    return data[: draws.randrange(len(data))], suffix


def swapped(draws: Draws) -> tuple[bytes, str]:
    """The first bytes of another format, or another format's suffix."""
    (data, suffix), (other, wrong) = whole(draws), whole(draws)
    cut = draws.choice((2, 4, 8, 16, 32))
    return (other[:cut] + data[cut:], suffix) if draws.random() < 0.6 else (data, wrong)


def padded(draws: Draws) -> tuple[bytes, str]:
    """Bytes before, after or in the middle of it."""
    data, suffix = whole(draws)
    noise, at = draws.randbytes(draws.randint(1, 200)), draws.choice((0, len(data) // 2, len(data)))
    return data[:at] + noise + data[at:], suffix


def noise(draws: Draws) -> tuple[bytes, str]:
    return draws.randbytes(draws.randrange(0, 400)), draws.choice(sorted(SUFFIXES.values()))


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(draws: Draws) -> tuple[bytes, str]:
    """A few kilobytes that claim, or decompress to, gigabytes."""
    claimed = draws.choice((30_000, 65_000))
    kind = draws.choice(("png", "text", "gif", "bmp", "tiff", "ppm"))
    header = struct.pack(">IIBBBBB", claimed, claimed, 8, 2, 0, 0, 0)
    if kind == "png":
        zeros = zlib.compress(bytes(4_000_000), 9)
        chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zeros) + chunk(b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + chunks, ".png"
    if kind == "text":  # a small image with a compressed text of 200 MB
        packed = zlib.compressobj(9)
        text = b"".join(packed.compress(bytes(1_000_000)) for _ in range(200)) + packed.flush()
        small = struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)
        pixels = zlib.compress(bytes(17 * 16))
        chunks = [chunk(b"IHDR", small), chunk(b"zTXt", b"k\0\0" + text), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunks), ".png"
    if kind == "gif":
        data = bytearray(saved("GIF"))
        data[6:10] = struct.pack("<HH", claimed, claimed)
        return bytes(data), ".gif"
    if kind == "bmp":
        data = bytearray(saved("BMP"))
        data[18:26] = struct.pack("<ii", claimed, claimed)
        return bytes(data), ".bmp"
    if kind == "tiff":
        return saved("TIFF").replace(
            struct.pack("<HHIHH", 256, 4, 1, 16, 0), struct.pack("<HHII", 256, 4, 1, claimed)
        ), ".tif"
    return f"P6\n{claimed} {claimed}\n255\n".encode() + bytes(300), ".ppm"


def saved(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (16, 16), "teal").save(stream, kind)
    return stream.getvalue()


MUTATIONS: dict[str, Callable[[Draws], tuple[bytes, str]]] = {
    "flipped": flipped, "truncated": truncated, "swapped": swapped, "padded": padded, "noise": noise, "bomb": bomb,
}  # fmt: skip
# What a file's name could do to whoever takes it for something else.
NAMES = (
    "{}", " {} ", "a b{}", "'{}", '"{}', "$(touch pwned){}", "`touch pwned`{}", ";touch pwned;{}", "-rf {}", "--out={}",
    "new\nline{}", "..{}", "%2e%2e%2f{}", "a=b{}", "*{}", "\\{}", "é{}", "CON{}", "{{name}}{}", "a&b|c>d{}", "~{}",
)  # fmt: skip

MEASURED = """
import re, sys
from pathlib import Path
import tellsign.stages.index, tellsign.stages.split, tellsign.stages.crops, pyarrow.parquet
from tellsign.__main__ import run
def most():  # of this program; getrusage counts what its parent had
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = most()
for line in Path(sys.argv[1]).read_text().split("\\1"):
    if code := run(line.split("\\0")):
        sys.exit(code)
print("megabytes", (most() - before) >> 10)
"""
INDEX = (
    '{"benchmark": "b", "layout": "folder", "subsets": [], "exclude": [], "min_side": 8, "max_pixels": %d, '
    '"test_fraction": 0.5, "seed": 0, "on_bad": "drop"}'
)
SPLIT = '{"part": "%s", "subsets": [], "count": "all", "seed": 0, "skip": 0, "per_class": null, "fallback": null}'
CROPS = (
    '{"store": "whole", "size": 0, "bias_control": "none", "bias_quality": 0, "bias_size": 0, "resize": null, '
    '"perturbation": {"name": "none", "options": {}, "seed": 0}}'
)


@pytest.fixture
def tree(tmp_path) -> tuple[Path, dict[str, str]]:
    """A folder of mutated files and some whole ones; path below it → what was done to it."""
    draws, made = Draws(3407), {}
    for number in range(scaled(100, 1000) + 20):
        kind = [*MUTATIONS][number % len(MUTATIONS)] if number >= 20 else "whole"
        data, suffix = (MUTATIONS | {"whole": whole})[kind](draws)
        name = NAMES[number % len(NAMES)].format(number) + suffix
        path = f"sub set/{draws.choice(('train', 'test'))}/{draws.choice(('0_real', '1_fake'))}/{name}"
        (tmp_path / "raw" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / path).write_bytes(data)
        made[path] = kind
    return tmp_path / "raw", made


def independently(path: Path) -> np.ndarray:
    """An image's pixels, decoded by Pillow's defaults alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged metadata beside whole pixels
        image = Image.open(io.BytesIO(path.read_bytes()))
        return np.asarray(image.convert("RGB"))


def test_mutated_files_crash_nothing_replace_nothing_and_are_all_accounted_for(tree, tmp_path, monkeypatch):
    root, made = tree
    steps = [["index", "--settings", INDEX % MAX_PIXELS, "--roots", f"r={root}", "--out", str(tmp_path / "i.parquet")]]
    for part in ("train", "test"):
        split = str(tmp_path / f"{part}.parquet")
        steps.append(["split", "--settings", SPLIT % part, "--index", str(tmp_path / "i.parquet"), "--out", split])
        out = str(tmp_path / f"crops-{part}")
        steps.append(["crops", "--settings", CROPS, "--split", split, "--roots", f"r={root}", "--out", out])
    (tmp_path / "steps").write_text("\1".join("\0".join(step) for step in steps))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.chdir(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path / "steps")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    megabytes = int(re.search(r"megabytes (\d+)", done.stdout)[1])
    assert 0 < megabytes < ALLOWED_MEGABYTES
    assert not list(tmp_path.rglob("pwned"))

    rows = {row["path"]: row for row in read_rows(tmp_path / "i.parquet").to_pylist()}
    hidden = {path for path in made if Path(path).name.startswith(".")}
    assert rows.keys() == made.keys() - hidden  # each file has its row
    allowed = {*STATUSES, "two labels", "two parts"}
    for path, row in rows.items():
        assert row["id"] == hashlib.sha256((root / path).read_bytes()).hexdigest()
        assert row["status"] in allowed and (row["status"] == "ok" or row["reason"])
        assert row["status"] == "ok" or made[path] != "whole"
    usable = {row["id"]: path for path, row in rows.items() if row["status"] == "ok"}
    seen: set[str] = set()
    for part in ("train", "test"):
        table = PixelTable.open(tmp_path / f"crops-{part}")
        for number, image_id in enumerate(table.ids):
            seen.add(image_id)
            path = usable[image_id]
            if not rows[path]["reason"]:  # where decoding changed nothing, the pixels are Pillow's own
                np.testing.assert_array_equal(table.image(number).permute(1, 2, 0), independently(root / path))
    assert seen == usable.keys()  # nothing usable is lost, nothing else comes in
    statuses = Counter(row["status"] for row in rows.values())
    record("mutated images", files=len(made), hidden=len(hidden), megabytes=megabytes, **statuses)

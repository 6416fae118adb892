"""Train one of the demo's generators and let it turn photographs into the benchmark's fakes.

Reads three folders of photographs: ``source`` (what it learns from), ``prompt_train`` and ``prompt_test``
(what it makes fakes of). Settings: name (a generator), steps and batch (of its training), train_count and
test_count (fakes to make; at most as many as there are prompts), seed.

Writes a folder: ``train/1_fake/*.jpg`` and ``test/1_fake/*.jpg``, named by a counter in the order of the
prompts, at a JPEG quality drawn like the photographs'.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from tellsign.demo import generators, layers
from tellsign.demo.web import jpeg_bytes, jpeg_quality
from tellsign.errors import UserError, choose
from tellsign.networks.determinism import pick_device, seeded
from tellsign.system.files import folder_beside
from tellsign.system.progress import progress

SUFFIXES = (".jpg", ".png")


def main(
    *,
    settings: dict[str, Any],
    source: Path,
    prompt_train: Path,
    prompt_test: Path,
    out: Path,
    device: str = "auto",
    batch_size: int = 8,
) -> None:
    """Train, re-make, write.

    Args:
        settings: name, steps, batch, train_count, test_count, seed.
        source: Photographs to learn from.
        prompt_train: Photographs to re-make for the train part.
        prompt_test: Photographs to re-make for the test part.
        out: The folder to make.
        device: auto, cpu or cuda.
        batch_size: Photographs re-made at once.

    Raises:
        UserError: the generator is unknown, or there are fewer prompts than fakes asked for.
    """
    build = choose(generators.GENERATORS, settings["name"], "generator of the demo")
    prompts = {
        "train": _files(prompt_train, settings["train_count"]),
        "test": _files(prompt_test, settings["test_count"]),
    }
    where = pick_device(device)
    # generators that share a seed must not share their first weights and their crops
    seed = int.from_bytes(hashlib.sha256(f"{settings['name']} {settings['seed']}".encode()).digest()[:6], "big")
    with seeded(seed):
        remaker = layers.to_device(build(), where)
    photos = [_load(path) for path in _files(source)]
    generator = torch.Generator().manual_seed(seed)

    def crops() -> Tensor:
        return layers.random_crops(photos, remaker.crop, settings["batch"], generator, where)

    remaker.train()
    remaker.learn(crops, settings["steps"], generator)
    remaker.eval()
    with folder_beside(out) as folder:
        for stream, (part, paths) in enumerate(prompts.items()):
            target = folder / part / "1_fake"
            target.mkdir(parents=True)
            images = [_load(path) for path in paths]
            batches = _batches(images, batch_size)
            for rows in progress(batches, len(batches), f"{settings['name']}: {part} batches"):
                noise = [torch.Generator().manual_seed(_mix(seed, stream, row)) for row in rows]
                batch = layers.to_signed(torch.stack([images[row] for row in rows]).to(where))
                with torch.inference_mode():
                    fakes = remaker.remake(batch, layers.image_draw(noise, where))
                for row, fake in zip(rows, layers.to_bytes(fakes).cpu(), strict=True):
                    quality = jpeg_quality(np.random.default_rng([seed, stream, row]))
                    pixels = np.ascontiguousarray(fake.permute(1, 2, 0).numpy())
                    (target / f"{row:05d}.jpg").write_bytes(jpeg_bytes(pixels, quality))


def _files(folder: Path, count: int | None = None) -> list[Path]:
    """The first ``count`` images of a folder by name; all when None."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    if count is not None and count > len(paths):
        raise UserError(
            f"{count} fakes were asked for, but {folder} holds {len(paths)} photographs to re-make. "
            "Lower the count, or raise the count of that part of the demo's photographs."
        )
    return paths[:count]


def _load(path: Path) -> UInt8[Tensor, "3 h w"]:
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()


def _batches(images: list[UInt8[Tensor, "3 h w"]], batch_size: int) -> list[list[int]]:
    """Rows of images of equal size, at most ``batch_size`` at once, each row in exactly one batch."""
    alike: dict[torch.Size, list[int]] = defaultdict(list)
    for row, image in enumerate(images):
        alike[image.shape].append(row)
    return [rows[i : i + batch_size] for rows in alike.values() for i in range(0, len(rows), batch_size)]


def _mix(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)

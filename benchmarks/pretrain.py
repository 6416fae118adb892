"""Pre-training from files: how fast photographs are decoded, and how long a training step waits for them.

Made JPEGs of 400x350 px and 110 kB (ImageNet's averages). A batch is the paper's size, 128 patches of 128 px, from 4
photographs. Prints photographs decoded a second and core; the time to draw a batch among ImageNet's 1.28 million; the
share of its time that a training waits for photographs, for steps that leave the processor to the reading threads as a
GPU's do, and for Xception's own steps on this device; and what 200 epochs would take at that rate.

Run: OMP_NUM_THREADS=1 python benchmarks/pretrain.py [cuda] [--steps N] [--backbone demo-xception]
With several GPUs the rate is in the log of `tellsign pretrain --processes N`, which says how long an epoch took.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from timing import seconds

from tellsign.data.photos import Photos, on_the_fly, packed
from tellsign.methods.batches import Batches
from tellsign.methods.losses import supervised_contrastive
from tellsign.networks.backbones.loading import load_backbone
from tellsign.networks.determinism import seeded
from tellsign.schema.loading import plain
from tellsign.schema.networks import Encoder
from tellsign.schema.training import Pretrain
from tellsign.stages import crops
from tellsign.stages.pretrain import Contrast, projection_head
from tellsign.system.parquet import write_rows
from tellsign.training.optimisers.adam_steps import Adam

IMAGENET, EPOCHS, BATCH = 1_281_167, 200, 128
SIZE = (400, 350)


def make(folder: Path, count: int) -> None:
    """JPEGs with about as many bytes as ImageNet's, as files and packed."""
    columns: dict[str, list] = {"id": [], "root": [], "path": [], "height": [], "width": []}
    for i in range(count):
        noise = np.random.default_rng(i).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(noise).filter(ImageFilter.GaussianBlur(0.9)).save(stream, "JPEG", quality=95)
        (folder / f"{i}.jpg").write_bytes(stream.getvalue())
        values = (hashlib.sha256(stream.getvalue()).hexdigest(), "made", f"{i}.jpg", SIZE[1], SIZE[0])
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    write_rows(folder / "split", columns)
    settings = {"store": "whole", "size": 0, "perturbation": {"name": "none"}, "bias_control": "none"}
    settings |= {"bias_size": 0, "bias_quality": 0, "resize": None}
    crops.main(settings=settings, split=folder / "split", roots={"made": folder}, out=folder / "crops")


class Training:
    """The step of the stage, without its files."""

    def __init__(self, backbone: str, device: torch.device) -> None:
        spec = Pretrain(backbone=Encoder(name=backbone, weights="none"), n_images=4, warm_up=None, held_out=0)
        self.settings, self.device = plain(spec), device
        encoder = load_backbone(backbone, "none", 0)
        with seeded(0):
            head = projection_head(encoder.dim, *spec.projection)
        self.model = Contrast(encoder, head).to(device).train()
        self.adam = Adam(self.model.parameters(), lr=spec.optimiser.lr)

    def epoch(self, photos: Photos, steps: int, readers: int) -> tuple[float, float]:
        """Seconds of ``steps`` steps, and of waiting for photographs in them."""
        settings = self.settings | {"steps": steps}
        generator = torch.Generator().manual_seed(0)
        batches = Batches(photos, settings, generator, self.device, readers)
        began = time.perf_counter()
        for _ in batches.epoch(0):
            self.adam.zero_grad()
            _, z = self.model(self.model.encoder.preprocess(batches.patches()))
            loss = supervised_contrastive(z, batches.draw.label.to(self.device), settings["temperature"])
            loss.backward()
            self.adam.step()
            float(loss.detach())
        return time.perf_counter() - began, batches.waited


def idle(photos: Photos, settings: dict, step: float, readers: int, steps: int = 100) -> float:
    """Share of the time spent waiting for photographs by steps that take ``step`` seconds elsewhere."""
    cpu = torch.device("cpu")
    batches = Batches(photos, settings | {"steps": steps}, torch.Generator().manual_seed(0), cpu, readers)
    began = time.perf_counter()
    for _ in batches.epoch(0):
        time.sleep(step)
    return batches.waited / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("device", nargs="?", default="cpu")
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--backbone", default="legacy-xception")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(chosen.device)
    steps = chosen.steps or (1 if device.type == "cpu" else 200)
    training = Training(chosen.backbone, device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, 64)
        size = sum(p.stat().st_size for p in folder.glob("*.jpg")) / 64
        files, pixels = on_the_fly(folder / "split", {"made": folder}), packed(folder / "crops", device)
        each = seconds(lambda: [files.read(i) for i in range(64)], 5) / 64
        print(f"{SIZE[0]}x{SIZE[1]} JPEG of {size / 1e3:.0f} kB: {1 / each:.0f} decoded a second and core")
        print(f"that supplies {1 / each / 4:.0f} steps a second and core")
        million = Photos(torch.tensor([SIZE]).expand(IMAGENET, 2), files.read, ahead=True)
        drawn = Batches(million, training.settings, torch.Generator(), device, 1)._draws(0)
        print(f"drawing a batch among {IMAGENET:,}: {1e3 * seconds(lambda: next(drawn), 20):.1f} ms")
        for wanted in (0.1, 0.05, 0.02, 0.01):
            share = idle(files, training.settings, wanted, 2)
            print(f"steps of {1e3 * wanted:.0f} ms elsewhere, 2 threads: {share:.1%} of the time spent waiting")
        training.epoch(pixels, 1, 1)
        step = training.epoch(pixels, steps, 1)[0] / steps
        print(f"{chosen.backbone} on {device}: {step:.3f} s a step of {BATCH} patches from packed pixels")
        whole, waited = training.epoch(files, steps, 2)
        print(f"from files, 2 threads: {whole / steps / step:.2f} times that, {waited / whole:.1%} spent waiting")
        each_epoch = -(-IMAGENET // BATCH)
        total = EPOCHS * each_epoch * step / 3600
        print(f"{EPOCHS} epochs of {each_epoch} steps: {total:,.0f} h on one such device")


if __name__ == "__main__":
    main()

"""Images per second of every network on this machine, for config/rates.yaml; prints lines that can be pasted there.

One training step (forward, backward, Adam) and one forward pass without gradients, random weights, made pixels that
already lie on the device; decoding, cropping and masks are not in it. A detector with a network of its own does what it
does with a batch of crops, such as spectra. On a GPU, batches of 64 and autocast to bf16 (detectors as their recipes
say); on a CPU fp32, in CPU seconds of one core, and batches of four, of the demo's networks as in its recipes. Run:

    OMP_NUM_THREADS=1 python benchmarks/rates.py [cuda] [NAME …]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
from timing import seconds
from torch import Tensor, nn

from tellsign.detectors.on_crops import CropMethod
from tellsign.detectors.recipes.on_crops import CropRecipe
from tellsign.detectors.registry import METHODS, recipe_class
from tellsign.networks.backbones import BACKBONES
from tellsign.networks.backbones.backbone import Backbone
from tellsign.networks.backbones.loading import load_backbone
from tellsign.schema.loading import build, plain
from tellsign.training.optimisers.adam import AdamSettings
from tellsign.training.optimisers.build import build_optimiser
from tellsign.training.precision import arithmetic

SIDES = {"demo-clip-vit": 72, "demo-clip-rn": 72, "demo-xception": 64, "legacy-xception": 128}
ELSEWHERE = ("tiny-ladeda", "lgrad")
"""Detectors whose work is not all in a batch of crops: another one teaches them, or gradients are taken before."""
BATCHES = {"demo-clip-vit": 16, "demo-clip-rn": 16, "demo-xception": 24}


def on_gpu(work: Callable[[], object], repeats: int) -> float:
    """Least seconds of one call, the device waited for."""
    best = float("inf")
    for _ in range(repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


class Steps:
    """A backbone with a linear head, and what is timed of it."""

    def __init__(self, backbone: Backbone, side: int, batch: int, device: str) -> None:
        self.device = torch.device(device)
        self.backbone, self.head = backbone.to(self.device), nn.Linear(backbone.dim, 1).to(self.device)
        self.pixels = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device=self.device)
        params = [*self.backbone.parameters(), *self.head.parameters()]
        self.optimiser = build_optimiser(params, plain(AdamSettings()))

    def logits(self) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            return self.head(self.backbone(self.backbone.preprocess(self.pixels)))

    def train(self) -> None:
        self.optimiser.zero_grad()
        self.logits().float().square().mean().backward()
        self.optimiser.step(1e-5)

    @torch.no_grad()
    def score(self) -> None:
        self.logits()


class DetectorSteps:
    """A detector that is one network on crops, and what is timed of it."""

    def __init__(self, name: str, batch: int, device: str) -> None:
        recipe = build(recipe_class(name, "the benchmark"), {"weights": "none"}, name)
        settings = plain(recipe) | {"seed": 0, "network": {"weights": "none"}}
        self.side, self.generator = settings["crop"], torch.Generator().manual_seed(0)
        method_class: type[CropMethod] = METHODS.load(name)
        self.method = method_class.restore(settings, {"crop": self.side}, torch.device(device))
        crops = (batch, 3, self.side, self.side)
        self.pixels = torch.randint(0, 256, crops, dtype=torch.uint8, generator=self.generator).to(device)
        self.labels = (torch.arange(batch) % 2).to(device)
        self.precision = settings["precision"]
        self.optimiser = build_optimiser(self.method.model.parameters(), plain(AdamSettings()))

    def train(self) -> None:
        self.method.model.train()
        self.optimiser.zero_grad()
        with arithmetic(self.precision, self.method.device):
            loss = self.method.loss(self.pixels, self.labels, self.generator)
        loss.backward()
        self.optimiser.step(1e-5)

    @torch.no_grad()
    def score(self) -> None:
        self.method.model.eval()
        self.method.logits(self.method.preprocess(self.pixels))


def own_networks() -> list[str]:
    """Detectors with a network of their own, which the doctor calls by the detector's name."""
    own = [name for name in METHODS if issubclass(recipe_class(name, "the benchmark"), CropRecipe)]
    return [name for name in own if name not in ELSEWHERE]


def main() -> None:
    torch.set_num_threads(1)
    device, names = "cpu", sys.argv[1:]
    if names[:1] == ["cuda"]:
        device, names = "cuda", names[1:]
    clock = on_gpu if device == "cuda" else seconds
    for name in names or [*BACKBONES, *own_networks()]:
        batch = 64 if device == "cuda" else BATCHES.get(name, 4)
        if name in METHODS:
            detector = DetectorSteps(name, batch, device)
            train, score = batch / clock(detector.train, 3), batch / clock(detector.score, 3)
            sys.stdout.write(f"{name}: {{side: {detector.side}, train: {train:.3g}, score: {score:.3g}}}\n")
            sys.stdout.flush()
            continue
        side = SIDES.get(name, 224)
        backbone = load_backbone(name, "none", 0)
        parameters = sum(p.numel() for p in backbone.parameters())
        steps = Steps(backbone, side, batch, device)
        steps.backbone.train()
        train = batch / clock(steps.train, 3)
        steps.backbone.eval()
        score = batch / clock(steps.score, 3)
        sys.stdout.write(
            f"{name}: {{side: {side}, train: {train:.3g}, score: {score:.3g}}}   # {parameters} parameters, "
            f"dim {backbone.dim}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()

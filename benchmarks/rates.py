"""Images per second of every backbone on this machine, for config/rates.yaml; prints lines that can be pasted there.

One training step (forward, backward, Adam) and one forward pass without gradients, random weights, made pixels that
already lie on the device; decoding, cropping and masks are not in it. On a GPU, batches of 64 and autocast to bf16;
on a CPU, four images and fp32, in CPU seconds of one core. Run:

    OMP_NUM_THREADS=1 python benchmarks/rates.py [cuda] [NAME …]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
from timing import seconds
from torch import Tensor, nn

from tellsign.networks.backbones import BACKBONES
from tellsign.networks.backbones.backbone import Backbone
from tellsign.networks.backbones.loading import load_backbone
from tellsign.schema.loading import plain
from tellsign.training.optimisers.adam import AdamSettings
from tellsign.training.optimisers.build import build_optimiser

SIDES = {"demo-clip-vit": 72, "demo-clip-rn": 72, "demo-xception": 64, "legacy-xception": 128}


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


def main() -> None:
    torch.set_num_threads(1)
    device, names = "cpu", sys.argv[1:]
    if names[:1] == ["cuda"]:
        device, names = "cuda", names[1:]
    batch, clock = (64, on_gpu) if device == "cuda" else (4, seconds)
    for name in names or BACKBONES:
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

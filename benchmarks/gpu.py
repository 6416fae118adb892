"""What one GPU does with the work of the four papers: one table of checks and times, in under ten minutes.

Random weights and made images; torch, torchvision, timm, transformers and open_clip_torch beside tellsign's own small
dependencies. Every check is a distance from fp32 on the CPU. Every time stands beside what it is held against in the
same run: the least time that the card allows (floor), the plain loop that public code of the field has, or the same
work on tensors that already lie on the device. Run:

    python benchmarks/gpu.py [SECTION …] [--miniature] [--out FILE.json]

`--miniature` runs every section in seconds on a CPU, with the demo's networks: it shows that the script works, and no
number of it says anything about a GPU.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

import captions as captioning
import glip as grounding
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import v2

from tellsign.data.pixels import PixelTable
from tellsign.detectors.checkpoints import save_weights
from tellsign.detectors.image import ImageMethod
from tellsign.detectors.protocol import Phase, Sample
from tellsign.detectors.recipes.image import ImageRecipe
from tellsign.methods.losses import binary_cross_entropy
from tellsign.methods.masks import MASKS
from tellsign.networks.backbones.loading import load_backbone
from tellsign.networks.glip.bert import BertConfig
from tellsign.networks.glip.model import GLIP_L, GlipConfig
from tellsign.networks.vision_language import Blip2
from tellsign.schema.loading import build, plain
from tellsign.training.fit import fit
from tellsign.training.resume import Resume

IMAGES, HEIGHT, WIDTH = 256, 400, 350
ADAM_BYTES = 28
"""Bytes that a step of Adam in fp32 moves a parameter: weight, gradient and two moments read, all but the gradient
written."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        section: Which part of the work.
        what: What was checked or timed.
        value: The measurement.
        unit: Its unit.
        beside: What it is held against, in the same unit; None for a check or a measurement of the card itself.
        against: What that is.
    """

    section: str
    what: str
    value: float
    unit: str
    beside: float | None = None
    against: str = ""

    def line(self) -> str:
        """The line as it is printed; the ratio is the value over what it is held against."""
        line = f"{self.section:<9} {self.what:<58} {self.value:>10.4g} {self.unit:<9}"
        if self.beside is None:
            return line.rstrip()
        return f"{line} {self.value / self.beside:>8.2f} × {self.beside:.4g} ({self.against})"


@dataclass(frozen=True)
class Case:
    """A recipe that trains images in the papers, and how many steps of it are timed."""

    name: str
    recipe: dict[str, Any]
    steps: int


@dataclass(frozen=True)
class Sizes:
    """What a run measures.

    Attributes:
        device: The card, or the CPU in miniature.
        repeats: How often each thing is timed, after once for warmth.
        images: Made images of a training.
        cases: Trainings.
        matrix: Side of the matrices for the card's arithmetic.
        copied: Bytes copied for its memory.
        batch: Images scored at once.
        captions: Batch of captions.
        glip: GLIP's configuration.
        grounded: Height and width of an image to ground.
    """

    device: torch.device
    repeats: int
    images: int
    cases: tuple[Case, ...]
    matrix: int
    copied: int
    batch: int
    captions: int
    glip: GlipConfig
    grounded: tuple[int, int]


def network(name: str) -> dict[str, str]:
    return {"name": name, "weights": "none"}


TEXTURE_AWARE = {"name": "texture_aware", "ratio": [0.6, 0.8], "patch_size": 14}
MPFT = {"backbone": network("clip-vit-l14"), "mask": TEXTURE_AWARE, "optimiser": {"lr": 1e-5}}
LOL = {"backbone": network("clip-rn50"), "mask": {"name": "random_box"}, "optimiser": {"lr": 1e-5}}
RESCALE = {"backbone": network("legacy-xception"), "crop": 128, "batch_size": 128, "optimiser": {"lr": 2e-4}}
LINEAR = {"backbone": network("clip-vit-l14"), "trainable": "head", "optimiser": {"lr": 1e-3}}
FULL = (Case("MPFT", MPFT, 100), Case("LoL", LOL, 100), Case("rescale", RESCALE, 30), Case("linear", LINEAR, 100))
SMALL = (
    Case("MPFT", MPFT | {"backbone": network("demo-clip-vit"), "crop": 72}, 1),
    Case("LoL", LOL | {"backbone": network("demo-clip-rn"), "crop": 72}, 1),
    Case("rescale", RESCALE | {"backbone": network("demo-xception"), "crop": 64, "batch_size": 8}, 1),
    Case("linear", LINEAR | {"backbone": network("demo-clip-vit"), "crop": 72}, 1),
)
SMALL_GLIP = replace(
    GLIP_L, dim=24, depths=(1, 1, 1, 1), heads=(1, 2, 4, 8), window=4, blocks=1, channels=32, groups=4,
    fusion_width=32, fusion_heads=2, bert=BertConfig(32, 1, 2, 64),
)  # fmt: skip


def finished(device: torch.device) -> float:
    """The time when the device has done all it was given, in seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def timed(work: Callable[[], object], sizes: Sizes) -> float:
    """Median seconds of one call, after one for warmth."""
    work()
    times = []
    for _ in range(sizes.repeats):
        began = finished(sizes.device)
        work()
        times.append(finished(sizes.device) - began)
    return median(times)


def made_images(count: int, seed: int = 0) -> PixelTable:
    """Noise of the average size of ImageNet's photographs."""
    draws = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count * HEIGHT * WIDTH, 3), dtype=torch.uint8, generator=draws)
    rows = torch.arange(count)
    sides = torch.full((count,), HEIGHT), torch.full((count,), WIDTH)
    return PixelTable(tuple(map(str, rows.tolist())), pixels, rows * HEIGHT * WIDTH, *sides)


def settings_of(case: Case, precision: str = "fp32") -> dict[str, Any]:
    """The recipe as the plan hands it to a training; an epoch has as many steps as are timed."""
    recipe = build(ImageRecipe, case.recipe | {"precision": precision, "epochs": 1}, case.name)
    return plain(recipe) | {"seed": 0, "start": None}


class Jpegs(Dataset[tuple[Tensor, int]]):
    """The plain loop's images: JPEG in memory, decoded by Pillow, cropped, flipped and normalised one by one."""

    def __init__(self, table: PixelTable, crop: int, front: nn.Module, length: int) -> None:
        self.files, self.front, self.length = [], copy.deepcopy(front).cpu(), length
        for row in range(min(32, len(table))):
            stream = BytesIO()
            Image.fromarray(table.image(row).permute(1, 2, 0).numpy()).save(stream, "JPEG", quality=90)
            self.files.append(stream.getvalue())
        self.view = v2.Compose([v2.RandomCrop(crop), v2.RandomHorizontalFlip(), v2.ToImage()])

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.open(BytesIO(self.files[index % len(self.files)])).convert("RGB")
        return self.front(self.view(image)[None])[0], index % 2


def plain_loop(case: Case, table: PixelTable, device: torch.device, workers: int) -> float:
    """Seconds a step of the loop that public code of the field has: Pillow in workers, fp32, Adam, `.item()`."""
    settings = settings_of(case)
    method = ImageMethod.begin(settings, Sample((), torch.zeros(0), {}), None, device)
    model, options = method.model.train(), dict(settings["mask"])
    masked, generator = MASKS.load(options.pop("name")), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-5, foreach=False)
    warm, batch = 2, settings["batch_size"]
    data = Jpegs(table, settings["crop"], model.backbone.front, (warm + case.steps) * batch)
    began = finished(device)
    for step, (images, labels) in enumerate(DataLoader(data, batch, shuffle=True, num_workers=workers)):
        if step == warm:
            began = finished(device)
        x = images.to(device)
        x = x * masked(x, generator, **options)
        loss = binary_cross_entropy(model(x), labels.to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()
    return (finished(device) - began) / case.steps


def phase_of(case: Case, table: PixelTable, device: torch.device, precision: str) -> tuple[ImageMethod, Phase]:
    """A method and its training over so many images that an epoch has the steps that are timed."""
    settings = settings_of(case, precision)
    count = case.steps * settings["batch_size"]
    ids = [table.ids[i % len(table)] for i in range(count)]
    sample = Sample(ids, torch.arange(count) % 2, {"crops": table})
    method = ImageMethod.begin(settings, sample, None, device)
    return method, next(method.phases(sample, None, torch.Generator().manual_seed(0)))


def our_loop(case: Case, table: PixelTable, sizes: Sizes, precision: str) -> tuple[float, ImageMethod, Phase]:
    """Seconds a step of the product's own loop, after one epoch for warmth; what was trained, and how."""
    method, phase = phase_of(case, table, sizes.device, precision)

    def epoch() -> None:
        fit(
            method.model, phase.loss, phase.batches, phase.optimiser, epochs=1, rate=phase.rate,
            generator=torch.Generator().manual_seed(0), resume=Resume(None), after_epoch=lambda done: None,
        )  # fmt: skip

    return timed(epoch, sizes) / case.steps, method, phase


def floor_of(method: ImageMethod, bandwidth: float, arithmetic: float) -> float:
    """Seconds that a step cannot go below: its arithmetic in bf16 and what Adam moves, one after the other."""
    crop, batch = method.settings["crop"], method.settings["batch_size"]
    x = method.model.backbone.preprocess(torch.zeros((batch, 3, crop, crop), dtype=torch.uint8, device=method.device))
    with FlopCounterMode(display=False) as counter:
        method.model(x).sum().backward()
    trained = sum(p.numel() for p in method.model.parameters() if p.requires_grad)
    return counter.get_total_flops() / arithmetic + ADAM_BYTES * trained / bandwidth


def card(sizes: Sizes) -> tuple[float, float]:
    """Bytes a second of its memory (read and written) and operations a second in bf16, as plain calls reach them."""
    bytes_in = torch.randint(0, 256, (sizes.copied,), dtype=torch.uint8, device=sizes.device)
    bytes_out = torch.empty_like(bytes_in)
    a, b = (torch.randn((sizes.matrix, sizes.matrix), device=sizes.device).bfloat16() for _ in range(2))
    copying = timed(lambda: bytes_out.copy_(bytes_in), sizes)
    return 2 * sizes.copied / copying, 2 * sizes.matrix**3 / timed(lambda: a @ b, sizes)


def ceilings(sizes: Sizes) -> Iterator[Row]:
    """The card itself."""
    bandwidth, arithmetic = card(sizes)
    yield Row("card", "memory, read and written", bandwidth / 1e12, "TB/s")
    yield Row("card", f"matrices of {sizes.matrix} in bf16", arithmetic / 1e12, "TFLOP/s")


def checks(sizes: Sizes) -> Iterator[Row]:
    """Features of every backbone that a case trains, on the device and in bf16, from those of fp32 on the CPU."""
    for name, crop in {case.recipe["backbone"]["name"]: case.recipe.get("crop", 224) for case in sizes.cases}.items():
        backbone = load_backbone(name, "none", 0).eval()
        pixels = torch.randint(0, 256, (2, 3, crop, crop), dtype=torch.uint8)
        with torch.no_grad():
            expected = backbone(backbone.preprocess(pixels))
            backbone.to(sizes.device)
            for precision in (torch.float32, torch.bfloat16):
                with torch.autocast(sizes.device.type, precision, enabled=precision == torch.bfloat16):
                    features = backbone(backbone.preprocess(pixels.to(sizes.device))).float().cpu()
                told = f"{name}, {str(precision).removeprefix('torch.')} from fp32 on the CPU"
                yield Row("check", told, float((features - expected).norm() / expected.norm()), "relative")


def training(sizes: Sizes) -> Iterator[Row]:
    """A step of every case: the plain loop against the floor, and ours against both."""
    bandwidth, arithmetic = card(sizes)
    table = made_images(sizes.images)
    workers = 8 if sizes.device.type == "cuda" else 0
    for case in sizes.cases:
        public = plain_loop(case, table, sizes.device, workers)
        told = f"{case.name}, batch {case.recipe.get('batch_size', 4)}: a step"
        for precision in ("fp32", "bf16"):
            ours, method, _ = our_loop(case, table, sizes, precision)
            line = Row("train", f"{told}, {precision}", 1e3 * ours, "ms", 1e3 * public, "plain loop, fp32")
            yield line
            floor = floor_of(method, bandwidth, arithmetic)
            yield replace(line, beside=1e3 * floor, against="floor")


def saving(sizes: Sizes) -> Iterator[Row]:
    """What is written after an epoch, against an epoch of MPFT's 200 steps."""
    case = sizes.cases[0]
    step, method, phase = our_loop(case, made_images(sizes.images), sizes, "fp32")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = finished(sizes.device)
        resume = Resume(folder, every=0)
        with resume.kept():
            resume.save(method.model, phase.optimiser, torch.Generator(), 1)
            copied = finished(sizes.device) - began
        state = finished(sizes.device) - began
        save_weights(method.model, folder / "model.safetensors")
        kept = finished(sizes.device) - began - state
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    yield Row("save", f"{case.name}: state of a training to resume", state, "s", 200 * step, "200 steps, fp32")
    yield Row("save", f"{case.name}: its copy, which training waits for", copied, "s", 200 * step, "200 steps, fp32")
    yield Row("save", f"{case.name}: weights of a kept epoch", kept, "s", 200 * step, "200 steps, fp32")
    yield Row("save", f"{case.name}: both", size / 2**30, "GiB")


def scored(method: ImageMethod, table: PixelTable, sizes: Sizes) -> tuple[float, float]:
    """Images a second: from crops in memory, and of one batch that already lies on the device."""
    ids, batch = list(table.ids), sizes.batch
    pixels = table.center_crops(torch.arange(batch) % len(table), method.crop).to(method.device)

    @torch.no_grad()
    def forward() -> None:
        method.model.scores(method.model.backbone.preprocess(pixels))

    whole = timed(lambda: method.scores({"crops": table}, ids, batch), sizes)
    return len(ids) / whole, batch / timed(forward, sizes)


def scoring(sizes: Sizes) -> Iterator[Row]:
    """Scoring from crops in memory, against tensors that already lie on the device."""
    table = made_images(sizes.images)
    for case in sizes.cases[:3]:
        method, _ = phase_of(case, table, sizes.device, "fp32")
        method.model.eval()
        ours, there = scored(method, table, sizes)
        told = f"{case.name}: scoring, batch {sizes.batch}, fp32"
        yield Row("score", told, ours, "images/s", there, "tensors on the device")


def captioned(sizes: Sizes) -> Iterator[Row]:
    """BLIP-2, greedy, 20 tokens: ours in bf16 against the plain pipeline in fp32, at batch 1 and at ours."""
    model, processor = captioning.model_and_processor(sizes.device.type)
    images = [np.random.default_rng(i).integers(0, 256, (400, 500, 3), dtype=np.uint8) for i in range(sizes.captions)]
    few = images[:2]
    singly = len(few) / timed(lambda: captioning.plain(model, processor, few, 1), sizes)
    length = {"min_new_tokens": captioning.LENGTH, "max_new_tokens": captioning.LENGTH}
    decoding = {"prompt": "", "precision": "bf16", "beams": 1, **length}
    ours = Blip2(model, processor, decoding, sizes.captions).to(sizes.device)
    batched = len(images) / timed(lambda: ours.caption(images), sizes)
    yield Row("caption", f"BLIP-2, batch {sizes.captions}, bf16", batched, "images/s", singly, "one by one, fp32")


def grounded(sizes: Sizes) -> Iterator[Row]:
    """GLIP-L: one image at a time in fp32, and batches in bf16."""
    grounder = grounding.build(sizes.device, sizes.grounded, sizes.glip)
    first = grounding.per_second(grounder, sizes.grounded, 1, 1)
    yield Row("ground", "GLIP-L, batch 1, fp32", first, "images/s")
    if sizes.device.type == "cuda":
        grounder.precision = "bf16"
        for batch in (1, 8):
            rate = grounding.per_second(grounder, sizes.grounded, batch, 1)
            yield Row("ground", f"GLIP-L, batch {batch}, bf16", rate, "images/s", first, "batch 1, fp32")


SECTIONS: dict[str, Callable[[Sizes], Iterator[Row]]] = {
    "card": ceilings,
    "check": checks,
    "train": training,
    "save": saving,
    "score": scoring,
    "caption": captioned,
    "ground": grounded,
}


def machine(device: torch.device) -> str:
    """What the table was measured on."""
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU: NOT a measurement of a GPU"
    return f"{card}, torch {torch.__version__}, CUDA {torch.version.cuda}, {time.strftime('%Y-%m-%d')}"


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all without any")
    parser.add_argument("--miniature", action="store_true", help="tiny networks on the CPU")
    parser.add_argument("--out", type=Path, help="write the rows as JSON too")
    chosen = parser.parse_args(argv)
    unknown = [name for name in chosen.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"unknown sections {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    if chosen.miniature:
        sizes = Sizes(torch.device("cpu"), 1, 8, SMALL, 64, 1 << 16, 4, 2, SMALL_GLIP, (64, 96))
    elif torch.cuda.is_available():
        sizes = Sizes(torch.device("cuda"), 3, IMAGES, FULL, 8192, 1 << 31, 128, 64, GLIP_L, (800, 1333))
    else:
        parser.error("torch sees no CUDA device; --miniature shows on a CPU that the script works.")
    rows = []
    sys.stdout.write(f"{machine(sizes.device)}\n")
    for name in chosen.sections or SECTIONS:
        for row in SECTIONS[name](sizes):
            rows.append(row)
            sys.stdout.write(f"{row.line()}\n")
            sys.stdout.flush()
        if sizes.device.type == "cuda":
            torch.cuda.empty_cache()
    if chosen.out:
        facts = {"machine": machine(sizes.device), "rows": [asdict(row) for row in rows]}
        chosen.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(min(8, torch.get_num_threads()))
    main(sys.argv[1:])

"""Train the demo's CLIP towers, grounder and captioner.

Reads nothing: the photographs are made on the way. Settings: seed, side (of the scenes, pixels), photos (to
learn from), held_out (to measure with), and clip, grounder and captioner (each the arguments of its
training in `tellsign.demo.teach`).

Writes a folder: demo-clip-vit, demo-clip-rn, demo-grounder and demo-captioner as fp16 safetensors, and
weights.json with their sha256, the settings, the measured accuracies, and the machine and versions: the
same settings on the same machine give the same bytes. The package ships what the default settings gave
(``tellsign/demo/weights``).
"""

from __future__ import annotations

import dataclasses
import io
import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from safetensors.torch import save_file
from torch import Tensor, nn

from tellsign.demo.camera import camera
from tellsign.demo.captioner import DemoCaptioner
from tellsign.demo.grounder import SIDE as GROUND_SIDE
from tellsign.demo.grounder import DemoGrounder
from tellsign.demo.scenes import Scene, caption, scene
from tellsign.demo.teach import Thing, View, stack, teach_captioner, teach_clip, teach_grounder
from tellsign.demo.towers import CROP
from tellsign.demo.web import jpeg_bytes, jpeg_quality, rescale
from tellsign.demo.words import COLOURS, SHAPES, article
from tellsign.networks.backbones.backbone import Clip
from tellsign.networks.grounders.grounder import Grounding
from tellsign.system.files import folder_beside
from tellsign.system.integrity import sha256_of_file
from tellsign.system.progress import progress

# What the shipped weights were trained with.
SETTINGS: dict[str, Any] = {
    "seed": 0,
    "side": 176,
    "photos": 2600,
    "held_out": 400,
    "clip": {
        "demo-clip-vit": {"batch": [32, 16, 16], "word_steps": 220, "steps": 350, "lr": 2e-3},
        "demo-clip-rn": {"batch": [18, 6, 16], "word_steps": 200, "steps": 300, "lr": 3e-3},
    },
    "grounder": {"batch": 24, "steps": 200, "lr": 3e-3},
    "captioner": {"batch": 32, "steps": 900, "lr": 2e-3},
}


@dataclasses.dataclass(frozen=True)
class Photo:
    """The views of one photograph."""

    whole: View
    crop: View
    single: View
    large: View


def _squeezed(pixels: np.ndarray, box: tuple[float, float, float, float], side: int) -> np.ndarray:
    """The box of an image (pixels) as a square."""
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC, box=box))


def _view(
    pixels: np.ndarray,
    box: tuple[float, float, float, float],
    side: int,
    text: str,
    truth: Scene,
    full: np.ndarray,
) -> View:
    """The view of a box of an image whose scene is ``full`` (width, height) pixels wide."""
    origin, extent = np.array(box[:2] * 2), np.array([box[2] - box[0], box[3] - box[1]] * 2)
    things = tuple(
        Thing(tuple((np.array(o.box) * np.tile(full, 2) - origin) / extent * side), o.colour, o.shape)
        for o in truth.objects
    )
    return View(_squeezed(pixels, box, side), text, truth.background_colour, truth.background, things)


def photograph(seed: int, number: int, side: int) -> Photo:
    """Make a photograph of some quality and cut its views.

    A quarter is blurred, a seventh heavily compressed; noise goes from none to a lot. Crops and objects say
    so in their text, lest the towers learn to overlook it.
    """
    generator = np.random.default_rng([seed, number])
    image, truth = scene(generator, side)
    gain = 10 ** generator.uniform(-3.8, -2.6)
    pixels = camera(image, generator, gain)
    quality = "grainy" if gain > 10**-3.0 else "clean" if gain < 10**-3.4 else ""
    if generator.random() < 0.25:
        blur = ImageFilter.GaussianBlur(generator.uniform(0.8, 1.6))
        pixels, quality = np.asarray(Image.fromarray(pixels).filter(blur)), "blurry"
    pixels, (height, width) = rescale(pixels, generator)
    level = jpeg_quality(generator)
    if generator.random() < 0.15:
        level, quality = int(generator.integers(30, 60)), "compressed"
    pixels = np.asarray(Image.open(io.BytesIO(jpeg_bytes(pixels, level))))
    full, (h, w) = np.array([width, height]), pixels.shape[:2]
    lead = f"a {quality} photo of " if quality else ""

    x, y = (int(generator.integers(length - CROP + 1)) for length in (w, h))
    middles = [np.array(item.centre) * full - (x, y) for item in truth.objects]
    seen = tuple(item for item, at in zip(truth.objects, middles, strict=True) if (at >= 0).all() and (at < CROP).all())
    background = f"{article(truth.background_colour)} {truth.background_colour} {truth.background} background"
    crop_text = caption(dataclasses.replace(truth, objects=seen)) if seen else background
    item = truth.objects[int(generator.integers(len(truth.objects)))]
    corners = np.array(item.box) * np.tile(full, 2)
    margin = 0.08 * (corners[2] - corners[0])
    left, top = np.maximum(corners[:2] - margin, 0)
    right, bottom = np.minimum(corners[2:] + margin, (w, h))

    everything = (0.0, 0.0, float(w), float(h))
    near = (float(left), float(top), float(right), float(bottom))
    cut = (float(x), float(y), float(x + CROP), float(y + CROP))
    return Photo(
        whole=_view(pixels, everything, CROP, caption(truth), truth, full),
        crop=_view(pixels, cut, CROP, lead + crop_text, truth, full),
        single=_view(pixels, near, CROP, lead + item.named, truth, full),
        large=_view(pixels, everything, GROUND_SIDE, caption(truth), truth, full),
    )


def _half(module: nn.Module) -> dict[str, Tensor]:
    """A module's state for shipping: fp16, names in order."""
    return {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in sorted(module.state_dict().items())
    }


def _overlap(grounding: Grounding, box: tuple[float, ...]) -> float:
    """Intersection over union."""
    wide = max(0.0, min(grounding.x1, box[2]) - max(grounding.x0, box[0]))
    high = max(0.0, min(grounding.y1, box[3]) - max(grounding.y0, box[1]))
    area = (grounding.x1 - grounding.x0) * (grounding.y1 - grounding.y0) + (box[2] - box[0]) * (box[3] - box[1])
    return wide * high / (area - wide * high)


@torch.inference_mode()
def measure_clip(clip: Clip, photos: list[Photo]) -> dict[str, float]:
    """Share of objects named rightly among all 48 colour-shape pairs; share of photographs whose own
    caption is nearest among all.
    """
    named = [f"{article(colour)} {colour} {shape}" for colour in COLOURS for shape in SHAPES]
    single = clip.image(clip.image.preprocess(stack([photo.single for photo in photos])))
    guess = (F.normalize(single, dim=1) @ F.normalize(clip.encode_text(named), dim=1).T).argmax(1).tolist()
    right = [photo.single.text.endswith(named[k].split(" ", 1)[1]) for k, photo in zip(guess, photos, strict=True)]
    texts = [photo.whole.text for photo in photos]
    whole = clip.image(clip.image.preprocess(stack([photo.whole for photo in photos])))
    best = (F.normalize(whole, dim=1) @ F.normalize(clip.encode_text(texts), dim=1).T).argmax(1).tolist()
    own = [texts[k] == text for k, text in zip(best, texts, strict=True)]
    return {"object of 48": float(np.mean(right)), f"caption of {len(photos)}": float(np.mean(own))}


def measure_grounder(grounder: DemoGrounder, photos: list[Photo], threshold: float) -> dict[str, float]:
    """Share of present phrases found with an overlap above a half, and of absent phrases found."""
    images, texts = [photo.large.pixels for photo in photos], [photo.large.text for photo in photos]
    present = [[f"{t.colour} {t.shape}" for t in photo.large.things] for photo in photos]
    every = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
    absent = [[phrase for phrase in every if phrase not in phrases] for phrases in present]
    right = [
        grounding.score >= threshold and _overlap(grounding, thing.box) > 0.5
        for photo, row in zip(photos, grounder.ground(images, texts, present), strict=True)
        for grounding, thing in zip(row, photo.large.things, strict=True)
    ]
    wrong = [grounding.score >= threshold for row in grounder.ground(images, texts, absent) for grounding in row]
    return {
        "present found": float(np.mean(right)),
        "absent found": float(np.mean(wrong)),
        "threshold": threshold,
    }


def measure_captioner(captioner: DemoCaptioner, photos: list[Photo]) -> dict[str, float]:
    """Shares of objects whose colour and shape are said, of said ones that are there, of exact captions."""
    said = captioner.caption([photo.large.pixels for photo in photos])
    there = [{f"{t.colour} {t.shape}" for t in photo.large.things} for photo in photos]
    pairs = [[" ".join(p) for p in zip(s.split(), s.split()[1:], strict=False)] for s in said]
    named = [{p for p in row if p.split()[0] in COLOURS and p.split()[1] in SHAPES} for row in pairs]
    common = sum(len(a & b) for a, b in zip(named, there, strict=True))
    exact = [text == photo.large.text for text, photo in zip(said, photos, strict=True)]
    return {
        "objects said": common / sum(map(len, there)),
        "said are there": common / max(1, sum(map(len, named))),
        "exact": float(np.mean(exact)),
    }


def machine() -> dict[str, str]:
    """What the bytes depend on besides the settings: the processor and the versions that compute."""
    source, about = Path("/proc/cpuinfo"), {}
    for line in source.read_text(encoding="utf-8").splitlines() if source.exists() else ():
        key, _, value = line.partition(":")
        about[key.strip()] = value.strip()
    keys = ("model name", "cpu family", "model")
    names = ("torch", "numpy", "pillow")
    return {
        "processor": " / ".join(about[key] for key in keys if key in about) or platform.processor(),
        "vector units": torch.backends.cpu.get_cpu_capability(),
        **{name: metadata.version(name) for name in names},
    }


def main(*, settings: dict[str, Any] = SETTINGS, out: Path) -> None:
    """Train, measure and write.

    Args:
        settings: seed, side, photos, held_out, clip, grounder, captioner (default: the shipped ones).
        out: The folder to make.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    seed, count = settings["seed"], settings["photos"] + settings["held_out"]
    numbers = progress(range(count), count, "photographs")
    photos = [photograph(seed, number, settings["side"]) for number in numbers]
    photos, held_out = photos[: settings["photos"]], photos[settings["photos"] :]
    large = [photo.large for photo in photos]
    modules: dict[str, nn.Module] = {}
    measured: dict[str, dict[str, float]] = {}

    network = teach_grounder(large, seed=seed, **settings["grounder"])
    modules["demo-grounder"] = network
    measured["demo-grounder"] = measure_grounder(DemoGrounder(network), held_out, threshold=0.3)

    language = teach_captioner(network.body, large, seed=seed, **settings["captioner"])
    modules["demo-captioner"] = language
    measured["demo-captioner"] = measure_captioner(DemoCaptioner(network.body, language), held_out)

    views = (
        [photo.whole for photo in photos],
        [photo.crop for photo in photos],
        [photo.single for photo in photos],
    )
    for name, recipe in settings["clip"].items():
        clip = teach_clip(name, views, seed=seed, **recipe)
        modules[name], measured[name] = clip, measure_clip(clip, held_out)

    with folder_beside(out) as folder:
        files: dict[str, Any] = {}
        for name, module in modules.items():
            path = folder / f"{name}.safetensors"
            save_file(_half(module), path)
            digits = {key: round(value, 4) for key, value in measured[name].items()}
            files[name] = {"sha256": sha256_of_file(path), "bytes": path.stat().st_size, "held out": digits}
        record = {"files": files, "machine": machine(), "settings": settings}
        (folder / "weights.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

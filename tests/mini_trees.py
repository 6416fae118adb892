"""Miniatures of the published benchmarks: their folders and all their quirks, a few tiny images a folder."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

GENIMAGE = {
    "ADM": "imagenet_ai_0508_adm",
    "BigGAN": "imagenet_ai_0419_biggan",
    "glide": "imagenet_glide",
    "Midjourney": "imagenet_midjourney",
    "stable_diffusion_v_1_4": "imagenet_ai_0419_sdv4",
    "stable_diffusion_v_1_5": "",  # unzipped without the inner folder
    "VQDM": "imagenet_ai_0419_vqdm",
    "Wukong": "imagenet_ai_0424_wukong",  # wukong in the archives, Wukong in some copies
}
FLAT = ("biggan", "crn", "deepfake", "gaugan", "imle", "san", "seeingdark", "stargan", "whichfaceisreal")
NESTED = {
    "progan": ("airplane", "cat", "horse"),
    "stylegan": ("bedroom", "car", "cat"),
    "stylegan2": ("car", "cat", "church", "horse"),
    "cyclegan": ("apple", "horse", "orange", "summer", "winter", "zebra"),
}
CLASSES = (
    "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
UFD = ("guided", "ldm_200", "ldm_200_cfg", "ldm_100", "glide_100_27", "glide_50_27", "glide_100_10", "dalle")
SELF_SYNTHESIS = ("AttGAN", "BEGAN", "CramerGAN", "InfoMaxGAN", "MMDGAN", "RelGAN", "S3GAN", "SNGAN", "STGAN")
FORENSICS = (
    "adm", "ddpm", "iddpm", "pndm", "ldm", "dalle2", "if", "midjourney", "sdv1_new1", "sdv1_new2", "sdv2",
    "vqdiffusion", "stylegan_official", "projectedgan", "diff-projectedgan", "diff-stylegan",
)  # fmt: skip

_numbers = itertools.count()


def picture(path: Path, size: tuple[int, int] = (12, 10)) -> Path:
    """An image like no other at ``path``, in the format that its suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(next(_numbers)).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def pictures(folder: Path, pattern: str, count: int = 2) -> None:
    for i in range(count):
        picture(folder / pattern.format(i))


def genimage(root: Path) -> Path:
    """Inner folders or none, mixed case, .PNG, an empty file, a damaged one, __MACOSX and strays."""
    for number, (generator, inner) in enumerate(GENIMAGE.items()):
        base = root / generator / inner
        suffix = "PNG" if generator == "ADM" else "png"
        for part, real in (("train", "n0359494{}_{{}}.JPEG"), ("val", "ILSVRC2012_val_0000{}00{{}}.JPEG")):
            pictures(base / part / "nature", real.format(number))
            pictures(base / part / "ai", f"371_{generator.lower()}_0014{{}}.{suffix}")
    sd = root / "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4"
    (sd / "train/ai/033_sdv4_00152.png").touch()
    (sd / "train/ai/chart.svg").write_text("<svg/>")
    (sd / "__MACOSX/train/ai").mkdir(parents=True)
    (sd / "__MACOSX/train/ai/._371.png").touch()
    (sd / "train/notes.png").touch()  # beside ai and nature
    whole = picture(root / "stable_diffusion_v_1_5/train/nature/n01440764_9.JPEG")
    whole.write_bytes(whole.read_bytes()[:200])
    return root


def forensynths(root: Path, large: tuple[int, int] = (400, 300)) -> Path:
    """Nested and flat sets, .bmp, shared reals, large frames; training classes, some an extra folder down."""
    test = root / "test"
    for name in FLAT:
        pictures(test / name / "0_real", "{}.png")
        pictures(test / name / "1_fake", "{}.jpg" if name in ("crn", "stargan") else "{}.png")
    for name, classes in NESTED.items():
        for category in classes:
            pictures(test / name / category / "0_real", "{}.png")
            pictures(test / name / category / "1_fake", "{}.png")
    picture(test / "san/0_real/monarch.bmp")
    picture(test / "seeingdark/0_real/00001_00_10s.png", large)
    shutil.rmtree(test / "imle/0_real")
    shutil.copytree(test / "crn/0_real", test / "imle/0_real")
    for part in ("train", "val"):
        for category in CLASSES:
            base = root / part / ("progan" if part == "val" else "") / category
            pictures(base / "0_real", "{}.png")
            pictures(base / "1_fake", "{}.png")
    return root


def ufd(root: Path, reals_inside: bool = False) -> Path:
    """One label a folder and shared reals; or, as in public copies, both labels in every generator's folder."""
    for source in () if reals_inside else ("imagenet", "laion"):
        pictures(root / source / "0_real", f"{source}{{}}.jpg")
    for name in UFD:
        pictures(root / name / "1_fake", f"{name}{{}}.png")
        if reals_inside:
            pictures(root / name / "0_real", f"{name}{{}}.jpg")
    return root


def self_synthesis(root: Path) -> Path:
    for name in SELF_SYNTHESIS:
        pictures(root / name / "0_real", "{}.png")
        pictures(root / name / "1_fake", "{}.png")
    return root


def diffusionforensics(root: Path) -> Path:
    """images/PART/DATASET/{real,GENERATOR}; one folder of reals for all generators of a part."""
    for part in ("train", "test"):
        for name in ("real", *FORENSICS):
            pictures(root / "images" / part / "lsun_bedroom" / name, "{}.jpg" if name == "real" else "{}.png")
        for name in ("real", "adm", "sdv1"):
            pictures(root / "images" / part / "imagenet" / name / "n01", "{}.jpg" if name == "real" else "{}.png")
    return root


def imagenet(root: Path) -> Path:
    for name in ("n01440764", "n01443537"):
        pictures(root / "train" / name, f"{name}_{{}}.JPEG")
    pictures(root / "val", "ILSVRC2012_val_0000000{}.JPEG")
    return root


def lsun(root: Path) -> Path:
    pictures(root / "bedroom", "{}.webp")
    return root


TREES = {
    "GenImage": genimage,
    "ForenSynths": forensynths,
    "UniversalFakeDetect": ufd,
    "Self-Synthesis": self_synthesis,
    "DiffusionForensics": diffusionforensics,
    "ImageNet": imagenet,
    "LSUN": lsun,
}


def make_all(data: Path) -> Path:
    """Every tree in the folder that ``--config data=`` names."""
    for name, make in TREES.items():
        make(data / name)
    return data

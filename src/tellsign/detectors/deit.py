"""GenImage's DeiT-S: a small vision transformer with two outputs, of which the first is fake.

Touvron et al. (2021, arXiv 2012.12877) in the copy of their code that GenImage publishes (arXiv 2306.08571). Its
folders are ``ai`` and ``nature``, so that class 0 is fake; scores are p(fake) all the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from PIL import Image
from torch import Tensor, nn

from tellsign.data.pixels import PixelTable, augment
from tellsign.detectors.from_imagenet import FromImageNet
from tellsign.detectors.on_crops import IMAGENET_MEAN
from tellsign.networks.determinism import seeded

HEAD = "head."


@contextmanager
def all_drawn_from(generator: torch.Generator) -> Iterator[int]:
    """Run a block of timm's augmentations, which draw from the global states of Python, NumPy and torch.

    All three are seeded by a draw of a generator, which is given, and are restored after the block.
    """
    seed = int(torch.randint(2**31, (), generator=generator))
    states = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        with seeded(seed):
            yield seed
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def crop_and_augment(size: int, randaugment: str) -> Callable[[Image.Image], Image.Image]:
    """A random part of an image, resized to a square, and random operations on it, as timm names them."""
    from timm.data.auto_augment import rand_augment_transform
    from timm.data.transforms import RandomResizedCropAndInterpolation

    crop: Any = RandomResizedCropAndInterpolation(size, interpolation="bicubic")
    if not randaugment:
        return crop
    grey = tuple(min(255, round(255 * value)) for value in IMAGENET_MEAN)
    options = {"translate_const": int(size * 0.45), "img_mean": grey, "interpolation": Image.Resampling.BICUBIC}
    change = rand_augment_transform(randaugment, options)
    return lambda image: change(crop(image))


def mixed(
    x: Float[Tensor, "b 3 h w"], wanted: Float[Tensor, " b"], share: float, box: tuple[float, float] | None
) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, " b"]]:
    """Each image and label of a batch mixed with the one as far from the batch's end.

    Args:
        x: The images.
        wanted: Their labels, 0 to 1.
        share: Of each image itself.
        box: Centre of the rectangle that the others' pixels fill, as shares of the sides; None mixes all pixels.
    """
    if box is not None:
        height, width = x.shape[-2:]
        half, x = (1 - share) ** 0.5 / 2, x.clone()
        (top, bottom), (left, right) = (
            (max(0, int(side * place) - int(side * half)), min(side, int(side * place) + int(side * half)))
            for side, place in zip((height, width), box, strict=True)
        )
        x[..., top:bottom, left:right] = x.flip(0)[..., top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / (height * width)
    else:
        x = share * x + (1 - share) * x.flip(0)
    return x, share * wanted + (1 - share) * wanted.flip(0)


class DeitMethod(FromImageNet):
    """timm's DeiT-S on crops."""

    classifier: ClassVar[str] = HEAD
    own: ClassVar[tuple[str, ...]] = (HEAD,)

    @staticmethod
    def network(settings: Mapping[str, Any]) -> nn.Module:
        """See `CropMethod.network`."""
        import timm

        name = "deit_small_patch16_224"
        return timm.create_model(name, pretrained=False, num_classes=2, drop_path_rate=settings["drop_path"])

    def logits(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """See `CropMethod.logits`: the first output less the second, whose sigmoid is the softmax."""
        fake, real = self.model(x).unbind(1)
        return fake - real

    def training_crops(
        self, table: PixelTable, rows: Int64[Tensor, " b"], generator: torch.Generator
    ) -> UInt8[Tensor, "b 3 s s"]:
        """See `CropMethod.training_crops`: random parts of whole images, resized and changed."""
        settings = self.settings
        change = crop_and_augment(settings["crop"], settings["randaugment"])
        images = [Image.fromarray(table.image(row).permute(1, 2, 0).contiguous().numpy()) for row in rows.tolist()]
        with all_drawn_from(generator):
            made = [torch.from_numpy(np.array(change(image))).permute(2, 0, 1) for image in images]
        return augment(torch.stack(made), generator, flip=settings["flip"], rotate=False)

    def loss(
        self, pixels: UInt8[Tensor, "b 3 s s"], labels: Int64[Tensor, " b"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Cross-entropy of smoothed and mixed labels, which for two outputs is that of their difference."""
        from timm.data.random_erasing import RandomErasing

        settings = self.settings
        smoothing, mixtures = settings["smoothing"], [name for name in ("mixup", "cutmix") if settings[name]]
        wanted = labels * (1 - smoothing) + smoothing / 2
        with all_drawn_from(generator) as seed:
            draws = np.random.default_rng(seed)
            x = RandomErasing(settings["erasing"], mode="pixel", device=str(self.device))(self.preprocess(pixels))
            if mixtures:
                name = mixtures[draws.integers(len(mixtures))]
                share, place = draws.beta(settings[name], settings[name]), (draws.random(), draws.random())
                x, wanted = mixed(x, wanted, share, place if name == "cutmix" else None)
            return F.binary_cross_entropy_with_logits(self.logits(x).float(), wanted)

"""What a configuration may say: frozen dataclasses, loaded strictly. No torch here: a dry run needs this module.

Everything in these classes can change a number. What cannot (device, workers, cores) is a flag of a stage or
lives in a Snakemake profile. Defaults are resolved before fingerprints are taken, so that writing a default out
changes nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

from tellsign.errors import UserError, choose, near_miss

T = TypeVar("T")


def fraction(default: Any = MISSING) -> Any:
    """A field of one or more numbers in [0, 1]."""
    return field(default=default, metadata={"low": 0.0, "high": 1.0})


def positive(default: Any = MISSING) -> Any:
    """A field of one or more numbers above 0."""
    return field(default=default, metadata={"above": 0.0})


def whole(default: Any = MISSING) -> Any:
    """A field of numbers from 0 on."""
    return field(default=default, metadata={"least": 0.0})


# ------------------------------------------------------------------------------------------------ data


@dataclass(frozen=True)
class Count:
    """How many images a subset's part should hold.

    Attributes:
        real: Real images; null where no source says.
        fake: Generated images; null where no source says.
        inferred: No publisher or audit states the numbers; they follow from others. A shortfall is told, never fatal.
    """

    real: int | None = None
    fake: int | None = None
    inferred: bool = False


@dataclass(frozen=True)
class Benchmark:
    """Where a benchmark's images are and how its folders are laid out.

    Attributes:
        layout: A layout of `tellsign.benchmarks.LAYOUTS`.
        roots: Root folders by key; empty for the demo, whose folders are made by rules. Roots named train, val and
            test are parts: one that no split of the configuration draws from is not read and need not be there.
        subsets: Subsets to read; empty means all that are found.
        exclude: Folder names directly under a root that hold something else.
        folders: Names, in any case, of each subset's folders; for layouts of published sets.
        reals: Names of the folders whose real images each subset is paired with (layouts ufd and dire).
        parts: Which part the images of a folder belong to (layout genimage).
        min_side: Shorter images (pixels) are bad.
        max_pixels: Larger images are bad.
        test_fraction: Share of images kept for testing when the folders name no parts.
        seed: Seed of that division.
        watch: What of the roots makes the index anew. ``contents``: the bytes of every image. ``listing``: names and
            sizes, looked at again only in folders whose modification time has changed, which is the only affordable
            way where there are millions; a file that is overwritten in place then goes unnoticed until it is decoded.
        counts: Usable images by subset and part.
        tolerance: Share of a count that may lack before that is a shortfall.
        on_short: What a shortfall does: ``fail`` or ``warn``. Inferred counts only warn.
        page: Public page, DOI or the like; a benchmark that has one may be absent in a dry run.
        get: How to get it from there.
        licence: As its publisher states it.
        gigabytes: About as much disk as it takes.
    """

    layout: str
    roots: dict[str, str] = field(default_factory=dict)
    subsets: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    folders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    reals: dict[str, tuple[str, ...]] = field(default_factory=dict)
    parts: dict[str, Literal["train", "val", "test"]] = field(default_factory=dict)
    min_side: int = positive(8)
    max_pixels: int = positive(100_000_000)
    test_fraction: float = fraction(0.5)
    seed: int = 3407
    watch: Literal["contents", "listing"] = "contents"
    counts: dict[str, dict[str, Count]] = field(default_factory=dict)
    tolerance: float = fraction(0.0)
    on_short: Literal["fail", "warn"] = "fail"
    page: str = ""
    get: str = ""
    licence: str = ""
    gigabytes: float | None = positive(None)


@dataclass(frozen=True)
class Split:
    """A seeded, balanced sample of a benchmark's part.

    Attributes:
        benchmark: Name of the benchmark.
        part: ``train``, ``val``, ``test`` or ``pretrain``.
        subsets: Subsets to sample; empty means all.
        count: Images per subset, half real and half fake; ``all`` takes everything.
        seed: Equal seeds give nested splits.
        per_class: Before that, keep at most this many images of each label from every class folder; null keeps all.
            With ``fallback`` this is how UniversalFakeDetect samples (1,000 and 100) when it is given class folders.
        fallback: A class folder that has fewer than ``per_class`` of either label gives this many of each instead;
            null: what it has. Needs ``per_class``.
    """

    benchmark: str
    part: Literal["train", "val", "test", "pretrain"]
    subsets: tuple[str, ...] = ()
    count: int | Literal["all"] = positive("all")
    seed: int = 3407
    per_class: int | None = positive(None)
    fallback: int | None = positive(None)


@dataclass(frozen=True)
class Bias:
    """Bias control of the crops: common crop and common re-encoding for both labels.

    Attributes:
        control: ``none``, ``jpeg`` (re-encode) or ``jpeg+size`` (crop to ``size``, then re-encode).
        size: Side of the common crop in pixels.
        quality: JPEG quality of the common re-encoding.
    """

    control: Literal["none", "jpeg", "jpeg+size"] = "none"
    size: int = positive(256)
    quality: int = positive(90)


@dataclass(frozen=True)
class Perturbation:
    """A perturbation of decoded images.

    Attributes:
        name: A perturbation of `tellsign.perturb.PERTURBATIONS`.
        options: Its options; see there.
        seed: With the image id, the seed of its draws.
    """

    name: str = "none"
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True)
class Test:
    """A test set as the scores see it: a split, perturbed or not.

    Attributes:
        split: Name of the split. Several make one test set whose mean is taken over the subsets of all of them; its
            benchmark is then called by all of their names (``forensynths+ufd``).
        perturbation: What is done to its images.
    """

    split: str | tuple[str, ...] = "test"
    perturbation: Perturbation = field(default_factory=Perturbation)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of its splits."""
        return (self.split,) if isinstance(self.split, str) else self.split


# ------------------------------------------------------------------------------------------------ networks


@dataclass(frozen=True)
class Network:
    """A network and the weights it starts from.

    Attributes:
        name: A name in `tellsign.backbones.BACKBONES` or ``CLIPS``; ``open-clip``: any model of open_clip, from a
            folder with its configuration.
        weights: ``shipped`` (the demo's), ``none`` (random), a name in ``config/weights.yaml``, or a path.
    """

    name: Literal[
        "clip-rn101", "clip-rn50", "clip-vit-b16", "clip-vit-l14", "demo-clip-rn", "demo-clip-vit", "demo-xception",
        "legacy-xception", "npr", "open-clip", "resnet50", "swin-b", "swin-t",
    ]  # fmt: skip
    weights: str = "shipped"


@dataclass(frozen=True)
class Head:
    """The classifier on top of the features.

    Attributes:
        name: ``linear``, ``mlp`` (two layers), ``mlp2`` (two layers, two logits) or ``nearest`` (UniFD's nearest
            neighbour among the training images' features; nothing is trained, so ``epochs: 0``).
        hidden: Width of the hidden layer of ``mlp`` and ``mlp2``.
        dropout: On that layer.
        init_std: Weights of linear layers start as N(0, init_std²); null for torch's own start. The public code of
            CNNDet and of UniFD takes 0.02.
        k: Of ``nearest``: the majority among the k nearest; odd.
    """

    name: Literal["linear", "mlp", "mlp2", "nearest"] = "linear"
    hidden: int = positive(512)
    dropout: float = fraction(0.0)
    init_std: float | None = positive(None)
    k: int = positive(1)


# ------------------------------------------------------------------------------------------------ training


@dataclass(frozen=True)
class NoMask:
    """Nothing is masked."""

    name: Literal["none"] = "none"


@dataclass(frozen=True)
class TextureAware:
    """MPFT's texture-aware masking (Algorithm 1). The text draws r for "the image", hence ``ratio_per: image``."""

    name: Literal["texture_aware"]
    ratio: tuple[float, float] = fraction((0.6, 0.8))
    patch_size: int = positive(14)
    which: Literal["high", "low", "both"] = "high"
    ratio_per: Literal["image", "batch"] = "image"


@dataclass(frozen=True)
class RandomBox:
    """LoL's random mask (Algorithm 1), with its width formula corrected unless ``literal``.

    How the aspect is distributed over its range is not said ("randomly selected within a specified range").
    """

    name: Literal["random_box"]
    ratio: tuple[float, float] = fraction((0.6, 0.8))
    aspect: tuple[float, float] = positive((0.33, 3.0))
    literal: bool = False
    distribution: Literal["uniform", "log_uniform"] = "uniform"


@dataclass(frozen=True)
class CutOut:
    """CutOut: the share of the image that is masked."""

    name: Literal["cutout"]
    ratio: tuple[float, float] = fraction((0.6, 0.8))


@dataclass(frozen=True)
class GridMask:
    """GridMask: the share that is masked, and the side of a cell as a fraction of the shorter side.

    Chen et al. (2020) draw it from 96 to 224 pixels at crops of 224; MPFT gives no settings.
    """

    name: Literal["grid_mask"]
    ratio: tuple[float, float] = fraction((0.6, 0.8))
    period: tuple[float, float] = fraction((96 / 224, 1.0))


@dataclass(frozen=True)
class RandomErasing:
    """Random erasing: the share that is masked, and its aspect (height to width, uniform in its logarithm).

    Zhong et al. (2020) take 0.3 to 1/0.3; MPFT gives no settings.
    """

    name: Literal["random_erasing"]
    ratio: tuple[float, float] = fraction((0.6, 0.8))
    aspect: tuple[float, float] = positive((0.3, 3.3))


MASK_SETTINGS: dict[str, type] = {
    "none": NoMask,
    "texture_aware": TextureAware,
    "random_box": RandomBox,
    "cutout": CutOut,
    "grid_mask": GridMask,
    "random_erasing": RandomErasing,
}
Mask = NoMask | TextureAware | RandomBox | CutOut | GridMask | RandomErasing


@dataclass(frozen=True)
class Resize:
    """Images are resized before anything is cut out of them.

    Attributes:
        mode: ``squash`` to a square of ``size`` (NPR), or ``shorter``: the shorter side becomes ``size`` and the
            longer one follows, rounded down (CNNDet and UniFD while training).
        size: In pixels.
        filter: Pillow's, which widens with the ratio when an image gets smaller, as in torchvision's pipelines.
    """

    mode: Literal["squash", "shorter"]
    size: int = positive()
    filter: Literal["bilinear", "bicubic"] = "bilinear"


@dataclass(frozen=True)
class NoAugment:
    """Images are blurred and compressed by nobody."""

    name: Literal["none"] = "none"


@dataclass(frozen=True)
class BlurJpeg:
    """CNNDet's augmentation (Wang et al. 2020), which UniFD keeps: blur, then JPEG, each by its own coin.

    Attributes:
        probability: Of each. CNNDet (0.1) and (0.5) differ in it alone; UniFD takes 0.5.
        sigma: Of the Gaussian blur in pixels, uniform.
        quality: Of the JPEG, uniform over whole numbers, both ends included.
    """

    name: Literal["blur_jpeg"]
    probability: float = fraction(0.5)
    sigma: tuple[float, float] = field(default=(0.0, 3.0), metadata={"least": 0.0})
    quality: tuple[int, int] = positive((30, 100))


AUGMENT_SETTINGS: dict[str, type] = {"none": NoAugment, "blur_jpeg": BlurJpeg}
Augment = NoAugment | BlurJpeg


@dataclass(frozen=True)
class Optimiser:
    """Adam, AdamW or SGD and its constants: ``betas`` are Adam's, ``momentum`` and ``nesterov`` SGD's."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = positive(1e-4)
    betas: tuple[float, float] = fraction((0.9, 0.999))
    weight_decay: float = 0.0
    momentum: float = fraction(0.9)
    nesterov: bool = False


@dataclass(frozen=True)
class Schedule:
    """The learning rate of each epoch.

    Attributes:
        kind: ``step``: multiplied by ``factor`` every ``every`` epochs (1 keeps it); ``constant``; ``cosine``: half a
            cosine from the rate to ``floor`` (Loshchilov & Hutter 2017, no restart).
        every, factor: Of ``step``.
        warmup: The first epochs rise linearly to what the schedule says after them; 0 for none.
        floor: Of ``cosine``.
    """

    kind: Literal["step", "constant", "cosine"] = "step"
    every: int = positive(1)
    factor: float = fraction(1.0)
    warmup: int = whole(0)
    floor: float = whole(0.0)


@dataclass(frozen=True)
class Stop:
    """Early stopping as in CNNDet (Wang et al. 2020), by the accuracy at 0.5 on a validation split.

    The best epoch's weights are kept. The paper drops the rate tenfold when five epochs did not raise the accuracy by
    0.1 %, and ends at 1e-6. Its code demands no rise but a fall of less than 0.1 %: ``delta: -0.001``.

    Attributes:
        split: Name of the validation split; its images are resized like the training images and centre-cropped.
        subsets: Subsets of it; empty means all.
        count: Images per subset, half real and half fake; ``all`` takes the whole split.
        patience: After so many epochs without progress the learning rate is multiplied by ``factor``.
        factor: See there.
        min_lr: Training ends when the rate would fall below.
        delta: Progress is an accuracy of at least the best one plus ``delta``.
    """

    split: str = "val"
    subsets: tuple[str, ...] = ()
    count: int | Literal["all"] = positive("all")
    patience: int = positive(5)
    factor: float = fraction(0.1)
    min_lr: float = positive(1e-6)
    delta: float = 0.001


@dataclass(frozen=True)
class Data:
    """What a run is trained on.

    Attributes:
        split: Name of a split of part ``train``.
        subsets: Subsets of it; empty means all.
        count: Images per subset, half real and half fake (nested); ``all`` takes the whole split.
        perturbation: Applied once to the training images.
    """

    split: str = "train"
    subsets: tuple[str, ...] = ()
    count: int | Literal["all"] = positive("all")
    perturbation: Perturbation = field(default_factory=Perturbation)


@dataclass(frozen=True)
class Recipe:
    """Everything that can change a number of one training on images.

    Attributes:
        data: Training images.
        backbone: Network and weights.
        start: Where the weights come from instead: ``pretrain:NAME`` (an encoder) or ``run:NAME`` (a run of the
            same seed); null for the backbone's own.
        trainable: ``all`` (backbone and head) or ``head`` (the backbone is frozen).
        head: The classifier.
        resize: Resizing of the training and validation images; null for none.
        augment: What is done to each training image anew in each epoch, after resizing and before cropping.
        crop: Side of the random training crop and the centre test crop, in pixels.
        resize_test: Resizing of the test images; null for none. Without effect on the training.
        crop_test: Side of the centre test crop; null for ``crop``. Without effect on the training.
        flip: Horizontal flips, p = 0.5.
        rotate: Rotations by random multiples of 90 degrees.
        mask: Mask on the preprocessed tensor, while training only.
        batch_norm: ``train`` (batch statistics, as ``model.train()`` does) or ``frozen``.
        optimiser, schedule, epochs, batch_size: As usual; 0 epochs for the head ``nearest`` and for no other.
        stop: Early stopping; null trains all epochs and keeps the last.
        precision: ``fp32``, or ``bf16`` autocast.
        keep: Weights that are looked at: those of the last ``keep`` epochs. Runs that differ in this alone are trained
            once.
        bias: Bias control of the training and the test images.
        shots: Few-shot: adapt the start weights to each subset in turn, with this many images per label.
    """

    backbone: Network
    data: Data = field(default_factory=Data)
    start: str | None = None
    trainable: Literal["all", "head"] = "all"
    head: Head = field(default_factory=Head)
    resize: Resize | None = None
    augment: Augment = field(default_factory=NoAugment)
    crop: int = positive(224)
    resize_test: Resize | None = None
    crop_test: int | None = positive(None)
    flip: bool = True
    rotate: bool = True
    mask: Mask = field(default_factory=NoMask)
    batch_norm: Literal["train", "frozen"] = "train"
    optimiser: Optimiser = field(default_factory=Optimiser)
    schedule: Schedule = field(default_factory=Schedule)
    epochs: int = whole(10)
    stop: Stop | None = None
    batch_size: int = positive(4)
    precision: Literal["fp32", "bf16"] = "fp32"
    keep: int = positive(1)
    shots: int | None = positive(None)
    bias: Bias = field(default_factory=Bias)
    method: Literal["image"] = "image"


@dataclass(frozen=True)
class Discrepancy:
    """TIDY's representation (Eq. 2 to 6) and the choices the paper leaves open.

    Attributes:
        use: ``both``, ``global``, ``local``, ``image`` (only the image embedding) or ``text``.
        weights: w1 of the global and w2 of the local distance.
        normalise: L2-normalise embeddings before the difference.
        no_object: D_l of an image without objects: ``global`` (equal to D_g) or ``zero``.
    """

    use: Literal["both", "global", "local", "image", "text"] = "both"
    weights: tuple[float, float] = (1.0, 1.0)
    normalise: bool = True
    no_object: Literal["global", "zero"] = "global"


@dataclass(frozen=True)
class FeatureRecipe:
    """Everything that can change a number of one training on cached features (TIDY)."""

    method: Literal["features"]
    data: Data = field(default_factory=Data)
    annotate: str = "default"
    discrepancy: Discrepancy = field(default_factory=Discrepancy)
    head: Head = field(default_factory=lambda: Head(name="mlp2"))
    optimiser: Optimiser = field(default_factory=lambda: Optimiser(name="adamw", lr=1e-3, weight_decay=1e-3))
    schedule: Schedule = field(default_factory=Schedule)
    epochs: int = positive(50)
    batch_size: int = positive(256)
    keep: int = positive(1)
    bias: Bias = field(default_factory=Bias)


@dataclass(frozen=True)
class NoCaptioner:
    """Whole images only."""

    name: Literal["none"] = "none"


@dataclass(frozen=True)
class DemoCaptioner:
    """The demo's captioner; its weights ship with the package."""

    name: Literal["demo"]
    weights: Literal["shipped"] = "shipped"


@dataclass(frozen=True)
class VisionLanguage:
    """A captioner of Hugging Face's transformers, and how it decodes.

    Attributes:
        name: The family.
        weights: A name in ``config/weights.yaml``, or the path of a folder with a snapshot of the hub.
        beams: Width of the beam search; 1 is greedy. LAVIS's generate for BLIP-2 takes 5.
        max_new_tokens, min_new_tokens: Length of a caption in tokens. LAVIS's are 30 and 0: its min_length of 1
            counts the beginning token, so that it may write empty captions.
        prompt: What stands before the caption. TIDY asks LLaVA "Please generate a one-sentence caption for the
            input image."; BLIP and BLIP-2 caption without a prompt.
        precision: Arithmetic on a GPU; a CPU always computes in fp32.
    """

    name: Literal["blip2", "blip", "llava"]
    weights: str
    beams: int = positive(5)
    max_new_tokens: int = positive(30)
    min_new_tokens: int = field(default=0, metadata={"above": -1})
    prompt: str = ""
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"


@dataclass(frozen=True)
class NoGrounder:
    """No objects."""

    name: Literal["none"] = "none"


@dataclass(frozen=True)
class DemoGrounder:
    """The demo's grounder; its weights ship with the package."""

    name: Literal["demo"]
    weights: Literal["shipped"] = "shipped"


@dataclass(frozen=True)
class Glip:
    """GLIP and its inference.

    Attributes:
        name: ``glip-l`` and ``glip-t`` are the published sizes; ``glip`` reads its size from ``config.json``.
        weights: A name in ``config/weights.yaml`` or a path: the released file, or for ``glip`` a folder with
            config.json, weights.safetensors and tokenizer/.
        tokenizer: A name in ``config/weights.yaml`` or the path of a folder with a BERT tokenizer; ``glip`` has its
            own.
        grammar: What finds the phrases of a caption: ``nltk`` (noun phrases, as GLIP's demo) or ``demo``.
        min_side: The shorter side of the input in pixels.
        max_side: The longer side's limit; null for none, as in GLIP's demo.
        aggregate: A phrase's score from its tokens': ``mean`` or ``max``.
        precision: Arithmetic on a GPU; a CPU always computes in fp32.
    """

    name: Literal["glip-l", "glip-t", "glip"]
    weights: str
    tokenizer: str = "bert-base-uncased"
    grammar: Literal["nltk", "demo"] = "nltk"
    min_side: int = positive(800)
    max_side: int | None = positive(1333)
    aggregate: Literal["mean", "max"] = "mean"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"


CAPTIONER_SETTINGS: dict[str, type] = {
    "none": NoCaptioner,
    "demo": DemoCaptioner,
    "blip2": VisionLanguage,
    "blip": VisionLanguage,
    "llava": VisionLanguage,
}
Captioner = NoCaptioner | DemoCaptioner | VisionLanguage
GROUNDER_SETTINGS: dict[str, type] = {
    "none": NoGrounder,
    "demo": DemoGrounder,
    "glip-l": Glip,
    "glip-t": Glip,
    "glip": Glip,
}
Grounder = NoGrounder | DemoGrounder | Glip


@dataclass(frozen=True)
class Annotate:
    """How TIDY's captions, boxes and embeddings are made.

    Attributes:
        clip: Encoder of images and texts.
        captioner: ``none`` takes whole images only.
        grounder: ``none`` takes whole images and captions only.
        threshold: A box below this score counts as not found.
    """

    clip: Network
    captioner: Captioner = field(default_factory=NoCaptioner)
    grounder: Grounder = field(default_factory=NoGrounder)
    threshold: float = fraction(0.5)


@dataclass(frozen=True)
class Pretrain:
    """Rescaling-contrastive pre-training (rescale §4.2).

    Attributes:
        split: Split of real photographs.
        backbone: Encoder.
        ratios: Scale ratios as ``numerator/denominator``, in (1, 2).
        n_ratios, n_phases, n_images, n_patches: A batch holds this many ratios, phases a ratio, images, and
            patches of each image at each ratio and phase; all processes together work on one batch.
        patch: Side of a patch.
        quantise: Round rescaled pixels to integers.
        temperature: Of the supervised contrastive loss (Eq. 4).
        reduction: Of that loss: ``sum`` over anchors, as Eq. 4 prints it, or ``mean``.
        normalise: Project features on the unit sphere before the loss.
        projection: Hidden and output width of the projection head, discarded after.
        steps: Batches an epoch; null takes one batch for every ``n_images`` photographs.
        decode: ``packed`` (all photographs decoded once into one file) or ``on_the_fly`` (their files are read during
            training; for sets too large to unpack). It changes no number.
        too_small: Photographs with a side too short for the patches are an error (``fail``) or left out (``drop``).
        batch_norm_parts: Into how many equal parts BatchNorm divides the batch for its statistics. 1 takes the whole
            batch, however many processes share it; N takes what N processes see that do not share their statistics,
            and needs N processes.
    """

    backbone: Network
    split: str = "photos"
    ratios: tuple[str, ...] = ("16/9", "8/5", "16/11", "4/3", "16/13", "8/7")
    n_ratios: int = positive(4)
    n_phases: int = positive(4)
    n_images: int = positive(2)
    n_patches: int = positive(2)
    patch: int = positive(128)
    quantise: bool = True
    temperature: float = positive(0.07)
    reduction: Literal["sum", "mean"] = "sum"
    normalise: bool = True
    projection: tuple[int, int] = positive((2048, 128))
    optimiser: Optimiser = field(default_factory=lambda: Optimiser(lr=2e-4, weight_decay=2e-4))
    schedule: Schedule = field(default_factory=Schedule)
    epochs: int = positive(200)
    steps: int | None = positive(None)
    decode: Literal["packed", "on_the_fly"] = "packed"
    too_small: Literal["fail", "drop"] = "fail"
    batch_norm_parts: int = positive(1)
    seed: int = 0


# ------------------------------------------------------------------------------------------------ files


@dataclass(frozen=True)
class Sample:
    """Which of the scored images count, in the order of the split's seed.

    UniversalFakeDetect's code is limit 1000, fallback 100: at most 1,000 of each label, and 100 of each where one
    label has fewer than 1,000. TIDY's test sets have the sizes of per ``class``.

    Attributes:
        limit: Images of each label; null for all.
        fallback: Images of each label where one has fewer than ``limit``; null takes what is there.
        per: What the limit holds for: a ``subset``, or each ``class`` folder of it.
    """

    limit: int | None = positive(None)
    fallback: int | None = positive(None)
    per: Literal["subset", "class"] = "subset"


@dataclass(frozen=True)
class Evaluate:
    """How metrics are computed from scores: the protocol. A table's ``protocol`` says what differs in a cell.

    Attributes:
        threshold: A score above it is called fake; ``oracle`` takes what is best on the very test images (LaRE2).
        resamples: Bootstrap resamples of the test images.
        seed: Of the resamples and of the batches.
        batch: Metrics are means over batches of so many images (ForgeLens: 16) instead of those of the whole set.
        sampler: Batches are drawn ``balanced``, with replacement (ForgeLens), or ``shuffled``, each image once.
        sample: Which of the scored images count.
        classes: Nested class folders of a subset are ``pooled``, or each has its metrics and the subset their ``mean``.
        pooled_reals: Subsets tested against the real images of all subsets of their split: ``none``, ``all``, or their
            names.
        validation: Name of the run's test set that chooses the checkpoint ``best`` among the kept epochs; null for
            no such rule.
    """

    threshold: Literal["oracle"] | float = fraction(0.5)
    resamples: int = positive(1000)
    seed: int = 0
    batch: int | None = positive(None)
    sampler: Literal["balanced", "shuffled"] = "balanced"
    sample: Sample = field(default_factory=Sample)
    classes: Literal["pooled", "mean"] = "pooled"
    pooled_reals: Literal["none", "all"] | tuple[str, ...] = "none"
    validation: str | None = None


@dataclass(frozen=True)
class Shown:
    """What stands here for one table or figure of the printed paper; ``docs/coverage.md`` is made of these.

    Attributes:
        tables, figures: Names of ours.
        without: Why nothing is run for it: it shows no result.
        note: What a reader should know.
    """

    tables: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    without: str = ""
    note: str = ""


@dataclass(frozen=True)
class Paper:
    """One paper file: the base recipe, the runs (each states only what differs), grids, tables, figures.

    Attributes:
        seeds: Of every run that names none.
        baselines: Recipes of other methods; a run that says ``baseline: NAME`` starts from one of them instead of from
            ``base``. ``include: FILE`` reads them from a file, so that papers share them.
        artifacts: Every table and figure of the printed paper, by its number.
    """

    paper: str
    title: str
    seeds: tuple[int, ...]
    base: dict[str, Any]
    runs: dict[str, Any]
    baselines: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, Shown] = field(default_factory=dict)
    grids: dict[str, Any] = field(default_factory=dict)
    annotate: dict[str, Annotate] = field(default_factory=dict)
    pretrain: dict[str, Pretrain] = field(default_factory=dict)
    tests: dict[str, Test] = field(default_factory=lambda: {"test": Test()})
    tables: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PaperFile:
    """A paper file of which a configuration takes a part, or in which it changes something.

    Attributes:
        file: The paper file.
        changes: Merged over the file, key by key; runs, tables and so on must be there already.
        tables, figures: Only these; null for all. Runs that none of them shows are left out.
    """

    file: str
    changes: dict[str, Any] = field(default_factory=dict)
    tables: tuple[str, ...] | None = None
    figures: tuple[str, ...] | None = None


@dataclass(frozen=True)
class DemoPhotos:
    """One part of the demo's photographs."""

    part: Literal["pretrain", "source", "train", "test", "prompt_train", "prompt_test"]
    count: int = positive()
    side: int = positive(176)
    seed: int = 0


@dataclass(frozen=True)
class DemoGenerator:
    """Training and sampling of one of the demo's generators."""

    name: str
    steps: int = positive()
    train_count: int = positive()
    test_count: int = positive()
    batch: int = positive(12)
    seed: int = 0


@dataclass(frozen=True)
class Demo:
    """The embedded world: photographs by part, generators by name."""

    photos: dict[str, DemoPhotos]
    generators: dict[str, DemoGenerator]


@dataclass(frozen=True)
class Config:
    """A whole configuration.

    Attributes:
        name: Shown in logs and reports.
        papers: Paper files, or parts of them.
        benchmarks: By name. `tellsign.plan.included` reads what stands under ``include``, or a path in place of all.
        splits: By name.
        banner: Stands above every table and figure; empty for none.
        comparable: The test sets are those of the papers, so that a difference from a quoted number means something.
        on_bad: What a bad image does: ``fail`` (list them all and stop) or ``drop`` (list them and go on).
        evaluate: How metrics are computed.
        demo: The embedded world, if any.
        pins: Fingerprints held for a stage and name, to keep an artifact across a refactoring.
        roots: Folders that replace benchmarks' roots: BENCHMARK → folder where it has one root, else BENCHMARK/ROOT.
        caption_jobs: How many jobs share the captioning of a split, and then its grounding; no number depends on it.
        root, photos, train, data: Values given by ``--config``; ``{root}`` and so on stand for them in every string.
    """

    name: str
    papers: tuple[PaperFile | str, ...]
    benchmarks: dict[str, Benchmark]
    splits: dict[str, Split]
    banner: str = ""
    comparable: bool = False
    on_bad: Literal["fail", "drop"] = "fail"
    evaluate: Evaluate = field(default_factory=Evaluate)
    demo: Demo | None = None
    pins: dict[str, str] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    caption_jobs: int = field(default=1, metadata={"above": 0})
    root: str | None = None
    photos: str | None = None
    train: str | None = None
    data: str | None = None


# ------------------------------------------------------------------------------------------------ loading


def build(cls: type[T], data: Any, where: str) -> T:
    """Build a dataclass from plain YAML data, strictly.

    Raises:
        UserError: an unknown key (with the near miss), a missing key, a wrong type, or a value out of range;
            ``where`` names the place.
    """
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: expected a mapping, got {data!r}.")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            raise UserError(f"{where}: unknown key {key!r}.{near_miss(str(key), fields)} Known: {', '.join(fields)}.")
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for name, spec in fields.items():
        if name in data:
            values[name] = _convert(hints[name], data[name], f"{where}.{name}")
            _in_range(values[name], spec.metadata, f"{where}.{name}")
        elif spec.default is MISSING and spec.default_factory is MISSING:
            raise UserError(f"{where}: key {name!r} is missing.")
    return cls(**values)


# Settings whose fields depend on what their ``name`` says.
KINDS: tuple[tuple[str, Any, dict[str, type]], ...] = (
    ("mask", Mask, MASK_SETTINGS),
    ("augmentation", Augment, AUGMENT_SETTINGS),
    ("captioner", Captioner, CAPTIONER_SETTINGS),
    ("grounder", Grounder, GROUNDER_SETTINGS),
)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    for what, kind, known in KINDS:
        if hint == kind:
            name = value.get("name", "none") if isinstance(value, Mapping) else value
            return build(choose(known, str(name), f"{what} at {where}"), value, where)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        problems = []
        for option in (a for a in args if a is not type(None)):
            try:
                return _convert(option, value, where)
            except UserError as problem:
                problems.append(str(problem))
        raise UserError(problems[0])
    if origin is Literal:
        if value not in args:
            names = [str(a) for a in args]
            raise UserError(f"{where}: got {value!r}.{near_miss(str(value), names)} Allowed: {', '.join(names)}.")
        return value
    if origin is tuple:
        return _convert_tuple(args, value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{where}: expected a mapping, got {value!r}.")
        for key in value:
            if isinstance(key, bool):
                raise UserError(f"{where}: YAML reads a key such as on, yes or no as {key}; put it in quotes.")
        return {str(k): _convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    return _convert_scalar(hint, value, where)


def _convert_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise UserError(f"{where}: expected a list, got {value!r}.")
    if args[-1] is Ellipsis:
        return tuple(_convert(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if len(value) != len(args):
        raise UserError(f"{where}: expected {len(args)} values, got {value!r}.")
    return tuple(_convert(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(args, value, strict=True)))


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):
        raise UserError(f"{where}: expected a number, got the text {value!r}.")
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise UserError(f"{where}: expected {hint.__name__}, got {value!r}.")
    return value


def _in_range(value: Any, limits: Mapping[str, float], where: str) -> None:
    numbers = [v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, (int, float))]
    for number in numbers:
        if "high" in limits and not limits["low"] <= number <= limits["high"]:
            percent = f" Percent? Write {number / 100:g}." if 1 < number <= 100 else ""
            raise UserError(f"{where}: {number:g} is outside [{limits['low']:g}, {limits['high']:g}].{percent}")
        if "above" in limits and number <= limits["above"]:
            raise UserError(f"{where}: {number:g} must be above {limits['above']:g}.")
        if "least" in limits and number < limits["least"]:
            raise UserError(f"{where}: {number:g} must be at least {limits['least']:g}.")
    if "high" in limits and where.endswith("ratio") and len(numbers) == 2 and numbers[0] > numbers[1]:
        raise UserError(f"{where}: the range {numbers} runs backwards.")


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge: mappings merge, everything else is replaced. A mapping that names another kind replaces whole."""
    out = dict(base)
    for key, value in change.items():
        old = out.get(key)
        if not (isinstance(old, Mapping) and isinstance(value, Mapping)) or (
            "name" in value and value["name"] != old.get("name")
        ):
            out[key] = value
        else:
            out[key] = merge(old, value)
    return out


def expand_grid(name: str, grid: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Runs of a grid: ``over`` maps dotted fields to lists; every combination is a run ``name-value-value``,
    the values in the order of their fields' names.

    Raises:
        UserError: ``over`` is missing or not a mapping of lists.
    """
    over = grid.get("over")
    if not isinstance(over, Mapping) or not all(isinstance(v, list) for v in over.values()):
        raise UserError(f"grids.{name}: 'over' must map a field such as mask.ratio to a list of values.")
    rest = {k: v for k, v in grid.items() if k != "over"}
    runs = {}
    fields = sorted(over)  # so that the order in the file names nothing
    for values in itertools.product(*(over[dotted] for dotted in fields)):
        change: dict[str, Any] = rest
        for dotted, value in zip(fields, values, strict=True):
            nested: Any = value
            for part in reversed(dotted.split(".")):
                nested = {part: nested}
            change = merge(change, nested)
        runs["-".join([name, *(slug(v) for v in values)])] = change
    return runs


def slug(value: Any) -> str:
    """A value as part of a run's name: ``[0.6, 0.8]`` is ``0.6_0.8``."""
    if isinstance(value, (list, tuple)):
        return "_".join(slug(v) for v in value)
    if isinstance(value, Mapping):
        return slug(list(dict.fromkeys(slug(v) for v in value.values())))
    return str(value).replace("/", "_")


def differences(value: Any, other: Any) -> str:
    """What differs between two settings of one class, as ``field=value`` texts; empty where nothing does."""

    def flat(held: Any, where: str) -> dict[str, Any]:
        if not isinstance(held, Mapping):
            return {where: held}
        parts = (flat(part, f"{where}.{key}" if where else key) for key, part in held.items())
        return {key: part for found in parts for key, part in found.items()}

    one, rival = flat(plain(value), ""), flat(plain(other), "")
    return ", ".join(f"{key}={_spelled(held)}" for key, held in one.items() if held != rival.get(key))


def _spelled(value: Any) -> str:
    return "null" if value is None else " ".join(map(str, value)) if isinstance(value, list) else str(value)


def plain(value: Any) -> Any:
    """A dataclass as plain data (dicts, lists, scalars), for JSON."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    return value


class _StrictLoader(yaml.SafeLoader):
    """YAML with doubled keys refused and ``1e-4`` read as the number it is."""


def _no_doubles(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen:
            raise UserError(f"{node.start_mark.name}, line {key_node.start_mark.line + 1}: key {key!r} stands twice.")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)
_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _no_doubles)


def read_yaml(path: Path) -> Any:
    """Read a YAML file safely.

    Raises:
        UserError: there is no such file, or it is not YAML.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            return yaml.load(stream, Loader=_StrictLoader)
    except FileNotFoundError:
        near = near_miss(path.name, [p.name for p in path.parent.glob("*.yaml")] if path.parent.is_dir() else [])
        raise UserError(f"there is no configuration file {path}.{near}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; give one of the YAML files in it.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise UserError(f"{path} is not valid YAML: {problem}") from None

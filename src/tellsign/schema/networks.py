"""What a configuration may say of networks."""

from __future__ import annotations

from typing import Annotated, Literal

from tellsign.networks.backbones import BACKBONES
from tellsign.schema.fields import Fraction, Positive
from tellsign.schema.settings import EntryOf, Settings


class Network(Settings):
    """A network and the weights it starts from.

    Attributes:
        name: A name in `tellsign.networks.backbones.BACKBONES`, of which those of ``CLIPS`` have a text tower.
            ``open-clip``: any CLIP, from a folder with its configuration. ``timm:NAME``, ``open_clip:NAME``: any
            network of that library; whether the library has it shows when it is built, since asking takes torch.
        weights: ``shipped`` (the demo's), ``none`` (random), a name in ``config/weights.yaml``, or a path.
    """

    name: Annotated[str, EntryOf(BACKBONES)]
    weights: str = "shipped"


class Head(Settings):
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
    hidden: Positive[int] = 512
    dropout: Fraction = 0.0
    init_std: Positive[float] | None = None
    k: Positive[int] = 1

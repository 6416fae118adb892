"""The GLIP network and its sizes."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tellsign.errors import UserError
from tellsign.networks.glip.bert import BERT_BASE, Bert, BertConfig
from tellsign.networks.glip.head import Head, Predictions
from tellsign.networks.glip.swin import Pyramid, Swin


@dataclass(frozen=True)
class GlipConfig:
    """Sizes of a GLIP; what has a default is common to the released ones (``configs/pretrain`` of microsoft/GLIP).

    ``classes`` is the number of outputs of a layer that the released files hold and no result depends on.
    ``mean`` and ``std`` are of pixels 0..255 in the order blue, green, red.
    """

    dim: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    blocks: int
    patch: int = 4
    mlp_ratio: float = 4.0
    channels: int = 256
    groups: int = 16
    fusion_width: int = 2048
    fusion_heads: int = 8
    bert: BertConfig = BERT_BASE
    max_tokens: int = 256
    classes: int = 80
    anchor_sizes: tuple[float, ...] = (64, 128, 256, 512, 1024)
    strides: tuple[int, ...] = (8, 16, 32, 64, 128)
    mean: tuple[float, ...] = (103.53, 116.28, 123.675)
    std: tuple[float, ...] = (57.375, 57.12, 58.395)
    divisor: int = 32

    @classmethod
    def from_json(cls, path: Path) -> GlipConfig:
        """Read the sizes of a GLIP of another size.

        Raises:
            UserError: it is no such file, or describes a network that this package does not build.
        """
        try:
            return cls._from(json.loads(path.read_text()))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} does not describe a GLIP: {type(error).__name__} {error}.") from error

    @classmethod
    def _from(cls, data: dict[str, Any]) -> GlipConfig:
        swin, fusion, bert = data["swin"], data["fusion"], data["bert"]
        dim, channels = swin["embed_dim"], data["head_channels"]
        fixed = {
            "swin.out_channels": (swin["out_channels"], [dim * 2**i for i in range(len(swin["depths"]))]),
            "fpn_channels": (data["fpn_channels"], channels),
            "fusion.vision_dim": (fusion["vision_dim"], channels),
            "fusion.text_dim": (fusion["text_dim"], bert["hidden_size"]),
            "bert.hidden_act": (bert["hidden_act"], "gelu"),
            "aspect_ratios": (data["aspect_ratios"], [1.0]),
            "scales_per_octave": (data["scales_per_octave"], 1),
            "number of anchor_sizes": (len(data["anchor_sizes"]), len(swin["depths"]) + 1),
            "number of anchor_strides": (len(data["anchor_strides"]), len(swin["depths"]) + 1),
        }
        for name, (came, needed) in fixed.items():
            if came != needed:
                raise ValueError(f"{name} is {came!r}, and must be {needed!r}")
        return cls(
            dim=dim,
            depths=tuple(swin["depths"]),
            heads=tuple(swin["heads"]),
            window=swin["window"],
            blocks=data["num_dyhead_blocks"],
            patch=swin["patch_size"],
            mlp_ratio=swin["mlp_ratio"],
            channels=channels,
            groups=data["group_norm_groups"],
            fusion_width=fusion["embed_dim"],
            fusion_heads=fusion["num_heads"],
            bert=BertConfig(**{field.name: bert[field.name] for field in fields(BertConfig)}),
            max_tokens=data["max_query_len"],
            classes=data["num_classes"],
            anchor_sizes=tuple(data["anchor_sizes"]),
            strides=tuple(data["anchor_strides"]),
            mean=tuple(data["pixel_mean_bgr"]),
            std=tuple(data["pixel_std_bgr"]),
            divisor=data["size_divisibility"],
        )


GLIP_L = GlipConfig(dim=192, depths=(2, 2, 18, 2), heads=(6, 12, 24, 48), window=12, blocks=8)
GLIP_T = GlipConfig(dim=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24), window=7, blocks=6)


class Glip(nn.Module):
    """Images and captions to what every place of the pyramid says of every token."""

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        self.config = config
        self.swin = Swin(config.patch, config.dim, config.depths, config.heads, config.window, config.mlp_ratio)
        self.fpn = Pyramid([config.dim * 2**i for i in range(1, len(config.depths))], config.channels)
        self.bert = Bert(config.bert)
        self.head = Head(
            config.channels,
            config.blocks,
            config.groups,
            config.fusion_width,
            config.fusion_heads,
            len(config.strides),
            config.bert,
        )

    def forward(
        self, images: Float[Tensor, "b 3 h w"], ids: Int[Tensor, "b t"], real: Bool[Tensor, "b t"]
    ) -> Predictions:
        """Run the network.

        Under autocast Swin, the pyramid and BERT compute in the reduced precision. The head always computes in
        float32: its offsets are fractions of a pixel among hundreds, its softmax runs over all places, and its
        logits and deltas become scores and boxes without another norm.

        Args:
            images: Normalised, blue-green-red, zero-padded to a multiple of ``config.divisor``. There is no mask:
                the network sees the padding.
            ids: Tokens, [CLS] first; padding at the end may be left out: it influences nothing else.
            real: False on padding.
        """
        levels = self.fpn(self.swin(images)[1:])
        tokens = self.bert(ids, real)
        with torch.autocast(images.device.type, enabled=False):
            return self.head([level.float() for level in levels], tokens.float(), real)

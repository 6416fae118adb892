"""Detectors of a backbone and a head, and encoders: built from settings, or read from checkpoint folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tellsign.detectors.checkpoints import load_weights, read_recipe
from tellsign.networks.backbones.backbone import Backbone
from tellsign.networks.backbones.loading import load_backbone
from tellsign.networks.detector import Detector
from tellsign.networks.determinism import seeded
from tellsign.networks.heads import HEADS
from tellsign.schema.frozen import frozen_network


def build_head(head: Mapping[str, Any], dim: int, seed: int) -> nn.Module:
    """Build the head of a training's settings for features of length ``dim``, initialised under the seed."""
    options = dict(head)
    build = HEADS.load(options.pop("name"))
    with seeded(seed):
        return build(dim, **options)


def build_detector(settings: Mapping[str, Any]) -> Detector:
    """Build the detector of a training's settings, with the backbone's starting weights."""
    network = settings["backbone"]
    backbone = load_backbone(network["name"], network["weights"], settings["seed"], network.get("front"))
    head = build_head(settings["head"], backbone.dim, settings["seed"])
    return Detector(backbone, head, frozen=settings["trainable"] == "head")


def shaped_detector(settings: Mapping[str, Any]) -> Detector:
    """The detector of a checkpoint's settings, with the weights alone that checkpoints leave in their own file."""
    network = frozen_network(settings) or settings["backbone"] | {"weights": "none"}
    return build_detector({**settings, "backbone": network})


def load_detector(folder: Path, device: torch.device, base: Mapping[str, str] | None = None) -> Detector:
    """The detector of a checkpoint folder, ready for evaluation.

    Args:
        folder: The checkpoint folder.
        device: Where batches are computed.
        base: The frozen backbone, with the place of its weights; None for where they lay when it was trained.
    """
    settings = read_recipe(folder)
    detector = shaped_detector({**settings, "backbone": base or settings["backbone"]})
    load_weights(detector, folder / "model.safetensors")
    return detector.to(device).eval()


def load_encoder(folder: Path, device: torch.device) -> Backbone:
    """The encoder of a pre-training folder, ready for evaluation."""
    network = read_recipe(folder)["backbone"]
    backbone = load_backbone(network["name"], "none", 0, network.get("front"))
    load_weights(backbone, folder / "model.safetensors")
    return backbone.to(device).eval()

"""The arithmetic of a training, by the recipe's ``precision``."""

from __future__ import annotations

import torch


def arithmetic(precision: str, device: torch.device) -> torch.autocast:
    """The context in which a training computes its loss; weights, their gradients and the optimiser stay fp32.

    Args:
        precision: ``fp32``, ``bf16`` (autocast), or ``auto``: bf16 on CUDA and fp32 elsewhere.
        device: Where batches are computed.
    """
    bf16 = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)

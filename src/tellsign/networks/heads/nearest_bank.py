"""UniFD's nearest neighbours."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tellsign.errors import UserError


class Nearest(nn.Module):
    """Nearest neighbours by cosine among stored features (UniFD: Ojha et al. 2023, §4.2). It has nothing to train.

    The logit is the m-th nearest fake's cosine minus the m-th nearest real's, in [-2, 2], with m = (k + 1) / 2. Among
    the k nearest of all, k odd, the fakes are in the majority exactly where the m-th nearest fake is nearer than the
    m-th nearest real: the sign is the majority's vote, and for k = 1 it tells whether the nearest of all is fake. Its
    sigmoid orders and thresholds as the rule does; it is no calibrated probability.

    Args:
        dim: Length of the features.
        k: How many neighbours vote; odd. The paper's main results have 1.

    Raises:
        UserError: k is even.
    """

    real: Tensor
    fake: Tensor

    def __init__(self, dim: int, k: int) -> None:
        super().__init__()
        if k % 2 == 0:
            raise UserError(f"head.k is {k}; it must be odd, so that one class is in the majority. Try {k - 1}.")
        self.place = (k + 1) // 2
        self.register_buffer("real", torch.empty(0, dim))
        self.register_buffer("fake", torch.empty(0, dim))
        self.register_load_state_dict_pre_hook(_make_room)

    def store(self, features: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> None:
        """Replace the banks by labelled features (0 real, 1 fake).

        Raises:
            ValueError: a class has fewer images than the vote looks at.
        """
        unit = F.normalize(features.detach(), dim=1)
        fewest = min(int((labels == 0).sum()), int((labels == 1).sum()))
        if fewest < self.place:
            raise ValueError(f"the nearest neighbour needs {self.place} or more of both real and fake, got {fewest}")
        self.real, self.fake = unit[labels == 0], unit[labels == 1]

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Logits of fake.

        Raises:
            ValueError: nothing is stored.
        """
        if not len(self.real) or not len(self.fake):
            raise ValueError("the nearest neighbour has no features; call store first")
        unit = F.normalize(features, dim=1)
        fake, real = ((unit @ bank.T).topk(self.place, dim=1).values[:, -1] for bank in (self.fake, self.real))
        return fake - real


def _make_room(bank: Nearest, state: Mapping[str, Tensor], prefix: str, *_: object) -> None:
    """Give the banks as many rows as the state about to be loaded has."""
    for name in ("real", "fake"):
        if f"{prefix}{name}" in state:
            setattr(bank, name, torch.empty_like(state[f"{prefix}{name}"], device=bank.real.device))

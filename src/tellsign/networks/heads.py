"""Classification heads on features, and a detector: backbone and head.

A head gives one logit an image; its sigmoid is p(fake), and binary cross-entropy trains it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tellsign.errors import UserError
from tellsign.networks.backbones.backbone import Backbone


class Linear(nn.Module):
    """One linear layer, as in MPFT and LoL."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layer = nn.Linear(dim, 1)

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Logits of fake."""
        return self.layer(features)[:, 0]


class Mlp(nn.Module):
    """Two layers with a ReLU between: dim → hidden → 1."""

    def __init__(self, dim: int, hidden: int = 512, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 1))

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Logits of fake."""
        return self.layers(features)[:, 0]


class Discrepancy(nn.Module):
    """TIDY's head (§3.3, "output dimension of 2"): dim → hidden → 2 with a softmax.

    The one logit is the difference of the two: softmax[fake] = sigmoid(z_fake - z_real), and binary cross-
    entropy on it is the cross-entropy on the two.
    """

    def __init__(self, dim: int, hidden: int = 512, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 2))

    def two_logits(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b 2"]:
        """Logits of real and fake."""
        return self.layers(features)

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Logits of fake against real."""
        real, fake = self.two_logits(features).unbind(1)
        return fake - real


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

    def __init__(self, dim: int, k: int = 1) -> None:
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


# Called with the length of the features and the recipe's settings of that head (hidden, dropout; k).
HEADS: dict[str, Callable[..., nn.Module]] = {
    "linear": Linear,
    "mlp": Mlp,
    "mlp2": Discrepancy,
    "nearest": Nearest,
}


class Detector(nn.Module):
    """A backbone and a head.

    Args:
        backbone: Gives features.
        head: One of `HEADS`, built for the backbone's dim.
        frozen: Keep the backbone as it is: no gradients, and BatchNorm uses its stored statistics.
    """

    def __init__(self, backbone: Backbone, head: nn.Module, *, frozen: bool = False) -> None:
        super().__init__()
        self.backbone, self.head, self.frozen = backbone, head, frozen
        if frozen:
            backbone.requires_grad_(False)
            backbone.eval()

    def train(self, mode: bool = True) -> Detector:
        """Switch to training; a frozen backbone stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Logits of fake for preprocessed images."""
        return self.head(self.backbone(x))

    def scores(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """p(fake) for preprocessed images."""
        return self(x).sigmoid()

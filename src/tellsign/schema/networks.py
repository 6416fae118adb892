"""What a configuration may say of networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from tellsign.networks.backbones import BACKBONES
from tellsign.networks.heads import HEADS
from tellsign.schema.settings import ByName, EntryOf, Settings

HEAD_SETTINGS = HEADS.settings()

if TYPE_CHECKING:
    from tellsign.networks.heads.linear import LinearHead as Head
else:
    Head = Annotated[Settings, ByName(HEADS.kind, HEAD_SETTINGS, default="linear")]


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


class Encoder(Network):
    """A network whose input may be prepared in another way than its own.

    Attributes:
        front: What the network sees: null, pixels as its library normalises them; ``high_pass``, what a 3×3 mean does
            not explain, over its root mean square per crop; ``standardised``, each crop minus its mean over its
            standard deviation. A run that starts from another has the same.
    """

    front: Literal["high_pass", "standardised"] | None = None

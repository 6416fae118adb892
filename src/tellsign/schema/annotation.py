"""What a configuration may say of captions, boxes and embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from tellsign.networks.captioners import CAPTIONERS
from tellsign.networks.grounders import GROUNDERS
from tellsign.schema.fields import Fraction
from tellsign.schema.networks import Network
from tellsign.schema.settings import ByName, Settings


class NoCaptioner(Settings):
    """Whole images only."""

    name: Literal["none"] = "none"


class NoGrounder(Settings):
    """No objects."""

    name: Literal["none"] = "none"


CAPTIONER_SETTINGS: dict[str, type[Settings]] = {"none": NoCaptioner, **CAPTIONERS.settings()}
GROUNDER_SETTINGS: dict[str, type[Settings]] = {"none": NoGrounder, **GROUNDERS.settings()}

if TYPE_CHECKING:
    from tellsign.networks.captioners.transformers import VisionLanguage
    from tellsign.networks.grounders.glip import Glip

    Captioner = NoCaptioner | VisionLanguage
    Grounder = NoGrounder | Glip
else:
    Captioner = Annotated[Settings, ByName(CAPTIONERS.kind, CAPTIONER_SETTINGS)]
    Grounder = Annotated[Settings, ByName(GROUNDERS.kind, GROUNDER_SETTINGS)]


class Annotate(Settings):
    """How TIDY's captions, boxes and embeddings are made.

    Attributes:
        clip: Encoder of images and texts.
        captioner: ``none`` takes whole images only.
        grounder: ``none`` takes whole images and captions only.
        threshold: A box below this score counts as not found.
    """

    clip: Network
    captioner: Captioner = NoCaptioner()
    grounder: Grounder = NoGrounder()
    threshold: Fraction = 0.5

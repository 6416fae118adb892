"""Both towers of any CLIP of open_clip, by its name."""

from __future__ import annotations

from typing import Any

from tellsign.errors import UserError
from tellsign.networks.backbones.backbone import Clip, Standardise
from tellsign.networks.backbones.open_clip_towers import normalisation, two_towers


def clip_by_name(name: str) -> Clip:
    """Any model of open_clip with its own text tower; see `tellsign.networks.backbones.open_clip.image_tower_by_name`.

    Raises:
        UserError: open_clip has no such model or tag, or its towers are another library's.
    """
    import open_clip

    model_name, _, tag = name.partition("/")
    settings: Any = open_clip.get_model_config(model_name)
    if settings is None or settings.get("custom_text") or "hf_model_name" in settings["text_cfg"]:
        raise UserError(f"{model_name!r} is no model of open_clip with open_clip's own text tower.")
    model = open_clip.create_model(model_name, pretrained=None, precision="fp32")
    size = settings["vision_cfg"].get("image_size", 224)
    front = Standardise(*normalisation(model_name, tag))
    return two_towers(model, open_clip.get_tokenizer(model_name), settings["embed_dim"], size, front)

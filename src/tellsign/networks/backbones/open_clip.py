"""CLIPs of open_clip, whole or their image towers alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tellsign.errors import UserError, near_miss
from tellsign.networks.backbones.backbone import Backbone, Clip, Standardise
from tellsign.networks.backbones.open_clip_towers import CLIP_MEAN, CLIP_STD, map_layer_in, normalisation, two_towers


def clip(configuration: str, dim: int) -> Clip:
    """A CLIP as OpenAI published it.

    Args:
        configuration: open_clip's name.
        dim: Length of the projected embedding.
    """
    import open_clip

    model = open_clip.create_model(configuration, pretrained=None, precision="fp32")
    return two_towers(model, open_clip.get_tokenizer(configuration), dim, 224, Standardise(CLIP_MEAN, CLIP_STD))


def image_tower(configuration: str, dim: int) -> Backbone:
    """The image tower of `clip`."""
    return clip(configuration, dim).image


def clip_in_folder(folder: Path) -> Clip:
    """Any CLIP whose ``open_clip_config.json`` lies in a folder, as open_clip keeps its models on the hub.

    Raises:
        UserError: there is no such file, or it describes towers of other libraries.
    """
    import open_clip
    from open_clip.tokenizer import SimpleTokenizer

    path = folder / "open_clip_config.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        settings, front = stored["model_cfg"], stored.get("preprocess_cfg", {})
        mean, std = (tuple(front.get(key, default)) for key, default in (("mean", CLIP_MEAN), ("std", CLIP_STD)))
        foreign = [k for part in ("vision_cfg", "text_cfg") for k in settings[part] if k.startswith(("timm_", "hf_"))]
        context, size = settings["text_cfg"].get("context_length", 77), settings["vision_cfg"].get("image_size", 224)
        if foreign or settings.get("custom_text") or not isinstance(size, int):
            raise UserError(
                f"{path} describes towers that open_clip takes from elsewhere ({', '.join(foreign) or 'custom text'}). "
                "Allowed: open_clip's own vision transformers and ResNets with its own text transformer."
            )
        model = open_clip.CLIP(**settings, cast_dtype=None)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise UserError(
            f"{path} is no configuration of a CLIP ({type(problem).__name__}: {problem}). Set weights to a folder with "
            "open_clip_config.json and open_clip_model.safetensors."
        ) from problem
    return two_towers(
        model, SimpleTokenizer(context_length=context), settings["embed_dim"], size, Standardise(mean, std)
    )


def image_tower_in_folder(folder: Path) -> Backbone:
    """The image tower of `clip_in_folder`."""
    return clip_in_folder(folder).image


def image_tower_by_name(name: str) -> Backbone:
    """The image tower of any model of open_clip, with the normalisation that its weights were trained with.

    Args:
        name: As open_clip writes it, ``ViT-B-16-SigLIP``, or with the tag of published weights after a stroke,
            ``ViT-B-16/laion2b_s34b_b88k``, where the tags of one model normalise differently.

    Raises:
        UserError: open_clip has no such model or tag, its tags differ and none is named, or its text tower is another
            library's, which cannot be built without the network.
    """
    import open_clip

    model_name, _, tag = name.partition("/")
    if model_name not in open_clip.list_models():
        raise UserError(
            f"open_clip {open_clip.__version__} has no model {model_name!r}."
            f"{near_miss(model_name, open_clip.list_models())} "
            "`python -c 'import open_clip; print(*open_clip.list_models())'` lists all."
        )
    settings: Any = open_clip.get_model_config(model_name)
    if "hf_model_name" in settings["text_cfg"]:
        raise UserError(f"{model_name} of open_clip has a text tower of Hugging Face's, which is fetched to build it.")
    front = Standardise(*normalisation(model_name, tag))
    visual: Any = open_clip.create_model(model_name, pretrained=None, precision="fp32").visual
    size = settings["vision_cfg"].get("image_size", 224)
    return Backbone(visual, front, dim=settings["embed_dim"], size=size, map_layer=map_layer_in(visual))

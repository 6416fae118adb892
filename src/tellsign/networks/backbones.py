"""Backbones: networks that turn pixels into a feature vector, each with its own normalisation.

Full-size ones are built by open_clip (CLIP; Radford et al. 2021) and timm (Xception, Chollet 2017;
ResNet-50, He et al. 2016; Swin, Liu et al. 2021); NPR's is in `tellsign.networks.npr`, the demo's are in
`tellsign.demo.towers`. Building needs no network: weights come from a file, ship with the package (demo),
or are random.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from pickle import UnpicklingError  # what torch.load(weights_only=True) raises; nothing is unpickled
from typing import Any

import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from tellsign.errors import UserError, choose
from tellsign.networks import npr
from tellsign.networks.determinism import seeded

State = Mapping[str, Tensor]

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Standardise(nn.Module):
    """Pixels / 255, minus a mean, over a standard deviation, per channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Normalise."""
        return (pixels.to(self.mean.dtype) / 255 - self.mean) / self.std


class Backbone(nn.Module):
    """A network with its preprocessing: ``forward(preprocess(pixels))`` are the features.

    Args:
        net: Input tensor to features.
        front: Pixels to input tensor; without trainable parts and stored tensors.
        dim: Length of a feature vector.
        size: Side in pixels of the square crop that the network needs; None when any size will do.
        map_layer: Name within ``net`` of the layer whose output is the last spatial map. A layer of a
            transformer gives tokens, class token first; it must be one that the class token still reads,
            hence not the last block's output but its first norm (as in pytorch-grad-cam's advice for vision
            transformers).
        channels_last: That layer's output is (batch, height, width, channels), as Swin's.
    """

    def __init__(
        self,
        net: nn.Module,
        front: nn.Module,
        *,
        dim: int,
        size: int | None,
        map_layer: str,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.net, self.front = net, front
        self.dim, self.size, self.map_layer = dim, size, map_layer

    def preprocess(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
        """Normalise pixels (RGB, 0 to 255). What comes out is what the network sees and what masks multiply.

        Raises:
            ValueError: the crop has another size than the network needs.
        """
        if self.size is not None and pixels.shape[-2:] != (self.size, self.size):
            raise ValueError(f"crops of {self.size} × {self.size} pixels are needed, not {tuple(pixels.shape[-2:])}")
        return self.front(pixels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Features of preprocessed images."""
        return self.net(x)

    def with_map(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b k h2 w2"]]:
        """Features and the last spatial map, which lies on the features' way: gradients of what is computed
        from the features reach it (Grad-CAM; Selvaraju et al. 2017).
        """
        held: list[Tensor] = []

        def hold(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if output.ndim == 4:
                held.append(output.permute(0, 3, 1, 2) if self.channels_last else output)
                return held[0].permute(0, 2, 3, 1) if self.channels_last else output
            first, patches = output[:, :1], output[:, 1:]
            side = round(patches.shape[1] ** 0.5)
            held.append(patches.transpose(1, 2).unflatten(2, (side, side)))
            return torch.cat([first, held[0].flatten(2).transpose(1, 2)], dim=1)

        handle = self.net.get_submodule(self.map_layer).register_forward_hook(hold)
        try:
            features = self(x)
        finally:
            handle.remove()
        return features, held[0]

    def feature_map(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h2 w2"]:
        """The last spatial map alone."""
        return self.with_map(x)[1]


class Clip(nn.Module):
    """An image tower and a text tower whose features share a space. Features are not normalised.

    Args:
        image: The image tower.
        text: The text tower.
        encode: Text tower and texts to features.
    """

    def __init__(
        self,
        image: Backbone,
        text: nn.Module,
        encode: Callable[[nn.Module, list[str]], Float[Tensor, "b d"]],
    ) -> None:
        super().__init__()
        self.image, self.text, self._encode = image, text, encode

    def encode_text(self, texts: list[str]) -> Float[Tensor, "b d"]:
        """Features of texts, on the device of the text tower."""
        return self._encode(self.text, texts)


# ---------------------------------------------------------------------------------------------- builders


def _demo_image(kind: str) -> Backbone:
    from tellsign.demo import towers

    if kind == "vit":
        net, layer = towers.VisionTransformer(), "blocks.3.norm_1"
    else:
        net, layer = towers.ModifiedResNet(), "stages"
    return Backbone(net, towers.ColourAndResidual(), dim=towers.EMBEDDING, size=towers.CROP, map_layer=layer)


def _demo_xception() -> Backbone:
    from tellsign.demo import towers

    net = towers.MiniXception()
    return Backbone(net, towers.Residual(), dim=net.dim, size=None, map_layer="body")


def _demo_clip(kind: str) -> Clip:
    from tellsign.demo import towers

    return Clip(_demo_image(kind), towers.TextTransformer(), towers.encode)


# Name here → name of open_clip's configuration, length of the projected embedding. OpenAI trained with the
# quick GELU.
_OPEN_CLIP = {
    "clip-vit-l14": ("ViT-L-14-quickgelu", 768),
    "clip-vit-b16": ("ViT-B-16-quickgelu", 512),
    "clip-rn50": ("RN50-quickgelu", 1024),
    "clip-rn101": ("RN101-quickgelu", 512),
}


def _open_clip(name: str) -> Clip:
    import open_clip

    configuration, dim = _OPEN_CLIP[name]
    model = open_clip.create_model(configuration, pretrained=None, precision="fp32")
    return _two_towers(model, open_clip.get_tokenizer(configuration), dim, 224, Standardise(CLIP_MEAN, CLIP_STD))


def _two_towers(model: Any, tokenise: Callable[..., Tensor], dim: int, size: int, front: Standardise) -> Clip:
    """open_clip's model as ours."""
    visual: Any = model.visual
    del model.visual  # it lives in the image tower alone
    tokens = hasattr(visual, "transformer")
    layer = f"transformer.resblocks.{len(visual.transformer.resblocks) - 1}.ln_1" if tokens else "layer4"

    def encode(text: nn.Module, texts: list[str]) -> Float[Tensor, "b d"]:
        device = text.get_parameter("text_projection").device
        return text.encode_text(tokenise(texts).to(device))  # pyright: ignore[reportCallIssue]

    return Clip(Backbone(visual, front, dim=dim, size=size, map_layer=layer), model, encode)


def _open_clip_in(folder: Path) -> Clip:
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
    return _two_towers(
        model, SimpleTokenizer(context_length=context), settings["embed_dim"], size, Standardise(mean, std)
    )


def _open_clip_image(name: str) -> Backbone:
    return _open_clip(name).image


def _timm(name: str, front: Standardise, map_layer: str, **options: Any) -> Backbone:
    import timm

    net: Any = timm.create_model(name, pretrained=False, num_classes=0)
    return Backbone(net, front, **{"dim": net.num_features, "size": None, "map_layer": map_layer} | options)


# Name here → timm's. Windows of 7 on a grid of patches of 4 pixels, halved three times: 224 pixels and no other size.
_SWIN = {"swin-t": "swin_tiny_patch4_window7_224", "swin-b": "swin_base_patch4_window7_224"}


def _swin(name: str) -> Backbone:
    return _timm(_SWIN[name], Standardise(IMAGENET_MEAN, IMAGENET_STD), "norm", size=224, channels_last=True)


def _npr() -> Backbone:
    return Backbone(npr.network(), Standardise(IMAGENET_MEAN, IMAGENET_STD), dim=512, size=None, map_layer="layer2")


BACKBONES: dict[str, Callable[[], Backbone]] = {
    "demo-clip-vit": partial(_demo_image, "vit"),
    "demo-clip-rn": partial(_demo_image, "rn"),
    "demo-xception": _demo_xception,
    **{name: partial(_open_clip_image, name) for name in _OPEN_CLIP},
    "legacy-xception": lambda: _timm("legacy_xception", Standardise((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), "act4"),
    "resnet50": lambda: _timm("resnet50", Standardise(IMAGENET_MEAN, IMAGENET_STD), "layer4"),
    **{name: partial(_swin, name) for name in _SWIN},
    "npr": _npr,
}

CLIPS: dict[str, Callable[[], Clip]] = {
    "demo-clip-vit": partial(_demo_clip, "vit"),
    "demo-clip-rn": partial(_demo_clip, "rn"),
    **{name: partial(_open_clip, name) for name in _OPEN_CLIP},
}

# ---------------------------------------------------------------------------------------------- weights

SHIPPED = tuple(name for name in CLIPS if name.startswith("demo-"))

# Prefixes of an image tower's tensors in the files we may meet: ours (a whole CLIP, a detector, a
# backbone), then open_clip's whole model. A file without any holds the bare network.
_IMAGE_PREFIXES = ("image.net.", "backbone.net.", "net.", "visual.")
# published with a classifier, which a backbone has not
_CLASSIFIER = ("net.fc.weight", "net.fc.bias", "net.head.fc.weight", "net.head.fc.bias")


def _image_part(state: State) -> dict[str, Tensor]:
    """An image tower's tensors, named as in `Backbone`."""
    for prefix in _IMAGE_PREFIXES:
        found = {f"net.{key.removeprefix(prefix)}": state[key] for key in state if key.startswith(prefix)}
        if found:
            return found
    state = _swin_part(state) if "layers.0.blocks.0.attn.relative_position_bias_table" in state else state
    return {f"net.{key}": value for key, value in state.items() if f"net.{key}" not in _CLASSIFIER}


def _swin_part(state: State) -> dict[str, Tensor]:
    """A Swin's tensors as timm has named them since version 0.9.

    Swin's own files and older ones of timm hold tables that are computed anew, the classifier without ``fc``, and
    count a downsampling to the stage before it, where it is now counted to the stage that it opens.
    """
    found = {k: v for k, v in state.items() if not k.endswith(("relative_position_index", "attn_mask"))}
    if "layers.0.downsample.reduction.weight" not in found:
        return found
    renamed: dict[str, Tensor] = {}
    for key, value in found.items():
        parts = key.split(".")
        if parts[0] == "head":
            parts.insert(1, "fc")
        elif parts[0] == "layers" and parts[2] == "downsample":
            parts[1] = str(int(parts[1]) + 1)
        renamed[".".join(parts)] = value
    return renamed


def _clip_part(state: State) -> dict[str, Tensor]:
    """A CLIP's tensors, named as in `Clip`, from our own file or open_clip's."""
    if any(key.startswith("image.net.") for key in state):
        return dict(state)
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        visual = key.startswith("visual.")
        renamed[f"image.net.{key.removeprefix('visual.')}" if visual else f"text.{key}"] = value
    return renamed


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict: safetensors, or a torch file that holds tensors only.

    Raises:
        UserError: the file is missing or is no such thing.
    """
    if not path.is_file():
        raise UserError(f"the weights file {str(path)!r} does not exist.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, ValueError, EOFError, UnpicklingError) as error:
        raise UserError(
            f"{str(path)!r} cannot be read as weights: {str(error).partition(chr(10))[0] or type(error)}. "
            "Allowed: .safetensors, or a .pt/.bin/.pth that torch.load(weights_only=True) reads as a dict of "
            "tensors (no TorchScript archive; OpenAI's .pt files are such, open_clip's safetensors are not)."
        ) from error
    state = stored.get("state_dict", stored.get("model", stored)) if isinstance(stored, dict) else stored
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{str(path)!r} holds no dict of tensors but {type(state).__name__}.")
    return {key.removeprefix("module."): value for key, value in state.items()}


def load_strictly(module: nn.Module, state: State, what: str) -> None:
    """Load a state dict that must fit in every tensor.

    Only BatchNorm's ``num_batches_tracked`` may lack: files of old torch versions have none and no number
    depends on it.

    Raises:
        UserError: lists every missing, unknown and misshapen tensor.
    """
    own = module.state_dict()
    counters = {key: own[key] for key in own if key.endswith("num_batches_tracked")}
    state = {**counters, **state}
    faults = [f"missing: {key} {tuple(own[key].shape)}" for key in own if key not in state]
    faults += [f"unknown: {key} {tuple(state[key].shape)}" for key in state if key not in own]
    for key in own:
        stored, expected = tuple(state[key].shape) if key in state else None, tuple(own[key].shape)
        bank = expected[:1] == (0,) and stored is not None and stored[1:] == expected[1:]  # takes any rows
        if stored not in (None, expected) and not bank:
            faults.append(f"misshapen: {key} is {stored}, not {expected}")
    if faults:
        raise UserError(f"{what} does not fit: {len(faults)} tensors differ.\n  " + "\n  ".join(faults))
    module.load_state_dict(state)


def _stored(name: str, weights: str) -> State:
    """The state dict that ``weights`` names."""
    if weights == "shipped":
        if name not in SHIPPED:
            raise UserError(
                f"weights: shipped – no weights of {name!r} ship with the package, only of "
                f"{', '.join(SHIPPED)}. Set weights to none (random), to a file's path, or to a name that "
                "`tellsign weights --all` lists."
            )
        from tellsign.demo.weights import read

        return read(name)
    path = Path(weights)
    if name == "open-clip":
        path = path / "open_clip_model.safetensors"
    if not path.is_file():
        raise UserError(
            f"weights of {name!r}: {str(path)!r} is no file. Allowed: none (random), "
            f"shipped ({', '.join(SHIPPED)}), or the path of a .safetensors or .pt file. "
            "Set the recipe's field weights; `tellsign weights --all` says where the published files are."
        )
    return read_state(path)


def load_backbone(name: str, weights: str, seed: int) -> Backbone:
    """Build a backbone.

    Args:
        name: One of `BACKBONES`, or ``open-clip``: any model of open_clip, from a folder with
            open_clip_config.json and open_clip_model.safetensors.
        weights: ``none`` (random, under ``seed``), ``shipped`` (demo CLIP towers), or a path: our
            checkpoints of a backbone, a detector or a CLIP, open_clip's state dict of a whole model or its
            visual tower, timm's.
        seed: Of the initialisation; without effect when weights are loaded.

    Returns:
        The backbone in training mode, fp32, on the CPU.

    Raises:
        UserError: unknown name, missing or unfit weights.
    """
    build = choose(BACKBONES | {"open-clip": lambda: _open_clip_in(Path(weights)).image}, name, "backbone")
    state = None if weights == "none" else _image_part(_stored(name, weights))
    with seeded(seed):
        backbone = build()
    if state is not None:
        load_strictly(backbone, state, f"the file {weights!r} for backbone {name!r}")
    return backbone


def load_clip(name: str, weights: str, seed: int) -> Clip:
    """Build an image and a text tower; see `load_backbone`. A path must hold both towers.

    Raises:
        UserError: unknown name, missing or unfit weights.
    """
    build = choose(CLIPS | {"open-clip": lambda: _open_clip_in(Path(weights))}, name, "CLIP")
    state = None if weights == "none" else _clip_part(_stored(name, weights))
    with seeded(seed):
        clip = build()
    if state is not None:
        load_strictly(clip, state, f"the file {weights!r} for CLIP {name!r}")
    return clip

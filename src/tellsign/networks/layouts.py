"""Which files of weights a network takes: told by the file's header, before any job. Plain Python, for the plan."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tellsign.errors import UserError
from tellsign.networks.backbones import BACKBONES, CLIPS, SHIPPED
from tellsign.networks.headers import read_header, refuse_foreign
from tellsign.networks.torchscript import OPENAI, refuse_unknown

TELLSIGN, OPEN_CLIP, TRANSFORMERS = "tellsign's names", "open_clip's names", "the names of transformers' CLIP"
GLIP, BARE = "the released GLIP's names", "a network's own names, without a prefix"

MARKS = {
    TRANSFORMERS: ("vision_model.pre_layrnorm.",),
    "names of another model of transformers": ("vision_model.", "text_model."),
    GLIP: ("backbone.body.", "language_backbone."),
    TELLSIGN: ("image.net.", "backbone.net.", "net."),
    OPEN_CLIP: ("visual.",),
}
"""Layouts by what some tensor's name begins with; the first that fits. Without any of them it is `BARE`."""

_FOLDER_FILES = {"open-clip": "open_clip_model.safetensors", "glip": "weights.safetensors"}
"""Networks whose weights are a folder → the file in it."""


def layout_of(names: Iterable[str]) -> str:
    """The layout of tensors with these names; see `MARKS`."""
    listed = list(names)
    for layout, prefixes in MARKS.items():
        if any(name.startswith(prefixes) for name in listed):
            return layout
    return BARE


def layouts_for(network: str) -> tuple[str, ...]:
    """The layouts that a network takes; none for one whose names are not known here, such as a captioner."""
    if network in ("glip", "glip-l", "glip-t"):
        return (GLIP,)
    if network in SHIPPED:
        return (TELLSIGN, BARE)
    if network in CLIPS or network.startswith("open_clip:"):
        vit = () if clip_configuration(network).startswith("RN") else (TRANSFORMERS,)
        return (OPEN_CLIP, *vit, TELLSIGN, BARE)
    return (TELLSIGN, BARE) if network in BACKBONES or network.startswith("timm:") else ()


def clip_configuration(network: str) -> str:
    """open_clip's name of a backbone's model; empty for what is no CLIP or says it in a folder."""
    options = BACKBONES.find(network).options if network in CLIPS or network.startswith("open_clip:") else {}
    return str(options.get("configuration") or options.get("name", "")).partition("/")[0]


def check_weights(network: str, path: Path, digest: str) -> None:
    """Refuse a file or folder that cannot be the weights of a network.

    Args:
        network: Its name in a configuration.
        path: The file or folder. A folder of a network without `layouts_for` is looked at when it is loaded.
        digest: The file's sha256.

    Raises:
        UserError: says what came, what is allowed, and what to do.
    """
    allowed = layouts_for(network)
    if not allowed and not path.is_file():
        return
    path = _file_of(network, path)
    header = read_header(path)
    if header.container == "torchscript":
        refuse_unknown(path, digest)
        _check_openai(network, path, OPENAI[digest])
        return
    refuse_foreign(path, header)
    layout = layout_of(header.names)
    if allowed and layout not in allowed:
        raise UserError(
            f"{str(path)!r} holds tensors under {layout}; {network} takes {' or '.join(allowed)}. Is it another "
            "network's file? `tellsign weights --all` lists published files."
        )


def check_tensors(path: Path, tensors: Iterable[str], name: str) -> None:
    """Refuse a file that lacks tensors of the released weights that it should be.

    Args:
        path: The file.
        tensors: Names that it must hold.
        name: Of the weights.

    Raises:
        UserError: says what it lacks, or that it holds more than tensors and plain values.
    """
    header = read_header(path)
    refuse_foreign(path, header)
    if lacking := [tensor for tensor in tensors if tensor not in header.names]:
        raise UserError(
            f"{str(path)!r} is not {name}: it holds no tensor {', '.join(lacking)}. Is it another file of the same "
            f"detector? `tellsign weights --only {name}` says where the released one is."
        )


def _file_of(network: str, path: Path) -> Path:
    """The file that holds the tensors."""
    if network in _FOLDER_FILES:
        file = path / _FOLDER_FILES[network]
        if not file.is_file():
            raise UserError(f"{str(path)!r} holds no {file.name}; {network} takes a folder with that file.")
        return file
    if path.is_dir():
        files = sorted(file for kind in ("*.safetensors", "*.bin", "*.pt", "*.pth") for file in path.glob(kind))
        held = f"It holds {', '.join(map(str, files))}" if files else "It holds no such file"
        raise UserError(
            f"{str(path)!r} is a folder; {network} takes one file, .safetensors, .pt, .pth or .bin. {held}."
        )
    return path


def _check_openai(network: str, path: Path, model: str) -> None:
    """Refuse OpenAI's archive of another model than the network's."""
    due = f"{model}-quickgelu"
    if clip_configuration(network) != due:
        names = [name for name in CLIPS if not name.endswith(":")]  # those of one network
        takers, own = [name for name in names if clip_configuration(name) == due], f"open_clip:{due}"
        raise UserError(
            f"{str(path)!r} is OpenAI's {model}, which {network} is not. It fits {' and '.join([*takers, own])}."
        )

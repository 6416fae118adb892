"""Loading the released checkpoints: every tensor accounted for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from tellsign.errors import UserError
from tellsign.networks.glip.model import Glip, GlipConfig
from tellsign.networks.state import read_stored

# our modules by their names in the released files
PREFIXES = {
    "swin.": "backbone.body.",
    "fpn.": "backbone.fpn.",
    "bert.": "language_backbone.body.model.",
    "head.": "rpn.head.",
}
# what a file may hold besides: constants that this package computes itself, and layers of other tasks. The released
# code builds some of them only with some options or versions of transformers
IGNORED = re.compile(
    r".*\.relative_position_index"
    r"|rpn\.anchor_generator\.cell_anchors\.\d+"
    r"|.*\.embeddings\.position_ids"
    r"|(.*\.)?pooler\..*"
    r"|rpn\.head\.mlm_head\..*"
    r"|(.*\.)?(resizer|tunable_linear)\..*"
)


def released_name(name: str) -> str:
    """Name in the released files of a tensor of `Glip`."""
    ours = next(prefix for prefix in PREFIXES if name.startswith(prefix))
    return PREFIXES[ours] + name.removeprefix(ours)


def _read(path: Path) -> Mapping[str, object]:
    """The state dict of a file, names without ``module.``."""
    data = read_stored(path)
    state = data.get("model", data) if isinstance(data, Mapping) else None  # never model_ema, as the authors advise
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise UserError(f"{path} holds no weights by name, neither at its top nor under 'model'.")
    if all(name.startswith("module.") for name in state):  # as distributed training leaves it
        return {name.removeprefix("module."): value for name, value in state.items()}
    return state


def load_official(path: Path, config: GlipConfig) -> Glip:
    """Build GLIP with weights of a file under the released names, in float32, on the CPU, for inference.

    Args:
        path: ``.safetensors``, or a checkpoint of torch.save: the state dict or a dict with it under ``model``, with or
            without ``module.`` before every name. Half-precision tensors are widened.
        config: `GLIP_L`, `GLIP_T`, or the sizes of another one.

    Raises:
        UserError: no such file, it is no checkpoint, or a tensor is missing, not known, or of another shape; the
            message lists all of them.
    """
    state = _read(path)
    with torch.device("meta"):
        model = Glip(config)
    ours = model.state_dict()
    needed = {released_name(name): tuple(tensor.shape) for name, tensor in ours.items()}
    # a layer of the released detector that no result depends on; it must fit all the same
    needed["rpn.head.cls_logits.weight"] = (config.classes, config.channels, 1, 1)
    needed["rpn.head.cls_logits.bias"] = (config.classes,)

    problems = [f"missing: {name}" for name in needed if name not in state]
    problems += [f"not known: {name}" for name in state if name not in needed and not IGNORED.fullmatch(name)]
    for name, shape in needed.items():
        value = state.get(name)
        if value is not None and not (isinstance(value, Tensor) and value.is_floating_point()):
            problems.append(f"not numbers: {name}")
        elif isinstance(value, Tensor) and tuple(value.shape) != shape:
            problems.append(f"shape {tuple(value.shape)} instead of {shape}: {name}")
    if problems:
        raise UserError(
            f"{path} does not hold the weights of this GLIP; {len(problems)} tensors differ. Is it the file of another "
            "size, or of GLIP-T (A), which fuses nothing and is not supported?\n" + "\n".join(problems)
        )
    # copies: mapped memory would fail when the file is replaced
    tensors = {name: state[released_name(name)] for name in ours}
    model.load_state_dict(
        {name: torch.empty(value.shape).copy_(value) for name, value in tensors.items() if isinstance(value, Tensor)},
        assign=True,
    )
    return model.eval().requires_grad_(False)

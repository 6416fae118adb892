"""What the public code of other detectors computes, read from a folder of cases: see `cases_of`."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file
from torch import Tensor, nn

from tellsign.data.images import resized
from tellsign.data.pixels import PixelTable
from tellsign.detectors.registry import RECIPES
from tellsign.errors import UserError
from tellsign.schema.loading import build, plain
from tellsign.schema.training import Resize

FOLDER = Path(os.environ.get("TELLSIGN_BASELINES", ROOT.parent / "shared" / "baselines"))
ABSENT = f"needs what the public code of other detectors computes in {FOLDER}; TELLSIGN_BASELINES names another folder"
Network = TypeVar("Network", bound=nn.Module)
CLOSE = 1e-5
"""Deviation that is allowed, relative to a logit, or to the largest number of an intermediate result."""


def cases_of(*detectors: str, kind: str = "case") -> list[Any]:
    """All cases of some detectors as pytest parameters, whatever they are called; one that skips where there are none.

    A detector's folder has pairs of files: tensors in ``case_X.safetensors``, their meaning in ``case_X.json``.

    Args:
        detectors: Their folders.
        kind: What the files' names begin with: ``case``, or what part of a training they hold.
    """
    paths = [path for name in detectors for path in sorted((FOLDER / name).glob(f"{kind}_*.safetensors"))]
    parameters = [pytest.param(path, id=f"{path.parent.name}-{path.stem}") for path in paths]
    return parameters or [pytest.param(None, marks=pytest.mark.skip(reason=ABSENT))]


def filled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state whose values follow from its names, by the folder's own rule."""
    spec = importlib.util.spec_from_file_location("fill", FOLDER / "fill.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fill(state)


def listed(
    detector: str, name: str = "tensors.tsv", only: str | None = None, fill: bool = True, skip: str = "(?!)"
) -> dict[str, Tensor]:
    """A published state as its list of names, shapes and types describes it.

    Args:
        detector: Its folder.
        name: The list.
        only: What the last column must say; null takes all.
        fill: Fill it; else all values are 0.
        skip: Tensors whose names begin with this pattern are left out.
    """
    if not FOLDER.is_dir():
        pytest.skip(ABSENT)
    lines = (FOLDER / detector / name).read_text().splitlines()[1:]
    state = {}
    for tensor, shape, dtype, *more in (line.split("\t") for line in lines):
        if (only is not None and more != [only]) or re.match(skip, tensor):
            continue
        sides = [] if shape == "scalar" else [int(side) for side in shape.split("x")]
        state[tensor] = torch.zeros(sides, dtype=getattr(torch, dtype))
    return filled(state) if fill else state


def with_filled_weights(network: Network, *, keep: str = "$^") -> Network:
    """A network whose weights follow from their names, ready for evaluation.

    Args:
        network: Any.
        keep: A regular expression; tensors whose names it finds stay as they are.
    """
    state = {name: value for name, value in network.state_dict().items() if not re.search(keep, name)}
    network.load_state_dict(filled(state), strict=False)
    return network.eval()


def rms(x: Tensor) -> Tensor:
    """Root of the mean square."""
    return x.double().square().mean().sqrt()


def stored_part(value: Tensor, stored: str) -> Tensor:
    """The part of a tensor that a case stores of it, from its words: ``[..., ::6, ::6]``, ``(slice(0, 24, None),)``."""
    if stored.startswith("[...,"):
        step = int(stored.rstrip("]").rpartition("::")[2])
        assert stored == f"[..., ::{step}, ::{step}]"
        return value[..., ::step, ::step]
    parts = re.findall(r"slice\((\w+), (\w+), (\w+)\)", stored)
    assert stored == f"({', '.join(f'slice({a}, {b}, {c})' for a, b, c in parts)}{',' * (len(parts) == 1)})"
    ends = [[None if end == "None" else int(end) for end in part] for part in parts]
    return value[tuple(slice(*part) for part in ends)]


@dataclass
class Case:
    """A case: what was stored, and what of it was compared.

    Attributes:
        path: The file of tensors.
        close: Deviation that is allowed; see `CLOSE`.
        compared: Deviations found.
    """

    path: Path
    close: float = CLOSE
    compared: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stored = load_file(self.path)
        self.about = json.loads(self.path.with_suffix(".json").read_text())["tensors"]

    @property
    def config(self) -> dict[str, Any]:
        """What the case says beside its tensors."""
        return json.loads(self.path.with_suffix(".json").read_text())

    def table(self, *keys: str, resize: Resize | None = None) -> PixelTable:
        """Pictures as a table of whole images, resized where asked for: those of some keys, or all."""
        images = [self.stored[key] for key in keys or [f"picture_{number}" for number in self.pictures]]
        if resize is not None:
            images = [torch.from_numpy(resized(image.numpy(), **plain(resize)).copy()) for image in images]
        heights, widths = (torch.tensor([image.shape[axis] for image in images]) for axis in (0, 1))
        counts = heights * widths
        pixels = torch.cat([image.flatten(0, 1) for image in images])
        return PixelTable(tuple(map(str, range(len(images)))), pixels, counts.cumsum(0) - counts, heights, widths)

    @property
    def pictures(self) -> list[int]:
        """Numbers of the pictures."""
        return sorted(int(key.removeprefix("picture_")) for key in self.stored if key.startswith("picture_"))

    def shape(self, key: str) -> list[int]:
        """Shape of a tensor, where a part of it is stored that of the whole."""
        return self.about[key].get("whole", self.about[key])["shape"]

    def compare(
        self, key: str, value: Tensor | Callable[[], Tensor], *, exact: bool = False, noise: float | None = None
    ) -> None:
        """Compare a tensor with what is stored under a key; nothing where the case lacks the key.

        Of a tensor that is stored in part, sums over the whole are compared too.

        Args:
            key: Of the tensor.
            value: What is to be compared.
            exact: To the bit.
            noise: Where the public code makes rounding errors large, the root mean square of the deviations that is
                allowed, relative to that of the tensor.
        """
        if key not in self.stored:
            return
        value = (value() if callable(value) else value).detach()
        about, whole = self.about[key], value
        assert list(value.shape) == self.shape(key), key
        if "stored" in about:
            value = stored_part(value, about["stored"])
        expected = self.stored[key]
        if exact:
            assert torch.equal(value, expected), key
        close = self.close if noise is None else noise
        size = Tensor.max if noise is None else rms
        deviation = float(size((value - expected).abs()) / size(expected.abs()).clamp(min=1e-30))
        self.compared[key] = deviation
        assert deviation <= close, f"{key}: {deviation}"
        for name, stored in about.get("whole", {}).items():
            flat = whole.double().flatten()
            weights = {"sum": torch.ones_like(flat), "dot_cos": torch.arange(len(flat)).double().cos()}
            if name in weights:
                assert abs(float(flat @ weights[name]) - stored) <= close * float(flat.abs().sum()), (key, name)
            elif name == "sum_of_squares":
                assert float(flat @ flat) == pytest.approx(stored, rel=close), (key, name)
            elif name in ("min", "max") and noise is None:
                found = float(getattr(flat, name)())
                assert found == pytest.approx(stored, rel=0, abs=close * float(flat.abs().max())), (key, name)

    def check_all_compared(self) -> None:
        """Nothing was left out but the pictures and the numbers of double precision beside those of single."""
        left = {key for key in self.stored if not key.startswith("picture_") and not re.search("logits?64", key)}
        assert left <= set(self.compared), sorted(left - set(self.compared))


def recipe_settings(method: str, weights: str = "none", **recipe: Any) -> dict[str, Any]:
    """What the plan hands to a training or a scoring."""
    built = build(RECIPES.load(method), {"method": method, "weights": weights} | recipe, "test")
    return built.training_settings() | {
        "seed": 0,
        "keep": 1,
        "network": {"name": method, "weights": weights, "digest": "none"},
    }


def check_published_file(folder: Path, method: Any, name: str, state: dict[str, Tensor], **recipe: Any) -> None:
    """A published state loads by its own names, also nested and from several GPUs; without its last layer it does not.

    Args:
        folder: Where files may be written.
        method: A detector's class.
        name: The detector's name.
        state: The published state.
        recipe: Fields of the recipe that the file needs.
    """
    file = folder / "published.pth"
    settings = recipe_settings(name, str(file), epochs=0, **recipe)
    for stored in (state, {"model": {f"module.{key}": value for key, value in state.items()}, "total_steps": 4}):
        torch.save(stored, file)
        loaded = method.begin(settings, None, None, torch.device("cpu")).model.state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in state.items()) and len(loaded) == len(state)
    last = [key for key in state if not key.endswith("num_batches_tracked")][-2:]
    torch.save({key: value for key, value in state.items() if key not in last}, file)
    with pytest.raises(UserError, match=rf"{file.name}' for '{name}' does not fit: 2 tensors differ"):
        method.begin(settings, None, None, torch.device("cpu"))

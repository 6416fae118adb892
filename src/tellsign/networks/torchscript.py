"""OpenAI's own files of CLIP: TorchScript archives, whose tensors are read and whose program is not.

``torch.jit.load`` would build that program, and is deprecated. Beside the program, an archive keeps its modules in a
pickle as ``torch.save`` does, with a class for each kind of module. ``torch.load(weights_only=True)`` reads that pickle
once it is told that these classes are modules.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellsign.errors import UserError
from tellsign.networks.headers import pickle_in, said_in_pickle, unreadable
from tellsign.system.integrity import sha256_once

if TYPE_CHECKING:
    from torch import Tensor

OPENAI = {
    "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762": "RN50",
    "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599": "RN101",
    "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd": "RN50x4",
    "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa": "RN50x16",
    "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c": "RN50x64",
    "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af": "ViT-B-32",
    "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f": "ViT-B-16",
    "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836": "ViT-L-14",
    "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02": "ViT-L-14-336",
}
"""sha256 of the archives that OpenAI publishes → open_clip's name of the model. Source: the addresses in
``openai/CLIP``'s ``clip.py`` and in ``open_clip.pretrained``, which contain them.
"""

_SIZES = ("input_resolution", "context_length", "vocab_size")
"""Numbers that OpenAI's archives hold as buffers beside the weights; the network's configuration has them."""


class _Module:
    """Stands for every module of an archive; its attributes are tensors, modules and plain values."""


def refuse_unknown(path: Path, digest: str) -> None:
    """Refuse an archive that OpenAI has not published.

    Raises:
        UserError: says what the archive is, which are allowed, and what to do.
    """
    if digest not in OPENAI:
        raise UserError(
            f"{str(path)!r} is a TorchScript archive, that is, a program with its weights, and none that OpenAI "
            f"published (its sha256 is {digest}). Allowed are OpenAI's of {', '.join(OPENAI.values())}, known by "
            "their sha256. If you trust the file, save its tensors alone in the version of torch that wrote it: "
            "torch.save(torch.jit.load(FILE, map_location='cpu').state_dict(), 'tensors.pt'). For CLIP, `tellsign "
            "weights --all` lists the same weights as .safetensors."
        )


def read_archive(path: Path) -> dict[str, Tensor]:
    """The tensors of one of OpenAI's archives, under open_clip's names, on the CPU, as stored (most in half precision).

    Raises:
        UserError: OpenAI has not published the file, or it is damaged.
    """
    refuse_unknown(path, sha256_once(path))
    try:
        tensors = dict(_tensors(_modules(path)))
    except (zipfile.BadZipFile, ValueError, RuntimeError) as problem:
        raise unreadable(path, problem) from problem
    return {name: tensor for name, tensor in tensors.items() if name not in _SIZES}


def _modules(path: Path) -> _Module:
    """The outermost module of an archive."""
    import torch

    plain = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(plain, "w") as copy:
        folder, pickled = pickle_in(archive)
        kept = (f"{folder}data.pkl", f"{folder}version", f"{folder}byteorder")
        for name in archive.namelist():
            if name in kept or name.startswith(f"{folder}data/"):
                copy.writestr(name, archive.read(name))
    _, classes = said_in_pickle(io.BytesIO(pickled))
    modules: list[Any] = [(_Module, name) for name in classes if name.startswith("__torch__.")]
    plain.seek(0)
    with torch.serialization.safe_globals(modules):
        return torch.load(plain, map_location="cpu", weights_only=True)


def _tensors(module: _Module, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors of a module and of those in it, by their names in a state dict."""
    from torch import Tensor

    for name, value in vars(module).items():
        if isinstance(value, _Module):
            yield from _tensors(value, f"{prefix}{name}.")
        elif isinstance(value, Tensor):
            yield prefix + name, value

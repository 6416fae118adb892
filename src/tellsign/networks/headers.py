"""What a file of weights holds, read from its header. Nothing is loaded or unpickled, and torch is not needed.

A ``.safetensors`` begins with the names of its tensors. A file of ``torch.save`` is a ZIP archive with a pickle
``data.pkl``, or (before torch 1.6) several pickles and then the numbers. ``torch.jit.save`` writes a ZIP archive too,
with ``constants.pkl`` and a program in ``code/``. `pickletools` lists what a pickle says without doing it.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Literal, NamedTuple

from tellsign.errors import UserError

NUMPY_SCALARS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
"""What a pickle calls a number of NumPy, before and since NumPy 2."""

# What torch.load(weights_only=True) makes, with NumPy's scalars
_TORCH = re.compile(r"torch\.(\w+|(_utils|_tensor|storage|cuda|sparse|serialization)\.\w+|nn\.parameter\.Parameter)")
_PLAIN = {"collections.OrderedDict", "collections.Counter", "_codecs.encode", "numpy.dtype", *NUMPY_SCALARS}
_PLAIN |= {f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("set", "bytearray", "complex")}

_LARGEST_PICKLE = 2**28
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # of torch.save before 1.6
_LEGACY_PREFACE = ("version", "machine")  # pickles between the magic number and the contents


class Header(NamedTuple):
    """What a file of weights says of itself.

    Attributes:
        container: What wrote it: safetensors, ``torch.save``, or ``torch.jit.save``.
        names: Of its tensors, without ``module.``, as distributed training leaves it. Of a pickle: all its strings.
        classes: Full names of the classes and functions that its pickle calls.
    """

    container: Literal["safetensors", "torch", "torchscript"]
    names: frozenset[str]
    classes: frozenset[str] = frozenset()

    @property
    def foreign(self) -> list[str]:
        """Classes that no file of tensors and plain values needs, and that are therefore not made."""
        return sorted(name for name in self.classes - _PLAIN if not _TORCH.fullmatch(name))


def read_header(path: Path) -> Header:
    """Read a file's header.

    Raises:
        UserError: it is no file of weights.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="numpy") as file:
                return Header("safetensors", _without_module(file.keys()))
        return _header_of_archive(path) if zipfile.is_zipfile(path) else _header_of_pickles(path)
    except (SafetensorError, zipfile.BadZipFile, ValueError, OSError) as problem:
        raise unreadable(path, problem) from problem


def refuse_foreign(path: Path, header: Header) -> None:
    """Refuse a file that holds more than tensors and plain values.

    Raises:
        UserError: names what it holds, and how to keep the tensors alone.
    """
    if header.foreign:
        raise UserError(
            f"{str(path)!r} holds more than tensors and plain values: {', '.join(header.foreign)}. Making these could "
            "run code of the file, so it is not read. If you trust it, keep its tensors alone, here those under "
            "'model' (of a whole network it is .state_dict() instead of ['model']):\n"
            f"  python -c \"import torch; torch.save(torch.load({str(path)!r}, map_location='cpu', weights_only=False)"
            "['model'], 'tensors.pt')\""
        )


def unreadable(path: Path, problem: Exception) -> UserError:
    """The error that a file is no weights, with the first line of the reason."""
    reason = str(problem).partition("\n")[0] or type(problem).__name__
    return UserError(
        f"{str(path)!r} cannot be read as weights: {reason}. Allowed: .safetensors, or a .pt, .pth or .bin that "
        "torch.save wrote of tensors and plain values."
    )


def pickle_in(archive: zipfile.ZipFile) -> tuple[str, bytes]:
    """The folder in which an archive of torch keeps everything, with its stroke, and the bytes of its ``data.pkl``.

    Raises:
        ValueError: torch wrote no such archive.
    """
    found = [info for info in archive.infolist() if info.filename.partition("/")[2] == "data.pkl"]
    if len(found) != 1:
        raise ValueError("the ZIP archive has no data.pkl")
    if found[0].compress_type != zipfile.ZIP_STORED or found[0].file_size > _LARGEST_PICKLE:
        raise ValueError("its data.pkl is compressed or larger than 256 MB, which torch does not write")
    return found[0].filename.removesuffix("data.pkl"), archive.read(found[0])


def said_in_pickle(stream: IO[bytes]) -> tuple[set[str | int], set[str]]:
    """Strings and integers of the next pickle in a stream, and full names of the classes that it calls.

    Raises:
        ValueError: it is no pickle, or of a protocol that ``torch.load(weights_only=True)`` does not read.
    """
    values: set[str | int] = set()
    classes: set[str] = set()
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.proto > 2:
            raise ValueError(f"its pickle is of protocol {opcode.proto}, where torch.save writes 2")
        if opcode.name in ("GLOBAL", "INST"):
            classes.add(str(argument).replace(" ", "."))
        elif isinstance(argument, str | int):
            values.add(argument)
    return values, classes


def _header_of_archive(path: Path) -> Header:
    with zipfile.ZipFile(path) as archive:
        folder, pickled = pickle_in(archive)
        script = f"{folder}constants.pkl" in archive.namelist()
    values, classes = said_in_pickle(io.BytesIO(pickled))
    return Header("torchscript" if script else "torch", _without_module(values), frozenset(classes))


def _header_of_pickles(path: Path) -> Header:
    with path.open("rb") as stream:
        if _LEGACY_MAGIC not in said_in_pickle(stream)[0]:
            raise ValueError("torch.save did not write it")
        for _ in _LEGACY_PREFACE:
            said_in_pickle(stream)
        values, classes = said_in_pickle(stream)
    return Header("torch", _without_module(values), frozenset(classes))


def _without_module(values: Iterable[object]) -> frozenset[str]:
    return frozenset(value.removeprefix("module.") for value in values if isinstance(value, str))

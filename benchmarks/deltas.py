"""What a kept epoch would take as a difference: without loss, and rounded to bf16, against the weights as they are.

Three ways to store fp32 tensors, each with its bytes apart (first bytes together, and so on) and compressed by zstd:

    as they are    the weights themselves
    lossless       their difference in units of the last place from the other weights, which gives them back to the bit
    bf16           their difference, rounded to bf16; the weights come back to within a part in 500 of what they moved

    python benchmarks/deltas.py WEIGHTS OTHER [OTHER …]     safetensors of one network: a later epoch, and earlier ones
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from tellsign.networks.state import State, read_state


def packed(values: np.ndarray) -> int:
    """Bytes of an array, its bytes apart and compressed."""
    parts = values.view(np.uint8).reshape(-1, values.itemsize).T
    return sum(len(pa.compress(part.tobytes(), codec="zstd", asbytes=True)) for part in parts)


def ordered(values: np.ndarray) -> np.ndarray:
    """Numbers of fp32 values, such that neighbours differ by one."""
    bits = values.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def shares(state: State, other: State) -> dict[str, float]:
    """Size of each way as a share of the fp32 weights."""
    total, sizes = 0, dict.fromkeys(("as they are", "lossless", "bf16"), 0)
    for name, tensor in state.items():
        if tensor.dtype != torch.float32:
            continue
        values, earlier = tensor.numpy().reshape(-1), other[name].numpy().reshape(-1)
        units = ordered(values) - ordered(earlier)
        moved = torch.from_numpy(values - earlier).bfloat16().view(torch.int16).numpy()
        total += values.nbytes
        sizes["as they are"] += packed(values)
        sizes["lossless"] += packed((units << 1 ^ units >> 63).astype(np.uint32))  # the sign last: small stays small
        sizes["bf16"] += packed(moved)
    return {way: size / total for way, size in sizes.items()}


def main(weights: str, *others: str) -> None:
    state = read_state(Path(weights))
    sys.stdout.write("| against | as they are | lossless | bf16 |\n|---|---:|---:|---:|\n")
    for other in others:
        found = shares(state, read_state(Path(other)))
        sys.stdout.write(f"| {other} | {' | '.join(f'{share:.2f}' for share in found.values())} |\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

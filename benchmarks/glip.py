"""Speed and memory of GLIP-L with random weights: float32 and reduced precision, one image at a time and batches.

On a CUDA device at the trained 800 × 1333; without one float32 only, at 320 × 533, which is said. The text's padding is
left out; what keeping it would cost (the released code pads to 256 tokens) is timed beside.

python benchmarks/glip.py
"""

from __future__ import annotations

import math
import resource
import time

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch.nn import functional as F

from tellsign.networks.determinism import seeded
from tellsign.networks.glip.grounder import GlipGrounder
from tellsign.networks.glip.model import GLIP_L, Glip, GlipConfig
from tellsign.networks.glip.text import WordPieces

CAPTION, PHRASES = "a small dog and a cat on the green grass near the red house", ["dog", "cat", "grass", "house"]


def per_second(grounder: GlipGrounder, side: tuple[int, int], batch: int, repeats: int) -> float:
    """Images a second, the fastest of some runs after one for warmth."""
    image = np.random.default_rng(0).integers(0, 256, (*side, 3), dtype=np.uint8)
    grounder.batch_size = batch
    best = math.inf
    for turn in range(repeats + 1):
        start = time.perf_counter()
        grounder.ground([image] * batch, [CAPTION] * batch, [PHRASES] * batch)  # ends on the CPU: synchronised
        if turn or not repeats:
            best = min(best, time.perf_counter() - start)
    return batch / best


def build(device: torch.device, side: tuple[int, int], config: GlipConfig = GLIP_L) -> GlipGrounder:
    words = {word: i for i, word in enumerate(dict.fromkeys(CAPTION.split()))}
    tokenizer = Tokenizer(WordLevel(words, unk_token="a"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    with seeded(0):
        net = Glip(config).eval().requires_grad_(False)
    return GlipGrounder(net.to(device), WordPieces(tokenizer), str.split, min(side), max(side), "mean", "fp32", 1)


def pad_texts(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Text as the released code has it: 256 tokens, most of them padding."""
    images, ids, real = inputs
    missing = (0, GLIP_L.max_tokens - ids.shape[1])
    return images, F.pad(ids, missing), F.pad(real, missing)


def on_gpu() -> None:
    side = (800, 1333)
    grounder = build(torch.device("cuda"), side)
    print(f"{torch.cuda.get_device_name()}, GLIP-L at {side[0]} x {side[1]}")
    first = 0.0
    for precision in ("fp32", "bf16", "fp16"):
        grounder.precision = precision
        for batch in (1, 2, 4, 8, 16, 32):
            torch.cuda.reset_peak_memory_stats()
            try:
                speed = per_second(grounder, side, batch, 3)
            except torch.cuda.OutOfMemoryError:
                print(f"{precision} batch {batch}: out of memory")
                break
            first = first or speed
            memory = torch.cuda.max_memory_allocated() / 2**30
            print(f"{precision} batch {batch}: {speed:.2f} images/s ({speed / first:.1f}x), {memory:.1f} GiB")


def on_cpu() -> None:
    side = (320, 533)
    grounder = build(torch.device("cpu"), side)
    threads = torch.get_num_threads()
    print(f"no CUDA device: CPU, {threads} threads, float32, GLIP-L at {side[0]} x {side[1]} instead of 800 x 1333")
    first = per_second(grounder, side, 1, 1)
    print(
        f"batch 1: {first:.3f} images/s, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB resident"
    )
    batched = per_second(grounder, side, 2, 0)
    print(f"batch 2: {batched:.3f} images/s ({batched / first:.2f}x)")
    hook = grounder.net.register_forward_pre_hook(pad_texts)
    padded = per_second(grounder, side, 1, 0)
    hook.remove()
    print(f"batch 1, text padded to {GLIP_L.max_tokens} tokens: {padded:.3f} images/s ({padded / first:.2f}x)")


if __name__ == "__main__":
    if torch.cuda.is_available():
        on_gpu()
    else:
        on_cpu()

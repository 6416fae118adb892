"""Captions per second of BLIP-2 with random weights at 20 tokens: image by image in fp32, against tellsign's batches.

Both take the same images through the same model, processor and decoding in one process; prints the ratio. On CUDA
the model has the size of blip2-opt-2.7b and ours computes in bf16; on a CPU it is a small one of the same
architecture, and ours computes in fp32 too. Run: OMP_NUM_THREADS=1 python benchmarks/captions.py [cuda] [batch ...]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from tellsign.networks.determinism import seeded
from tellsign.networks.vision_language import Blip2
from tellsign.system.devices import threads

LENGTH, ROWS, LINE_FEED, IMAGE = 20, 50304, 50118, 50265
SMALL = {
    "vision_config": {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4},
    "qformer_config": {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4},
    "text_config": {"hidden_size": 384, "ffn_dim": 1536, "num_hidden_layers": 6, "num_attention_heads": 6},
}
FULL = {"text_config": {"hidden_size": 2560, "ffn_dim": 10240, "num_hidden_layers": 32, "num_attention_heads": 32}}


def model_and_processor(device: str) -> tuple[Any, Any]:
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor, GPT2Tokenizer, OPTConfig
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    parts: dict[str, Any] = FULL if device == "cuda" else SMALL
    text = OPTConfig(**parts["text_config"], vocab_size=ROWS, eos_token_id=LINE_FEED)
    sizes: dict[str, Any] = parts | {"text_config": text.to_dict(), "image_token_index": IMAGE}
    config = Blip2Config(**sizes)
    with seeded(0), torch.device(device):
        model = Blip2ForConditionalGeneration(config).eval()
    tokenizer = GPT2Tokenizer({f"w{i}": i for i in range(IMAGE)}, [], unk_token="w3", bos_token="w2", eos_token="w2")
    return model, Blip2Processor(BlipImageProcessorPil(size={"height": 224, "width": 224}), tokenizer, 32)


def plain(model: Any, processor: Any, images: list[np.ndarray], beams: int) -> list[str]:
    captions = []
    for image in images:
        given = processor(images=Image.fromarray(image), return_tensors="pt").to(model.device)
        length = {"min_new_tokens": LENGTH, "max_new_tokens": LENGTH}
        written = model.generate(**given, **length, num_beams=beams, do_sample=False)
        captions.append(processor.batch_decode(written[:, 33:])[0].strip())
    return captions


def rate(work: Callable[[], list[str]], repeats: int = 2) -> float:
    best = 0.0
    work()
    for _ in range(repeats):
        start = time.perf_counter()
        count = len(work())
        best = max(best, count / (time.perf_counter() - start))
    return best


def main() -> None:
    torch.set_num_threads(threads())
    device = "cuda" if "cuda" in sys.argv else "cpu"
    batches = [int(word) for word in sys.argv[1:] if word.isdigit()] or ([64, 128, 256] if device == "cuda" else [8])
    draw = np.random.default_rng(0)
    images = [draw.integers(0, 256, (400, 500, 3), dtype=np.uint8) for _ in range(max(batches) * 2)]
    model, processor = model_and_processor(device)
    size = sum(parameter.numel() for parameter in model.parameters())
    told = "the size of blip2-opt-2.7b" if device == "cuda" else "reduced: no GPU asked for"
    print(f"{device}, {size / 1e6:.0f} M parameters ({told}), {LENGTH} tokens")

    few = images[:8]
    singly = {beams: rate(lambda beams=beams: plain(model, processor, few, beams)) for beams in (1, 5)}
    for beams in singly:
        for batch in batches:
            lengths = {"min_new_tokens": LENGTH, "max_new_tokens": LENGTH}
            ours = Blip2(model, processor, {"prompt": "", "precision": "bf16", "beams": beams, **lengths}, batch)
            if device == "cpu":
                assert ours.caption(few) == plain(model, processor, few, beams)
            ours.to(device)
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            work = images[: 2 * batch]
            ratio = rate(lambda ours=ours, work=work: ours.caption(work)) / singly[beams]
            memory = f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if device == "cuda" else ""
            print(
                f"beams {beams}, batch {batch}: ours / one by one in fp32 = {ratio:.2f} "
                f"({ratio * singly[beams]:.2f} against {singly[beams]:.2f} captions/s{memory})"
            )


if __name__ == "__main__":
    main()

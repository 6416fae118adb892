"""GLIP as a grounder: images with captions and phrases to the best box of every phrase."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn

from tellsign.errors import UserError, choose
from tellsign.networks.glip.detect import (
    AGGREGATES,
    Rule,
    anchors,
    batch,
    detect,
    normalise,
    padded_size,
    resize,
    resized_size,
    to_original,
)
from tellsign.networks.glip.model import GLIP_L, GLIP_T, Glip, GlipConfig
from tellsign.networks.glip.text import Span, WordPieces, occurrences, phrases_of
from tellsign.networks.glip.weights import load_official
from tellsign.networks.grounders.grounder import NOWHERE, Grounding
from tellsign.networks.precisions import PRECISIONS

CONFIGS: dict[str, GlipConfig] = {"glip-l": GLIP_L, "glip-t": GLIP_T}


def _demo_phrases(caption: str) -> list[str]:
    """The demo's phrases without their article, which a caption need not have."""
    from tellsign.demo.grounder import phrases

    return [phrase.partition(" ")[2] for phrase in phrases(caption)]


GRAMMARS: dict[str, Callable[[str], list[str]]] = {"nltk": phrases_of, "demo": _demo_phrases}


@contextmanager
def computing(device: torch.device, precision: str) -> Iterator[None]:
    """Arithmetic of the network on a device.

    On a GPU ``fp32`` is float32 throughout: by default cuDNN would round the inputs of convolutions to TF32. ``bf16``
    and ``fp16`` are autocast, with TF32 for what stays float32. A CPU computes float32 whatever is asked.
    """
    if device.type != "cuda":
        yield
        return
    dtype = choose(PRECISIONS, precision, "precision")
    backends: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn.conv]  # pyright: ignore[reportAttributeAccessIssue]
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee" if precision == "fp32" else "tf32"
        with torch.autocast("cuda", dtype=dtype, enabled=precision != "fp32"):
            yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.fp32_precision = value


class Job(NamedTuple):
    """One image of a call of `GlipGrounder.ground`."""

    image: UInt8[np.ndarray, "h w 3"]
    caption: str
    phrases: list[str]
    spans: list[tuple[str, Span]]  # every place of the caption where a phrase stands, and which phrase


class GlipGrounder(nn.Module):
    """Phrase grounding by GLIP.

    Args:
        net: The network.
        tokenizer: Its tokenizer.
        grammar: Caption to phrases.
        min_side: Images are resized to this shorter side …
        max_side: … unless the longer one would exceed this.
        aggregate: How a phrase's tokens are joined, one of `AGGREGATES`.
        precision: On a GPU, one of `PRECISIONS`.
        batch_size: Most images at once.
    """

    def __init__(
        self,
        net: Glip,
        tokenizer: WordPieces,
        grammar: Callable[[str], list[str]],
        min_side: int,
        max_side: int,
        aggregate: str,
        precision: str,
        batch_size: int,
    ) -> None:
        super().__init__()
        self.net, self.tokenizer, self.grammar = net, tokenizer, grammar
        self.min_side, self.max_side = min_side, max_side
        self.rule = Rule(aggregate=aggregate)
        self.precision, self.batch_size = precision, batch_size

    def phrases(self, caption: str) -> list[str]:
        """The phrases of a caption that may name objects, in order, each once."""
        return self.grammar(caption)

    @torch.inference_mode()
    def ground(
        self, images: list[UInt8[np.ndarray, "h w 3"]], captions: list[str], phrases: list[list[str]]
    ) -> list[list[Grounding]]:
        """The best box of each phrase of each image, in pixels of the image as given.

        Every place where a phrase stands in its caption, in lower case and within longer words too, is looked for by
        itself; the best of a phrase's boxes counts. Score 0 means that no place of the image has p > 0.05 for it, that
        it is not in the caption, or that only tokens beyond the network's limit stand for it.

        Images of one padded size are batched, whatever their order; their captions are padded to the longest of the
        batch. Neither changes a result by more than rounding.

        Args:
            images: RGB, any sizes.
            captions: One per image.
            phrases: Per image, what to look for.

        Raises:
            UserError: the network's outputs are not finite.
        """
        # a name for every span: the released demo numbers spans but names phrases, and so misnames what follows a
        # phrase that stands twice in the caption
        jobs = [
            Job(image, caption, names, [(name, span) for name in names for span in occurrences(name, caption)])
            for image, caption, names in zip(images, captions, phrases, strict=True)
        ]
        buckets: dict[tuple[int, int], list[int]] = defaultdict(list)
        boxes_of_row: dict[int, list[Grounding]] = {}
        for row, job in enumerate(jobs):
            if job.spans:
                height, width = self._size(job)
                buckets[padded_size(height, width, self.net.config.divisor)].append(row)
            else:
                boxes_of_row[row] = [NOWHERE for _ in job.phrases]
        for rows in buckets.values():
            for start in range(0, len(rows), self.batch_size):
                chunk = rows[start : start + self.batch_size]
                boxes_of_row.update(zip(chunk, self._chunk([jobs[row] for row in chunk]), strict=True))
        return [boxes_of_row[row] for row in range(len(jobs))]

    def _size(self, job: Job) -> tuple[int, int]:
        return resized_size(job.image.shape[0], job.image.shape[1], self.min_side, self.max_side)

    def _chunk(self, jobs: Sequence[Job]) -> list[list[Grounding]]:
        """`ground` for images of one padded size."""
        config, device = self.net.config, self.net.head.log_scale.device
        texts = [self.tokenizer(job.caption.lower(), config.max_tokens) for job in jobs]
        longest = max(len(text.ids) for text in texts)
        ids = torch.tensor([text.ids + [0] * (longest - len(text.ids)) for text in texts], device=device)
        real = torch.tensor([[i < len(text.ids) for i in range(longest)] for text in texts], device=device)
        sizes = [self._size(job) for job in jobs]
        resized = (resize(job.image, height, width) for job, (height, width) in zip(jobs, sizes, strict=True))
        pixels = batch([normalise(image, config.mean, config.std, device) for image in resized], config.divisor)
        with computing(device, self.precision):
            predictions = self.net(pixels, ids, real)
        if not predictions.logits.isfinite().all():
            raise UserError(
                f"GLIP's outputs are not finite. With precision {self.precision!r} a number may have grown too large: "
                "try bf16 or fp32. With fp32 the weights are damaged."
            )
        squares = anchors(config.anchor_sizes, config.strides, predictions.sizes, device)
        results = []
        for row, (job, text, size) in enumerate(zip(jobs, texts, sizes, strict=True)):
            tokens = [text.of([span], config.max_tokens) for _, span in job.spans]
            boxes = detect(predictions, row, squares, tokens, size, self.rule)
            corners = to_original(boxes.boxes, size, (job.image.shape[0], job.image.shape[1])).tolist()
            best: dict[str, Grounding] = {}
            for box, score, label in zip(corners, boxes.scores.tolist(), boxes.labels.tolist(), strict=True):
                x0, y0, x1, y1 = box
                best.setdefault(job.spans[label][0], Grounding(x0, y0, x1, y1, score))  # sorted: the first is the best
            results.append([best.get(name, NOWHERE) for name in job.phrases])
        return results


def load(settings: Mapping[str, Any], batch_size: int) -> GlipGrounder:
    """Build a GLIP grounder, on the CPU, ready to use.

    Args:
        settings: ``name``: ``glip-l``, ``glip-t``, or ``glip`` for another size. ``weights``: a released file, or for
            ``glip`` a folder with config.json, weights.safetensors and tokenizer. ``tokenizer``: its ``weights`` is
            the folder of a BERT tokenizer (``glip`` has its own). ``grammar``: one of `GRAMMARS`. ``min_side``,
            ``max_side``, ``aggregate``, ``precision``: see `GlipGrounder`.
        batch_size: Most images at once.

    Raises:
        UserError: a name is not known, a file is missing or does not fit.
    """
    weights = Path(settings["weights"])
    if settings["name"] == "glip":
        config = GlipConfig.from_json(weights / "config.json")
        weights, tokens = weights / "weights.safetensors", weights / "tokenizer"
    else:
        config, tokens = choose(CONFIGS, settings["name"], "GLIP"), Path(settings["tokenizer"]["weights"])
    grammar = choose(GRAMMARS, settings["grammar"], "grammar")
    choose(AGGREGATES, settings["aggregate"], "aggregate")
    choose(PRECISIONS, settings["precision"], "precision")
    tokenizer = WordPieces.load(tokens)
    if tokenizer.size > config.bert.vocab_size:
        raise UserError(
            f"{tokens} has {tokenizer.size} tokens, this GLIP knows {config.bert.vocab_size}: it is another model's."
        )
    return GlipGrounder(
        load_official(weights, config),
        tokenizer,
        grammar,
        settings["min_side"],
        settings["max_side"],
        settings["aggregate"],
        settings["precision"],
        batch_size,
    ).eval()

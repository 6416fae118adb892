"""Captions by BLIP-2, BLIP and LLaVA (TIDY §4.1 and Fig. 8), read by transformers from a folder.

=======  ======================================  =================================================================
name     hub id                                  what it follows
=======  ======================================  =================================================================
blip2    Salesforce/blip2-opt-2.7b               LAVIS, ``blip2_models/blip2_opt.py`` (``generate``): no prompt, a
                                                 caption ends at OPT's line feed, beams 5, at most 30 new tokens
blip     Salesforce/blip-image-captioning-base   transformers' ``BlipForConditionalGeneration.generate`` without
         (or -large)                             text: [DEC] begins, [SEP] ends (TIDY does not say which size)
llava    llava-hf/llava-1.5-7b-hf                transformers' LLaVA documentation: one turn of chat, the image
                                                 before TIDY's prompt
=======  ======================================  =================================================================

Images go through PIL's resampling, as they do in LAVIS, and not through torchvision's, which transformers would
take and which differs in some pixels. The Q-Former computes in single precision whatever the rest does, as in LAVIS.

Every tensor of a snapshot must find its place and every parameter its tensor. Two things are let through: a tied
weight (the output layer that shares the embedding's) may be stored once or twice, and the tables of numbers
``position_ids`` and ``rotary_emb.inv_freq``, which older files hold and which are computed, not learnt, are passed
over.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from PIL import Image
from torch import Tensor, nn

from tellsign.errors import UserError, choose
from tellsign.networks.precisions import PRECISIONS
from tellsign.networks.snapshots import GET, WEIGHTS, check_files, check_tensors, weights_file


class VisionLanguage(nn.Module):
    """A captioner: a model of transformers, its processor and one way of decoding.

    Subclasses say what a family reads before it writes, which part of it writes, and what ends a caption.
    """

    model_type: ClassVar[str]
    model_class: ClassVar[str]
    processor_class: ClassVar[str]
    tokenizer_files: ClassVar[tuple[tuple[str, ...], ...]]
    """Sets of files, any of which is a whole tokenizer."""
    prompt: Tensor

    def __init__(self, model: Any, processor: Any, settings: Mapping[str, Any], batch_size: int) -> None:
        super().__init__()
        self.model, self.processor, self.batch_size = model.eval().requires_grad_(False), processor, batch_size
        self.precision = choose(PRECISIONS, settings["precision"], "precision")
        self.register_buffer("prompt", torch.tensor([self.prompt_tokens(settings["prompt"])]), persistent=False)
        self.ends = self.end_tokens()
        self.decoding = decoding(settings, self.ends, self.writer().config.get_text_config().pad_token_id)
        # what the snapshot's own generation settings hold would fill whatever is unset in ours
        self.writer().generation_config = self.decoding

    def writer(self) -> Any:
        """The part of the model whose ``generate`` writes."""
        raise NotImplementedError

    def prompt_tokens(self, prompt: str) -> list[int]:
        """What stands before a caption, the image's places included.

        Raises:
            UserError: a prompt for a family that captions without one.
        """
        raise NotImplementedError

    def end_tokens(self) -> list[int]:
        """Tokens any of which ends a caption."""
        raise NotImplementedError

    def read(self, pixels: Float[Tensor, "b 3 h w"], prompt: Int64[Tensor, "b n"]) -> dict[str, Tensor]:
        """What the writer's ``generate`` is given."""
        raise NotImplementedError

    def to(self, device: torch.device | str) -> VisionLanguage:  # type: ignore[override]
        """Move to a device: on CUDA the weights take the recipe's precision, on a CPU they stay single."""
        device = torch.device(device)
        rounded(self.model, device, self.precision if device.type == "cuda" else torch.float32)
        return super().to(device)

    @torch.inference_mode()
    def caption(self, images: list[UInt8[np.ndarray, "h w 3"]]) -> list[str]:
        """One sentence for each image (RGB, any sizes), without white space around it; it can be empty.

        The next chunk's images are resized while this one's captions are written. Every chunk has the same size: a
        product of matrices may round differently at another, and an image's caption must depend on no other image.
        """
        captions: list[str] = []
        for pixels in self._chunks(images):
            prompt = self.prompt.expand(len(pixels), -1)
            given = self.read(pixels.to(self.prompt.device, non_blocking=True), prompt)
            written = self.writer().generate(**given, generation_config=self.decoding)
            rows = [self._before_end(row) for row in written[:, prompt.shape[1] :].tolist()]
            captions += self.processor.tokenizer.batch_decode(rows, skip_special_tokens=True)
        return [caption.strip() for caption in captions[: len(images)]]

    def _before_end(self, tokens: list[int]) -> list[int]:
        return tokens[: next((i for i, token in enumerate(tokens) if token in self.ends), len(tokens))]

    def _chunks(self, images: list[UInt8[np.ndarray, "h w 3"]]) -> Iterator[Float[Tensor, "b 3 h w"]]:
        """Preprocessed chunks in order, each made by a second thread while the one before it is used."""
        upcoming: Future[Tensor] | None = None
        with ThreadPoolExecutor(max_workers=1) as worker:
            for start in range(0, len(images), self.batch_size):
                following = worker.submit(self._pixels, images[start : start + self.batch_size])
                if upcoming is not None:
                    yield upcoming.result()
                upcoming = following
            if upcoming is not None:
                yield upcoming.result()

    def _pixels(self, images: list[UInt8[np.ndarray, "h w 3"]]) -> Float[Tensor, "b 3 h w"]:
        """One chunk as the model takes it, filled up with its last image."""
        pictures = [Image.fromarray(np.ascontiguousarray(image)) for image in images]
        pixels = self.processor.image_processor(pictures, return_tensors="pt")["pixel_values"]
        rows = torch.arange(self.batch_size).clamp(max=len(images) - 1)
        pixels = pixels[rows]
        return pixels.pin_memory() if self.prompt.is_cuda else pixels


class Blip2(VisionLanguage):
    """BLIP-2 with OPT (Li et al. 2023): the query tokens, then OPT's beginning, then the caption."""

    model_type, model_class, processor_class = "blip-2", "Blip2ForConditionalGeneration", "Blip2Processor"
    tokenizer_files = (("tokenizer.json",), ("vocab.json", "merges.txt"))

    def writer(self) -> Any:
        """OPT."""
        return self.model.language_model

    def prompt_tokens(self, prompt: str) -> list[int]:
        """The places of the queries, and OPT's token of beginning.

        Snapshots from before the tokenizer knew ``<image>`` name no token for those places. The one the processor
        then adds takes a row of the embedding that OPT does not use; what that row holds is replaced by the queries.
        """
        _refuse_prompt("blip2", prompt)
        config, processor = self.model.config, self.processor
        if config.text_config.model_type != "opt":
            raise UserError(
                f"blip2 is BLIP-2 with OPT; the snapshot's language model is {config.text_config.model_type!r}. {GET}"
            )
        processor.num_query_tokens = config.num_query_tokens
        if config.image_token_id is None:
            config.image_token_id = processor.tokenizer.convert_tokens_to_ids(processor.image_token.content)
        rows = len(self.model.get_input_embeddings().weight)
        if config.image_token_id >= rows:
            raise UserError(
                f"the snapshot of blip2 has no row for the image's token {config.image_token_id}, only {rows}. Take "
                f"the pinned revision: {GET}"
            )
        return [config.image_token_id] * config.num_query_tokens + [config.text_config.bos_token_id]

    def end_tokens(self) -> list[int]:
        """The line feed, as the configuration has it."""
        return _numbers(self.model.config.text_config.eos_token_id)

    def read(self, pixels: Float[Tensor, "b 3 h w"], prompt: Int64[Tensor, "b n"]) -> dict[str, Tensor]:
        """The prompt's embedding with the projected queries in their places."""
        return _spliced(self.model, pixels, prompt)


class Blip(VisionLanguage):
    """BLIP (Li et al. 2022): a decoder that attends to the image's tokens."""

    model_type, model_class, processor_class = "blip", "BlipForConditionalGeneration", "BlipProcessor"
    tokenizer_files = (("tokenizer.json",), ("vocab.txt",))

    def writer(self) -> Any:
        """The text decoder."""
        return self.model.text_decoder

    def prompt_tokens(self, prompt: str) -> list[int]:
        """The decoder's token of beginning."""
        _refuse_prompt("blip", prompt)
        return [self.model.config.text_config.bos_token_id]

    def end_tokens(self) -> list[int]:
        """BERT's separator (the configuration's token of end is none of BERT's)."""
        return _numbers(self.model.config.text_config.sep_token_id)

    def read(self, pixels: Float[Tensor, "b 3 h w"], prompt: Int64[Tensor, "b n"]) -> dict[str, Tensor]:
        """The image's tokens beside the prompt."""
        seen = self.model.vision_model(pixel_values=pixels).last_hidden_state
        mask = torch.ones(seen.shape[:2], dtype=torch.long, device=seen.device)
        return {
            "input_ids": prompt,
            "attention_mask": torch.ones_like(prompt),
            "encoder_hidden_states": seen,
            "encoder_attention_mask": mask,
        }


class Llava(VisionLanguage):
    """LLaVA-1.5 (Liu et al. 2023): one turn of chat that asks for a caption."""

    model_type, model_class, processor_class = "llava", "LlavaForConditionalGeneration", "LlavaProcessor"
    tokenizer_files = (("tokenizer.json",), ("tokenizer.model",))

    def writer(self) -> Any:
        """The whole model."""
        return self.model

    def prompt_tokens(self, prompt: str) -> list[int]:
        """The turn by the snapshot's chat template, or by LLaVA-1.5's where the snapshot has none.

        How many places the image takes is the model's to say; older snapshots' processors do not know it.
        """
        config, processor = self.model.config, self.processor
        processor.patch_size = config.vision_config.patch_size
        processor.vision_feature_select_strategy = config.vision_feature_select_strategy
        processor.num_additional_image_tokens = 1  # CLIP's class token
        turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}
        if processor.chat_template:
            text = processor.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)
        else:
            text = f"USER: {processor.image_token}\n{prompt} ASSISTANT:"
        return list(processor(images=Image.new("RGB", (8, 8)), text=text)["input_ids"][0])

    def end_tokens(self) -> list[int]:
        """What the snapshot's generation settings say, else Llama's token of end."""
        ends = self.model.generation_config.eos_token_id
        return _numbers(self.model.config.text_config.eos_token_id if ends is None else ends)

    def read(self, pixels: Float[Tensor, "b 3 h w"], prompt: Int64[Tensor, "b n"]) -> dict[str, Tensor]:
        """The prompt's embedding with the projected patches in their places."""
        return _spliced(self.model, pixels, prompt)


FAMILIES: dict[str, type[VisionLanguage]] = {"blip2": Blip2, "blip": Blip, "llava": Llava}


def load(settings: Mapping[str, Any], batch_size: int) -> VisionLanguage:
    """Build a captioner from a snapshot in a folder, on the CPU and in single precision; nothing is downloaded.

    Args:
        settings: name (of `FAMILIES`), weights (the folder), beams, max_new_tokens, min_new_tokens, prompt,
            precision (of `PRECISIONS`; for CUDA, a CPU computes fp32).
        batch_size: Images that are captioned together.

    Raises:
        UserError: unknown name or precision, files that are missing, unreadable or another family's, tensors that
            are missing, left over or misshapen, or a prompt for a family that takes none.
    """
    family = choose(FAMILIES, settings["name"], "captioner")
    folder = Path(settings["weights"])
    check_files(folder, settings["name"], family)

    import transformers
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    damage = (OSError, ValueError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError)
    try:
        with _quiet():
            model, loading_info = getattr(transformers, family.model_class).from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=weights_file(folder) in WEIGHTS[:2],
                weights_only=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # listed below, with the others
                output_loading_info=True,
            )
            processor = getattr(transformers, family.processor_class).from_pretrained(
                folder, local_files_only=True, backend="pil"
            )
    except (*damage, SafetensorError, StrictDataclassError) as problem:
        reason = next(iter(str(problem).strip().splitlines()), type(problem).__name__)
        raise UserError(f"{folder} cannot be read as a snapshot of {settings['name']}: {reason} {GET}") from problem
    check_tensors(folder, loading_info)
    return family(model, processor, settings, batch_size)


def decoding(settings: Mapping[str, Any], ends: list[int], pad: int | None) -> Any:
    """How captions are written: beam search without sampling, and what LAVIS's ``generate`` sets beside it.

    LAVIS's ``max_length=30`` is ``max_new_tokens=30``. Its ``min_length=1`` counts OPT's token of beginning, so that
    it allows empty captions: that is ``min_new_tokens=0``; 1 forbids a caption to end before its first token.
    Nothing of a snapshot's own settings is taken but the tokens' numbers: a length there would cut captions short.
    """
    from transformers import GenerationConfig

    return GenerationConfig(
        num_beams=settings["beams"],
        max_new_tokens=settings["max_new_tokens"],
        min_new_tokens=settings["min_new_tokens"],
        do_sample=False,
        length_penalty=1.0,
        repetition_penalty=1.0,
        early_stopping=False,
        num_return_sequences=1,
        use_cache=True,
        eos_token_id=ends,
        pad_token_id=ends[0] if pad is None else pad,
    )


def rounded(model: Any, device: torch.device, precision: torch.dtype) -> None:
    """Move a model's weights to a device and a precision, in place.

    Each is rounded on its way, so that the device never holds the model in single precision. What transformers
    would keep in single precision stays so (BLIP-2's Q-Former; there for fp16, here for bf16 too), and so do tables
    that are no weights (rotary frequencies).
    """
    whole = set(model._keep_in_fp32_modules or ())
    for name, parameter in model.named_parameters():
        parameter.data = parameter.data.to(device, torch.float32 if whole & set(name.split(".")) else precision)


def _spliced(model: Any, pixels: Float[Tensor, "b 3 h w"], prompt: Int64[Tensor, "b n"]) -> dict[str, Tensor]:
    """Inputs of ``generate`` with the image's features in the prompt's places for them.

    Left to itself transformers would run LLaVA's image tower once for every beam.
    """
    features = torch.cat(tuple(model.get_image_features(pixels, return_dict=True).pooler_output))
    places = prompt == model.config.image_token_id
    if int(places.sum()) != len(features):
        raise UserError(
            f"the processor leaves {int(places[0].sum())} places for an image, the model fills "
            f"{len(features) // len(prompt)}: the snapshot's files are of different revisions. {GET}"
        )
    embedded = model.get_input_embeddings()(prompt)
    embedded = embedded.masked_scatter(places[:, :, None], features.to(embedded.dtype))
    return {"input_ids": prompt, "inputs_embeds": embedded, "attention_mask": torch.ones_like(prompt)}


def _numbers(tokens: int | list[int] | None) -> list[int]:
    if tokens is None:
        raise UserError(f"the snapshot's config.json names no token that ends a caption. {GET}")
    return [tokens] if isinstance(tokens, int) else list(tokens)


def _refuse_prompt(name: str, prompt: str) -> None:
    if prompt:
        raise UserError(f"{name} captions without a prompt; {prompt!r} came. Set prompt: '' (llava takes one).")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' progress bars and advice off the log; errors are raised, and what it reports is checked."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()

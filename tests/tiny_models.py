"""Tiny BLIP-2, BLIP and LLaVA snapshots: the real classes, tokenizers and processors, random weights, no downloads.

Each function fills a folder as the hub's repositories are filled. The language models' whole words are the demo's
colours and shapes; the rows of all other tokens are shrunk, so that a random caption is a row of such words. The
seeds are those whose captions vary and often hold phrases ("red circle").
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tellsign.demo.words import COLOURS, SHAPES
from tellsign.networks.determinism import seeded

SIDE, PATCH = 16, 8
WORDS = ("a", *COLOURS, *SHAPES)
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:.-,\n"


def shaken(model: Any, seed: int, words: list[int], ends: list[int], gain: float = 2.0) -> Any:
    """Weights drawn so that image, place and word all matter (the usual beginnings are nearly constant functions).

    ``words`` are the tokens a caption is made of, ``ends`` those that end it; all other tokens' rows are shrunk.
    """
    with seeded(seed), torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                is_scale = "norm" in name.lower() and name.endswith("weight")
                parameter.copy_(0.1 * torch.randn_like(parameter) + is_scale)
            elif "embed" in name or "query_tokens" in name:
                parameter.copy_((0.3 if "token" in name or "word" in name else 1.0) * torch.randn_like(parameter))
            else:
                parameter.copy_(gain * torch.randn_like(parameter) / parameter[0].numel() ** 0.5)
        head = model.get_output_embeddings() or model.text_decoder.get_output_embeddings()
        scale = torch.full((len(head.weight), 1), 0.05)
        scale[words], scale[ends] = 1.0, 1.0
        head.weight.mul_(scale)
        if head.bias is not None:
            head.bias.mul_(scale[:, 0])
    return model.eval()


def merged(words: list[str], tokens: dict[str, int]) -> Any:
    """Merges that build each word from its letters, left to right; the pieces are added to ``tokens``."""
    merges: dict[tuple[str, str], None] = {}
    for word in words:
        for letter in word:
            tokens.setdefault(letter, len(tokens))
        pieces = [word[: i + 1] for i in range(len(word))]
        for left, right in pairwise(pieces):
            merges[left, right[len(left) :]] = None
            tokens.setdefault(right, len(tokens))
    return list(merges)


def blip2(folder: Path, seed: int = 19) -> Path:
    """As Salesforce/blip2-opt-2.7b: ViT, Q-Former, OPT with a byte-level BPE; the line feed ends a caption."""
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor, GPT2Tokenizer, OPTConfig
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    tokens = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "Ċ": 4}
    spaced = ["Ġ" + word for word in WORDS]
    merges = merged(spaced, tokens)
    tokenizer = GPT2Tokenizer(
        tokens, merges, unk_token="</s>", bos_token="</s>", eos_token="</s>", pad_token="<pad>", add_bos_token=True
    )
    processor = Blip2Processor(
        BlipImageProcessorPil(size={"height": SIDE, "width": SIDE}), tokenizer, num_query_tokens=4
    )
    text = OPTConfig(
        vocab_size=len(tokens) + 8,
        hidden_size=16,
        ffn_dim=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        eos_token_id=tokens["Ċ"],
        dropout=0.0,
    )
    config = Blip2Config(
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": PATCH,
        },
        qformer_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "encoder_hidden_size": 16,
            "vocab_size": 8,
        },
        text_config=text.to_dict(),
        num_query_tokens=4,
        image_token_index=tokenizer.get_vocab()["<image>"],
    )
    model = Blip2ForConditionalGeneration(config)
    shaken(model, seed, [tokens[word] for word in spaced], [tokens["Ċ"]])
    return _saved(model, processor, folder)


def blip(folder: Path, seed: int = 15) -> Path:
    """As Salesforce/blip-image-captioning-base: ViT and BERT as a decoder; [DEC] begins and [SEP] ends a caption."""
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipProcessor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    names = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "[DEC]", "[ENC]")
    tokens = {name: i for i, name in enumerate(names)}
    tokenizer = BertTokenizer(tokens, bos_token="[DEC]", additional_special_tokens=["[ENC]"])
    processor = BlipProcessor(BlipImageProcessorPil(size={"height": SIDE, "width": SIDE}), tokenizer)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BlipConfig(
        vision_config={**sizes, "image_size": SIDE, "patch_size": PATCH},
        text_config={
            **sizes,
            "vocab_size": len(tokens),
            "max_position_embeddings": 64,
            "bos_token_id": tokens["[DEC]"],
            "sep_token_id": tokens["[SEP]"],
            "pad_token_id": tokens["[PAD]"],
        },
    )
    model = BlipForConditionalGeneration(config)
    shaken(model, seed, [tokens[word] for word in WORDS], [tokens["[SEP]"]])
    return _saved(model, processor, folder)


def llava(folder: Path, seed: int = 10, template: bool = False) -> Path:
    """As llava-hf/llava-1.5-7b-hf: CLIP's ViT, a projector, Llama with its BPE; with or without a chat template."""
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlamaTokenizer,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokens = {"<unk>": 0, "<s>": 1, "</s>": 2, "▁": 3}
    tokens |= {letter: i for i, letter in enumerate(LETTERS, start=len(tokens))}
    spaced = ["▁" + word for word in WORDS]
    merges = merged(spaced, tokens)
    tokenizer = LlamaTokenizer(tokens, merges, add_bos_token=True)
    tokenizer.add_tokens(["<image>", "<pad>"], special_tokens=True)
    tokenizer.pad_token = "<pad>"
    chat = (
        "{% for turn in messages %}{{ turn['role'] }}: {% for part in turn['content'] %}"
        "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
        "{% if add_generation_prompt %} assistant:{% endif %}"
    )
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat if template else None,
    )
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
    }
    text = LlamaConfig(**sizes, vocab_size=len(tokenizer), max_position_embeddings=256, pad_token_id=1)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**sizes, image_size=SIDE, patch_size=PATCH, projection_dim=16).to_dict(),
        text_config=text.to_dict(),
        image_token_index=tokenizer.get_vocab()["<image>"],
        image_seq_length=(SIDE // PATCH) ** 2,
    )
    model = LlavaForConditionalGeneration(config)
    shaken(model, seed, [tokens[word] for word in spaced], [tokens["</s>"]])
    return _saved(model, processor, folder)


SNAPSHOTS = {"blip2": blip2, "blip": blip, "llava": llava}


def _saved(model: Any, processor: Any, folder: Path) -> Path:
    from transformers.utils import logging

    logging.disable_progress_bar()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def glip(folder: Path, seed: int = 3) -> Path:
    """A GLIP of another size: config.json, weights.safetensors under the released names, tokenizer."""
    from transformers import BertTokenizer

    from tellsign.networks.glip.model import Glip, GlipConfig
    from tellsign.networks.glip.weights import released_name

    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder / "tokenizer")
    bert = {
        "hidden_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": len(words),
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
        "pad_token_id": 0,
    }
    swin = {"embed_dim": 8, "depths": [1, 1, 2, 1], "heads": [1, 1, 2, 2], "window": 4, "mlp_ratio": 2}
    config = {
        "swin": swin | {"out_channels": [8, 16, 32, 64], "patch_size": 4},
        "fpn_channels": 16,
        "head_channels": 16,
        "num_dyhead_blocks": 2,
        "group_norm_groups": 4,
        "fusion": {"num_heads": 2, "embed_dim": 16, "vision_dim": 16, "text_dim": 24},
        "bert": bert,
        "max_query_len": 64,
        "num_classes": 8,
        "anchor_sizes": [64, 128, 256, 512, 1024],
        "anchor_strides": [8, 16, 32, 64, 128],
        "aspect_ratios": [1.0],
        "scales_per_octave": 1,
        "pixel_mean_bgr": [103.53, 116.28, 123.675],
        "pixel_std_bgr": [57.375, 57.12, 58.395],
        "size_divisibility": 32,
    }
    (folder / "config.json").write_text(json.dumps(config))
    with seeded(seed), torch.no_grad():
        net = Glip(GlipConfig.from_json(folder / "config.json"))
        state = {}
        for name, value in net.state_dict().items():
            spread = value.float().std() if value.numel() > 1 and value.float().std() > 0 else 0.1
            state[released_name(name)] = (value + 0.5 * spread * torch.randn(value.shape)).contiguous()
    state["rpn.head.bias0"] = torch.zeros(1)  # else hardly a score would pass the threshold of 0.05
    state["rpn.head.cls_logits.weight"], state["rpn.head.cls_logits.bias"] = torch.zeros(8, 16, 1, 1), torch.zeros(8)
    save_file(state, folder / "weights.safetensors")
    return folder


CLIP = {
    "embed_dim": 6,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 8, "layers": 2, "width": 16, "head_width": 8, "patch_size": 4},
    "text_cfg": {"context_length": 9, "vocab_size": 49408, "width": 12, "heads": 2, "layers": 2},
}


def clip(folder: Path, settings: dict[str, Any] = CLIP) -> dict[str, torch.Tensor]:
    """As open_clip's models are on the hub; gives the state dict."""
    import open_clip

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": settings}))
    with seeded(7):
        model = open_clip.CLIP(**settings)
        # no plain ones and zeros
        state = {name: value + 0.1 * torch.randn_like(value) for name, value in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    return state

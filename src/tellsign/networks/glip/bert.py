"""BERT (Devlin et al. 2019): GLIP's text encoder, and the text layers of its tower.

Post-norm encoder layers with the module names of transformers' ``BertModel`` (which gives the same numbers), without
the pooler; one layer serves both places.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class BertConfig:
    """Sizes of a BERT; the defaults are bert-base-uncased's."""

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    vocab_size: int = 30522
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12


BERT_BASE = BertConfig()


class Embeddings(nn.Module):
    """Word, position and token-type vectors, summed and normalised."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        dim = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, dim)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, dim)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, dim)
        self.LayerNorm = nn.LayerNorm(dim, eps=config.layer_norm_eps)

    def forward(self, ids: Int[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """Embed tokens at positions 0, 1, …, all of type 0."""
        positions = self.position_embeddings.weight[: ids.shape[1]]
        return self.LayerNorm(self.word_embeddings(ids) + self.token_type_embeddings.weight[0] + positions)


class SelfAttention(nn.Module):
    """Attention of all tokens on the real ones."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "b t d"], real: Bool[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """Attend."""
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=real[:, None, None])
        return out.transpose(1, 2).flatten(2)


class Output(nn.Module):
    """A linear layer, the residual, then the norm."""

    def __init__(self, inputs: int, dim: int, eps: float) -> None:
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(inputs, dim), nn.LayerNorm(dim, eps=eps)

    def forward(self, x: Float[Tensor, "b t i"], residual: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Project and add."""
        return self.LayerNorm(self.dense(x) + residual)


class Attention(nn.Module):
    """Self attention with its output layer."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        dim = config.hidden_size
        self.self = SelfAttention(dim, config.num_attention_heads)
        self.output = Output(dim, dim, config.layer_norm_eps)

    def forward(self, x: Float[Tensor, "b t d"], real: Bool[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """Attend and add."""
        return self.output(self.self(x, real), x)


class Intermediate(nn.Module):
    """The wide half of the feed-forward part, with an exact (erf) GELU."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t i"]:
        """Widen."""
        return F.gelu(self.dense(x))


class BertLayer(nn.Module):
    """One encoder layer.

    The released code clamps scores and the feed-forward part of the tower's text layers to ±50000 besides; no
    float32 softmax or norm of sane weights comes near.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = Output(config.intermediate_size, config.hidden_size, config.layer_norm_eps)

    def forward(self, x: Float[Tensor, "b t d"], real: Bool[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """Transform all tokens; only the real ones are attended to."""
        x = self.attention(x, real)
        return self.output(self.intermediate(x), x)


class Encoder(nn.Module):
    """The layers, one after another."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(BertLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: Float[Tensor, "b t d"], real: Bool[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """Output of the last layer."""
        for layer in self.layer:
            x = layer(x, real)
        return x


class Bert(nn.Module):
    """Token ids to the last layer's states. States of padding are computed too, but no real token reads them."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.embeddings, self.encoder = Embeddings(config), Encoder(config)

    def forward(self, ids: Int[Tensor, "b t"], real: Bool[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """Encode."""
        return self.encoder(self.embeddings(ids), real)

"""The demo's small networks, each of the kind that the papers use.

CLIP's vision transformer, ModifiedResNet and text transformer (Radford et al. 2021), Xception (Chollet
2017), and the convolutional encoder that captioner and grounder share.

Networks this small do not find a generator's traces in raw colours within minutes; a fixed high-pass residual
over its own RMS shows them what large networks learn to look for. It is preprocessing, so masks act on it
too. CLIP's towers always have it; Xception has it where a recipe says ``front: high_pass``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn

from tellsign.demo import words
from tellsign.networks.backbones.fronts import unit_residual

CROP, PATCH, WIDTH, EMBEDDING, HEADS = 72, 12, 96, 96, 4
XCEPTION_DIM = 192


# ---------------------------------------------------------------------------------------------- front-ends


class ColourAndResidual(nn.Module):
    """Six channels: RGB in [-1, 1] and its unit residual."""

    def forward(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b 6 h w"]:
        """Preprocess."""
        x = pixels.float() / 127.5 - 1
        return torch.cat([x, unit_residual(x, 0.15)], dim=1)


# ---------------------------------------------------------------------------------------------- transformers


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


Cache = list[tuple[Float[Tensor, "b heads n k"], Float[Tensor, "b heads n k"]]]


class Block(nn.Module):
    """Pre-norm transformer block: attention, then a two-layer perceptron, each added to its input."""

    def __init__(self, width: int = WIDTH, heads: int = HEADS) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_qkv, self.to_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(
        self, x: Float[Tensor, "b n d"], allowed: Bool[Tensor, "n m"] | None = None, past: Cache | None = None
    ) -> Float[Tensor, "b n d"]:
        """Transform tokens.

        Args:
            x: Tokens.
            allowed: True where a token (row) may read another (column); None lets all read all.
            past: Keys and values of the tokens before ``x``, one entry or none; they are read as well, and
                the entry is replaced by them and ``x``'s own together.
        """
        split = self.to_qkv(self.norm_1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = split.unbind()
        if past is not None:
            if past:
                earlier_key, earlier_value = past.pop()
                key, value = torch.cat([earlier_key, key], 2), torch.cat([earlier_value, value], 2)
            past.append((key, value))
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        x = x + self.to_out(read.transpose(1, 2).flatten(2))
        return x + self.perceptron(self.norm_2(x))


def causal(length: int) -> Bool[Tensor, "n n"]:
    """Each token reads itself and those before it."""
    return torch.ones(length, length, dtype=torch.bool).tril()


class VisionTransformer(nn.Module):
    """CLIP's ViT in small: 36 patches of 12 pixels, four blocks, class token, projection.

    The patches are embedded by three convolutions (Xiao et al. 2021, "Early convolutions help transformers
    see better"): with one, shapes are not learned in the minute that the demo has.
    """

    def __init__(self, depth: int = 4) -> None:
        super().__init__()
        self.patches = nn.Sequential(
            *(nn.Conv2d(6, 24, 3, 3, bias=False), nn.BatchNorm2d(24), nn.ReLU()),
            *(_convolution(24, 48, 3, 2), nn.ReLU(), nn.Conv2d(48, WIDTH, 3, 2, 1)),
        )
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, WIDTH))
        self.position = nn.Parameter(0.02 * torch.randn(1, (CROP // PATCH) ** 2 + 1, WIDTH))
        self.norm_in, self.norm_out = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(depth)))
        self.project = nn.Linear(WIDTH, EMBEDDING, bias=False)

    def tokens(self, x: Float[Tensor, "b 6 72 72"]) -> Float[Tensor, "b 37 96"]:
        """Normalised last tokens, class token first."""
        patches = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), patches], dim=1) + self.position
        return self.norm_out(self.blocks(self.norm_in(x)))

    def forward(self, x: Float[Tensor, "b 6 72 72"]) -> Float[Tensor, "b 96"]:
        """Embed."""
        return self.project(self.tokens(x)[:, 0])


class TextTransformer(nn.Module):
    """CLIP's text tower in small: causal, read at the END token."""

    allowed: Tensor

    def __init__(self, depth: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(words.VOCABULARY), WIDTH)
        self.position = nn.Parameter(0.02 * torch.randn(1, words.LENGTH, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(depth))
        self.norm_out = nn.LayerNorm(WIDTH)
        self.project = nn.Linear(WIDTH, EMBEDDING, bias=False)
        self.register_buffer("allowed", causal(words.LENGTH), persistent=False)

    def forward(self, tokens: Int64[Tensor, "b 24"]) -> Float[Tensor, "b 96"]:
        """Embed numbers of words (`tellsign.demo.words.tokenise`)."""
        x = self.embedding(tokens) + self.position
        for block in self.blocks:
            x = block(x, self.allowed)
        end = (tokens == words.END).float().argmax(1)
        return self.project(self.norm_out(x[torch.arange(len(x), device=x.device), end]))


def encode(text: nn.Module, texts: list[str]) -> Float[Tensor, "b 96"]:
    """Embed texts with a `TextTransformer`."""
    return text(words.tokenise(texts).to(text.get_parameter("position").device))


# ---------------------------------------------------------------------------------------------- convolutions


def _halve(stride: int) -> nn.Module:
    # ceil_mode: at 72 pixels the last halving meets 9 columns, and the ninth counts as well
    return nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()


class Bottleneck(nn.Module):
    """Residual bottleneck whose stride is an average pool (ModifiedResNet's anti-aliasing)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner = outputs // 2
        self.way = nn.Sequential(
            *(_convolution(inputs, inner, 1), nn.ReLU(), _convolution(inner, inner, 3), nn.ReLU()),
            *(_halve(stride), _convolution(inner, outputs, 1)),
        )
        self.shortcut = nn.Sequential(_halve(stride), _convolution(inputs, outputs, 1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h2 w2"]:
        """Transform."""
        return F.relu(self.way(x) + self.shortcut(x))


class ModifiedResNet(nn.Module):
    """CLIP's ResNet in small: three-convolution stem, anti-aliased bottlenecks, attention pooling."""

    def __init__(self, width: int = 192) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *(_convolution(6, 16, 3, 2), nn.ReLU(), _convolution(16, 16, 3), nn.ReLU()),
            *(_convolution(16, 32, 3), nn.ReLU(), nn.AvgPool2d(2)),
        )
        self.stages = nn.Sequential(Bottleneck(32, 64, 1), Bottleneck(64, 128, 2), Bottleneck(128, width, 2))
        for part in (self.stem, self.stages):  # a training step then takes 0.7 of the time on a CPU
            part.to(memory_format=torch.channels_last)
        side = -(-CROP // 16)
        self.position = nn.Parameter(0.02 * torch.randn(1, side * side + 1, width))
        self.to_query, self.to_key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.project = nn.Linear(width, EMBEDDING, bias=False)

    def pool(self, features: Float[Tensor, "b k h w"]) -> Float[Tensor, "b 96"]:
        """Attention pooling: the mean of the map asks, all places answer."""
        x = features.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(1, keepdim=True), x], dim=1) + self.position
        query = self.to_query(x[:, :1]).unflatten(2, (HEADS, -1)).transpose(1, 2)
        key, value = self.to_key_value(x).unflatten(2, (2, HEADS, -1)).permute(2, 0, 3, 1, 4).unbind()
        return self.project(F.scaled_dot_product_attention(query, key, value).flatten(1))

    def forward(self, x: Float[Tensor, "b 6 72 72"]) -> Float[Tensor, "b 96"]:
        """Embed."""
        return self.pool(self.stages(self.stem(x)))


class PlaceEncoder(nn.Sequential):
    """What is where: 64 features for every 4 × 4 pixels of an image in [-1, 1]; of any size."""

    dim, stride = 64, 4

    def __init__(self) -> None:
        plan = ((3, 16, 2, 1), (16, 32, 2, 1), (32, 64, 1, 1), (64, 64, 1, 2), (64, 64, 1, 3), (64, 64, 1, 1))
        super().__init__(
            *(
                nn.Sequential(
                    nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False),
                    *(nn.BatchNorm2d(outputs), nn.ReLU()),
                )
                for inputs, outputs, stride, dilation in plan
            )
        )


class Separable(nn.Sequential):
    """Depthwise 3×3 and pointwise convolution, then BatchNorm."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )


class XceptionBlock(nn.Module):
    """Two separable convolutions beside a shortcut; the entry block has no ReLU in front."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, relu_first: bool = True) -> None:
        super().__init__()
        self.way = nn.Sequential(
            *(nn.ReLU() if relu_first else nn.Identity(), Separable(inputs, outputs), nn.ReLU()),
            Separable(outputs, outputs, stride),
        )
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else _convolution(inputs, outputs, 1, stride)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h2 w2"]:
        """Transform."""
        return self.way(x) + self.shortcut(x)


class MiniXception(nn.Module):
    """Xception in small: entry, middle and exit flow, total stride 16, global mean; any size of image."""

    dim = XCEPTION_DIM

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(_convolution(3, 24, 3, 2), nn.ReLU(), _convolution(24, 32, 3), nn.ReLU()),
            *(XceptionBlock(32, 64, 2, relu_first=False), XceptionBlock(64, 96, 2), XceptionBlock(96, 96, 1)),
            *(XceptionBlock(96, 128, 2), nn.ReLU(), Separable(128, XCEPTION_DIM), nn.ReLU()),
        ).to(memory_format=torch.channels_last)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 192"]:
        """Embed."""
        return self.body(x).mean((2, 3))

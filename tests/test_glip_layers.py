import itertools
from typing import Any

import numpy as np
import pytest
import torch
from test_glip_weights import TINY
from torch.nn import functional as F

from tellsign.networks.glip.bert import Bert, BertConfig, BertLayer
from tellsign.networks.glip.fusion import BiAttention
from tellsign.networks.glip.head import DeformableConv, DynamicRelu, Head, VisualLayer, flatten, reread, unflatten
from tellsign.networks.glip.model import Glip
from tellsign.networks.glip.swin import Block, Merge, Mlp, Pyramid, apart, from_windows, relative_index, to_windows

CPU = torch.device("cpu")
TEXT = BertConfig(8, 2, 2, 12, 20, 10, 2)


def shaken(module: Any, seed: int = 0, scale: float = 0.5) -> Any:
    """The module with all its parameters drawn from a normal distribution."""
    g = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=g) * scale
    return module.eval().requires_grad_(False)


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_relative_index_counts_query_minus_key():
    w = 3
    index = relative_index(w, CPU)
    for query, key in itertools.product(range(w * w), repeat=2):
        dy, dx = query // w - key // w, query % w - key % w
        assert index[query, key] == (dy + w - 1) * (2 * w - 1) + dx + w - 1


def region(place: int, length: int, window: int) -> int:
    """Which of the slices [0, -w), [-w, -shift), [-shift, end) holds a place, by Python's own slices."""
    places, shift = list(range(length)), window // 2
    return [place in part for part in (places[:-window], places[-window:-shift], places[-shift:])].index(True)


@pytest.mark.parametrize(("height", "width", "window"), [(4, 8, 4), (5, 5, 5), (6, 3, 3)])
def test_regions_also_where_the_map_is_one_window(height, width, window):
    split = apart(height, width, window, CPU)
    own = [(region(y, height, window), region(x, width, window)) for y in range(height) for x in range(width)]
    where = to_windows(torch.arange(height * width).view(1, height, width, 1), window)[0, :, :, 0].tolist()
    assert split.tolist() == [[[own[a] != own[b] for b in places] for a in places] for places in where]


def test_windows_go_back():
    x = draw(2, 6, 9, 4)
    assert torch.equal(from_windows(to_windows(x, 3), 3, 6, 9), x)
    assert torch.equal(to_windows(x, 3)[1, 4], x[1, 3:6, 3:6].flatten(0, 1))


@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize(("height", "width"), [(3, 6), (4, 4), (2, 3)])
def test_block_is_attention_in_shifted_windows_of_the_padded_map(shift, height, width):
    """Written from the equations, one query at a time; no map here is larger than two windows of 4."""
    window, heads, dim = 4, 2, 6
    block = shaken(Block(dim, heads, window, 8, shift))
    x = draw(1, height, width, dim)
    high, wide = (size + -size % window for size in (height, width))
    normed = F.pad(block.norm1(x), (0, 0, 0, wide - width, 0, high - height))[0]
    query, key, value = block.attn.qkv(normed).unflatten(-1, (3, heads, dim // heads)).unbind(2)
    table, out = block.attn.relative_position_bias_table, torch.zeros(high, wide, heads, dim // heads)
    for r, c in itertools.product(range(high), range(wide)):  # places of the rolled map
        y, x0 = (r + shift) % high, (c + shift) % wide  # where they come from
        top, left = r // window * window, c // window * window
        for head in range(heads):
            logits, values = [], []
            for r2, c2 in itertools.product(range(top, top + window), range(left, left + window)):
                y2, x2 = (r2 + shift) % high, (c2 + shift) % wide
                bias = table[(r - r2 + window - 1) * (2 * window - 1) + c - c2 + window - 1, head]
                same = [region(a, n, window) == region(b, n, window) for a, b, n in ((r, r2, high), (c, c2, wide))]
                gap = 0 if all(same) or not shift else -100
                logits.append(query[y, x0, head] @ key[y2, x2, head] / (dim // heads) ** 0.5 + bias + gap)
                values.append(value[y2, x2, head])
            out[y, x0, head] = torch.stack(logits).softmax(0) @ torch.stack(values)
    after = x + block.attn.proj(out.flatten(2))[None, :height, :width]
    after = after + block.mlp(block.norm2(after))
    split = apart(high, wide, window, CPU)
    torch.testing.assert_close(block(x, relative_index(window, CPU), split), after, rtol=1e-4, atol=1e-5)


def test_gelu_is_the_exact_one():
    mlp = shaken(Mlp(4, 8))
    x = draw(3, 4)
    wide = mlp.fc1(x)
    torch.testing.assert_close(mlp(x), mlp.fc2(wide / 2 * (1 + torch.erf(wide / 2**0.5))), rtol=1e-5, atol=1e-6)


def test_merging_goes_down_before_it_goes_right():
    merge = shaken(Merge(2))
    x = draw(1, 3, 5, 2)
    padded = F.pad(x, (0, 0, 0, 1, 0, 1))[0]
    for row, column in itertools.product(range(2), range(3)):
        own = [padded[2 * row + dy, 2 * column + dx] for dx in (0, 1) for dy in (0, 1)]
        expected = merge.reduction(merge.norm(torch.cat(own)))
        torch.testing.assert_close(merge(x)[0, row, column], expected)


def test_pyramid_halves_and_takes_p6_from_p5():
    fpn = shaken(Pyramid([4, 6, 8], 5))
    maps = fpn([draw(1, 4, 13, 9), draw(1, 6, 7, 5), draw(1, 8, 4, 3)])
    assert [tuple(level.shape[2:]) for level in maps] == [(13, 9), (7, 5), (4, 3), (2, 2), (1, 1)]
    torch.testing.assert_close(maps[3], fpn.top_blocks.p6(maps[2]))
    torch.testing.assert_close(maps[4], fpn.top_blocks.p7(maps[3].clamp(min=0)))


def test_bert_is_transformers_bert():
    from transformers import BertConfig as TheirConfig
    from transformers import BertModel

    sizes = {name: value for name, value in vars(TEXT).items()}
    theirs = shaken(BertModel(TheirConfig(**sizes, hidden_act="gelu"), add_pooling_layer=False))
    ours = Bert(TEXT).eval()
    ours.load_state_dict(theirs.state_dict())
    ids = torch.tensor([[2, 7, 9, 3, 0, 0], [2, 5, 3, 0, 0, 0]])
    real = ids > 0
    expected = theirs(input_ids=ids, attention_mask=real.long()).last_hidden_state
    torch.testing.assert_close(ours(ids, real), expected, rtol=1e-5, atol=1e-5)


def test_fusion_is_its_equations():
    """Read literally: projections to the inner width, every head by itself, all clamps, 1 more on real tokens."""
    heads, fusion = 2, shaken(BiAttention(6, 8, 12, 2))
    places, tokens, real = draw(2, 7, 6), draw(2, 4, 8, seed=2), torch.tensor([[True] * 4, [True, True, False, False]])
    v, t, a = fusion.layer_norm_v(places), fusion.layer_norm_l(tokens), fusion.attn
    q, k = a.v_proj(v) * (12 / heads) ** -0.5, a.l_proj(t)
    uv, ut, dv, dt = a.values_v_proj(v), a.values_l_proj(t), [], []
    for own in torch.arange(12).chunk(heads):
        logits = (q[..., own] @ k[..., own].mT).clamp(-50000, 50000)
        shown = torch.where(real[:, None], logits + 1, torch.tensor(-9e15))
        dv.append(shown.softmax(2) @ ut[..., own])
        back = (logits.mT - logits.mT.amax(2, keepdim=True)).clamp(-50000, 50000)
        dt.append(back.softmax(2) @ uv[..., own])
    expected = v + fusion.gamma_v * a.out_v_proj(torch.cat(dv, 2)), t + fusion.gamma_l * a.out_l_proj(torch.cat(dt, 2))
    torch.testing.assert_close(fusion(places, tokens, real), expected, rtol=1e-4, atol=1e-5)


def test_padding_of_the_text_influences_nothing_else():
    head = shaken(Head(8, 2, 4, 12, 2, 2, TEXT), scale=0.3)
    levels, tokens = [draw(1, 8, 4, 5), draw(1, 8, 2, 3)], draw(1, 5, 8, seed=3)
    short = head(levels, tokens[:, :3], torch.ones(1, 3, dtype=torch.bool))
    padded = head(levels, tokens, torch.arange(5)[None] < 3)
    torch.testing.assert_close(padded.logits[..., :3], short.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(padded.deltas, short.deltas, rtol=1e-4, atol=1e-5)


def test_levels_go_to_places_and_back():
    levels = [draw(2, 3, 4, 5), draw(2, 3, 2, 3)]
    places = flatten(levels)
    assert torch.equal(places[1, 4 * 5 + 1 * 3 + 2], levels[1][1, :, 1, 2])
    assert all(map(torch.equal, unflatten(places, [(4, 5), (2, 3)]), levels))


def slow_deformable(x, offset, mask, weight, bias, height, width, stride):
    """Modulated deformable convolution of one image as the released kernel does it: offsets and mask are memory that
    is walked with the strides of the output, whatever size they had.
    """
    memory, gates = offset.flatten().tolist(), mask.flatten().tolist()
    channels, high, wide = x.shape

    def sample(channel: int, y: float, x0: float) -> float:
        if not (-1 < y < high and -1 < x0 < wide):
            return 0.0
        low, left = int(np.floor(y)), int(np.floor(x0))
        corners = [
            (low + i, left + j, abs(1 - i - (y - low)) * abs(1 - j - (x0 - left))) for i in (0, 1) for j in (0, 1)
        ]
        inside = [(r, c, part) for r, c, part in corners if 0 <= r < high and 0 <= c < wide]
        return sum(float(x[channel, r, c]) * part for r, c, part in inside)

    out = torch.zeros(len(weight), height, width)
    for row, column in itertools.product(range(height), range(width)):
        total = bias.clone()
        for tap, channel in itertools.product(range(9), range(channels)):
            at = row * width + column
            dy, dx = (memory[(2 * tap + axis) * height * width + at] for axis in (0, 1))
            value = sample(channel, row * stride - 1 + tap // 3 + dy, column * stride - 1 + tap % 3 + dx)
            total += weight[:, channel, tap // 3, tap % 3] * value * gates[tap * height * width + at]
        out[:, row, column] = total
    return out


@pytest.mark.parametrize(("size", "stride"), [((2, 3), 1), ((3, 5), 1), ((6, 9), 2)])
def test_deformable_convolution_walks_the_memory_of_finer_offsets(size, stride):
    """A map of another size than the 3 × 5 of the offsets: coarser (branch from above), equal, finer."""
    conv = shaken(DeformableConv(4, 2, stride))
    x, offset, mask = draw(2, 4, *size), draw(2, 18, 3, 5, seed=2), draw(2, 9, 3, 5, seed=3).sigmoid()
    out = (size[0] + stride - 1) // stride, (size[1] + stride - 1) // stride
    ours = conv(x, reread(offset, *out), reread(mask, *out))
    weight, bias = conv.conv.weight, conv.conv.bias
    theirs = [slow_deformable(*one, weight, bias, *out, stride) for one in zip(x, offset, mask, strict=True)]
    torch.testing.assert_close(ours, conv.bn(torch.stack(theirs)), rtol=1e-4, atol=1e-5)


def test_dynamic_relu_with_coefficients_in_the_middle_is_relu():
    relu = shaken(DynamicRelu(8), scale=0)
    x = draw(2, 8, 3, 3)
    torch.testing.assert_close(relu(x), x.relu())
    relu.fc[2].bias.data = torch.arange(4).repeat_interleave(8) * 3.0 - 3  # a1 0, b1 0.5, a2 1, b2 1
    torch.testing.assert_close(relu(x), torch.maximum(0 * x, x + 0.5), rtol=0, atol=1e-6)


def test_visual_layer_joins_neighbours_without_offsets():
    """With offsets 0 and mask 1 every branch is a plain convolution; the weights of branches are hsigmoid(relu(·))."""
    layer = shaken(VisualLayer(8, 4), scale=0.4)
    layer.offset.weight.data.zero_()
    layer.offset.bias.data = torch.cat([torch.zeros(18), torch.full((9,), 40.0)])
    fine, middle, coarse = levels = [draw(1, 8, 8, 6), draw(1, 8, 4, 3), draw(1, 8, 2, 2)]

    def branch(number: int, x: torch.Tensor, stride: int) -> torch.Tensor:
        part = layer.DyConv[number]
        return part.bn(F.conv2d(x, part.conv.weight, part.conv.bias, stride, 1))

    def weighted(x: torch.Tensor) -> torch.Tensor:
        w = x.mean((2, 3), keepdim=True)
        return x * F.hardsigmoid(F.conv2d(w, layer.AttnConv[1].weight, layer.AttnConv[1].bias).relu())

    wide = F.interpolate(branch(0, coarse, 1), (4, 3), mode="bilinear", align_corners=True)
    expected = layer.relu(sum(map(weighted, (branch(1, middle, 1), branch(2, fine, 2), wide))) / 3)
    torch.testing.assert_close(layer(levels)[1], expected, rtol=1e-4, atol=1e-5)
    lowest = layer.relu((weighted(branch(1, coarse, 1)) + weighted(branch(2, middle, 2))) / 2)
    torch.testing.assert_close(layer(levels)[2], lowest, rtol=1e-4, atol=1e-5)


def test_alignment_of_unit_vectors():
    """W = 0, b, bias = 0: x · b / exp(scale) for every token; W = 1, b = 0: half the cosine with the token, scaled."""
    head = shaken(Head(8, 0, 4, 12, 2, 1, TEXT), scale=0)
    x, tokens = draw(1, 3, 8), draw(1, 2, 8, seed=2)
    head.dot_product_projection_text.bias.data.fill_(1.0)
    head.log_scale.data.fill_(np.log(2.0))
    torch.testing.assert_close(head.align(x, tokens), (x.sum(2, keepdim=True) / 2).expand(1, 3, 2))
    head.dot_product_projection_text.bias.data.fill_(0)
    head.dot_product_projection_text.weight.data = torch.eye(8)
    head.bias_lang.data.fill_(1.0)
    unit = tokens / tokens.norm(dim=2, keepdim=True)
    torch.testing.assert_close(head.align(x, tokens), x @ unit.mT / 4 + unit.sum(2)[:, None])


def test_deltas_have_a_scale_of_each_level():
    head = shaken(Head(8, 0, 4, 12, 2, 2, TEXT))
    levels, tokens, real = [draw(1, 8, 2, 2), draw(1, 8, 1, 1)], draw(1, 2, 8), torch.ones(1, 2, dtype=torch.bool)
    before = head(levels, tokens, real).deltas
    head.scales[1].scale.data *= 3
    after = head(levels, tokens, real).deltas
    torch.testing.assert_close(after, torch.cat([before[:, :4], 3 * before[:, 4:]], 1))


def test_head_computes_float32_under_autocast():
    net = shaken(Glip(TINY), scale=0.3)
    inputs = draw(1, 3, 64, 64), torch.tensor([[2, 5, 3]]), torch.ones(1, 3, dtype=torch.bool)
    seen = []
    net.swin.layers[0].blocks[0].mlp.register_forward_hook(lambda _, inputs, output: seen.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        made = net(*inputs)
    assert seen == [torch.bfloat16]
    assert {part.dtype for part in made[:3]} == {torch.float32}


def test_text_layer_reads_real_tokens_only():
    layer = shaken(BertLayer(TEXT))
    x, real = draw(1, 4, 8), torch.tensor([[True, True, True, False]])
    other = x.clone()
    other[0, 3] += 1
    torch.testing.assert_close(layer(x, real)[0, :3], layer(other, real)[0, :3])
    assert not torch.allclose(layer(x, real)[0, 3], layer(other, real)[0, 3])

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tellsign.errors import UserError
from tellsign.methods.discrepancy import NO_OBJECT, discrepancy

N, D = 4, 6


def embeddings(rows: list[int], seed: int = 0) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    draw = lambda n: torch.randn(n, D, generator=g, dtype=torch.float64) * 3  # noqa: E731
    return draw(N), draw(N), draw(len(rows)), draw(len(rows)), torch.tensor(rows, dtype=torch.int64)


def slow(vectors: tuple, use: str, w: tuple[float, float], unit: bool, no_object: str) -> list[list[float]]:
    """TIDY Eq. 3 to 6 by loops."""
    image, text, object_image, object_text = (v.tolist() for v in vectors[:4])

    def scale(v: list[float]) -> list[float]:
        return [x / sum(y * y for y in v) ** 0.5 for x in v] if unit else v

    def distance(a: list[float], b: list[float]) -> list[float]:
        return [abs(p - q) for p, q in zip(scale(a), scale(b), strict=True)]

    result = []
    for k in range(N):
        whole = distance(image[k], text[k])
        parts = [distance(object_image[i], object_text[i]) for i, r in enumerate(vectors[4].tolist()) if r == k]
        local = [sum(c) / len(parts) for c in zip(*parts, strict=True)] if parts else None
        local = local or (whole if no_object == "global" else [0.0] * D)
        result.append(
            {
                "image": scale(image[k]),
                "text": scale(text[k]),
                "global": [w[0] * p for p in whole],
                "local": [w[1] * q for q in local],
                "both": [w[0] * p + w[1] * q for p, q in zip(whole, local, strict=True)],
            }[use]
        )
    return result


@pytest.mark.parametrize("use", ["both", "global", "local", "image", "text"])
@settings(deadline=None, max_examples=12)
@given(st.lists(st.integers(0, N - 1), max_size=7), st.booleans(), st.sampled_from(NO_OBJECT))
def test_discrepancy_is_equations_2_to_6(use: str, rows: list[int], unit: bool, no_object: str):
    vectors, w = embeddings(rows), (0.7, 1.9)
    fast = discrepancy(*vectors, use=use, weights=w, normalise=unit, no_object=no_object)
    expected = torch.tensor(slow(vectors, use, w, unit, no_object), dtype=torch.float64)
    torch.testing.assert_close(fast, expected, rtol=1e-12, atol=1e-12)


def test_order_of_objects_does_not_matter():
    image, text, a, b, row = embeddings([0, 2, 2, 0, 3, 2])
    order = torch.tensor([5, 3, 1, 0, 4, 2])
    torch.testing.assert_close(
        discrepancy(image, text, a, b, row), discrepancy(image, text, a[order], b[order], row[order])
    )


def test_unit_vectors_tie_the_distance_to_the_cosine():
    """|I - T|² = 2 - 2 cos(I, T) for unit vectors: the coherence the paper argues with."""
    image, text, a, b, row = embeddings([])
    d = discrepancy(image, text, a, b, row, use="global")
    cosine = torch.nn.functional.cosine_similarity(image, text)
    torch.testing.assert_close(d.square().sum(1), 2 - 2 * cosine)


def test_without_objects_the_scale_of_d_is_kept_or_halved():
    vectors = embeddings([])
    alone = discrepancy(*vectors, use="global")
    torch.testing.assert_close(discrepancy(*vectors), 2 * alone)
    torch.testing.assert_close(discrepancy(*vectors, no_object="zero"), alone)


def test_bad_settings_are_named():
    vectors = embeddings([0, 1])
    with pytest.raises(UserError, match="unknown use 'locals'"):
        discrepancy(*vectors, use="locals")
    with pytest.raises(UserError, match="unknown no_object 'one'"):
        discrepancy(*vectors, no_object="one")
    with pytest.raises(UserError, match="object rows go from 0 to 4, images from 0 to 3"):
        discrepancy(*embeddings([0, 4]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_discrepancy_on_a_gpu():
    vectors = embeddings([0, 2, 2, 0, 3, 2])
    torch.testing.assert_close(discrepancy(*(v.cuda() for v in vectors)).cpu(), discrepancy(*vectors))

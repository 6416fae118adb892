import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tellsign.errors import UserError
from tellsign.networks.glip.detect import (
    Boxes,
    Rule,
    anchors,
    batch,
    candidates,
    cap,
    decode,
    detect,
    normalise,
    padded_size,
    phrase_probabilities,
    resize,
    resized_size,
    suppress,
    to_original,
)
from tellsign.networks.glip.head import Predictions

CPU = torch.device("cpu")
SIDES = st.integers(1, 3000)


@given(SIDES, SIDES)
@settings(deadline=None)
def test_resized_images_keep_to_both_sides(height, width):
    size, ratio = resized_size(height, width, 800, 1333), max(height, width) / min(height, width)
    assert max(size) <= 1333 + ratio  # the shorter side is rounded first
    assert min(size) == 800 or max(size) > 1333 - ratio - 1
    assert resized_size(width, height, 800, 1333) == size[::-1]
    assert min(resized_size(height, width, 800, None)) == 800


def test_sizes_of_the_two_rules():
    assert resized_size(1000, 100, 800, 1333) == (1330, 133)
    assert resized_size(100, 1000, 800, None) == (800, 8000)
    assert resized_size(800, 1333, 800, 1333) == (800, 1333)
    assert padded_size(800, 1333, 32) == (800, 1344)


def test_pixels_become_blue_green_red_over_zeros():
    image = np.full((2, 3, 3), (255, 0, 10), np.uint8)
    out = batch([normalise(image, (1, 2, 3), (2, 4, 8), CPU), torch.ones(3, 5, 1)], 4)
    assert out.shape == (2, 3, 8, 4)
    assert out[0, :, 1, 2].tolist() == [(10 - 1) / 2, (0 - 2) / 4, (255 - 3) / 8]
    assert out[0].count_nonzero() == 18
    assert out[1].sum() == 15


def test_resizing_averages():
    image = np.zeros((4, 4, 3), np.uint8)
    image[:, 2:] = 200
    assert resize(image, 1, 1)[0, 0].tolist() == [100] * 3
    assert resize(image, 4, 4) is image


def test_anchors_of_the_released_generator():
    """The first cell of stride 8 and size 64 is [-28, -28, 35, 35] there; the next lie 8 pixels apart."""
    made = anchors((64, 128), (8, 16), [(2, 3), (1, 1)], CPU)
    assert made[0].tolist() == [-28, -28, 35, 35]
    assert made[1].tolist() == [-20, -28, 43, 35]
    assert made[3].tolist() == [-28, -20, 35, 43]
    assert made[6].tolist() == [-56, -56, 71, 71]


def test_zero_deltas_give_the_anchor():
    squares = anchors((64, 100), (8, 16), [(2, 3), (1, 2)], CPU)
    torch.testing.assert_close(decode(torch.zeros(8, 4), squares), squares)


def test_deltas_shift_by_tenths_and_grow_by_fifths_of_logs():
    square = torch.tensor([[10.0, 20.0, 19.0, 39.0]])  # 10 × 20, middle (14.5, 29.5)
    box = decode(torch.tensor([[10.0, -5.0, 5 * math.log(2), 1e9]]), square)[0]
    assert box[:2].tolist() == pytest.approx([24.5 - 9.5, 19.5 - (1250 - 1) / 2], abs=1e-3)
    assert box[2:].tolist() == pytest.approx([24.5 + 9.5, 19.5 + (1250 - 1) / 2], abs=1e-3)


def slow_survivors(boxes, scores, labels, iou, extra):
    """Greedy suppression, pair by pair."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        for j in kept:
            width = min(boxes[i][2], boxes[j][2]) - max(boxes[i][0], boxes[j][0]) + extra
            height = min(boxes[i][3], boxes[j][3]) - max(boxes[i][1], boxes[j][1]) + extra
            both = max(width, 0) * max(height, 0)
            areas = [(b[2] - b[0] + extra) * (b[3] - b[1] + extra) for b in (boxes[i], boxes[j])]
            if labels[i] == labels[j] and both > iou * (sum(areas) - both):
                break
        else:
            kept.append(i)
    return kept


@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.booleans(), st.sampled_from([0.3, 0.6]))
@settings(deadline=None, max_examples=60)
def test_suppression_is_the_double_loop(seed, count, inclusive, iou):
    """Small whole coordinates, where a pixel more or less decides; half the boxes have a neighbour."""
    g = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 12, (count, 2), generator=g).float()
    boxes = torch.cat([corners, corners + torch.randint(1, 9, (count, 2), generator=g)], 1)
    scores, labels = torch.randperm(count, generator=g) / 64, torch.randint(0, 3, (count,), generator=g)
    ours = suppress(Boxes(boxes, scores, labels), iou, inclusive)
    kept = slow_survivors(boxes.tolist(), scores.tolist(), labels.tolist(), iou, float(inclusive))
    assert torch.equal(ours.scores, scores[kept])
    assert torch.equal(ours.boxes, boxes[kept])
    assert torch.equal(ours.labels, labels[kept])


def test_a_pixel_more_decides():
    """[0, 1] and [0, 2]: 2 of 3 pixels with the inclusive widths, 1 of 2 without."""
    pair = Boxes(torch.tensor([[0.0, 0, 1, 9], [0, 0, 2, 9]]), torch.tensor([0.9, 0.8]), torch.zeros(2).long())
    assert len(suppress(pair, 0.6).boxes) == 1
    assert len(suppress(pair, 0.6, inclusive=False).boxes) == 2


def test_phrases_join_their_tokens():
    logits = torch.tensor([[0.0, math.log(3), -math.log(3)]])
    phrases = [[0, 1], [2], [], [1, 7]]
    assert phrase_probabilities(logits, phrases, "mean")[0].tolist() == pytest.approx([0.625, 0.25, 0, 0.75])
    assert phrase_probabilities(logits, phrases, "max")[0].tolist() == pytest.approx([0.75, 0.25, 0, 0.75])
    with pytest.raises(UserError, match="mean"):
        phrase_probabilities(logits, phrases, "median")


def predictions(probability: list[float], centerness: list[float], sizes: list[tuple[int, int]]) -> Predictions:
    p, c = torch.tensor(probability), torch.tensor(centerness)
    return Predictions(p.logit()[None, :, None], torch.zeros(1, len(p), 4), c.logit()[None], sizes)


def test_candidates_pass_the_threshold_before_centerness_enters():
    made = predictions([0.04, 0.06, 0.5, 0.9], [0.9, 0.01, 0.5, 0.9], [(1, 3), (1, 1)])
    squares = anchors((4, 8), (8, 16), made.sizes, CPU)
    found = candidates(made, 0, squares, [[0], []], (100, 100), Rule())
    assert found.scores.tolist() == pytest.approx([0.9, 0.5, 0.06**0.5 / 10], abs=1e-6)
    assert found.labels.tolist() == [0, 0, 0]
    assert found.boxes[:2].tolist() == [[4, 4, 11, 11], [18, 2, 21, 5]]
    few = candidates(made, 0, squares, [[0]], (100, 100), Rule(candidates=1))  # of each level
    assert few.scores.tolist() == pytest.approx([0.9, 0.5], abs=1e-6)


def test_boxes_end_at_the_last_pixel_of_the_unpadded_image():
    made = predictions([0.5, 0.5], [0.5, 0.5], [(1, 2)])
    found = candidates(made, 0, anchors((64,), (8,), made.sizes, CPU), [[0]], (20, 30), Rule())
    assert found.boxes.tolist() == [[0, 0, 29, 19]] * 2
    assert len(detect(made, 0, anchors((64,), (8,), made.sizes, CPU), [[0]], (20, 30), Rule()).boxes) == 1


def test_nothing_is_found_in_nothing():
    made = predictions([0.01], [0.5], [(1, 1)])
    assert len(detect(made, 0, torch.zeros(1, 4), [[0], [5]], (9, 9), Rule()).boxes) == 0


def test_detections_that_tie_with_the_last_stay():
    scores = torch.tensor([0.9, 0.8, 0.7, 0.7, 0.1])
    made = Boxes(torch.zeros(5, 4), scores, torch.arange(5))
    assert cap(made, 3).labels.tolist() == [0, 1, 2, 3]
    assert cap(made, 2).labels.tolist() == [0, 1]
    assert cap(made, 9) is made


def test_boxes_of_the_original_image():
    assert to_original(torch.tensor([[1.0, 2, 3, 4]]), (100, 50), (200, 25)).tolist() == [[0.5, 4, 1.5, 8]]

"""When a pre-training counts as collapsed."""

from __future__ import annotations

import math

import pytest
import torch

from tellsign.errors import UserError
from tellsign.methods.learning import Learning, Row, steps_at_chance
from tellsign.methods.patches import Draw


def row(step: int, loss: float, contrast: float) -> Row:
    return {"step": step, "loss_over_chance": loss, "contrast": contrast}


@pytest.mark.parametrize(
    ("rows", "steps"),
    [
        ([], 0),
        ([row(250, 1.0, 0.001), row(500, 0.9995, 0.01)], 500),
        ([row(250, 1.0, 0.0), row(500, 0.9999, 0.03)], 0),  # contrast shows it first
        ([row(250, 0.97, 0.0), row(500, 1.0, 0.0), row(600, 1.2, -0.01)], 350),  # learnt, then lost it
        ([row(250, 1.0, math.nan)], 250),  # one photograph a batch has no contrast
        ([row(250, math.nan, math.nan)], 0),  # the loss is not finite; the training loop says so
    ],
)
def test_steps_at_chance_are_those_since_the_last_sign_of_learning(rows: list[Row], steps: int) -> None:
    assert steps_at_chance(rows) == steps


def draw(labels: torch.Tensor) -> Draw:
    nothing = torch.zeros(len(labels), 2, dtype=torch.int64)
    return Draw(
        label=labels, ratio=labels, phase=nothing, image=torch.arange(len(labels)), position=nothing, size=nothing
    )


def test_windows_are_means_and_a_resumed_training_remembers_by_its_rows() -> None:
    learning = Learning(every=2, reduction="sum", collapse_after=4, on_collapse="stop", retrieved=dict)
    batch, point = draw(torch.tensor([0, 0, 1, 1])), torch.ones(4, 3)
    at_chance = 4 * math.log(3)
    for step, share in ((1, 1.0), (2, 1.1), (3, 1.0)):
        learning.add(point, batch, torch.tensor(share * at_chance), torch.tensor(float(step)))
        learning.end_of_step(step, last=step == 3)
    assert [r["step"] for r in learning.rows] == [2, 3]
    assert learning.rows[0]["loss_over_chance"] == pytest.approx(1.05)
    assert [r["ratio_cross_entropy"] for r in learning.rows] == [1.5, 3]
    again = Learning(every=2, reduction="sum", collapse_after=4, on_collapse="stop", retrieved=dict)
    again.begin(learning.rows)
    again.add(point, batch, torch.tensor(at_chance), None)
    with pytest.raises(UserError, match="in the 4 steps up to step 4"):
        again.end_of_step(4, last=True)

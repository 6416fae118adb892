"""`tellsign predict --calibrate`: probabilities, and pictures of which none is sure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellsign.commands.predict import labelled_pictures
from tellsign.errors import UserError
from tellsign.prediction.calibration import LEAST, Calibration, calibrated
from tellsign.prediction.output import Answer
from tellsign.prediction.rows import Row


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(("slope", "intercept"), [(0.5, 0.7), (2.0, -1.0)])
def test_it_finds_the_line_that_made_the_labels(slope, intercept):
    draws = np.random.default_rng(0)
    logits = draws.normal(-intercept / slope, 2, 40_000)  # as many of each label
    labels = draws.random(len(logits)) < sigmoid(slope * logits + intercept)
    fitted = calibrated(sigmoid(logits), labels.astype(int))
    assert fitted.slope == pytest.approx(slope, rel=0.05) and fitted.intercept == pytest.approx(intercept, abs=0.05)
    assert fitted.reals + fitted.fakes == len(logits)


def test_a_label_weighs_as_much_as_the_other():
    scores, labels = [0.2] * 40 + [0.8] * 20 + [0.2] * 10 + [0.8] * 90, [0] * 60 + [1] * 100
    fitted = calibrated(scores, labels)  # of 0.2: 2/3 of reals, 1/10 of fakes
    assert fitted.probability(0.2) == pytest.approx((1 / 10) / (1 / 10 + 2 / 3), rel=1e-3)
    assert fitted.probability(0.8) == pytest.approx((9 / 10) / (9 / 10 + 1 / 3), rel=1e-3)


@given(st.lists(st.floats(0, 1), min_size=2), st.floats(0.01, 10), st.floats(-5, 5))
def test_it_never_changes_the_order(scores, slope, intercept):
    calibration = Calibration(slope, intercept, 1, 1)
    probabilities = [calibration.probability(score) for score in sorted(scores)]
    assert probabilities == sorted(probabilities) and all(0 <= p <= 1 for p in probabilities)


def test_what_cannot_be_calibrated():
    few, backwards = [0.1, 0.9] * (LEAST - 1), [0.9, 0.1] * 30
    with pytest.raises(UserError, match=f"{LEAST - 1} real and {LEAST - 1} generated"):
        calibrated(few, [0, 1] * (LEAST - 1))
    with pytest.raises(UserError, match="greater scores do not go with generated"):
        calibrated(backwards, [0, 1] * 30)


def test_between_the_two_nobody_is_sure():
    answer = Answer([], {"d": ""}, 0.5, "", {}, Calibration(1.0, 0.0, 20, 20), 0.9)
    rows = [Row(Path("a"), scores=(score,)) for score in (0.05, 0.5, 0.95)]
    assert [answer.verdict(row) for row in rows] == ["real", "unsure", "fake"]
    assert answer.record(rows[2])["probability"] == pytest.approx(0.95)
    assert "probability" not in Answer([], {"d": ""}, 0.5, "", {}).record(rows[0])


def test_labels_come_from_folders(tmp_path):
    for name in ("a/real/1.png", "a/0_fake/2.png", "x/1_fake/3.png", "loose.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    labels = labelled_pictures(tmp_path)
    assert {path.name: label for path, label in labels.items()} == {"1.png": 0, "3.png": 1}
    with pytest.raises(UserError, match="says its label"):
        labelled_pictures(tmp_path / "a/0_fake")
    with pytest.raises(UserError, match="is no folder"):
        labelled_pictures(tmp_path / "none")

"""The stage that scores test sets."""

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from tellsign.detectors.checkpoints import save_weights, write_provenance
from tellsign.detectors.registry import METHODS
from tellsign.evaluation.scores import seen_by_training
from tellsign.registry import Record
from tellsign.stages import score
from tellsign.system.integrity import write_manifest
from tellsign.system.parquet import read_rows, write_rows


class Constant:
    """Scores every picture by its one weight."""

    readers = {"pictures": lambda path: None}  # noqa: RUF012

    def __init__(self, settings, view, device):
        self.model = nn.Linear(1, 1, bias=False)

    restore = classmethod(lambda cls, *given: cls(*given))

    def scores(self, inputs, ids, batch_size):
        assert set(inputs) == {"pictures"}
        return np.full(len(ids), float(self.model.weight.detach()), np.float32)


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A run of four epochs, the weight of each its number divided by ten."""
    monkeypatch.setitem(METHODS.records, "constant", Record(__name__, "Constant"))
    method = Constant({}, {}, "cpu")
    for epoch, name in enumerate(("epoch-01", "epoch-02", "epoch-03", "model"), start=1):
        nn.init.constant_(method.model.weight, epoch / 10)
        save_weights(method.model, tmp_path / f"{name}.safetensors")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"method": "constant", "epochs": 4}))
    write_provenance(tmp_path, {"epoch": 4, "images_seen": 48})
    write_manifest(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("keep", "epochs"), [(1, [4]), (2, [3, 4]), (4, [1, 2, 3, 4])])
def test_a_run_looks_at_its_own_last_epochs_of_a_training_that_keeps_more(checkpoint, keep, epochs):
    rows = {"subset": ["ldm"], "id": ["a"], "label": np.array([1], np.int8), "rank": [0]}
    write_rows(checkpoint / "split.parquet", rows)
    settings = {"paper": "p", "run": "r", "method": "constant", "view": {}, "networks": {}, "keep": keep}
    score.main(
        settings=settings | {"tests": {"t": {"benchmark": "b", "perturbation": "none"}}},
        checkpoints={"0": checkpoint},
        splits={"t": checkpoint / "split.parquet"},
        inputs={"pictures@t": checkpoint},
        out=checkpoint / "scores.parquet",
        device="cpu",
    )
    found = read_rows(checkpoint / "scores.parquet")
    assert seen_by_training(checkpoint / "scores.parquet") == {0: 48}
    assert found["epoch"].to_pylist() == epochs
    assert torch.allclose(torch.tensor(found["score"].to_pylist()), torch.tensor(epochs) / 10)

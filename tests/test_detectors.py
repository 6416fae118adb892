import pytest
import torch
import yaml

from tellsign.detectors.build import build_detector, build_head, load_detector
from tellsign.detectors.checkpoints import save_weights, weight_files, write_provenance
from tellsign.errors import UserError
from tellsign.system.integrity import write_manifest

SETTINGS = {
    "backbone": {"name": "demo-xception", "weights": "none", "digest": "none"},
    "head": {"name": "linear", "init_std": None},
    "trainable": "all",
    "seed": 3,
    "epochs": 2,
}


@pytest.fixture
def folder(tmp_path):
    save_weights(build_detector(SETTINGS), tmp_path / "model.safetensors")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(SETTINGS))
    write_provenance(tmp_path, {"images_seen": 4})
    write_manifest(tmp_path)
    return tmp_path


def test_a_checkpoint_comes_back_as_it_was(folder):
    detector = load_detector(folder, torch.device("cpu"))
    expected = build_detector(SETTINGS).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in detector.state_dict().items())
    assert not detector.training


def test_a_flipped_bit_is_refused_by_name(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x40
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"model\.safetensors was changed .* run the same command again"):
        load_detector(folder, torch.device("cpu"))


def test_weights_that_no_manifest_lists_are_refused(folder):
    (folder / "files.sha256").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors was changed .* files\.sha256 says nothing of it"):
        load_detector(folder, torch.device("cpu"))


def test_a_heads_weights_start_with_the_deviation_asked_for():
    head = {"name": "linear", "init_std": 0.02}
    layer = build_head(head, 20_000, 5).layer
    weight = layer.weight.detach()
    assert abs(float(weight.std()) - 0.02) < 4 * 0.02 / (2 * 20_000) ** 0.5
    assert abs(float(weight.mean())) < 4 * 0.02 / 20_000**0.5
    assert torch.equal(build_head(head, 20_000, 5).layer.weight, layer.weight)
    other = build_head(head | {"init_std": None}, 20_000, 5).layer
    assert float(other.weight.detach().abs().max()) <= 20_000**-0.5  # torch's own start: uniform
    assert torch.equal(other.bias, layer.bias)


def test_the_epoch_of_an_early_stop_is_the_best_ones(folder):
    (folder / "recipe.yaml").write_text(yaml.safe_dump(SETTINGS | {"stop": {"patience": 5}}))
    write_provenance(folder, {"epoch": 1})
    assert list(weight_files(folder)) == [(1, "", "model.safetensors")]


def test_missing_weights_and_missing_recipes_are_named(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="holds no weights"):
        list(weight_files(folder))
    (folder / "recipe.yaml").unlink()
    with pytest.raises(UserError, match="no checkpoint folder"):
        load_detector(folder, torch.device("cpu"))


def test_kept_epochs_and_targets_are_told_apart(folder):
    (folder / "epoch-01.safetensors").touch()
    assert list(weight_files(folder)) == [(1, "", "epoch-01.safetensors"), (2, "", "model.safetensors")]
    (folder / "target-ldm.safetensors").touch()
    assert list(weight_files(folder)) == [(2, "ldm", "target-ldm.safetensors")]

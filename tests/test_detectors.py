import hashlib
import struct

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from tellsign.detectors.base_weights import BaseWeights, digest_of
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


PROBE = SETTINGS | {"trainable": "head", "backbone": {"name": "demo-xception", "weights": "none", "digest": "none"}}


@pytest.fixture
def probe(tmp_path):
    """A head on a backbone whose weights lie in a file."""
    save_weights(build_detector(PROBE | {"seed": 7}).backbone, tmp_path / "base.safetensors")
    settings = PROBE | {"backbone": PROBE["backbone"] | {"weights": str(tmp_path / "base.safetensors"), "digest": "ab"}}
    detector = build_detector(settings)
    (folder := tmp_path / "run").mkdir()
    save_weights(detector, folder / "model.safetensors", BaseWeights.of(detector, settings))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    write_manifest(folder)
    return settings, detector, folder


def test_a_head_alone_is_stored_and_comes_back_on_the_weights_of_its_file(probe, tmp_path):
    _, expected, folder = probe
    assert set(load_file(folder / "model.safetensors")) == {"head.layer.weight", "head.layer.bias"}
    assert torch.equal(load_file(tmp_path / "base.safetensors")["net.body.0.0.weight"],
                       expected.backbone.state_dict()["net.body.0.0.weight"])  # fmt: skip
    moved = (tmp_path / "base.safetensors").rename(tmp_path / "elsewhere.safetensors")
    base = {"name": "demo-xception", "weights": str(moved), "digest": "ab"}
    found = load_detector(folder, torch.device("cpu"), base).state_dict()
    assert found.keys() == expected.state_dict().keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.state_dict().items())
    with pytest.raises(UserError, match=r"base\.safetensors' is no file"):
        load_detector(folder, torch.device("cpu"))


def test_a_head_on_other_weights_than_its_own_is_refused_by_name(probe, tmp_path):
    settings, detector, folder = probe
    state = load_file(tmp_path / "base.safetensors")
    state["net.body.0.0.weight"][0, 0, 0, 0] += 1e-3
    save_file(state, tmp_path / "base.safetensors")
    with pytest.raises(UserError, match=r"is a head on the weights of demo-xception whose file had the digest ab"):
        load_detector(folder, torch.device("cpu"))
    for part in ({"trainable": "all"}, {"backbone": SETTINGS["backbone"]}):
        assert BaseWeights.of(detector, settings | part) is None
    assert BaseWeights.of(build_detector(settings | {"trainable": "all"}), settings) is None


def test_the_digest_of_tensors_is_that_of_their_names_types_shapes_and_bytes():
    tensors = {"b": torch.tensor([[1.5], [2.0]]), "a": torch.tensor(3)}
    told = b"a torch.int64 ()\n" + struct.pack("<q", 3) + b"b torch.float32 (2, 1)\n" + struct.pack("<2f", 1.5, 2.0)
    assert digest_of(tensors) == hashlib.sha256(told).hexdigest()


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

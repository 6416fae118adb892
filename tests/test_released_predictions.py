"""`tellsign predict --detector`: published detectors about one's own pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tellsign.__main__ import run
from tellsign.commands.released_detectors import RECIPES, released_source
from tellsign.data.images import resized
from tellsign.errors import UserError
from tellsign.networks.backbones.loading import load_backbone
from tellsign.prediction.predictor import Predictor
from tellsign.schema.strict_yaml import read_yaml
from tellsign.schema.weights import MissingWeightsError, ResolvedWeights

REPOSITORY = Path(__file__).parents[1]
SPECS = read_yaml(REPOSITORY / RECIPES)


def there(weights: str, _network: str) -> ResolvedWeights:
    return ResolvedWeights(weights, "digest")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file as NPR's authors publish one."""
    backbone = load_backbone("npr", "none", 3)
    state = {f"module.{name}": value for name, value in backbone.net.state_dict().items()}
    head = torch.Generator().manual_seed(1)
    weight = torch.randn(1, backbone.dim, generator=head)
    file = tmp_path_factory.mktemp("published") / "npr.pth"
    torch.save({"model": {**state, "module.fc1.weight": weight, "module.fc1.bias": torch.ones(1)}}, file)
    return file, backbone.eval(), weight


@torch.no_grad()
def test_a_published_detector_sees_a_picture_as_its_authors_do(published):
    file, backbone, weight = published
    source = released_source("npr-progan", {**SPECS["npr-progan"], "weights": str(file)}, there)
    assert source.protocol == "squashed to 256 px (bilinear), centre crop of 256 px"
    picture = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    seen = resized(picture, mode="squash", size=256, filter="bilinear")
    x = backbone.preprocess(torch.from_numpy(seen).permute(2, 0, 1)[None])
    expected = float((backbone(x) @ weight[0] + 1).sigmoid())
    predictor = Predictor(source, "cpu")
    assert float(predictor.predict([picture])[0]) == pytest.approx(expected, rel=1e-5)
    assert predictor.rests_on.startswith("released file ") and 1e-6 < expected < 1 - 1e-6


@pytest.mark.parametrize("name", SPECS)
def test_every_published_detector_can_be_named(name):
    source = released_source(name, SPECS[name], there)
    assert source.released and source.place == Path(SPECS[name]["weights"]) and source.protocol


def test_a_file_of_another_network_is_refused(tmp_path):
    torch.save({"fc.weight": torch.ones(1, 3), "fc.bias": torch.ones(1), "else": torch.ones(2)}, tmp_path / "f.pth")
    source = released_source("npr-progan", {**SPECS["npr-progan"], "weights": str(tmp_path / "f.pth")}, there)
    with pytest.raises(UserError, match=r"f\.pth' for 'npr'"):
        Predictor(source, "cpu")


def test_what_is_missing_and_what_is_not_known(monkeypatch, caplog, tmp_path):
    def missing(weights: str, _network: str) -> ResolvedWeights:
        raise MissingWeightsError(weights, "missing", "ask its authors")

    with pytest.raises(UserError, match=r"(?s)npr-progan.*used by --detector npr-progan\n.*ask its authors"):
        released_source("npr-progan", SPECS["npr-progan"], missing)
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    monkeypatch.chdir(REPOSITORY)
    assert run(["predict", str(tmp_path / "a.png"), "--detector", "npr-progam"]) == 2
    assert "Did you mean 'npr-progan'?" in caplog.text

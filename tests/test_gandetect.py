"""GANDetect: against its public code's results, against slow code, and through the stages."""

from __future__ import annotations

import functools

import pytest
import torch
from baseline_cases import Case, cases_of, check_published_file, listed, recipe_settings, with_filled_weights
from small_runs import check_run, plan_of, train_and_val

from tellsign.detectors.gandetect import GanDetectMethod, tiles
from tellsign.errors import UserError

CPU = torch.device("cpu")


def filled_method() -> GanDetectMethod:
    method = GanDetectMethod.begin(recipe_settings("gandetect"), None, None, CPU)
    with_filled_weights(method.model)
    return method


@torch.no_grad()
@pytest.mark.parametrize("path", cases_of("gandetect"))
def test_a_case_of_the_public_code_comes_out_the_same(path):
    case, method, seen = Case(path), filled_method(), {}

    def keep(name: str, _layer: torch.nn.Module, _inputs: object, output: torch.Tensor) -> None:
        seen[name] = output

    for name, layer in (("maxpool", "maxpool"), ("layer4", "layer4"), ("features", "global_pool")):
        method.model.get_submodule(layer).register_forward_hook(functools.partial(keep, name))
    for number in case.pictures:
        image = case.stored[f"picture_{number}"].permute(2, 0, 1)
        case.compare(f"prepared_{number}", method.preprocess(image[None])[0], exact=True)
        logit = method.image_logit(image)[None]
        for key in (f"logit_{number}", f"logit_whole_{number}"):
            case.compare(key, logit.float())
        for name, value in seen.items():
            case.compare(f"{name}_{number}", value[0])
        if f"logit_tiled_{number}" in case.stored:
            tiled = method.image_logit(image, limit=80, side=48)[None]
            case.compare(f"logit_tiled_{number}", tiled, noise=1e-3)  # its tiles' logits almost cancel
    case.check_all_compared()


def test_a_published_file_loads_by_its_own_names(tmp_path):
    check_published_file(tmp_path, GanDetectMethod, "gandetect", listed("gandetect"))


def test_tiles_cover_an_image_once_where_both_sides_exceed_the_limit():
    image = torch.arange(3 * 11 * 9).view(3, 11, 9)
    assert [tile.shape[1:] for tile in tiles(image, 8, 6)] == [(6, 6), (6, 3), (5, 6), (5, 3)]
    assert torch.equal(tiles(image, 8, 6)[2], image[:, 6:, :6])
    assert len(tiles(image, 9, 6)) == 1  # 9 does not exceed 9
    assert len(tiles(image[:, :8], 8, 6)) == 1


@torch.no_grad()
def test_the_first_layers_keep_every_pixel_and_tiles_weigh_by_area():
    method = filled_method()
    image = torch.randint(0, 256, (3, 30, 21), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pieces = [image[:, :20, :20], image[:, :20, 20:], image[:, 20:, :20], image[:, 20:, 20:]]
    logits = [float(method.logits(method.preprocess(piece[None]))) for piece in pieces]
    expected = sum(w * logit for w, logit in zip((400, 20, 200, 10), logits, strict=True)) / 630
    assert float(method.image_logit(image, limit=20, side=20)) == pytest.approx(expected)
    maps = method.model.forward_features(method.preprocess(image[None]))
    assert maps.shape[-2:] == (4, 3)  # an eighth, not a thirty-second


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return train_and_val(tmp_path_factory)


@pytest.mark.parametrize("whole", [True, False])
def test_it_is_planned_trained_and_scored(data, tmp_path, whole):
    run = {"method": "gandetect", "weights": "none", "crop": 24, "crop_test": 24, "batch_size": 6, "whole": whole}
    log = check_run(data, tmp_path, run | {"epochs": 2})
    assert float(log[0]["lr"]) == 1e-4


def test_scoring_whole_images_trains_no_other_network(tmp_path):
    runs = {name: {"method": "gandetect", "weights": "none", "whole": name == "whole"} for name in ("whole", "crops")}
    plan = plan_of(tmp_path, runs)
    whole, crops = (plan.run("toys", name) for name in runs)
    assert plan.checkpoint(whole, 0).fingerprint == plan.checkpoint(crops, 0).fingerprint
    assert plan.score(whole).fingerprint != plan.score(crops).fingerprint


@pytest.mark.parametrize(("run", "message"), [({"epochs": 0, "weights": "none"}, "give weights"),
                                              ({"whole": 3}, "whole")])  # fmt: skip
def test_a_recipe_that_cannot_be_right_is_refused(tmp_path, run, message):
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, {"rival": {"method": "gandetect"} | run}).everything()

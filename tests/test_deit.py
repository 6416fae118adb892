"""GenImage's DeiT-S: against its public code's results, its labels' sign, and through the stages."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from baseline_cases import Case, cases_of, check_published_file, listed, recipe_settings, with_filled_weights
from small_runs import check_run, plan_of, train_and_val

from tellsign.data.images import center_window, resized
from tellsign.detectors.deit import DeitMethod, all_drawn_from, mixed
from tellsign.detectors.recipes.deit import DeitRecipe
from tellsign.errors import UserError
from tellsign.schema.loading import plain

CPU = torch.device("cpu")


@torch.no_grad()
@pytest.mark.parametrize("path", cases_of("deit-s"))
def test_a_case_of_the_public_code_comes_out_the_same(path):
    case, method = Case(path), DeitMethod.begin(recipe_settings("deit-s"), None, None, CPU)
    network, seen = with_filled_weights(method.model), {}
    for name in ("patch_embed", "blocks.0", "blocks.11"):
        hook = lambda _layer, _inputs, output, name=name: seen.update({name.replace(".", "_"): output[0]})  # noqa: E731
        network.get_submodule(name).register_forward_hook(hook)
    for number in case.pictures:
        resize = plain(DeitRecipe.model_fields["resize_test"].default)
        pixels = center_window(resized(case.stored[f"picture_{number}"].numpy(), **resize), 224)
        x = method.preprocess(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])
        case.compare(f"prepared_{number}", x[0], exact=True)
        logits = network(x)
        case.compare(f"logits_{number}", logits[0])
        assert torch.allclose(method.logits(x).sigmoid(), logits.softmax(1)[:, 0])  # class 0 is fake
        for name, value in seen.items():
            case.compare(f"{name}_{number}", value)
    case.check_all_compared()


def test_a_published_file_loads_by_its_own_names(tmp_path):
    check_published_file(tmp_path, DeitMethod, "deit-s", listed("deit-s"))


def test_imagenets_deit_starts_all_but_the_last_layer(tmp_path):
    own = DeitMethod.begin(recipe_settings("deit-s"), None, None, CPU).model.state_dict()
    stored = {name: torch.full_like(value, 0.5) for name, value in own.items()}
    stored |= {"head.weight": torch.zeros(1000, 384), "head.bias": torch.zeros(1000)}
    torch.save({"model": stored}, tmp_path / "deit.pth")
    loaded = DeitMethod.begin(recipe_settings("deit-s", str(tmp_path / "deit.pth")), None, None, CPU).model.state_dict()
    assert torch.equal(loaded["head.weight"], own["head.weight"])
    assert all(value.eq(0.5).all() for name, value in loaded.items() if not name.startswith("head."))
    with pytest.raises(UserError, match="holds ImageNet's classes, not a published deit-s"):
        DeitMethod.begin(recipe_settings("deit-s", str(tmp_path / "deit.pth"), epochs=0), None, None, CPU)


def test_mixed_images_are_sums_and_cut_ones_have_a_rectangle():
    x = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    wanted = torch.tensor([0.0, 1.0])
    both, labels = mixed(x, wanted, 0.75, None)
    assert torch.equal(both[0], torch.full((3, 8, 8), 0.25)) and labels.tolist() == [0.25, 0.75]
    cut, labels = mixed(x, wanted, 0.75, (0.5, 0.5))
    assert cut[0, 0, 2:6, 2:6].eq(1).all() and float(cut[0, 0].sum()) == 16 and labels.tolist() == [0.25, 0.75]
    corner, labels = mixed(x, wanted, 0.75, (0.0, 0.0))
    assert float(corner[1].sum()) == 3 * (64 - 4) and labels.tolist() == [4 / 64, 60 / 64]


def test_augmentations_draw_from_the_generator_and_leave_the_global_states():
    random.seed(3)
    np.random.seed(3)
    before = random.getstate(), np.random.get_state()[1].tolist()
    drawn = []
    for seed in (0, 0, 1):
        with all_drawn_from(torch.Generator().manual_seed(seed)):
            drawn.append((random.random(), np.random.random(), float(torch.rand(()))))
    assert drawn[0] == drawn[1] != drawn[2]
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_without_mixing_and_erasing_the_loss_is_the_cross_entropy_of_smoothed_labels():
    off = {"erasing": 0.0, "mixup": 0.0, "cutmix": 0.0, "drop_path": 0.0}
    method = DeitMethod.begin(recipe_settings("deit-s", **off), None, None, CPU)
    pixels, labels = torch.zeros(2, 3, 224, 224, dtype=torch.uint8), torch.tensor([0, 1])
    outputs = method.model(method.preprocess(pixels))
    expected = torch.nn.functional.cross_entropy(outputs, 1 - labels, label_smoothing=0.1)
    found = method.loss(pixels, labels, torch.Generator())
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_it_is_planned_trained_and_scored(tmp_path_factory, tmp_path):
    data = train_and_val(tmp_path_factory)
    log = check_run(data, tmp_path, {"method": "deit-s", "batch_size": 6, "epochs": 2, "schedule": {"warmup": 0}})
    assert float(log[0]["lr"]) == 1e-3


@pytest.mark.parametrize(("run", "message"), [({"crop": 256}, "positions are for 224"),
                                              ({"erasing": 2}, "erasing")])  # fmt: skip
def test_a_recipe_that_cannot_be_right_is_refused(tmp_path, run, message):
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, {"rival": {"method": "deit-s"} | run}).everything()

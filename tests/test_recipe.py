from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tellsign.errors import UserError
from tellsign.schema.data import Split
from tellsign.schema.evaluation import Evaluate
from tellsign.schema.loading import build, differences, expand_grid, merge, plain
from tellsign.schema.strict_yaml import read_yaml
from tellsign.schema.training import Optimiser, Recipe

BASE = {"backbone": {"name": "demo-clip-vit"}}


def said(cls, data) -> str:
    with pytest.raises(UserError) as caught:
        build(cls, data, "place")
    return str(caught.value)


def test_defaults_are_filled_in():
    recipe = build(Recipe, BASE, "r")
    assert (recipe.crop, recipe.mask.name, recipe.optimiser.betas) == (224, "none", (0.9, 0.999))


def test_unknown_key_names_the_near_miss():
    message = said(Recipe, BASE | {"optimizer": {}})
    assert "'optimizer'" in message and "Did you mean 'optimiser'" in message and "place" in message


def test_missing_key_is_named():
    assert "'backbone' is missing" in said(Recipe, {})


def test_fraction_above_one_asks_percent():
    message = said(Recipe, BASE | {"mask": {"name": "texture_aware", "ratio": [60, 80]}})
    assert "Percent?" in message and "0.6" in message and "mask.ratio" in message


def test_backward_range_is_refused():
    assert "backwards" in said(Recipe, BASE | {"mask": {"name": "random_box", "ratio": [0.8, 0.6]}})


def test_key_of_another_mask_is_refused():
    assert "'aspect'" in said(Recipe, BASE | {"mask": {"name": "texture_aware", "aspect": [1, 2]}})


def test_unknown_mask_lists_the_known_ones():
    message = said(Recipe, BASE | {"mask": {"name": "texture_awar"}})
    assert "texture_aware" in message and "random_box" in message


@pytest.mark.parametrize("value", ["many", 1.5, True, None])
def test_count_must_be_a_number_or_all(value):
    assert "count" in said(Split, {"benchmark": "b", "part": "train", "count": value})


def test_zero_rate_is_refused():
    assert "above 0" in said(Optimiser, {"lr": 0.0})


def test_merge_replaces_a_mapping_that_names_another_kind():
    base = {"mask": {"name": "texture_aware", "patch_size": 12}, "optimiser": {"lr": 1.0, "name": "adam"}}
    out = merge(base, {"mask": {"name": "none"}, "optimiser": {"lr": 2.0}})
    assert out == {"mask": {"name": "none"}, "optimiser": {"lr": 2.0, "name": "adam"}}


def test_grid_is_the_product():
    runs = expand_grid("g", {"over": {"data.count": [1, 2], "mask.ratio": [[0, 0.5]]}, "seeds": [0]})
    assert list(runs) == ["g-1-0_0.5", "g-2-0_0.5"]
    assert runs["g-2-0_0.5"] == {"seeds": [0], "data": {"count": 2}, "mask": {"ratio": [0, 0.5]}}


def test_yaml_reads_exponents_as_numbers_and_refuses_doubled_keys(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("lr: 1e-4\n")
    (tmp_path / "b.yaml").write_text("lr: 1\nlr: 2\n")
    assert read_yaml(tmp_path / "a.yaml") == {"lr": 1e-4}
    with pytest.raises(UserError, match="stands twice"):
        read_yaml(tmp_path / "b.yaml")


def test_missing_file_names_the_near_miss(tmp_path: Path):
    (tmp_path / "mpft.yaml").write_text("{}")
    with pytest.raises(UserError, match=r"Did you mean 'mpft.yaml'"):
        read_yaml(tmp_path / "mpf.yaml")


@settings(deadline=None, max_examples=30)
@given(
    crop=st.integers(1, 512),
    ratio=st.tuples(st.floats(0, 0.5), st.floats(0.5, 1)),
    lr=st.floats(1e-9, 1.0),
    count=st.one_of(st.just("all"), st.integers(1, 10**6)),
)
def test_plain_and_build_are_inverse(crop, ratio, lr, count):
    data = BASE | {
        "crop": crop,
        "mask": {"name": "random_box", "ratio": list(ratio)},
        "optimiser": {"lr": lr},
        "data": {"count": count},
    }
    recipe = build(Recipe, data, "r")
    assert build(Recipe, yaml.safe_load(yaml.safe_dump(plain(recipe))), "again") == recipe


def test_masks_have_the_fields_of_their_kind():
    assert build(Recipe, BASE | {"mask": {"name": "grid_mask", "period": [0.2, 0.4]}}, "r").mask.period == (0.2, 0.4)
    assert build(Recipe, BASE | {"mask": {"name": "random_erasing"}}, "r").mask.aspect == (0.3, 3.3)
    assert "'period'" in said(Recipe, BASE | {"mask": {"name": "cutout", "period": [0.2, 0.4]}})
    assert "log_uniform" in said(Recipe, BASE | {"mask": {"name": "random_box", "distribution": "log_unifrom"}})


def test_an_augmentation_is_read_by_its_name():
    recipe = build(Recipe, BASE | {"augment": {"name": "blur_jpeg", "probability": 0.1}}, "r")
    assert (recipe.augment.probability, recipe.augment.sigma, recipe.augment.quality) == (0.1, (0.0, 3.0), (30, 100))
    assert plain(build(Recipe, BASE, "r").augment) == {"name": "none"}
    assert "Did you mean 'blur_jpeg'" in said(Recipe, BASE | {"augment": {"name": "blur_jpg"}})
    assert "Percent?" in said(Recipe, BASE | {"augment": {"name": "blur_jpeg", "probability": 10}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": -1}, "at least 0"),
        ({"resize": {"mode": "longer", "size": 9}}, "shorter"),
        ({"resize": {"mode": "squash"}}, "'size' is missing"),
        ({"schedule": {"kind": "cosin"}}, "Did you mean 'cosine'"),
        ({"stop": {"min_lr": 0}}, "above 0"),
    ],
)
def test_what_a_baselines_recipe_may_not_say(change, message):
    assert message in said(Recipe, BASE | change)


def test_what_differs_between_settings_is_told_field_by_field():
    base = Evaluate(threshold=0.4)
    assert differences(base, base) == ""
    other = build(Evaluate, {"threshold": 0.4, "sample": {"limit": 1000}, "pooled_reals": ["a", "b"]}, "x")
    assert differences(other, base) == "sample.limit=1000, pooled_reals=a b"
    assert differences(base, other) == "sample.limit=null, pooled_reals=none"


def test_a_threshold_is_a_fraction_or_oracle():
    assert build(Evaluate, {"threshold": 1}, "x").threshold == 1.0
    assert build(Evaluate, {"threshold": "oracle"}, "x").threshold == "oracle"
    with pytest.raises(UserError, match="Did you mean 'oracle'"):
        build(Evaluate, {"threshold": "oracel"}, "x")
    with pytest.raises(UserError, match="Percent"):
        build(Evaluate, {"threshold": 50}, "x")

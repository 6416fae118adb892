from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from tellsign.detectors.recipes.image import ImageRecipe
from tellsign.errors import UserError
from tellsign.schema.data import Split
from tellsign.schema.evaluation import Evaluate, SampleLimit
from tellsign.schema.fields import Named, Several
from tellsign.schema.loading import build, differences, expand_grid, merge, plain
from tellsign.schema.paper import PaperFile
from tellsign.schema.settings import RENAMED, Settings
from tellsign.schema.strict_yaml import read_yaml
from tellsign.training.optimisers.adam import AdamSettings

BASE = {"backbone": {"name": "demo-clip-vit"}}


def said(cls, data) -> str:
    with pytest.raises(UserError) as caught:
        build(cls, data, "place")
    return str(caught.value)


def test_defaults_are_filled_in():
    recipe = build(ImageRecipe, BASE, "r")
    assert (recipe.crop, recipe.mask.name, recipe.optimiser.betas) == (224, "none", (0.9, 0.999))


def test_unknown_key_names_the_near_miss():
    message = said(ImageRecipe, BASE | {"optimizer": {}})
    assert "'optimizer'" in message and "Did you mean 'optimiser'" in message and "place" in message


def test_missing_key_is_named():
    assert "'backbone' is missing" in said(ImageRecipe, {})


def test_fraction_above_one_asks_percent():
    message = said(ImageRecipe, BASE | {"mask": {"name": "texture_aware", "ratio": [60, 80]}})
    assert "Percent?" in message and "0.6" in message and "mask.ratio" in message


def test_backward_range_is_refused():
    assert "backwards" in said(ImageRecipe, BASE | {"mask": {"name": "random_box", "ratio": [0.8, 0.6]}})


def test_key_of_another_mask_is_refused():
    assert "'aspect'" in said(ImageRecipe, BASE | {"mask": {"name": "texture_aware", "aspect": [1, 2]}})


def test_unknown_mask_lists_the_known_ones():
    message = said(ImageRecipe, BASE | {"mask": {"name": "texture_awar"}})
    assert "texture_aware" in message and "random_box" in message


@pytest.mark.parametrize("value", ["many", 1.5, True, None])
def test_count_must_be_a_number_or_all(value):
    assert "count" in said(Split, {"benchmark": "b", "part": "train", "count": value})


def test_all_that_is_wrong_is_said_at_once_a_line_each():
    data = {
        "backbone": {"name": "resnet5", "weight": "none"},
        "mask": {"name": "random_box", "ratio": [60, 0.8], "literal": "yes"},
        "augment": {"name": "blur_jpeg", "quality": [90, 30]},
        "optimiser": {"lr": "fast", "betas": [0.9]},
        "stop": {"subsets": "all", "count": 0},
        "crop": True,
        "colour": 3,
    }
    assert said(ImageRecipe, data).splitlines() == [
        "unknown backbone at place.backbone.name 'resnet5'. Did you mean 'resnet50'? Known: clip-rn101, clip-rn50, "
        "clip-vit-b16, clip-vit-l14, demo-clip-rn, demo-clip-vit, demo-xception, legacy-xception, npr, open-clip, "
        "open_clip:NAME, resnet50, swin-b, swin-t, timm:NAME.",
        "place.backbone: unknown key 'weight'. Did you mean 'weights'? Known: name, weights, front.",
        "place.augment.quality: the range [90, 30] runs backwards.",
        "place.crop: expected int, got True.",
        "place.mask.ratio[0]: 60 is outside [0, 1]. Percent? Write 0.6.",
        "place.mask.literal: expected bool, got 'yes'.",
        "place.optimiser.lr: expected a number, got the text 'fast'.",
        "place.optimiser.betas: expected 2 values, got [0.9].",
        "place.stop.subsets: expected a list, got 'all'.",
        "place.stop.count: 0 must be above 0.",
        f"place: unknown key 'colour'. Known: {', '.join(ImageRecipe.model_fields)}.",
    ]


class Either(Settings):
    """Settings with fields of several types."""

    split: str | Several[str] = "test"
    papers: Several[PaperFile | str] = ()
    sets: Named[SampleLimit] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("text", "p: expected a mapping, got 'text'."),
        ({True: 1}, "p: unknown key True. Known: split, papers, sets."),
        ({"split": 3}, "p.split: expected str, got 3."),
        ({"split": ["a", 3]}, "p.split[1]: expected str, got 3."),  # what fits furthest was meant
        ({"papers": ["a", 3]}, "p.papers[1]: expected a mapping, got 3."),
        ({"papers": ["a", {}]}, "p.papers[1]: key 'file' is missing."),
        ({"papers": [{"fil": "a", "file": "b"}]},
         "p.papers[0]: unknown key 'fil'. Did you mean 'file'? Known: file, changes, tables, figures."),
        ({"sets": {True: {}}}, "p.sets: YAML reads a key such as on, yes or no as True; put it in quotes."),
        ({"sets": {2020: {"limit": 1.5}}}, "p.sets.2020.limit: expected int, got 1.5."),
        ({"sets": []}, "p.sets: expected a mapping, got []."),
    ],
)  # fmt: skip
def test_a_fault_is_placed_where_the_data_are_wrong(data, message):
    with pytest.raises(UserError) as caught:
        build(Either, data, "p")
    assert str(caught.value) == message


def test_a_mask_of_unknown_name_and_one_that_is_a_bare_text():
    message = said(ImageRecipe, BASE | {"mask": {"name": "cutuot"}})
    assert message.startswith("unknown mask at place.mask 'cutuot'. Did you mean 'cutout'? Known: cutout, grid_mask,")
    assert said(ImageRecipe, BASE | {"mask": "cutout"}) == "place.mask: expected a mapping, got 'cutout'."


def test_a_key_of_old_names_the_new_one(monkeypatch):
    monkeypatch.setitem(RENAMED, "SampleLimit", {"number": "limit"})
    assert said(Evaluate, {"sample": {"number": 3}}) == "place.sample: key 'number' is called 'limit' now."


def test_a_whole_number_is_taken_where_a_float_is_meant_and_nothing_else_is_converted():
    lr = build(AdamSettings, {"lr": 1}, "p").lr
    assert lr == 1.0 and isinstance(lr, float)
    for wrong in ("1", True, None, [1]):
        assert "place.lr: expected" in said(AdamSettings, {"lr": wrong})


def test_settings_cannot_change():
    with pytest.raises(ValidationError, match="frozen"):
        AdamSettings().lr = 3.0  # type: ignore[misc]


def test_zero_rate_is_refused():
    assert "above 0" in said(AdamSettings, {"lr": 0.0})


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
    recipe = build(ImageRecipe, data, "r")
    assert build(ImageRecipe, yaml.safe_load(yaml.safe_dump(plain(recipe))), "again") == recipe


def test_masks_have_the_fields_of_their_kind():
    grid_mask = {"name": "grid_mask", "period": [0.2, 0.4]}
    assert build(ImageRecipe, BASE | {"mask": grid_mask}, "r").mask.period == (0.2, 0.4)
    assert build(ImageRecipe, BASE | {"mask": {"name": "random_erasing"}}, "r").mask.aspect == (0.3, 3.3)
    assert "'period'" in said(ImageRecipe, BASE | {"mask": {"name": "cutout", "period": [0.2, 0.4]}})
    assert "log_uniform" in said(ImageRecipe, BASE | {"mask": {"name": "random_box", "distribution": "log_unifrom"}})


def test_an_augmentation_is_read_by_its_name():
    recipe = build(ImageRecipe, BASE | {"augment": {"name": "blur_jpeg", "probability": 0.1}}, "r")
    assert (recipe.augment.probability, recipe.augment.sigma, recipe.augment.quality) == (0.1, (0.0, 3.0), (30, 100))
    assert plain(build(ImageRecipe, BASE, "r").augment) == {"name": "none"}
    assert "Did you mean 'blur_jpeg'" in said(ImageRecipe, BASE | {"augment": {"name": "blur_jpg"}})
    assert "Percent?" in said(ImageRecipe, BASE | {"augment": {"name": "blur_jpeg", "probability": 10}})


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
    assert message in said(ImageRecipe, BASE | change)


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

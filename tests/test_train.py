"""The train stage end to end on a handful of made pixels: each baseline's recipe, and resuming after a kill."""

from __future__ import annotations

import csv
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_runs import made

from tellsign.data.pixels import PixelTable, augment
from tellsign.detectors import image
from tellsign.detectors.build import build_detector, load_detector
from tellsign.detectors.checkpoints import weight_files
from tellsign.detectors.recipes.image import ImageRecipe
from tellsign.detectors.training_crops import near
from tellsign.errors import UserError
from tellsign.methods.losses import binary_cross_entropy
from tellsign.methods.masks.random_box import random_box
from tellsign.schema.loading import build, plain
from tellsign.stages import score, train
from tellsign.system.parquet import read_rows
from tellsign.training.optimisers.adam_steps import Adam

pytestmark = pytest.mark.usefixtures("state_every_epoch")

BLUR_JPEG = {"name": "blur_jpeg", "probability": 0.5}
STOP = {"split": "val", "patience": 1, "min_lr": 1e-5}
# FACTS of the published recipes at the demo's size: small networks, crops and batches
CNNDET = {
    "backbone": {"name": "demo-xception", "weights": "none"},
    "head": {"name": "linear", "init_std": 0.02},
    "augment": BLUR_JPEG,
    "rotate": False,
    "optimiser": {"lr": 1e-3},
    "stop": STOP,
    "epochs": 4,
}
UNIFD = {
    "backbone": {"name": "demo-clip-vit", "weights": "shipped"},
    "trainable": "head",
    "head": {"name": "linear", "init_std": 0.02},
    "augment": BLUR_JPEG,
    "optimiser": {"name": "adamw", "lr": 1e-2},
    "crop": 72,
    "epochs": 1,
}
NEAREST = UNIFD | {"head": {"name": "nearest"}, "epochs": 0}
NPR = {
    "backbone": {"name": "npr", "weights": "none"},
    "optimiser": {"lr": 2e-4},
    "schedule": {"every": 10, "factor": 0.9},
    "epochs": 1,
}
RESNET = {
    "optimiser": {"name": "sgd", "lr": 0.05, "weight_decay": 1e-4},
    "schedule": {"kind": "cosine", "warmup": 1},
    "epochs": 2,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    made(folder, "train", 12, 0)
    made(folder, "val", 6, 1)
    return folder


def settings_of(recipe: dict, seed: int = 0, digest: str = "none") -> dict:
    """What the plan hands to the stage."""
    built = build(ImageRecipe, {"crop": 32, "batch_size": 4} | recipe, "test")
    settings = plain(built) | {"seed": seed, "start": None}
    settings["data"] = {"subsets": [], "count": built.data.count}
    settings["backbone"]["digest"] = digest
    return {key: value for key, value in settings.items() if key not in ("resize", "resize_test", "crop_test", "bias")}


def trained(
    data: Path, out: Path, recipe: dict, digest: str = "none", **changes
) -> tuple[dict[str, torch.Tensor], list[dict[str, str]]]:
    """Weights and log of a training."""
    validation = {"validation_split": data / "val.parquet", "validation_inputs": {"crops": data / "val"}}
    train.main(
        settings=settings_of(recipe, digest=digest),
        split=data / "train.parquet",
        inputs={"crops": data / "train"},
        out=out,
        **{"work": out.with_name(f"{out.name}-work"), "device": "cpu"}
        | (validation if "stop" in recipe else {})
        | changes,
    )
    return load_file(out / "model.safetensors"), list(csv.DictReader((out / "log.csv").read_text().splitlines()))


def scored(data: Path, run: Path, crop: int) -> list[float]:
    """Scores of the validation images."""
    score.main(
        settings={"paper": "p", "run": "r", "keep": 1, "method": "image", "networks": {}, "view": {"crop": crop},
                  "tests": {"t": {"benchmark": "b", "perturbation": "none"}}},
        checkpoints={"0": run},
        splits={"t": data / "val.parquet"},
        inputs={"crops@t": data / "val"},
        out=run.with_name("scores.parquet"),
        device="cpu",
    )  # fmt: skip
    return read_rows(run.with_name("scores.parquet"))["score"].to_pylist()


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(CNNDET, id="cnndet"),
        pytest.param(UNIFD, id="unifd"),
        pytest.param(NPR, id="npr"),
        pytest.param(RESNET | {"backbone": {"name": "demo-xception", "weights": "none"}}, id="sgd and cosine"),
        pytest.param({"backbone": {"name": "demo-xception", "weights": "none"}, "epochs": 1}, id="xception"),
        pytest.param({"backbone": UNIFD["backbone"], "crop": 72, "epochs": 1}, id="direct clip"),
    ],
)
def test_every_baselines_recipe_trains_and_scores(data, tmp_path, recipe):
    weights, log = trained(data, tmp_path / "run", recipe)
    assert all(torch.isfinite(value).all() for value in weights.values())
    assert 1 <= len(log) <= recipe["epochs"] and all(float(row["loss"]) > 0 for row in log)
    scored(data, tmp_path / "run", 72 if "clip" in recipe["backbone"]["name"] else 32)


@contextmanager
def killed_in_save(monkeypatch, saved):
    """A training within is killed when it has written its state so often: weights of the next epoch, not its state."""
    save, calls = train.Resume.save, []

    def dying(self, *arguments):
        calls.append(1)
        if len(calls) == saved + 1:
            raise KeyboardInterrupt  # the weights of this epoch are written, its state is not
        save(self, *arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train.Resume, "save", dying)
        yield


@pytest.mark.parametrize("killed_after", [1, 2])
def test_a_killed_early_stopping_training_resumes_to_the_same_bytes(data, tmp_path, killed_after, monkeypatch):
    _, log = trained(data, tmp_path / "whole", CNNDET)
    with killed_in_save(monkeypatch, killed_after):
        trained(data, tmp_path / "again", CNNDET)
    _, after = trained(data, tmp_path / "again", CNNDET)
    assert (tmp_path / "whole/model.safetensors").read_bytes() == (tmp_path / "again/model.safetensors").read_bytes()
    assert [row | {"seconds": ""} for row in after] == [row | {"seconds": ""} for row in log]


def test_a_linear_probe_stores_its_head_alone_and_scores_as_one_that_stores_all(data, tmp_path, monkeypatch):
    recipe, layer = UNIFD | {"epochs": 3, "keep": 2}, {"head.layer.weight", "head.layer.bias"}
    whole, _ = trained(data, tmp_path / "whole", recipe)
    with killed_in_save(monkeypatch, 1):
        trained(data, tmp_path / "head", recipe, digest="ab")
    (state,) = (tmp_path / "head-work").rglob("state.safetensors")
    assert {name for name in load_file(state) if name.startswith("model.")} == {f"model.{name}" for name in layer}
    head, _ = trained(data, tmp_path / "head", recipe, digest="ab")
    assert set(head) == layer and all(torch.equal(whole[name], value) for name, value in head.items())
    assert set(load_file(tmp_path / "head" / "epoch-02.safetensors")) == layer
    assert scored(data, tmp_path / "head", 72) == scored(data, tmp_path / "whole", 72)
    begun = image.starting_detector(settings_of(recipe, digest="ab") | {"start": "run"}, tmp_path / "head")
    assert all(torch.equal(whole[name], value) for name, value in begun.state_dict().items())


def test_a_method_that_changes_a_frozen_backbone_is_refused(data, tmp_path, monkeypatch):
    def changed(detector, _):
        next(detector.train().backbone.parameters()).add_(1)

    monkeypatch.setattr(image, "set_batch_norm", changed)
    with pytest.raises(RuntimeError, match="the method changed it"):
        trained(data, tmp_path / "run", UNIFD, digest="ab")


def test_early_stopping_takes_up_the_best_epochs_head_alone(data, tmp_path, monkeypatch):
    accuracies = iter([0.9, 0.5, 0.4])
    monkeypatch.setattr(image, "accuracy_of", lambda *_: next(accuracies))
    best, _ = trained(data, tmp_path / "best", UNIFD | {"epochs": 3, "stop": STOP}, digest="ab")
    first, _ = trained(data, tmp_path / "first", UNIFD, digest="ab")
    assert all(torch.equal(best[name], value) for name, value in first.items())


def test_kept_weights_that_change_while_they_wait_are_refused(data, tmp_path, monkeypatch):
    recipe = {"backbone": CNNDET["backbone"], "epochs": 3, "keep": 3}

    def dying(self, *arguments):
        if arguments[3] == 3:
            raise KeyboardInterrupt
        save(self, *arguments)

    save = train.Resume.save
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train.Resume, "save", dying)
        trained(data, tmp_path / "run", recipe)
    (first,) = (tmp_path / "run-work").rglob("epoch-01.safetensors")
    whole = first.read_bytes()
    first.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UserError, match=r"epoch-01\.safetensors was changed since it was written.*begins anew"):
        trained(data, tmp_path / "run", recipe)
    first.write_bytes(whole)
    trained(data, tmp_path / "run", recipe)
    assert (tmp_path / "run" / "epoch-01.safetensors").read_bytes() == whole


def test_the_best_epochs_weights_are_kept_and_told(data, tmp_path, monkeypatch):
    accuracies = iter([0.5, 0.9, 0.6, 0.6])
    monkeypatch.setattr(image, "accuracy_of", lambda *_: next(accuracies))
    best, log = trained(data, tmp_path / "best", CNNDET)
    assert [row["accuracy"] for row in log] == ["0.5", "0.9", "0.6", "0.6"]
    assert [float(row["lr"]) for row in log] == pytest.approx([1e-3, 1e-3, 1e-3, 1e-4])
    assert list(weight_files(tmp_path / "best")) == [(2, "", "model.safetensors")]
    monkeypatch.setattr(image, "accuracy_of", lambda *_: 1.0)
    second, _ = trained(data, tmp_path / "second", CNNDET | {"epochs": 2, "stop": STOP | {"delta": 0.0}})
    assert all(torch.equal(best[key], second[key]) for key in best)


def test_validation_leaves_the_training_as_it_was(data, tmp_path):
    recipe = {"backbone": CNNDET["backbone"], "epochs": 2}
    plain_weights, _ = trained(data, tmp_path / "plain", recipe)
    stopped, _ = trained(data, tmp_path / "stopped", recipe | {"stop": STOP | {"delta": -1.0}})
    assert all(torch.equal(plain_weights[key], stopped[key]) for key in stopped)


def test_the_nearest_neighbour_stores_the_training_images_and_nothing_random(data, tmp_path):
    weights, log = trained(data, tmp_path / "a", NEAREST)
    again = settings_of(NEAREST, seed=5)
    train.main(settings=again, split=data / "train.parquet", inputs={"crops": data / "train"}, out=tmp_path / "b",
               work=tmp_path / "work", device="cpu")  # fmt: skip
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()
    assert not log and weights["head.real"].shape == weights["head.fake"].shape == (6, 96)
    detector = load_detector(tmp_path / "a", torch.device("cpu"))
    table = PixelTable.open(data / "train")
    x = detector.backbone.preprocess(table.center_crops(torch.arange(12), 72))
    with torch.no_grad():
        logits = detector(x)
        unit = torch.nn.functional.normalize(detector.backbone(x), dim=1)
    assert ((logits > 0).tolist()) == [i % 2 == 1 for i in range(12)]  # each is its own nearest neighbour
    torch.testing.assert_close(weights["head.fake"], unit[1::2], rtol=1e-4, atol=1e-5)


def test_without_augmentation_every_draw_is_made_in_the_order_it_always_was(data, tmp_path):
    recipe = {"backbone": CNNDET["backbone"], "epochs": 1, "mask": {"name": "random_box"}}
    weights, _ = trained(data, tmp_path / "run", recipe)
    detector, generator = build_detector(settings_of(recipe)).train(), torch.Generator().manual_seed(0)
    table, labels = PixelTable.open(data / "train"), torch.arange(12) % 2
    adam = Adam(detector.parameters(), lr=1e-4)
    for rows in torch.randperm(12, generator=generator).split(4):
        pixels = augment(table.random_crops(rows, 32, generator), generator, flip=True, rotate=True)
        x = detector.backbone.preprocess(pixels)
        x = x * random_box(x, generator, ratio=(0.6, 0.8), aspect=(0.33, 3.0), literal=False, distribution="uniform")
        adam.zero_grad()
        binary_cross_entropy(detector(x), labels[rows]).backward()
        adam.step()
    assert all(torch.equal(weights[key], value) for key, value in detector.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters", "crop"),
    [("resnet50", 23.51, 64), ("legacy-xception", 20.81, 128), ("swin-t", 27.52, 224), ("swin-b", 86.74, 224)],
)
def test_full_size_baselines_have_their_parameters_and_train_a_step(data, tmp_path, name, parameters, crop):
    recipe = {"backbone": {"name": name, "weights": "none"}, "crop": crop, "epochs": 1, "data": {"count": 4}}
    trained(data, tmp_path / "run", recipe)
    detector = load_detector(tmp_path / "run", torch.device("cpu"))
    assert round(sum(p.numel() for p in detector.parameters()) / 1e6, 2) == parameters


def test_an_epoch_of_so_many_steps_takes_the_first_batches_of_a_new_order(data, tmp_path):
    network = {"backbone": {"name": "demo-xception", "weights": "none"}}
    short = network | {"epoch_steps": 2, "epochs": 2, "schedule": {"kind": "constant"}}
    _, log = trained(data, tmp_path / "short", short)
    assert [int(row["rows"]) for row in log] == [8, 8]  # of 12 images
    _, whole = trained(data, tmp_path / "whole", short | {"epoch_steps": None, "epochs": 1})
    _, third = trained(data, tmp_path / "third", short | {"epoch_steps": 3, "epochs": 1})
    assert whole[0]["loss"] == third[0]["loss"]
    with pytest.raises(UserError, match="epoch_steps is 4, but 12 training images make 3 batches"):
        trained(data, tmp_path / "long", short | {"epoch_steps": 4})
    with pytest.raises(UserError, match="write none with shots"):
        settings_of(network | {"epoch_steps": 2, "shots": 4, "start": "run:a"})


def crops_table(sides: int = 40) -> PixelTable:
    side = torch.full((2,), sides)
    pixels = torch.zeros((2 * sides * sides, 3), dtype=torch.uint8)
    return PixelTable(("a", "b"), pixels, torch.arange(2) * sides * sides, side, side)


@pytest.mark.parametrize(("augment", "free", "moved"), [("none", 20_000, True), ("none", 19_000, False),
                                                        ("blur_jpeg", 20_000, False)])  # fmt: skip
def test_training_images_move_to_a_gpu_where_they_take_half_of_its_free_memory(augment, free, moved, monkeypatch):
    table, asked = crops_table(), []  # 9,600 bytes
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 80_000))
    monkeypatch.setattr(PixelTable, "to", lambda self, device: asked.append(device) or self)
    settings = {"augment": {"name": augment}}
    assert near(table, settings, torch.device("cpu")) is table and not asked
    near(table, settings, torch.device("cuda"))
    assert bool(asked) is moved

"""Pre-training by one process and by two, from packed pixels and from files, whole and killed."""

from __future__ import annotations

import csv
import hashlib
import io
import multiprocessing
import os
import signal
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from tellsign.data.photos import on_the_fly, packed
from tellsign.errors import UserError
from tellsign.methods.batches import Batches
from tellsign.methods.losses import supervised_contrastive
from tellsign.schema.loading import plain
from tellsign.schema.networks import Encoder
from tellsign.schema.training import Pretrain, WarmUp
from tellsign.stages import crops as crops_stage
from tellsign.stages import pretrain
from tellsign.system.parquet import write_rows
from tellsign.training import parallel
from tellsign.training.optimisers.adam import AdamSettings
from tellsign.training.parallel import Nodes
from tellsign.training.schedules.step import StepSchedule

pytestmark = pytest.mark.usefixtures("state_every_epoch")

CPU = torch.device("cpu")
RECIPE = Pretrain(
    backbone=Encoder.model_construct(name="tiny", weights="none"),  # no backbone of the pipeline
    ratios=("16/9", "8/5", "4/3"), n_ratios=3, n_phases=2, n_images=2, n_patches=2, patch=24,
    temperature=0.1, projection=(8, 4), optimiser=AdamSettings(lr=1e-2, weight_decay=1e-4),
    schedule=StepSchedule(factor=0.5), epochs=3, steps=3, seed=5,
    warm_up=WarmUp(steps=7, n_ratios=2, n_images=4, n_patches=1), measure_every=2, held_out=2,
)  # fmt: skip
SETTINGS: dict[str, Any] = {k: v for k, v in plain(RECIPE).items() if k not in ("split", "decode")}


class Tiny(nn.Module):
    """A small network with BatchNorm, in double precision: rounding is then far below any real difference."""

    dim = 6

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU()
        )

    def preprocess(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.double() / 255 - 0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x).mean((2, 3))


def tiny(name: str, weights: str, seed: int, front: str | None = None) -> Tiny:
    with pretrain.seeded(seed):
        return Tiny()


@pytest.fixture
def double(monkeypatch):
    monkeypatch.setattr(pretrain, "load_backbone", tiny)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Seven JPEGs as files and as crops; one of them stands twice in the split."""
    folder = tmp_path_factory.mktemp("photos")
    rows, g = [], np.random.default_rng(0)
    for i in range(7):
        height, width = (int(n) for n in g.integers(40, 70, 2))
        stream = io.BytesIO()
        Image.fromarray(g.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(stream, "JPEG")
        (folder / f"{i}.jpg").write_bytes(stream.getvalue())
        rows.append((hashlib.sha256(stream.getvalue()).hexdigest(), "here", f"{i}.jpg", height, width))
    rows.insert(5, rows[1])
    names = ("id", "root", "path", "height", "width")
    write_rows(
        folder / "split", {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    )
    settings = {
        "store": "whole",
        "size": 0,
        "perturbation": {"name": "none", "options": {}, "seed": 0},
        "bias_control": "none",
    }
    settings |= {"bias_size": 0, "bias_quality": 0, "resize": None}
    crops_stage.main(settings=settings, split=folder / "split", roots={"here": folder}, out=folder / "crops")
    return folder


def files(photos: Path) -> dict[str, Any]:
    return {"split": photos / "split", "roots": {"here": photos}, "crops": None}


def made(folder: Path) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses and weights of a folder that the stage wrote."""
    with (folder / "log.csv").open() as stream:
        losses = [float(row["loss"]) for row in csv.DictReader(stream)]
    return losses, load_file(folder / "model.safetensors")


def assert_near(one, other):
    assert one[0] == pytest.approx(other[0], abs=1e-9)
    assert one[1].keys() == other[1].keys()
    for key, value in one[1].items():
        torch.testing.assert_close(value, other[1][key], rtol=0, atol=1e-6)


# ------------------------------------------------------------------------------------------------ one process


def test_packed_pixels_and_files_give_the_same_bytes_with_any_number_of_readers(photos, double, tmp_path, monkeypatch):
    pretrain.main(settings=SETTINGS, crops=photos / "crops", out=tmp_path / "a", work=tmp_path / "w", device="cpu")
    weights = (tmp_path / "a" / "model.safetensors").read_bytes()
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # sums in another order would round differently
    for n, count in enumerate((1, 7)):
        monkeypatch.setattr(pretrain, "threads", lambda count=count: count)
        out = tmp_path / str(n)
        pretrain.main(settings=SETTINGS, **files(photos), out=out, work=tmp_path / "w", device="cpu")
        assert (out / "model.safetensors").read_bytes() == weights
    assert not (tmp_path / "w").exists()


def test_reading_ahead_draws_an_epochs_batches_and_no_more(photos):
    states = []
    for found in (packed(photos / "crops", CPU), on_the_fly(photos / "split", {"here": photos})):
        generator = torch.Generator().manual_seed(0)
        batches = Batches(found, SETTINGS, generator, CPU, readers=3)
        chosen = [rows.tolist() for rows in batches.epoch(1)]
        states.append((chosen, generator.get_state().tolist()))
    assert states[0] == states[1]
    assert len(states[0][0]) == 3


def test_a_training_too_short_to_keep_a_state_ends_like_any_other(photos, double, tmp_path, monkeypatch):
    monkeypatch.setenv("TELLSIGN_STATE_SECONDS", "3600")
    given = {"settings": SETTINGS, "crops": photos / "crops", "work": tmp_path / "w", "device": "cpu"}
    pretrain.main(**given, out=tmp_path / "a")
    monkeypatch.setenv("TELLSIGN_STATE_SECONDS", "0")
    pretrain.main(**given, out=tmp_path / "b")
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in "ab")
    assert one == other and not (tmp_path / "w").exists()


def test_files_are_the_packed_photographs_one_by_one(photos):
    one, other = packed(photos / "crops", CPU), on_the_fly(photos / "split", {"here": photos})
    assert len(one) == len(other) == 7
    assert torch.equal(one.sizes, other.sizes)
    assert all(torch.equal(one.read(i), other.read(i)) for i in range(7))


def test_small_photographs_are_refused_or_left_out(photos, caplog):
    found = packed(photos / "crops", CPU)
    shorter = found.sizes.amin(1)
    side = int(shorter.sort().values[2])
    with pytest.raises(UserError, match=f"2 of 7 photographs have a side below {side} px.*too_small: drop"):
        found.fitting(side, "fail")
    kept = found.fitting(side, "drop")
    assert "2 of 7" in caplog.text
    assert torch.equal(kept.sizes, found.sizes[shorter >= side])
    assert all(tuple(kept.read(i).shape[1:]) == tuple(kept.sizes[i].tolist()) for i in range(5))
    with pytest.raises(UserError, match="7 of 7"):
        found.fitting(500, "drop")


def test_a_file_that_changed_stops_the_training(photos, double, tmp_path):
    rows = {"id": ["0" * 64, "1" * 64], "root": ["here"] * 2, "path": ["0.jpg", "1.jpg"]}
    rows |= {"height": [60] * 2, "width": [60] * 2}
    write_rows(tmp_path / "split", rows)
    given = {"split": tmp_path / "split", "roots": {"here": photos}, "out": tmp_path / "o", "work": tmp_path / "w"}
    with pytest.raises(UserError, match="has changed"):
        pretrain.main(settings=SETTINGS | {"held_out": 0, "warm_up": None}, **given)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("changes", "processes", "device", "words"),
    [
        ({}, 5, "cpu", "3 x 2 x 2 x 2 = 24 patches cannot be shared equally by 5"),
        ({}, 12, "cpu", "2 x 1 x 4 x 1 = 8 patches cannot be shared equally by 12"),
        ({"batch_norm_parts": 4}, 2, "cpu", "batch_norm_parts: 4.* there are 2"),
        ({}, 2, "cuda:1", "names one GPU"),
    ],
)
def test_what_processes_cannot_do_is_said_before_they_start(changes, processes, device, words, tmp_path):
    given = {"out": tmp_path / "o", "work": tmp_path / "w", "processes": processes, "device": device}
    with pytest.raises(UserError, match=words):
        pretrain.main(settings=SETTINGS | changes, **given)


def test_either_crops_or_files(photos, double, tmp_path):
    with pytest.raises(UserError, match="either --crops"):
        pretrain.main(settings=SETTINGS, out=tmp_path / "o", work=tmp_path / "w", device="cpu")


def test_each_process_reads_few_photographs_and_meets_every_ratio_and_phase(photos):
    found = packed(photos / "crops", CPU)
    parts = [
        Batches(found, SETTINGS, torch.Generator().manual_seed(0), CPU, 1, rank=rank, processes=4) for rank in range(4)
    ]
    for epoch, (patches, images, labels) in enumerate([(8, 1, [0, 1]), (24, 1, list(range(6)))]):
        makeup, draw = next(parts[0]._draws(3 * epoch))  # a batch of the warm-up, and one after it
        assert sorted(torch.cat([b.mine(makeup) for b in parts]).tolist()) == list(range(patches))
        for batches in parts:
            part = draw.part(batches.mine(makeup))
            assert len(part.image.unique()) == images
            assert sorted(part.label.tolist()) == labels


class Constant(Tiny):
    """Features that are one point, but for rounding."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 1 + 1e-9 * super().forward(x)


@pytest.mark.parametrize("on_collapse", ["stop", "warn"])
def test_an_encoder_that_stays_constant_is_told(photos, double, tmp_path, monkeypatch, caplog, on_collapse):
    monkeypatch.setattr(pretrain, "load_backbone", lambda *_: Constant())
    settings = SETTINGS | {"on_collapse": on_collapse, "collapse_after": 5}
    given = {"settings": settings, "crops": photos / "crops", "out": tmp_path / "o", "work": tmp_path / "w"}
    if on_collapse == "stop":
        with pytest.raises(UserError, match=r"in the 5 steps up to step 5 its loss was 1.0000 .*warm_up.steps"):
            pretrain.main(**given, device="cpu")
        return
    pretrain.main(**given, device="cpu")
    assert caplog.text.count("does not learn") == 1
    rows = list(csv.DictReader((tmp_path / "o" / "log.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["2", "3", "5", "6", "8", "9"]
    chance = {"loss_over_chance": 1, "mean_cosine": 1, "contrast": 0}
    chance |= {"retrieved_ratio": 1 / 3, "retrieved_ratio_and_phase": 1 / 12}
    for row in rows:
        assert {name: float(row[name]) for name in chance} == pytest.approx(chance, abs=1e-6)
    assert [row["ratio_cross_entropy"] == "" for row in rows] == [False] * 5 + [True]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"held_out": 5}, "7 photographs are there; 5 are held out .* needs 4"),
        ({"steps": None, "epochs": 1}, "warm-up of 7 steps is longer than the training: 1 epochs of 3 steps"),
    ],
)
def test_too_few_photographs_or_steps_are_refused_before_the_first_step(photos, changes, words):
    found = packed(photos / "crops", CPU)
    with pytest.raises(UserError, match=words):
        Batches(found, SETTINGS | changes, torch.Generator(), CPU, 1)


# ------------------------------------------------------------------------------------------------ two processes


class StopError(Exception):
    """The end of a process, so far as its files are concerned."""


def two(folder: Path, given: dict[str, Any]) -> None:
    """What each of two processes does: trainings of several kinds, then the second one is killed in its third epoch."""
    pretrain.load_backbone = tiny
    torch.set_default_dtype(torch.float64)
    with parallel.joined(CPU) as (world, device):
        here: dict[str, Any] = {"device": device, "world": world, "settings": SETTINGS}
        pretrain.pretrain(**given, **here, out=folder / "whole", work=folder / "w0")
        parts: dict[str, Any] = here | {
            "settings": SETTINGS | {"batch_norm_parts": 2, "warm_up": None, "steps": 1, "epochs": 1}
        }
        pretrain.pretrain(**given, **parts, out=folder / "parts", work=folder / "w1")

        def training(work: str, end: Any) -> None:
            saving, saved = (pretrain.Resume.save, pretrain.ReadOnlyResume.save), []
            for kind, save in zip((pretrain.Resume, pretrain.ReadOnlyResume), saving, strict=True):

                def ending(self: Any, *args: Any, save: Any = save, **given: Any) -> None:
                    save(self, *args, **given)
                    saved.append(1)
                    if len(saved) == 2:  # after two epochs
                        end(world.rank)

                kind.save = ending
            try:
                pretrain.pretrain(**given, **here, out=folder / work / "no", work=folder / work)
            finally:
                pretrain.Resume.save, pretrain.ReadOnlyResume.save = saving

        def stop(rank: int) -> None:
            raise StopError

        try:
            training("w2", stop)
        except StopError:
            pretrain.pretrain(**given, **here, out=folder / "resumed", work=folder / "w2")
        training("w3", lambda rank: os.kill(os.getpid(), signal.SIGKILL) if rank == 1 else None)


@pytest.fixture(scope="module")
def pair(photos, tmp_path_factory) -> tuple[Path, str]:
    """The folder in which two processes did all that `two` says, and the error they ended with."""
    folder = tmp_path_factory.mktemp("pair")
    with pytest.raises(UserError) as caught:
        parallel.launch(two, 2, {"folder": folder, "given": files(photos)})
    return folder, str(caught.value)


@pytest.mark.slow
def test_two_processes_train_as_one(pair, photos, double, tmp_path):
    folder, _ = pair
    pretrain.main(settings=SETTINGS, crops=photos / "crops", out=tmp_path / "one", work=tmp_path / "w", device="cpu")
    assert_near(made(folder / "whole"), made(tmp_path / "one"))


@pytest.mark.slow
def test_two_processes_stopped_and_resumed_are_two_processes_uninterrupted(pair):
    folder, _ = pair
    whole, resumed = ((folder / name / "model.safetensors").read_bytes() for name in ("whole", "resumed"))
    assert whole == resumed


@pytest.mark.slow
def test_a_killed_process_ends_all_with_one_error_and_any_number_of_processes_goes_on(pair, photos, double):
    folder, said = pair
    assert said.startswith("process 1 of 2 failed: it was ended by signal 9 (SIGKILL)") and "\n" not in said
    assert not (folder / "w3" / "no").exists()
    out = folder / "went-on"
    pretrain.main(settings=SETTINGS, crops=photos / "crops", out=out, work=folder / "w3", device="cpu")
    assert_near(made(out), made(folder / "whole"))


@pytest.mark.slow
def test_batch_norm_in_two_parts_is_the_network_on_each_half(pair, photos, double):
    folder, _ = pair
    settings: dict[str, Any] = SETTINGS | {"warm_up": None}
    generator = torch.Generator().manual_seed(settings["seed"])
    batches = Batches(packed(photos / "crops", CPU), settings, generator, CPU, 1)
    next(batches.epoch(0))
    halves = batches.makeup.order(2).chunk(2)
    encoder = tiny("", "", SETTINGS["seed"])
    with pretrain.seeded(SETTINGS["seed"]):
        model = pretrain.Contrast(encoder, pretrain.projection_head(6, 8, 4))  # pyright: ignore
    z = torch.cat([model(encoder.preprocess(batches.patches()[half]))[1] for half in halves])
    loss = supervised_contrastive(z, batches.draw.label[torch.cat(halves)], SETTINGS["temperature"])
    losses, _ = made(folder / "parts")
    assert losses == pytest.approx([loss.item()], abs=1e-9)


def one_of_two(folder: Path, given: dict[str, Any]) -> None:
    """What the process of each of two nodes does."""
    pretrain.load_backbone = tiny
    torch.set_default_dtype(torch.float64)
    with parallel.joined(CPU) as (world, device):
        assert (world.size, world.here) == (2, 1)
        where: dict[str, Any] = {"out": folder / "out", "work": folder / "work"}
        pretrain.pretrain(**given, **where, device=device, world=world, settings=SETTINGS)


@pytest.mark.slow
def test_two_nodes_train_as_one(photos, double, tmp_path):
    """Each node is a process of its own that starts one more, as srun starts them."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        meeting = f"127.0.0.1:{held.getsockname()[1]}"
    arguments = {"folder": tmp_path, "given": files(photos)}
    start = multiprocessing.get_context("spawn").Process
    nodes = [start(target=parallel.launch, args=(one_of_two, 1, arguments, Nodes(2, n, meeting))) for n in (0, 1)]
    for node in nodes:
        node.start()
    for node in nodes:
        node.join()
    assert [node.exitcode for node in nodes] == [0, 0]
    pretrain.main(settings=SETTINGS, crops=photos / "crops", out=tmp_path / "one", work=tmp_path / "w", device="cpu")
    assert_near(made(tmp_path / "out"), made(tmp_path / "one"))


def test_nodes_are_those_of_the_slurm_step():
    step = {"SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NODEID": "1", "SLURM_JOB_ID": "10007"}
    step |= {"SLURM_LAUNCH_NODE_IPADDR": "10.0.0.1"}
    assert Nodes.of_step(step) == Nodes(2, 1, "10.0.0.1:20007")
    assert Nodes.of_step({}) == Nodes.of_step({"SLURM_NNODES": "2"}) == Nodes()  # an allocation is no step
    with pytest.raises(UserError, match="start one a node"):
        Nodes.of_step(step | {"SLURM_STEP_NUM_TASKS": "16"})


def test_errors_of_processes_are_told_once_and_readably():
    def told(exitcode: int, message: Any) -> str:
        failure = SimpleNamespace(
            exitcode=exitcode, error_file_data={"message": message}, signal_name=lambda: "SIGSEGV"
        )
        return str(parallel._expected(3, 8, failure))  # pyright: ignore

    note = {"message": "UserError: the loss is nan: lower it.", "extraInfo": {"py_callstack": "lines"}}
    assert told(1, note) == "the loss is nan: lower it."
    note["message"] = "RuntimeError: out of memory"
    assert told(1, note).startswith("process 3 of 8 failed: RuntimeError: out of memory. The others were stopped.")
    assert "signal 11 (SIGSEGV). The" in told(-11, "")
    assert "exit status 3." in told(3, "")

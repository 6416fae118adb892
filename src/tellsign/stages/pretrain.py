"""Pre-train an encoder by rescaling contrast (rescale §4.2).

Reads   whole decoded real photographs (--crops, store: whole), or a split and the photographs' own files (--split and
        --roots), which threads then decode while the network computes
Writes  a folder: model.safetensors (the encoder; the projection head is discarded, as the paper says), recipe.yaml,
        provenance.json, log.csv: a row for every ``measure_every`` steps, with the losses, what shows whether the
        encoder learns (`tellsign.methods.contrast`), the learning rate and the seconds
Resumes from the last whole epoch, kept under --work.

--processes N divides every batch among N processes, each with a GPU of its own where there are GPUs; loss and weights
are those of one process, but for rounding, unless the recipe's batch_norm_parts says otherwise. OMP_NUM_THREADS counts
for all of them together. Under SLURM's `srun --nodes M --ntasks-per-node 1` there are N on each of M nodes, all on one
batch; the first node writes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from tellsign.data.photos import Photos, on_the_fly, packed
from tellsign.detectors.checkpoints import save_weights, write_provenance
from tellsign.errors import UserError
from tellsign.methods.batches import Batches, makeups
from tellsign.methods.lattice import Ratio
from tellsign.methods.learning import HeldOut, Learning, Row
from tellsign.methods.losses import supervised_contrastive
from tellsign.networks.backbones.backbone import Backbone
from tellsign.networks.backbones.loading import load_backbone
from tellsign.networks.determinism import pick_device, seeded
from tellsign.system.devices import threads
from tellsign.system.files import folder_beside, write_text
from tellsign.system.locks import exclusive_lock
from tellsign.training import parallel
from tellsign.training.fit import fit, write_log
from tellsign.training.optimisers.build import build_optimiser
from tellsign.training.parallel import Nodes, World
from tellsign.training.resume import Resume
from tellsign.training.schedules.warm_up import rate_by_epoch


def projection_head(dim: int, hidden: int, out: int) -> nn.Module:
    """The MLP of the paper's Fig. 4(c), with SupContrast's form (Khosla et al. 2020): linear, ReLU, linear."""
    return nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, out))


class Contrast(nn.Module):
    """The encoder and its projection head."""

    def __init__(self, encoder: Backbone, projection: nn.Module) -> None:
        super().__init__()
        self.encoder, self.projection = encoder, projection

    def forward(self, x: Float[Tensor, "b 3 p p"]) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b d"]]:
        """Features of preprocessed patches, and the same projected."""
        features = self.encoder(x)
        return features, self.projection(features)


class ReadOnlyResume(Resume):
    """Resume state that another process keeps."""

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Leave it to that process."""
        yield

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Leave it to that process."""


def main(
    *,
    settings: dict[str, Any],
    out: Path,
    work: Path,
    crops: Path | None = None,
    split: Path | None = None,
    roots: dict[str, Path] | None = None,
    device: str = "auto",
    processes: int = 1,
) -> None:
    """Pre-train one encoder.

    Raises:
        UserError: too few or too small photographs, the loss is not finite, the processes cannot share a batch or a
            GPU, or one of them failed.
    """
    nodes = Nodes.of_step(os.environ)
    check_processes(settings, processes, nodes.count, device)
    files: dict[str, Any] = {"crops": crops, "split": split, "roots": roots, "out": out, "work": work}
    if nodes.number > 0:  # the first node holds the work; no process starts before all nodes are there
        parallel.launch(member, processes, {"settings": settings, "device": device, **files}, nodes)
        return
    with exclusive_lock(work):
        work.mkdir(exist_ok=True)  # a short training keeps no state in it
        if processes * nodes.count == 1:
            pretrain(settings=settings, device=pick_device(device), world=World(), **files)
        else:
            parallel.launch(member, processes, {"settings": settings, "device": device, **files}, nodes)
        shutil.rmtree(work)


def check_processes(settings: dict[str, Any], processes: int, nodes: int, device: str) -> None:
    """Raise UserError where so many processes on each of so many nodes cannot do what the recipe says."""
    together = processes * nodes
    for makeup in reversed(makeups(settings)[1:]):
        if processes < 1 or makeup.size % together:
            raise UserError(
                f"a batch of {makeup} cannot be shared equally by {together} processes; take a number that divides it."
            )
    if settings["batch_norm_parts"] not in (1, together):
        raise UserError(
            f"the recipe says batch_norm_parts: {settings['batch_norm_parts']}, which needs as many processes, but "
            f"there are {together}. 1 allows any number."
        )
    if processes > 1 and device in ("auto", "cuda") and 0 < torch.cuda.device_count() < processes:
        raise UserError(f"{processes} processes need as many GPUs; torch sees {torch.cuda.device_count()}.")
    if processes > 1 and device not in ("auto", "cpu", "cuda"):
        raise UserError(f"device {device!r} names one GPU, but {processes} processes need one each; say cuda.")


def member(*, device: str, **given: Any) -> None:
    """One of several processes."""
    with parallel.joined(pick_device(device)) as (world, own):
        pretrain(**given, device=own, world=world)


def retrieval_of(encoder: Backbone, photos: Photos, settings: dict[str, Any]) -> Callable[[], Row]:
    """What measures the encoder, as it would be saved, by held-out photographs."""
    if len(photos) == 0:
        return dict
    ratios = [Ratio.parse(text) for text in settings["ratios"]]
    cut = {k: settings[k] for k in ("patch", "quantise", "seed")}
    held_out = HeldOut(photos, ratios, **cut)

    @torch.no_grad()
    def measured() -> Row:
        encoder.eval()
        device = next(encoder.parameters()).device
        row = held_out.measure(lambda pixels: encoder(encoder.preprocess(pixels.to(device))), 128)
        encoder.train()
        return row

    return measured


def open_photos(crops: Path | None, split: Path | None, roots: dict[str, Path] | None, device: torch.device) -> Photos:
    """The photographs, from whatever holds them."""
    if crops is not None and split is None:
        return packed(crops, device)
    if crops is None and split is not None:
        return on_the_fly(split, roots or {})
    raise UserError("give either --crops (photographs decoded once) or --split with --roots (decoded on the fly).")


def pretrain(
    *,
    settings: dict[str, Any],
    crops: Path | None,
    split: Path | None,
    roots: dict[str, Path] | None,
    out: Path,
    work: Path,
    device: torch.device,
    world: World,
) -> None:
    """Pre-train in this process, alone or with others; the first one writes."""
    share = max(1, threads() // world.here)
    torch.set_num_threads(share)
    seed, network = settings["seed"], settings["backbone"]
    encoder = load_backbone(network["name"], network["weights"], seed, network.get("front"))
    generator = torch.Generator().manual_seed(seed)
    photos = open_photos(crops, split, roots, device)
    batches = Batches(photos, settings, generator, device, share, rank=world.rank, processes=world.size)
    with seeded(seed):
        projection = projection_head(encoder.dim, *settings["projection"])
        model = nn.ModuleDict({"contrast": Contrast(encoder, projection)})
        if batches.warm_up.ratio_weight:
            model["ratio"] = nn.Linear(encoder.dim, len(batches.warm_up.ratios))
    model.to(device).train()
    shared = model["contrast"]
    if world.size > 1:
        if settings["batch_norm_parts"] == 1:
            parallel.share_batch_norm(shared)
        own = [device] if device.type == "cuda" else None
        shared = nn.parallel.DistributedDataParallel(shared, device_ids=own)

    def whole(rows: Tensor) -> Tensor:
        return parallel.gather(rows) if world.size > 1 else rows

    learning = Learning(
        every=settings["measure_every"],
        reduction=settings["reduction"],
        collapse_after=settings["collapse_after"],
        on_collapse=settings["on_collapse"],
        retrieved=retrieval_of(encoder, batches.held_out, settings) if world.is_main_process else dict,
    )
    resume = Resume(work) if world.is_main_process else ReadOnlyResume(work)

    def epoch() -> Iterator[Int64[Tensor, " n_images"]]:
        learning.begin(resume.rows)
        done = int(resume.rows[-1]["epoch"]) if resume.rows else 0
        for step, photographs in enumerate(batches.epoch(done), start=1):
            yield photographs
            learning.end_of_step(done * batches.steps + step, last=step == batches.steps)

    def loss_of(_: Int64[Tensor, " n_images"]) -> Float[Tensor, ""]:
        features, z = shared(encoder.preprocess(batches.patches()))
        z, makeup, draw = whole(z), batches.makeup, batches.draw
        rule = {k: settings[k] for k in ("normalise", "reduction")}
        loss = contrastive = supervised_contrastive(z, draw.label.to(device), makeup.temperature, **rule)
        entropy = None
        if makeup.ratio_weight:  # outside of `shared`: it sees the rows of all, so that its gradient is whole already
            logits = model["ratio"](whole(features))
            entropy = F.cross_entropy(logits, draw.ratio.to(device), reduction=settings["reduction"])
            loss = contrastive + makeup.ratio_weight * entropy
        learning.add(z, draw, contrastive, entropy)
        return loss

    def rows_of(row: dict[str, float]) -> list[dict[str, float]]:
        own = {"epoch": row["epoch"], "lr": row["lr"]}
        return [own | measured for measured in learning.rows[len(resume.rows) :]]

    optimiser = settings["optimiser"]
    began, worked = time.monotonic(), time.process_time()
    logs = fit(
        model,
        loss_of,
        epoch,
        build_optimiser(model.parameters(), optimiser),
        epochs=settings["epochs"],
        rate=rate_by_epoch(settings),
        generator=generator,
        resume=resume,
        after_epoch=lambda done: None,
        rows_of=rows_of,
    )
    if not world.is_main_process:
        return
    with folder_beside(out) as part:
        save_weights(encoder, part / "model.safetensors")
        write_log(part / "log.csv", logs)
        write_text(part / "recipe.yaml", yaml.safe_dump(settings, sort_keys=True))
        facts = {"seconds": round(time.monotonic() - began, 2), "images": len(batches.photos), "device": str(device)}
        facts |= {"processor_seconds": round(time.process_time() - worked, 2), "processes": world.size}
        write_provenance(part, facts)

"""Pre-train an encoder by rescaling contrast (rescale §4.2).

Reads   whole decoded real photographs (--crops, store: whole), or a split and the photographs' own files (--split and
        --roots), which threads then decode while the network computes
Writes  a folder: model.safetensors (the encoder; the projection head is discarded, as the paper says), recipe.yaml,
        provenance.json, log.csv
Resumes from the last whole epoch, kept under --work.

--processes N divides every batch among N processes, each with a GPU of its own where there are GPUs; loss and weights
are those of one process, but for rounding, unless the recipe's batch_norm_parts says otherwise. OMP_NUM_THREADS counts
for all of them together. Under SLURM's `srun --nodes M --ntasks-per-node 1` there are N on each of M nodes, all on one
batch; the first node writes.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tellsign.data.images import in_order
from tellsign.data.photos import Photos, on_the_fly, packed
from tellsign.detectors.checkpoints import save_weights, write_provenance
from tellsign.errors import UserError
from tellsign.methods.lattice import Ratio
from tellsign.methods.losses import supervised_contrastive
from tellsign.methods.patches import Draw, cut_patches, draw_batch, smallest_side
from tellsign.networks.backbones.backbone import Backbone
from tellsign.networks.backbones.loading import load_backbone
from tellsign.networks.determinism import pick_device, seeded
from tellsign.system.devices import threads
from tellsign.system.files import folder_beside, write_text
from tellsign.system.locks import exclusive_lock
from tellsign.system.progress import progress
from tellsign.training import parallel
from tellsign.training.fit import fit, write_log
from tellsign.training.optimisers.build import build_optimiser
from tellsign.training.parallel import Nodes, World
from tellsign.training.resume import Resume
from tellsign.training.schedules.warm_up import rate_by_epoch

log = logging.getLogger(__name__)


def projection_head(dim: int, hidden: int, out: int) -> nn.Module:
    """The MLP of the paper's Fig. 4(c), with SupContrast's form (Khosla et al. 2020): linear, ReLU, linear."""
    return nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, out))


class Contrast(nn.Module):
    """The encoder and its projection head."""

    def __init__(self, encoder: Backbone, projection: nn.Module) -> None:
        super().__init__()
        self.encoder, self.projection = encoder, projection

    def forward(self, x: Float[Tensor, "b 3 p p"]) -> Float[Tensor, "b d"]:
        """Projected features of preprocessed patches."""
        return self.projection(self.encoder(x))


class ReadOnlyResume(Resume):
    """Resume state that another process keeps."""

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Leave it to that process."""


class Batches:
    """Batches of patches: drawn in order, their photographs read ahead by threads, each process cutting its part.

    Draws come from the generator in the order of the batches, whoever reads the photographs and however fast. Of an
    epoch's batches all are drawn when it ends and no more, so that the generator's state can be kept then.

    Where several processes share a batch, its rows are put into the order image, patch, ratio, phase and cut into equal
    parts: a process then reads few photographs and meets ratios and phases as evenly as can be.

    Args:
        photos: The photographs.
        settings: The recipe.
        generator: Source of every draw.
        world: Who shares the batches.
        device: Where patches are cut.
        readers: Threads that read photographs ahead.

    Raises:
        UserError: photographs are too small.
    """

    def __init__(
        self,
        photos: Photos,
        settings: dict[str, Any],
        generator: torch.Generator,
        world: World,
        device: torch.device,
        readers: int,
    ) -> None:
        self.generator, self.device = generator, device
        self.readers = max(2, readers) if photos.ahead else 1
        self.ratios = [Ratio.parse(text) for text in settings["ratios"]]
        side = smallest_side(self.ratios, n_patches=settings["n_patches"], patch_size=settings["patch"])
        self.photos = photos.fitting(side, settings["too_small"])
        self.factors = {k: settings[k] for k in ("n_ratios", "n_phases", "n_images", "n_patches")}
        self.patch, self.quantise = settings["patch"], settings["quantise"]
        self.steps = settings["steps"] or -(-len(self.photos) // self.factors["n_images"])
        counts = tuple(self.factors.values())
        rows = torch.arange(torch.Size(counts).numel())
        self.order = rows if world.size == 1 else rows.reshape(counts).permute(2, 3, 0, 1).flatten()
        self.mine = self.order.chunk(world.size)[world.rank]
        self.waited = 0.0
        self._current_batch: tuple[Draw, dict[int, Tensor]] | None = None

    def _draws(self) -> Iterator[Draw]:
        for _ in range(self.steps):
            yield draw_batch(
                self.photos.sizes, self.generator, ratios=self.ratios, patch_size=self.patch, **self.factors
            )

    def _read(self, draw: Draw) -> tuple[Draw, dict[int, Tensor]]:
        return draw, {i: self.photos.read(i) for i in draw.image[self.mine].unique().tolist()}

    def epoch(self) -> Iterator[Int64[Tensor, " n_images"]]:
        """Photographs of each batch in turn; `patches` and `labels` then give what is made of them."""
        began, self.waited = time.monotonic(), 0.0
        read = in_order(self._read, self._draws(), self.readers)
        for _ in progress(range(self.steps), self.steps, "pretrain", every=60):
            asked = time.monotonic()
            self._current_batch = next(read)
            self.waited += time.monotonic() - asked
            yield self._current_batch[0].image.unique()
        share = self.waited / (time.monotonic() - began)
        if self.photos.ahead:
            log.info("%.1f %% of the epoch was spent waiting for photographs; threads read them", 100 * share)

    def patches(self) -> Tensor:
        """Patches of this process's part of the current batch."""
        assert self._current_batch is not None
        draw, images = self._current_batch
        there = {i: image.to(self.device) for i, image in images.items()}
        part = draw.part(self.mine)
        return cut_patches(there, part, ratios=self.ratios, patch_size=self.patch, quantise=self.quantise)

    def labels(self) -> Int64[Tensor, " n"]:
        """Labels of the whole current batch, in the order of the processes' parts."""
        assert self._current_batch is not None
        return self._current_batch[0].label[self.order].to(self.device)


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
        if processes * nodes.count == 1:
            pretrain(settings=settings, device=pick_device(device), world=World(), **files)
        else:
            parallel.launch(member, processes, {"settings": settings, "device": device, **files}, nodes)
        shutil.rmtree(work)


def check_processes(settings: dict[str, Any], processes: int, nodes: int, device: str) -> None:
    """Raise UserError where so many processes on each of so many nodes cannot do what the recipe says."""
    counts = [settings[k] for k in ("n_ratios", "n_phases", "n_images", "n_patches")]
    size, together = torch.Size(counts).numel(), processes * nodes
    if processes < 1 or size % together:
        raise UserError(
            f"a batch of {' x '.join(map(str, counts))} = {size} patches cannot be shared equally by {together} "
            "processes; take a number that divides it."
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
    encoder = load_backbone(network["name"], network["weights"], seed)
    with seeded(seed):
        projection = projection_head(encoder.dim, *settings["projection"])
    model = Contrast(encoder, projection).to(device).train()
    network_of_all: nn.Module = model
    if world.size > 1:
        if settings["batch_norm_parts"] == 1:
            parallel.share_batch_norm(model)
        own = [device] if device.type == "cuda" else None
        network_of_all = nn.parallel.DistributedDataParallel(model, device_ids=own)
    generator = torch.Generator().manual_seed(seed)
    photos = open_photos(crops, split, roots, device)
    batches = Batches(photos, settings, generator, world, device, share)

    def loss_of(_: Int64[Tensor, " b"]) -> Float[Tensor, ""]:
        z = network_of_all(encoder.preprocess(batches.patches()))
        if world.size > 1:
            z = parallel.gather(z)
        rule = {k: settings[k] for k in ("temperature", "normalise", "reduction")}
        return supervised_contrastive(z, batches.labels(), **rule)

    optimiser = settings["optimiser"]
    began = time.monotonic()
    logs = fit(
        model,
        loss_of,
        batches.epoch,
        build_optimiser(model.parameters(), optimiser),
        epochs=settings["epochs"],
        rate=rate_by_epoch(settings),
        generator=generator,
        resume=Resume(work) if world.is_main_process else ReadOnlyResume(work),
        after_epoch=lambda done: None,
    )
    if not world.is_main_process:
        return
    with folder_beside(out) as part:
        save_weights(encoder, part / "model.safetensors")
        write_log(part / "log.csv", logs)
        write_text(part / "recipe.yaml", yaml.safe_dump(settings, sort_keys=True))
        facts = {"seconds": round(time.monotonic() - began, 2), "images": len(batches.photos), "device": str(device)}
        write_provenance(part, facts | {"processes": world.size})

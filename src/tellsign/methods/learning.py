"""Whether a contrastive pre-training learns: what its batches and held-out photographs show, every so many steps."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from tellsign.data.photos import Photos
from tellsign.errors import UserError
from tellsign.methods.contrast import chance_loss, contrast, cosines, mean_cosine, retrieval, retrieval_by_chance
from tellsign.methods.lattice import Ratio
from tellsign.methods.patches import Draw, cut_patches, draw_batch

log = logging.getLogger(__name__)

Row = dict[str, float]

PHASES = 4
"""Phases a ratio among the held-out patches. Retrieval of ratio and phase by chance is 1 in four times the ratios."""

LOSS_AT_CHANCE, CONTRAST_AT_CHANCE = 0.999, 0.02
"""A training is at chance while its loss is above this share of chance and its contrast below this value. On the
plateau, contrast averaged over some hundred batches stayed within 0.005 of 0; trainings that left it passed 0.03."""


class HeldOut:
    """Patches of photographs that are not trained on: each at every ratio and four phases of it.

    Args:
        photos: The photographs; two or more.
        ratios: The recipe's.
        patch: Side of a patch.
        quantise: See `tellsign.methods.patches.cut_patches`.
        seed: Of the draw of phases and places.
    """

    def __init__(self, photos: Photos, ratios: Sequence[Ratio], *, patch: int, quantise: bool, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        factors = {"n_ratios": len(ratios), "n_phases": PHASES, "n_images": len(photos), "n_patches": 1}
        self.draw = draw_batch(photos.sizes, generator, ratios=ratios, patch_size=patch, **factors)
        images = {i: photos.read(i) for i in range(len(photos))}
        self.patches = cut_patches(images, self.draw, ratios=ratios, patch_size=patch, quantise=quantise)

    def measure(self, encode: Callable[[UInt8[Tensor, "b 3 p p"]], Float[Tensor, "b d"]], batch_size: int) -> Row:
        """Retrieval of the ratio, and of ratio and phase, by the features that ``encode`` gives."""
        features = torch.cat([encode(part).cpu() for part in self.patches.split(batch_size)])
        return {name: retrieval(features, labels, self.draw.image) for name, labels in self._labels().items()}

    def by_chance(self) -> Row:
        """What an encoder that knows nothing gets."""
        return {name: retrieval_by_chance(labels, self.draw.image) for name, labels in self._labels().items()}

    def _labels(self) -> dict[str, Tensor]:
        return {"retrieved_ratio": self.draw.ratio, "retrieved_ratio_and_phase": self.draw.label}


def at_chance(row: Row) -> bool:
    """Whether a window shows no sign of learning; where no contrast is defined, the loss alone says."""
    return row["loss_over_chance"] > LOSS_AT_CHANCE and not row["contrast"] >= CONTRAST_AT_CHANCE


def steps_at_chance(rows: Sequence[Row]) -> int:
    """Steps from the end of the last window that showed learning to the end of the last one."""
    learning = [0.0, *(row["step"] for row in rows if not at_chance(row))]
    return int(rows[-1]["step"] - learning[-1]) if rows else 0


class Learning:
    """Follows a training in windows of steps, each a row of its log, and judges whether it has collapsed.

    A window ends after ``every`` steps and where an epoch ends, so that a training that is resumed after a whole epoch
    needs the rows alone.

    Args:
        every: Steps of a window.
        reduction: Of the contrastive loss: ``sum`` or ``mean``.
        collapse_after: A training has collapsed when it was at chance (`at_chance`) for so many steps.
        on_collapse: ``stop`` raises then, ``warn`` says so and goes on.
        retrieved: Measures the encoder by held-out photographs; empty where there are none.

    Attributes:
        rows: A row for each window since the first step of the training.
    """

    def __init__(
        self,
        *,
        every: int,
        reduction: str,
        collapse_after: int,
        on_collapse: str,
        retrieved: Callable[[], Row],
    ) -> None:
        self.every, self.reduction, self.retrieved = every, reduction, retrieved
        self.collapse_after, self.on_collapse = collapse_after, on_collapse
        self.begin(())

    def begin(self, rows: Sequence[Row]) -> None:
        """Begin an epoch after those whose rows these are."""
        self.rows = list(rows)
        self._window: dict[str, list[Tensor]] = defaultdict(list)
        self._began = time.monotonic()

    def add(self, z: Float[Tensor, "n d"], draw: Draw, contrastive: Tensor, entropy: Tensor | None) -> None:
        """Take in a step: projected features, what they are of, contrastive loss, and the ratio's cross-entropy."""
        loss, cosine = contrastive.detach().double(), cosines(z)
        self._window["loss"].append(loss)
        self._window["loss_over_chance"].append(loss / chance_loss(draw.label, self.reduction))
        self._window["mean_cosine"].append(mean_cosine(cosine))
        self._window["contrast"].append(contrast(cosine, draw.ratio, draw.image))
        if entropy is not None:
            self._window["ratio_cross_entropy"].append(entropy.detach().double())

    def end_of_step(self, step: int, *, last: bool) -> None:
        """End the window where one ends: log it and judge.

        Args:
            step: Steps done, in all epochs.
            last: Whether the epoch ends.

        Raises:
            UserError: the training has collapsed, and ``on_collapse`` is ``stop``.
        """
        if len(self._window["loss"]) < self.every and not last:
            return
        means = {name: float(torch.stack(values).mean()) for name, values in self._window.items()}  # waits for a GPU
        row: Row = {"step": step} | means
        row |= self.retrieved() | {"seconds": time.monotonic() - self._began}
        self._window, self._began = defaultdict(list), time.monotonic()
        self.rows.append(row)
        log.info("step %d: %s", step, ", ".join(f"{k} {v:.4g}" for k, v in row.items() if k not in ("step", "seconds")))
        self._judge()

    def _judge(self) -> None:
        count, before = steps_at_chance(self.rows), steps_at_chance(self.rows[:-1])
        if count < self.collapse_after:
            return
        row = self.rows[-1]
        said = (
            f"the pre-training does not learn: in the {count} steps up to step {row['step']:.0f} its loss was "
            f"{row['loss_over_chance']:.4f} of what features that are one point give, contrast {row['contrast']:.4f}, "
            f"mean cosine {row['mean_cosine']:.5f}. Its encoder gives almost the same features for every patch. "
        )
        advice = (
            "Change the recipe: a longer warm-up (warm_up.steps), or one at all; more photographs a batch "
            "(warm_up.n_images, n_images); another learning rate (optimiser.lr); what the encoder sees "
            "(backbone.front: high_pass). docs/rescale.md shows what was seen to learn. A network that needs longer "
            "gets it by collapse_after; on_collapse: warn goes on all the same."
        )
        if self.on_collapse == "stop":
            raise UserError(said + advice)
        if before < self.collapse_after:
            log.warning("%s%s", said, advice)

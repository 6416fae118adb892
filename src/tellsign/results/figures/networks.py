"""The networks, images and features that a figure may show."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tellsign.errors import UserError, choose
from tellsign.results.figures.drawing import Inputs, short_name
from tellsign.system.parquet import read_rows

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from torch import Tensor

    from tellsign.data.features import Features
    from tellsign.data.pixels import PixelTable
    from tellsign.networks.backbones.backbone import Backbone
    from tellsign.networks.detector import Detector

BATCH = 64
"""Images at once through a network."""


def place(image: str, down: int, across: int) -> tuple[int, int]:
    """Top and left of an image's random crop, uniform from 0 to ``down`` and ``across``; it follows from the id."""
    draw = random.Random(f"crop {image}")
    return draw.randint(0, down), draw.randint(0, across)


class Networks:
    """Networks, images and features that a figure may use; each is opened when it is asked for."""

    def __init__(self, spec: Mapping[str, Any], inputs: Inputs) -> None:
        from tellsign.networks.determinism import pick_device

        self.spec, self.inputs, self.device = spec, inputs, pick_device(inputs.device)
        if not inputs.splits:
            raise UserError(f"figure {spec['name']!r} ({spec['kind']}) needs --splits, which say what each image is.")
        self.random = spec.get("crop_at", "center") == "random"
        images = {name: read_rows(path).to_pylist() for name, path in inputs.splits.items()}
        self.images = {name: [row for row in rows if self.enters(row)] for name, rows in images.items()}
        self.tables: dict[str, PixelTable] = {}

    def enters(self, row: Mapping[str, Any]) -> bool:
        """Whether an image of a split may be shown: a random crop exists only of one that is as large."""
        return not self.random or min(row["height"], row["width"]) >= self.spec["crop"]

    def how_cropped(self) -> str:
        """What a reader must know of random crops, with a space after it; nothing of central ones."""
        return f"Random crops of {self.spec['crop']} px of images that are as large. " if self.random else ""

    def split_of(self, row: Mapping[str, Any]) -> str:
        """The split whose images a row shows."""
        return str(row.get("split", self.spec["split"]))

    def table(self, split: str) -> PixelTable:
        """The pixels of a split's images.

        Raises:
            UserError: no crops were given.
        """
        from tellsign.data.pixels import PixelTable

        if split not in self.inputs.crops:
            raise UserError(f"figure {self.spec['name']!r} ({self.spec['kind']}) needs --crops, the split's pixels.")
        if split not in self.tables:
            self.tables[split] = PixelTable.open(self.inputs.crops[split])
        return self.tables[split]

    def crops(self, split: str, ids: Sequence[str], side: int) -> Iterator[UInt8[Tensor, "n 3 side side"]]:
        """The middle, ``side`` pixels wide, of the figure's crop of each image, `BATCH` images at a time.

        The place of a random crop follows from the image's id, so that every panel shows the same one.
        """
        table = self.table(split)
        all_rows = table.rows_of(ids)
        for start in range(0, len(ids), BATCH):
            rows = all_rows[start : start + BATCH]
            if self.random:
                slack, margin = table.slack(rows, self.spec["crop"]), (self.spec["crop"] - side) // 2
                corners = [place(image, *room) for image, room in zip(ids[start:], slack.tolist(), strict=False)]
                tops, lefts = (rows.new_tensor(corners) + margin).unbind(1)
                yield table.windows(rows, tops, lefts, side)
            else:
                yield table.center_crops(rows, side)

    def classes(self, split: str, subsets: Sequence[str], real: int, fake: int) -> dict[str, list[str]]:
        """Image ids of a split: the first ``real`` different real ones by rank, then the first ``fake`` of each subset.

        Raises:
            UserError: an unknown subset, or too few images.
        """
        images = choose(self.images, split, f"split of figure {self.spec['name']!r}")
        present = list(dict.fromkeys(row["subset"] for row in images))
        for name in subsets:
            choose(dict.fromkeys(present), name, f"subset of figure {self.spec['name']!r}")
        wanted = list(subsets) or present
        rows = sorted(
            (row for row in images if row["subset"] in wanted),
            key=lambda row: (row["rank"], wanted.index(row["subset"])),
        )
        ids_of = {"real": list(dict.fromkeys(row["id"] for row in rows if row["label"] == 0))[:real]}
        for name in wanted:
            ids_of[name] = [r["id"] for r in rows if r["label"] == 1 and r["subset"] == name][:fake]
        short = [name for name, ids in ids_of.items() if len(ids) < (real if name == "real" else fake)]
        if short:
            raise UserError(
                f"figure {self.spec['name']!r} asks for {real} real and {fake} fake images; {short[0]} has "
                f"{len(ids_of[short[0]])}. Ask for fewer, or raise the split's count."
            )
        return ids_of

    def backbone(self, row: Mapping[str, Any]) -> tuple[Backbone, int]:
        """The backbone that a row names by ``run`` or ``encoder``, and the side of the crops it takes.

        Raises:
            UserError: the row names none that was given, or the stored crops are smaller than it needs.
        """
        from tellsign.detectors.build import load_encoder

        if "run" in row:
            detector, side = self.detector(row)
            return detector.backbone, side
        if "encoder" in row:
            folder = choose(self.inputs.encoders, row["encoder"], "encoder")
            backbone = load_encoder(folder, self.device)
            side = backbone.size or self.spec["crop"]
        else:
            raise UserError(f"figure {self.spec['name']!r}: a row needs 'run' or 'encoder'; it has: {', '.join(row)}.")
        self.check_side(side)
        return backbone, side

    def detector(self, row: Mapping[str, Any]) -> tuple[Detector, int]:
        """The detector of the run that a row names, and the side of the crops it takes.

        Raises:
            UserError: that run was not given, its weights do not fit, or the stored crops are smaller than it needs.
        """
        from tellsign.detectors.build import load_detector
        from tellsign.detectors.checkpoints import read_recipe

        run = short_name(row["run"])
        folder = choose(self.inputs.checkpoints, run, "run among the checkpoints")
        networks = self.spec.get("networks", {}).get(run, {})
        detector = load_detector(folder, self.device, networks.get("backbone"))
        side = detector.backbone.size or read_recipe(folder)["crop"]
        self.check_side(side)
        return detector, side

    def check_side(self, side: int) -> None:
        """Refuse crops that would be tiled to fit.

        Raises:
            UserError: the stored crops are smaller than the network needs.
        """
        if side > self.spec["crop"]:
            raise UserError(f"figure {self.spec['name']!r}: crop is {self.spec['crop']}; a network of it needs {side}.")

    def features_of(self, row: Mapping[str, Any]) -> Features:
        """The cached embeddings of a row's run on its split."""
        from tellsign.data.features import Features

        return Features.load(choose(self.inputs.features, self._features_key(row), "run among the features"))

    def has_features(self, row: Mapping[str, Any]) -> bool:
        """Whether a row's run has cached embeddings of its split."""
        return "run" in row and self._features_key(row) in self.inputs.features

    def _features_key(self, row: Mapping[str, Any]) -> str:
        """What the cached embeddings of a row's run on its split are given as."""
        return f"{short_name(row['run'])}@{self.split_of(row)}"

"""Draw one figure of a paper.

Reads, as the kind needs:
  --metrics      metrics of evaluate (Parquet), for heat_map, ratio_curve, robustness_curve, steps_curve, bars
  --checkpoints  RUN=FOLDER of train, for cam, tsne and similarity_map
  --encoders     NAME=FOLDER of pretrain, for tsne and similarity_map
  --features     RUN@SPLIT=FOLDER of embed, for tsne and image_text_similarity of runs on cached features (TIDY)
  --crops        SPLIT=FOLDER: crops of a split's images; --splits, SPLIT=FILE, says which image is what

Settings: kind, paper, name, title, banner, note (how to read it, beside what is said automatically), names
{subset: printed name}, and the kind's own keys (`tellsign.results.figures.METRIC_KINDS` and `NETWORK_KINDS`). A row
names a run by `run: NAME` (or PAPER/NAME), or several by `grid: NAME` with `field`, the dotted field of the
recipe that varies. benchmark, perturbation and checkpoint say which of a run's metrics are drawn; panels and
rows may say otherwise, and a row may name a split of its own.

Writes the folder --out: figure.png, figure.svg, figure.csv (the data behind it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tellsign.errors import UserError, choose, near_miss
from tellsign.results.figures import (
    CELL,
    FIGURES,
    Curve,
    CurvePanel,
    complete_spec,
    csv_text,
    metric_factor,
    metric_label,
    png_bytes,
    svg_bytes,
)
from tellsign.system.files import folder_beside
from tellsign.system.parquet import read_rows

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from tellsign.data.features import Features
    from tellsign.data.pixels import PixelTable
    from tellsign.networks.backbones.backbone import Backbone

Columns = dict[str, list[Any]]
DrawnFigure = tuple[dict[str, Any], Columns, str]
"""Arguments of the drawing function, the data behind the figure, and what the caption must say about them."""

BATCH = 64  # images at once through a network


def main(
    *,
    settings: dict,
    metrics: list[Path],
    checkpoints: dict[str, Path],
    encoders: dict[str, Path],
    features: dict[str, Path],
    splits: dict[str, Path],
    crops: dict[str, Path],
    out: Path,
    device: str = "auto",
) -> None:
    """Draw one figure; see the module's text.

    Raises:
        UserError: a wrong setting, a run without metrics or checkpoint, or metrics that leave a choice open.
    """
    spec = complete_spec(settings)
    if spec["kind"] in FROM_METRICS:
        arguments, columns, said = FROM_METRICS[spec["kind"]](spec, Metrics(metrics, spec))
    else:
        networks = Networks(spec, checkpoints, encoders, features, crops, splits, device)
        arguments, columns, said = FROM_NETWORKS[spec["kind"]](spec, networks)
    note = " ".join(filter(None, (spec["note"].strip(), said)))
    figure = FIGURES[spec["kind"]](**arguments, title=spec["title"], note=note, banner=spec["banner"])
    with folder_beside(out) as part:
        (part / "figure.png").write_bytes(png_bytes(figure))
        (part / "figure.svg").write_bytes(svg_bytes(figure))
        (part / "figure.csv").write_text(csv_text(columns), encoding="utf-8")


# ---------------------------------------------------------------------------------------------- from metrics


class Metrics:
    """The rows of evaluate that a figure may draw."""

    def __init__(self, paths: Sequence[Path], spec: Mapping[str, Any]) -> None:
        import pyarrow as pa

        if not paths:
            raise UserError(f"figure {spec['name']!r} ({spec['kind']}) needs metrics; none were given.")
        self.spec = spec
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.seed_counts: set[int] = set()
        for row in pa.concat_tables([read_rows(path) for path in paths]).to_pylist():
            self.rows.setdefault(f"{row['paper']}/{row['run']}", []).append(row)

    def select(self, run: str, where: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Rows of a run; ``where`` says more than the figure does, or otherwise. None as a value means any.

        Raises:
            UserError: there are none; the message says which condition leaves none.
        """
        full = run if "/" in run else f"{self.spec['paper']}/{run}"
        found = choose(self.rows, full, "run among the metrics")
        asked = {key: self.spec[key] for key in (*CELL, "metric")}
        for column, value in (asked | dict(where)).items():
            if value is None:
                continue
            kept = [row for row in found if row[column] == value]
            if not kept:
                present = list(dict.fromkeys(str(row[column]) for row in found))
                raise UserError(
                    f"figure {self.spec['name']!r}: run {full} has no metrics with {column}: {value}."
                    f"{near_miss(str(value), present)} It has: {', '.join(present)}."
                )
            found = kept
        return found

    def over_seeds(self, run: str, where: Mapping[str, Any]) -> tuple[float, float, int]:
        """Mean and standard deviation (n - 1; nan for one) over seeds in the drawn unit, and how many seeds.

        Raises:
            UserError: a seed has several values, because a column is left open.
        """
        found = self.select(run, where)
        by_seed: dict[int, dict[str, Any]] = {}
        for row in found:
            other = by_seed.setdefault(row["seed"], row)
            if other is not row:
                telling = ("benchmark", "subset", "epoch", "epochs", "threshold_rule")
                open_columns = [name for name in telling if row[name] != other[name]]
                column = open_columns[0] if open_columns else "value"
                raise UserError(
                    f"figure {self.spec['name']!r}: run {run} has several values for seed {row['seed']}: its "
                    f"rows differ in {column} ({other[column]!r}, {row[column]!r}). Say which {column}."
                )
        self.seed_counts.add(len(by_seed))
        factor = metric_factor(found[0]["metric"])
        values = np.array([by_seed[seed]["value"] for seed in sorted(by_seed)], dtype=np.float64) * factor
        if self.spec.get("spread") == "epochs":
            spread = float(np.mean([row["spread"] for row in by_seed.values()])) * factor
        else:
            spread = float(values.std(ddof=1)) if len(values) > 1 else np.nan
        return float(values.mean()), spread, len(values)

    def subsets(self, run: Mapping[str, Any]) -> list[str]:
        """The subsets to draw: those of the figure, or all that a row's run has, then the mean if wanted."""
        held = list(dict.fromkeys(row["subset"] for row in self.select(run["run"], cell_of(run))))
        wanted = list(self.spec["subsets"]) or [name for name in held if name != "mean"]
        return [*wanted, *(["mean"] if self.spec["mean"] and "mean" not in wanted else [])]

    def caption(self, spread: str) -> str:
        """What is drawn, in one sentence: checkpoint rule and seeds."""
        rule = self.spec["checkpoint"]
        rules = {"last": "Last epoch", "mean": "Mean of the kept epochs", "epoch": "Every epoch"}
        counts = sorted(self.seed_counts)
        epochs = self.spec.get("spread") == "epochs"
        seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        said = f"{rules.get(rule, rule)}, {'one seed' if counts == [1] else f'mean of {seeds} seeds'}"
        if not spread or (counts == [1] and not epochs):
            return f"{said}."
        return f"{said}; {spread} ± one standard deviation over {'the kept epochs' if epochs else 'seeds'}."


def cell_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What a panel or row says about the metrics to draw."""
    return {key: value for key, value in entry.items() if key in ("subset", "metric", *CELL)}


def printed(spec: Mapping[str, Any], name: str) -> str:
    """A subset's name as printed."""
    return str(spec["names"].get(name, name))


def expanded(spec: Mapping[str, Any], row: Mapping[str, Any], key: str) -> Iterator[tuple[Any, str]]:
    """The (value, run) pairs of a row: its ``key`` and ``run``, or each run of a grid with its ``field``.

    Raises:
        UserError: the row names neither, or the recipe has no such field.
    """
    if "run" in row:
        if key not in row:
            raise UserError(f"figure {spec['name']!r}: the row of run {row['run']} needs {key!r}.")
        yield row[key], row["run"]
        return
    if "grid" not in row or "field" not in row:
        raise UserError(
            f"figure {spec['name']!r}: a row needs 'run' and {key!r}, or 'grid' and 'field'; it has: {', '.join(row)}."
        )
    for run, recipe in spec["recipes"].items():
        if run.startswith(f"{row['grid']}-"):
            yield field_of(recipe, row["field"], run), run


def field_of(recipe: Mapping[str, Any], dotted: str, run: str) -> Any:
    """A field of a recipe by its dotted name.

    Raises:
        UserError: there is none.
    """
    value: Any = recipe
    for part in dotted.split("."):
        if not isinstance(value, Mapping) or part not in value:
            known = ", ".join(value) if isinstance(value, Mapping) else "nothing below"
            raise UserError(f"the recipe of run {run} has no field {dotted!r}: at {part!r} it has {known}.")
        value = value[part]
    return value


def as_number(value: Any, where: str) -> float:
    """A place on an axis: a number, or the middle of a range.

    Raises:
        UserError: neither.
    """
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return (as_number(value[0], where) + as_number(value[1], where)) / 2
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UserError(f"{where}: {value!r} is no number and no range, so it has no place on the axis.")
    return float(value)


def as_label(value: Any) -> str:
    """A recipe's value as words: a list of subsets is joined."""
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def heat_map(spec: Mapping[str, Any], metrics: Metrics) -> DrawnFigure:
    """Cells of every (panel, trained on, tested on)."""
    cells = [
        (str(row.get("panel", "")), as_label(train), row | {"run": run})
        for row in spec["rows"]
        for train, run in expanded(spec, row, "train")
    ]
    trains = list(dict.fromkeys(train for _, train, _ in cells))
    tests = metrics.subsets(cells[0][2])
    panels = {name: np.full((len(trains), len(tests)), np.nan) for name, _, _ in cells}
    columns: Columns = {c: [] for c in ("panel", "trained_on", "tested_on", "metric", "value", "sd", "seeds")}
    for name, train, row in cells:
        for j, test in enumerate(tests):
            mean, sd, n = metrics.over_seeds(row["run"], cell_of(row) | {"subset": test})
            panels[name][trains.index(train), j] = mean
            add(columns, name, train, test, spec["metric"], mean, sd, n)
    arguments = {
        "panels": panels,
        "train": [printed(spec, name) for name in trains],
        "test": [printed(spec, name) for name in tests],
        "metric": spec["metric"],
    }
    return arguments, columns, metrics.caption("")


def bars(spec: Mapping[str, Any], metrics: Metrics) -> DrawnFigure:
    """Bars of every (test set, run)."""
    rows = spec["rows"]
    tests = metrics.subsets(rows[0])
    values, errors = np.full((2, len(rows), len(tests)), np.nan)
    columns: Columns = {c: [] for c in ("bar", "tested_on", "metric", "value", "sd", "seeds")}
    for i, row in enumerate(rows):
        for j, test in enumerate(tests):
            values[i, j], errors[i, j], n = metrics.over_seeds(row["run"], cell_of(row) | {"subset": test})
            add(columns, row["label"], test, spec["metric"], values[i, j], errors[i, j], n)
    arguments = {
        "values": values,
        "errors": errors,
        "series": [row["label"] for row in rows],
        "groups": [printed(spec, name) for name in tests],
        "metric": spec["metric"],
    }
    return arguments, columns, metrics.caption("whiskers are")


def training_bars(spec: Mapping[str, Any], metrics: Metrics) -> DrawnFigure:
    """Bars of every (training set, metric): the mean over test sets."""
    cases = [
        (as_label(train), run, cell_of(row)) for row in spec["rows"] for train, run in expanded(spec, row, "train")
    ]
    wanted = list(spec["metric"])
    values, errors = np.full((2, len(wanted), len(cases)), np.nan)
    columns: Columns = {c: [] for c in ("trained_on", "metric", "value", "sd", "seeds")}
    for j, (train, run, own) in enumerate(cases):
        for i, metric in enumerate(wanted):
            where = {"subset": spec["subset"]} | own | {"metric": metric}
            values[i, j], errors[i, j], n = metrics.over_seeds(run, where)
            add(columns, train, metric, values[i, j], errors[i, j], n)
    arguments = {
        "values": values,
        "errors": errors,
        "series": [metric_label(metric).removesuffix(" (%)") for metric in wanted],
        "groups": [printed(spec, train) for train, _, _ in cases],
        "metric": "percent",
    }
    return arguments, columns, metrics.caption("whiskers are")


def add(columns: Columns, *values: Any) -> None:
    """Append one row."""
    for held, value in zip(columns.values(), values, strict=True):
        held.append(value)


def curve_columns() -> Columns:
    """Columns of the data behind a curve."""
    return {c: [] for c in ("panel", "line", "x", "x_label", "metric", "value", "sd", "seeds")}


def line_of(points: Sequence[tuple[float, float, float]], label: str) -> Curve:
    """A line through (x, mean, sd), ordered by x."""
    x, mean, sd = np.array(sorted(points), dtype=np.float64).T
    return Curve(label, x, mean, sd)


def panels_of(spec: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Title, metric and conditions of each panel."""
    for panel in spec["panels"]:
        where = {"subset": spec["subset"], "metric": spec["metric"]} | cell_of(panel)
        title = panel.get("title", "" if where["subset"] == "mean" else printed(spec, where["subset"]))
        yield str(title), where["metric"], where


def ratio_curve(spec: Mapping[str, Any], metrics: Metrics) -> DrawnFigure:
    """Lines over a setting of the recipe."""
    lines: dict[str, list[tuple[float, str, dict[str, Any]]]] = {}
    for row in spec["rows"]:
        for value, run in expanded(spec, row, "x"):
            x = as_number(value, f"figure {spec['name']!r}, run {run}")
            lines.setdefault(row["label"], []).append((x, run, cell_of(row)))
    columns = curve_columns()
    panels = []
    for title, metric, where in panels_of(spec):
        drawn = []
        for label, places in lines.items():
            points = []
            for x, run, own in sorted(places, key=lambda place: place[0]):
                mean, sd, n = metrics.over_seeds(run, where | own)
                points.append((x, mean, sd))
                add(columns, title, label, x, spec["x_label"], metric, mean, sd, n)
            drawn.append(line_of(points, label))
        panels.append(CurvePanel(title, spec["x_label"], metric_label(metric), tuple(drawn)))
    return {"panels": panels, "log": spec["log"]}, columns, metrics.caption("bands are")


def robustness_curve(spec: Mapping[str, Any], metrics: Metrics) -> DrawnFigure:
    """Lines over the severities of perturbations.

    Raises:
        UserError: a panel has no severities.
    """
    columns = curve_columns()
    panels = []
    for panel, (title, metric, where) in zip(spec["panels"], panels_of(spec), strict=True):
        ticks = tuple(tick for tick, _ in panel["severities"])
        if not ticks:
            raise UserError(f"figure {spec['name']!r}: panel {title!r} needs severities {{tick: test set}}.")
        x_label = panel.get("x_label", "severity")
        drawn = []
        for row in spec["rows"]:
            points = []
            for x, (tick, name) in enumerate(panel["severities"]):
                mean, sd, n = metrics.over_seeds(row["run"], where | cell_of(row) | {"perturbation": name})
                points.append((float(x), mean, sd))
                add(columns, title, row["label"], tick, x_label, metric, mean, sd, n)
            drawn.append(line_of(points, row["label"]))
        panels.append(CurvePanel(title, x_label, metric_label(metric), tuple(drawn), ticks))
    return {"panels": panels}, columns, metrics.caption("bands are")


def steps_curve(spec: Mapping[str, Any], metrics: Metrics) -> DrawnFigure:
    """Lines over epochs, or over steps where the recipe says how many an epoch has."""
    factors = {row["run"]: steps_per_epoch(spec, row["run"]) for row in spec["rows"]}
    x_label = {"epoch": "epoch", "step": "training step"}[spec["axis"]]
    columns = curve_columns()
    panels = []
    for title, metric, where in panels_of(spec):
        drawn = []
        for row in spec["rows"]:
            every = where | cell_of(row) | {"checkpoint": "epoch"}
            points = []
            for epoch in sorted({found["epoch"] for found in metrics.select(row["run"], every)}):
                mean, sd, n = metrics.over_seeds(row["run"], every | {"epoch": epoch})
                points.append((epoch * factors[row["run"]], mean, sd))
                add(columns, title, row["label"], points[-1][0], x_label, metric, mean, sd, n)
            drawn.append(line_of(points, row["label"]))
        panels.append(CurvePanel(title, x_label, metric_label(metric), tuple(drawn)))
    said = metrics.caption("bands are").removeprefix("Last epoch, ")
    return {"panels": panels}, columns, said[:1].upper() + said[1:]


def steps_per_epoch(spec: Mapping[str, Any], run: str) -> float:
    """1 for an axis in epochs; for one in steps, batches of an epoch by the run's recipe.

    Raises:
        UserError: the axis is unknown, or the recipe does not say how many images an epoch has.
    """
    choose({"epoch": 1, "step": 1}, spec["axis"], f"axis of figure {spec['name']!r}")
    if spec["axis"] == "epoch":
        return 1.0
    recipe = choose(spec["recipes"], run.rpartition("/")[2], "run among the recipes")
    count, subsets = recipe["data"]["count"], recipe["data"]["subsets"]
    if not isinstance(count, int) or not subsets:
        raise UserError(
            f"figure {spec['name']!r}: axis step needs data.count and data.subsets in run {run}, which "
            f"takes {count!r} images a subset. Give a number, or say axis: epoch."
        )
    return float(-(-count * len(subsets) // recipe["batch_size"]))


FROM_METRICS: dict[str, Callable[[Mapping[str, Any], Metrics], DrawnFigure]] = {
    "heat_map": heat_map,
    "ratio_curve": ratio_curve,
    "robustness_curve": robustness_curve,
    "steps_curve": steps_curve,
    "bars": bars,
    "training_bars": training_bars,
}

# ---------------------------------------------------------------------------------------------- from networks


class Networks:
    """Networks, images and features that a figure may use; each is opened when it is asked for."""

    def __init__(
        self,
        spec: Mapping[str, Any],
        checkpoints: Mapping[str, Path],
        encoders: Mapping[str, Path],
        features: Mapping[str, Path],
        crops: Mapping[str, Path],
        splits: Mapping[str, Path],
        device: str,
    ) -> None:
        from tellsign.networks.determinism import pick_device

        self.spec, self.checkpoints, self.encoders, self.features = spec, checkpoints, encoders, features
        self.crops, self.device = crops, pick_device(device)
        if not splits:
            raise UserError(f"figure {spec['name']!r} ({spec['kind']}) needs --splits, which say what each image is.")
        self.images = {name: read_rows(path).to_pylist() for name, path in splits.items()}

    def split_of(self, row: Mapping[str, Any]) -> str:
        """The split whose images a row shows."""
        return str(row.get("split", self.spec["split"]))

    def table(self, split: str) -> PixelTable:
        """The pixels of a split's images.

        Raises:
            UserError: no crops were given.
        """
        from tellsign.data.pixels import PixelTable

        if split not in self.crops:
            raise UserError(f"figure {self.spec['name']!r} ({self.spec['kind']}) needs --crops, the split's pixels.")
        return PixelTable.open(self.crops[split])

    def classes(self, split: str, subsets: Sequence[str], real: int, fake: int) -> dict[str, list[str]]:
        """Image ids of a split: the first ``real`` different real ones by rank, then the first ``fake`` of each subset.

        Raises:
            UserError: an unknown subset, or too few images.
        """
        images = choose(self.images, split, f"split of figure {self.spec['name']!r}")
        held = list(dict.fromkeys(row["subset"] for row in images))
        for name in subsets:
            choose(dict.fromkeys(held), name, f"subset of figure {self.spec['name']!r}")
        wanted = list(subsets) or held
        rows = sorted(
            (row for row in images if row["subset"] in wanted),
            key=lambda row: (row["rank"], wanted.index(row["subset"])),
        )
        found = {"real": list(dict.fromkeys(row["id"] for row in rows if row["label"] == 0))[:real]}
        for name in wanted:
            found[name] = [r["id"] for r in rows if r["label"] == 1 and r["subset"] == name][:fake]
        short = [name for name, ids in found.items() if len(ids) < (real if name == "real" else fake)]
        if short:
            raise UserError(
                f"figure {self.spec['name']!r} asks for {real} real and {fake} fake images; {short[0]} has "
                f"{len(found[short[0]])}. Ask for fewer, or raise the split's count."
            )
        return found

    def backbone(self, row: Mapping[str, Any]) -> tuple[Backbone, int]:
        """The backbone that a row names by ``run`` or ``encoder``, and the side of the crops it takes.

        Raises:
            UserError: the row names none that was given, or the stored crops are smaller than it needs.
        """
        from tellsign.detectors.build import load_detector, load_encoder
        from tellsign.detectors.checkpoints import read_recipe

        if "run" in row:
            folder = choose(self.checkpoints, short_name(row["run"]), "run among the checkpoints")
            backbone = load_detector(folder, self.device).backbone
            side = backbone.size or read_recipe(folder)["crop"]
        elif "encoder" in row:
            folder = choose(self.encoders, row["encoder"], "encoder")
            backbone = load_encoder(folder, self.device)
            side = backbone.size or self.spec["crop"]
        else:
            raise UserError(f"figure {self.spec['name']!r}: a row needs 'run' or 'encoder'; it has: {', '.join(row)}.")
        self.check_side(side)
        return backbone, side

    def check_side(self, side: int) -> None:
        """Refuse crops that would be tiled to fit.

        Raises:
            UserError: the stored crops are smaller than the network needs.
        """
        if side > self.spec["crop"]:
            raise UserError(f"figure {self.spec['name']!r}: crop is {self.spec['crop']}; a network of it needs {side}.")


def short_name(run: str) -> str:
    """A run's name without its paper."""
    return run.rpartition("/")[2]


def backbone_features(networks: Networks, row: Mapping[str, Any], ids: Sequence[str]) -> Float[np.ndarray, "n d"]:
    """Features of images by the row's backbone; with ``rescale: SIDE`` of resized images (rescale Fig. 6)."""
    import torch

    backbone, side = networks.backbone(row)
    pixels = networks.table(networks.split_of(row))
    found = []
    with torch.no_grad():
        for rows in pixels.rows_of(ids).split(BATCH):
            images = pixels.center_crops(rows, side)
            if row.get("rescale"):
                images = torch.nn.functional.interpolate(images.float(), size=row["rescale"], mode="bilinear")
                images = images.round().to(torch.uint8)
            found.append(backbone(backbone.preprocess(images.to(networks.device))).float().cpu())
    return torch.cat(found).numpy()


def cached_features(networks: Networks, row: Mapping[str, Any], ids: Sequence[str]) -> Float[np.ndarray, "n d"]:
    """TIDY's representation D of images, from cached embeddings and with the choices of the run's recipe."""
    from tellsign.methods.representation import representation

    features = features_of(networks, row)
    values = representation(features, networks.spec["recipes"][short_name(row["run"])]["discrepancy"])
    return values[features.rows_of(ids)].numpy()


def features_of(networks: Networks, row: Mapping[str, Any]) -> Features:
    """The cached embeddings of a row's run on its split."""
    from tellsign.data.features import Features

    return Features.load(choose(networks.features, features_key(networks, row), "run among the features"))


def features_key(networks: Networks, row: Mapping[str, Any]) -> str:
    """What the cached embeddings of a row's run on its split are given as."""
    return f"{short_name(row['run'])}@{networks.split_of(row)}"


def tsne(spec: Mapping[str, Any], networks: Networks) -> DrawnFigure:
    """Points of every (feature space, class)."""
    from tellsign.evaluation import explain

    panels: dict[str, dict[str, Float[np.ndarray, "n 2"]]] = {}
    columns: Columns = {c: [] for c in ("panel", "class", "id", "x", "y")}
    for row in spec["rows"]:
        per_class = spec["per_class"]
        subsets = row.get("subsets", spec["subsets"])
        classes = networks.classes(networks.split_of(row), subsets, per_class, per_class)
        ids = [image for held in classes.values() for image in held]
        cached = "run" in row and features_key(networks, row) in networks.features
        vectors = (cached_features if cached else backbone_features)(networks, row, ids)
        points = explain.tsne(vectors, spec["seed"])
        names = [name for name, held in classes.items() for _ in held]
        panels[row["label"]] = {printed(spec, name): points[[other == name for other in names]] for name in classes}
        for name, image, point in zip(names, ids, points, strict=True):
            add(columns, row["label"], name, image, *point.tolist())
    said = (
        f"{spec['per_class']} images a class. t-SNE keeps neighbourhoods: its axes have no unit, and "
        "distances between clusters no meaning."
    )
    return {"panels": panels, "real": printed(spec, "real")}, columns, said


def image_text_similarity(spec: Mapping[str, Any], networks: Networks) -> DrawnFigure:
    """Cosine of the embeddings of each image and its caption, by (row, class)."""
    panels: dict[str, dict[str, Float[np.ndarray, " n"]]] = {}
    columns: Columns = {c: [] for c in ("panel", "class", "id", "cosine")}
    means = []
    for row in spec["rows"]:
        features, per_class = features_of(networks, row), spec["per_class"]
        subsets = row.get("subsets", spec["subsets"])
        panel = panels.setdefault(row["label"], {})
        for name, ids in networks.classes(networks.split_of(row), subsets, per_class, per_class).items():
            rows = features.rows_of(ids)
            cosine = torch_cosine(features.image[rows], features.text[rows])
            panel[printed(spec, name)] = cosine
            means.append(f"{row['label']}, {printed(spec, name)} {cosine.mean():.3f}")
            for image, value in zip(ids, cosine.tolist(), strict=True):
                add(columns, row["label"], name, image, value)
    said = f"{spec['per_class']} images a class; lines are means: {'; '.join(means)}."
    return {"panels": panels, "x_label": "cosine of image and caption"}, columns, said


def torch_cosine(a: Tensor, b: Tensor) -> Float[np.ndarray, " n"]:
    """Cosine of each pair of rows."""
    import torch

    return torch.nn.functional.cosine_similarity(a.float(), b.float(), dim=1).numpy()


def cam(spec: Mapping[str, Any], networks: Networks) -> DrawnFigure:
    """Class activation maps of every (detector, image)."""
    import torch

    from tellsign.detectors.build import load_detector
    from tellsign.detectors.checkpoints import read_recipe
    from tellsign.evaluation.explain import as_share, class_activation

    classes = networks.classes(spec["split"], spec["subsets"], spec["real"], spec["fake"])
    chosen = [(name, image) for name, held in classes.items() for image in held]
    labels = torch.tensor([int(name != "real") for name, _ in chosen])
    table = networks.table(spec["split"])
    rows = table.rows_of([image for _, image in chosen])
    maps: dict[str, Float[np.ndarray, "n h w"]] = {}
    scores: dict[str, Float[np.ndarray, " n"]] = {}
    columns: Columns = {c: [] for c in ("detector", "image", "id", "score", "row", "column", "share")}
    sides = []
    for row in spec["rows"]:
        folder = choose(networks.checkpoints, short_name(row["run"]), "run among the checkpoints")
        detector = load_detector(folder, networks.device)
        sides.append(detector.backbone.size or read_recipe(folder)["crop"])
        networks.check_side(sides[-1])
        x = detector.backbone.preprocess(table.center_crops(rows, sides[-1]).to(networks.device))
        raw, score = class_activation(detector.backbone, detector.head, x, labels.to(networks.device), spec["target"])
        maps[row["label"]] = as_share(raw.cpu().numpy(), spec["scale"])
        scores[row["label"]] = score.cpu().numpy()
        for (name, image), value, grid in zip(chosen, scores[row["label"]], maps[row["label"]], strict=True):
            for (i, j), share in np.ndenumerate(grid):
                add(columns, row["label"], name, image, value, i, j, share)
    if len(set(sides)) > 1:
        raise UserError(
            f"figure {spec['name']!r}: its detectors see crops of different sides "
            f"({', '.join(map(str, sides))}), so their maps cannot stand under one row of images. "
            "Make one figure for each."
        )
    images = table.center_crops(rows, sides[0]).permute(0, 2, 3, 1).numpy()
    names = [printed(spec, name) for name, _ in chosen]
    target = {"real": "real", "fake": "fake", "label": "each image's own label"}[spec["target"]]
    scale = "row" if spec["scale"] == "row" else "image"
    said = f"Grad-CAM: evidence for {target}, scaled by the greatest of the {scale}."
    return {"images": images, "maps": maps, "names": names, "scores": scores}, columns, said


def similarity_map(spec: Mapping[str, Any], networks: Networks) -> DrawnFigure:
    """Mean similarity matrices of patches along the diagonal, one a class."""
    from tellsign.evaluation.explain import offset_means

    patch, patches = spec["patch"], spec["patches"]
    if spec["crop"] < patch + patches - 1:
        raise UserError(
            f"figure {spec['name']!r}: {patches} patches of {patch} pixels with stride 1 need a crop of "
            f"{patch + patches - 1} pixels; crop is {spec['crop']}."
        )
    backbone, _ = networks.backbone(spec["network"])
    table = networks.table(spec["split"])
    panels: dict[str, Float[np.ndarray, "n n"]] = {}
    offsets: dict[str, Float[np.ndarray, " n"]] = {}
    columns: Columns = {c: [] for c in ("class", "patch", *(f"with_{i}" for i in range(patches)))}
    for name, ids in networks.classes(spec["split"], spec["subsets"], *[spec["images"]] * 2).items():
        matrix = mean_similarity(backbone, table, table.rows_of(ids), patch, patches, networks.device)
        panels[printed(spec, name)] = matrix
        offsets[printed(spec, name)] = offset_means(matrix)
        for i, line in enumerate(matrix):
            add(columns, name, i, *(f"{value:.5f}" for value in line))
    stride = stride_of(backbone, patch, networks.device)
    said = (
        f"{patches} patches of {patch} × {patch} px, stride 1 px; mean of {spec['images']} images a class. "
        f"The encoder itself subsamples by {stride} px in all: peaks at that period or a divisor of it, "
        "seen in every class, are its own."
    )
    return {"panels": panels, "offsets": offsets}, columns, said


def stride_of(backbone: Backbone, patch: int, device: torch.device) -> int:
    """Pixels from one place of a backbone's last map to the next; features repeat with this period anyway."""
    import torch

    with torch.no_grad():
        x = backbone.preprocess(torch.zeros(1, 3, patch, patch, dtype=torch.uint8, device=device))
        return round(patch / backbone.feature_map(x).shape[-1])


def mean_similarity(
    backbone: Backbone, table: PixelTable, rows: Tensor, patch: int, patches: int, device: torch.device
) -> Float[np.ndarray, "n n"]:
    """Cosine similarity of the patches at (0, 0), (1, 1), ... of each image; the mean over images."""
    import torch

    from tellsign.evaluation.explain import cosine_similarity
    from tellsign.methods.lattice import diagonal_patches

    total = torch.zeros(patches, patches, dtype=torch.float64)
    with torch.no_grad():
        for row in rows.tolist():
            cut = diagonal_patches(table.image(row), patch_size=patch, count=patches)
            vectors = [backbone(backbone.preprocess(part.to(device))).float() for part in cut.split(BATCH)]
            total += cosine_similarity(torch.cat(vectors)).double().cpu()
    return (total / len(rows)).numpy()


FROM_NETWORKS: dict[str, Callable[[Mapping[str, Any], Networks], DrawnFigure]] = {
    "tsne": tsne,
    "image_text_similarity": image_text_similarity,
    "cam": cam,
    "similarity_map": similarity_map,
}

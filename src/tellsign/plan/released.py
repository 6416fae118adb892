"""Released checkpoints beside the rows of a paper's tables: their runs, and what they and ours differ in, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tellsign.detectors.recipes.base import Pixels, Recipe
from tellsign.errors import UserError, choose
from tellsign.networks.catalogue import DETECTORS, read_detectors
from tellsign.plan.recipes import Run, read_recipe
from tellsign.schema.loading import merge
from tellsign.schema.paper import Paper
from tellsign.schema.paper_files import runs_of_grids

HOW_TO_READ = (
    "Quoted: as the paper prints it. Released: the file of the detector's authors, trained by them and scored here as "
    "it is; its interval is over the test images. Ours: trained here. Ours − released stands where both were scored on "
    "as many images of the same test set, under the same protocol. Of quoted numbers no count of images is recorded."
)


def rows_of(table: Any) -> list[Mapping[str, Any]]:
    """The rows of a table that are mappings, as a paper file writes it."""
    rows = table.get("rows") if isinstance(table, Mapping) else None
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def without_released(data: Mapping[str, Any]) -> dict[str, Any]:
    """A paper file as plain data without its released checkpoints, and without what its rows say of them."""
    tables = data.get("tables")
    kept = {key: value for key, value in data.items() if key != "released"}
    if isinstance(tables, Mapping):
        kept["tables"] = {name: _table_without_released(table) for name, table in tables.items()}
    return kept


def _table_without_released(table: Any) -> Any:
    if not any("released" in row for row in rows_of(table)):
        return table
    plain_rows = [
        {key: value for key, value in row.items() if key != "released"} if isinstance(row, Mapping) else row
        for row in table["rows"]
    ]
    return {**table, "rows": plain_rows}


def released_runs(paper: Paper, runs: Sequence[Run], file: str) -> Iterator[Run]:
    """A run of each released checkpoint that rows name, tested on what our own runs beside it are tested on.

    Perturbed test sets are left out.

    Raises:
        UserError: a checkpoint that is not known or has the name of a run, a recipe that cannot be right, or a table
            without a run of its own.
    """
    own = {run.name: run for run in runs}
    tests: dict[str, dict[str, None]] = {}
    for table in paper.tables.values():
        rows = rows_of(table)
        for row in rows:
            if "released" in row:
                beside = next(filter(None, (_tests_of(paper, one, own) for one in (row, *rows))), [])
                tests.setdefault(str(row["released"]), {}).update(dict.fromkeys(beside))
    for name, tested in tests.items():
        where = f"{file}: released {name}"
        spec = choose(paper.released, name, f"released checkpoint of {file}")
        if name in own:
            raise UserError(f"{where}: a run has this name too; rename one of them.")
        if not tested:
            raise UserError(f"{where}: no row of its tables names a run, so its test set is not known.")
        first = paper.tests[next(iter(tested))].splits[0]  # nothing is trained, so no image of it is read
        recipe = read_recipe(merge({"data": {"split": first}, "epochs": 0}, spec), where)
        yield Run(paper.paper, name, recipe, paper.seeds[:1], tuple(tested))


def _tests_of(paper: Paper, row: Mapping[str, Any], runs: Mapping[str, Run]) -> list[str]:
    """The unperturbed test sets of a row's runs."""
    named = [row["run"]] if "run" in row else list(row.get("runs") or ())
    named += runs_of_grids(list(runs), row["grid"]) if "grid" in row else []
    tested = [test for name in named if name in runs for test in runs[name].tests]
    return [test for test in dict.fromkeys(tested) if paper.tests[test].perturbation.name == "none"]


# ------------------------------------------------------------------------------------------ what they disagree on


def training_images(folder: Path) -> dict[str, str]:
    """The training images of each released checkpoint, by the name that ``weights:`` gives it.

    Args:
        folder: That of the configuration.
    """
    detectors = read_detectors(folder / DETECTORS)
    return {
        f"{d}-{short}": one.trained_on for d, record in detectors.items() for short, one in record.checkpoints.items()
    }


def released_notes(
    rows: Sequence[Mapping[str, Any]],
    runs_in: Callable[[Mapping[str, Any]], Sequence[Run]],
    trained_on: Mapping[str, str],
) -> list[str]:
    """Footnotes: how to read the columns, and row by row in what the released checkpoint differs from ours.

    Args:
        rows: Rows of a table that name a released checkpoint.
        runs_in: Gives the runs that a part of a row names.
        trained_on: What `training_images` read.
    """
    notes = [HOW_TO_READ]
    for row in rows:
        (released,) = runs_in({"released": row["released"]})
        ours = runs_in({key: row[key] for key in ("run", "runs", "grid") if key in row})
        label = row.get("label") or row.get("run") or row["released"]
        notes.append(f"{label}: {_difference(released, ours, trained_on)}")
    return list(dict.fromkeys(notes))


def _difference(released: Run, ours: Sequence[Run], trained_on: Mapping[str, str]) -> str:
    recipe = released.recipe
    used = [network.weights for network in recipe.networks().values()]
    file = next((weights for weights in used if weights in trained_on), used[-1])
    text = f"the released file {file} was trained on {trained_on.get(file, 'images that no source names')}; "
    texts = list(dict.fromkeys(_training_text(run.recipe) for run in ours))
    more = f" and {len(texts) - 1} more like it" if len(texts) > 1 else ""
    text += f"ours on {texts[0]}{more}. " if texts else "nothing is trained here. "
    theirs, views = view_text(recipe), list(dict.fromkeys(view_text(run.recipe) for run in ours))
    if views in ([], [theirs]):
        return f"{text}{'Both score' if views else 'It scores'} {theirs}."
    return f"{text}It scores {theirs}; ours {' or '.join(views)}."


def _training_text(recipe: Recipe) -> str:
    data = recipe.data
    subsets = f" ({', '.join(data.subsets)})" if data.subsets else ""
    count = "all images" if data.count == "all" else f"{data.count:,} images a subset"
    epochs = getattr(recipe, "epochs", 0)
    for_epochs = f", {epochs} {'epoch' if epochs == 1 else 'epochs'}" if epochs else ""
    return f"the split {data.split}{subsets}, {count}{for_epochs}"


def view_text(recipe: Recipe) -> str:
    """What is scored of a test image, in words: how it is resized, what is cut out, and what else the recipe says."""
    view = recipe.view()
    resize = next((one.resize for one in recipe.test_inputs().values() if isinstance(one, Pixels)), None)
    parts = ["images as they are"]
    if resize is not None:
        how = "squashed to" if resize.mode == "squash" else "with a shorter side of"
        parts = [f"images {how} {resize.size} pixels ({resize.filter})"]
    parts.append("whole" if view.get("whole") else f"centre crops of {view['crop']}" if "crop" in view else "")
    parts += [_view_words(key, value) for key, value in view.items() if key not in ("crop", "whole")]
    parts.append("" if recipe.bias.control == "none" else f"bias control {recipe.bias.control}")
    return ", ".join(filter(None, parts))


def _view_words(key: str, value: Any) -> str:
    """One setting of a view in words; nothing where it is off."""
    if value is None or value is False:
        return ""
    named = {("smaller", "tile"): "smaller images tiled", ("smaller", "black"): "smaller images on black"}
    words = key.replace("_", " ")
    return named.get((key, value), words if value is True else f"{words} {value}")

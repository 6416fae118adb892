"""Ask trained detectors about your own pictures.

    tellsign predict photo.jpg --run lol/lol                         a run of the demo (config/config.yaml)
    tellsign predict FOLDER 'more/*.png' --run lol/lol mpft/tam      several: a column each, and their mean
    tellsign predict FOLDER --run mpft/tam --configfile config/folder.yaml --config root=PATH train=SUBSET
    tellsign predict FOLDER --checkpoint data/train/lol/lol-s0.682286be92c9 --out scores.csv
    tellsign predict FOLDER --detector npr-progan unifd-progan       published ones; `tellsign weights` fetches them
    tellsign predict FOLDER --run lol/lol --calibrate LABELLED --sure 0.9   probabilities, "unsure" from 0.1 to 0.9
    tellsign predict FOLDER --run lol/lol --explain looked           also draws what the detector looks at
    find . -name '*.jpg' | tellsign predict - --run lol/lol          a list, a path a line

Without --run, --checkpoint and --detector it says what there is to predict with. A score is p(fake), computed by the
code that scores the test sets; a picture is called fake where the mean of the scores is greater than --threshold. A run
has one detector for each of its seeds. What lowers the trust in a score stands beside it, and so does what the file
says of its maker, which changes no score. docs/predict.md says what the numbers mean, and what they do not.

The exit status is 0 when every file has a score, 1 when some cannot be read, 2 when the question itself is wrong.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tellsign.commands.configuration import plan_of, unknown_fingerprints
from tellsign.commands.printing import print_table
from tellsign.commands.released_detectors import released_sources
from tellsign.data.layouts.labels import label_of
from tellsign.detectors.recipes.base import Pixels
from tellsign.errors import UserError, choose
from tellsign.plan.artifact import Artifact
from tellsign.plan.plan import Plan
from tellsign.plan.recipes import Run
from tellsign.prediction.output import Answer, writer_for
from tellsign.prediction.pictures import Found, find_pictures
from tellsign.prediction.sources import Source
from tellsign.schema.data import Perturbation
from tellsign.schema.loading import plain
from tellsign.system.parquet import read_rows
from tellsign.system.progress import progress

if TYPE_CHECKING:
    from tellsign.prediction.predictor import Predictor

EXPLAINED = (
    "For each detector: the crop that it sees; Grad-CAM of the evidence for fake, scaled by its greatest value; where "
    "it was trained under a texture mask, the crop under that mask. A map shows where a network looks, and is no "
    "proof of what it knows."
)

LISTED = 20
"""Files without a score, and runs, that are named on the terminal; --out names all."""


def main(
    pictures: list[str],
    *,
    run: list[str] | None = None,
    checkpoint: list[Path] | None = None,
    detector: list[str] | None = None,
    configfile: Path = Path("config/config.yaml"),
    config: list[str] | None = None,
    threshold: float = 0.5,
    calibrate: Path | None = None,
    sure: float | None = None,
    out: Path | None = None,
    explain: Path | None = None,
    device: str = "auto",
) -> int:
    """Score pictures; see the module.

    Args:
        pictures: Files, folders, patterns; - for a list on standard input.
        run: PAPER/NAME of runs of the configuration.
        checkpoint: Checkpoint folders; pictures are seen through the centre crop of their training.
        detector: Published detectors, as config/papers/released.yaml calls them, pictures seen as their authors do.
        configfile: The configuration that the runs are of.
        config: KEY=VALUE, as for snakemake.
        threshold: A mean score above it is called fake.
        calibrate: A folder of pictures of your own in label folders, real and fake, such as those that you ask about:
            a probability is fitted to their scores.
        sure: With --calibrate, at least 0.5: a picture is called what has this probability, and unsure without.
        out: A file to write instead of printing: .csv, .json or .parquet. The same question, when it was interrupted,
            goes on where it was.
        explain: A new folder for a PNG of each picture, with what the detectors look at, and index.html.
        device: auto, cpu, cuda or cuda:1.
    """
    check_threshold(threshold)
    if sure is not None and (calibrate is None or not 0.5 <= sure < 1):
        raise UserError(f"--sure is {sure}; it goes with --calibrate FOLDER, and is at least 0.5 and below 1.")
    write = writer_for(out) if out else None
    if explain and explain.exists():
        raise UserError(f"{explain} is there already; --explain wants the name of a new folder.")
    plan = plan_of(configfile, config or []) if run or not (checkpoint or detector) else None
    if plan and not run:
        raise UserError(what_there_is(plan, configfile, config or []))
    found = find_pictures(pictures, sys.stdin)
    if not found.files:
        raise UserError(f"no picture in {', '.join(pictures)}; {passed_over(found)}.")
    known = labelled_pictures(calibrate) if calibrate else {}
    predictors = predictors_of(plan, run or (), configfile, config or [], checkpoint or (), detector or (), device)

    from tellsign.prediction import explain as explaining
    from tellsign.prediction.calibration import calibrated
    from tellsign.prediction.kept import kept_rows, place_beside
    from tellsign.prediction.rows import rows_of

    for predictor in predictors if explain else ():
        explaining.detector_of(predictor)  # whether there is anything to draw, before the work
    calibration = None
    if known:
        told = list(progress(rows_of(list(known), predictors), len(known), "labelled pictures"))
        good = [row for row in told if not row.problem]
        calibration = calibrated([row.score for row in good], [known[row.path] for row in good])
    made = kept_rows(found.files, predictors, place_beside(out)) if out else rows_of(found.files, predictors)
    rows = list(progress(made, len(found.files), "pictures"))
    detectors = {p.source.name: p.rests_on for p in predictors}
    banner = plan.config.banner if plan and run else ""
    answer = Answer(rows, detectors, threshold, banner, found.skipped, calibration, sure)
    if out and write:
        write(answer, out)
        place_beside(out).unlink()
    else:
        print_answer(answer)
    sys.stdout.write("\n".join(["", *summary(answer, found, out)]) + "\n")
    if explain:
        drawn = progress(rows, len(rows), "pictures explained")
        explaining.explain(drawn, predictors, explain, f"{EXPLAINED} {banner}")
        sys.stdout.write(f"Explained: {explain / 'index.html'}\n")
    return 1 if any(row.problem for row in rows) else 0


def labelled_pictures(folder: Path) -> dict[Path, int]:
    """The pictures of a folder that lie in label folders, wherever below it, with their labels: 0 real, 1 fake.

    Raises:
        UserError: it is no folder, or no picture in it has a label.
    """
    if not folder.is_dir():
        raise UserError(f"--calibrate {folder} is no folder. It takes one with pictures in folders real and fake.")
    labels = {path: label_of(path.relative_to(folder).parts[:-1]) for path in find_pictures([str(folder)], ()).files}
    known = {path: label[0] for path, label in labels.items() if label}
    if not known:
        raise UserError(
            f"no picture of --calibrate {folder} lies in a folder that says its label, such as real and fake; "
            "`tellsign look FOLDER` says which names are understood."
        )
    return known


def check_threshold(threshold: float) -> None:
    """Raise UserError where a threshold is no score."""
    if not 0 <= threshold <= 1:
        raise UserError(f"--threshold is {threshold}; a score is in [0, 1].")


def predictors_of(
    plan: Plan | None,
    runs: Sequence[str],
    configfile: Path,
    given: Sequence[str],
    checkpoints: Sequence[Path],
    detectors: Sequence[str],
    device: str,
) -> list[Predictor]:
    """Detectors that are asked for, ready to score on all cores.

    Args:
        plan: That of the configuration; None where no run is asked for.
        runs: PAPER/NAME of its runs.
        configfile, given: The configuration, for errors.
        checkpoints: Checkpoint folders.
        detectors: Names of published detectors.
        device: auto, cpu, cuda or cuda:1.

    Raises:
        UserError: one is not there or cannot be asked, or two have one name.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))  # before torch is imported

    from tellsign.prediction.predictor import Predictor, source_of

    sources = [one for name in runs if plan for one in sources_of(plan, name, configfile, given)]
    sources += [*map(source_of, checkpoints), *released_sources(detectors)]
    return [Predictor(source, device) for source in distinct(sources)]


def distinct(sources: Sequence[Source]) -> list[Source]:
    """The sources, held to names of their own.

    Raises:
        UserError: two are called the same.
    """
    names = Counter(source.name for source in sources)
    if twice := [name for name, count in names.items() if count > 1]:
        raise UserError(f"{', '.join(twice)} would be two columns of one name; ask for each detector once.")
    return list(sources)


def sources_of(plan: Plan, name: str, configfile: Path, given: Sequence[str]) -> Iterator[Source]:
    """The detectors of a run, one for each seed.

    Raises:
        UserError: there is no such run, it cannot be asked, or it has not been trained yet.
    """
    run = choose(plan.runs, name, f"run of {configfile}")
    if not can_predict(run):
        adapted = "its weights were adapted to single subsets, and a picture of unknown origin belongs to none"
        looks = f"its method {run.recipe.method!r} looks at captions and boxes, which `predict` does not make"
        why = adapted if run.recipe.models_by_subset() else looks
        raise UserError(f"{name} cannot be asked about any picture: {why}. Test it on a folder, by Snakemake.")
    scores = plan.score(run)
    if missing := unknown_fingerprints(plan, [scores]):
        raise UserError(f"{missing}\n\nWhich checkpoints are {name}'s follows from these. Give them, or --checkpoint.")
    checkpoints = {f"{name}-s{seed}": artifact for seed, artifact in scores.needs["checkpoints"]}
    absent = [artifact.path for artifact in checkpoints.values() if not Path(artifact.path).exists()]
    if absent:
        raise UserError(
            f"{name} of {configfile} has not been trained yet: there is no {absent[0]}. This makes what is missing:\n"
            f"  {making(absent, configfile, given)}"
        )
    inputs = [artifact for key, artifact in scores.needs["inputs"] if key.startswith("crops@")]
    crops = {**inputs[0].settings, "perturbation": plain(Perturbation())} if inputs else {}
    for column, artifact in checkpoints.items():
        seen = scores.settings["view"], crops, scores.settings["networks"]
        yield Source(column, Path(artifact.path), *seen, sides_of(run, artifact))


def sides_of(run: Run, checkpoint: Artifact) -> tuple[int, int] | None:
    """Shortest and longest shorter side of a run's training images; None where their list is not here."""
    split = Path(checkpoint.needs["split"][0][1].path)
    if not split.exists():
        return None
    columns, subsets = read_rows(split, ["subset", "width", "height"]), run.recipe.data.subsets
    rows = zip(*(columns[name].to_pylist() for name in ("subset", "width", "height")), strict=True)
    sides = [min(width, height) for subset, width, height in rows if not subsets or subset in subsets]
    return (min(sides), max(sides)) if sides else None


def making(paths: Sequence[str], configfile: Path, given: Sequence[str]) -> str:
    """The command that makes artifacts of a configuration."""
    words = ["snakemake --cores 2", *paths]
    words += [f"--configfile {configfile}"] if configfile != Path("config/config.yaml") else []
    return " ".join(words + ([f"--config {' '.join(given)}"] if given else []))


def checkpoints_of(plan: Plan) -> dict[str, list[str]]:
    """The runs that can be asked about any picture, with the checkpoint folders of their seeds, made or not."""
    able = [run for run in plan.runs.values() if can_predict(run)]
    known = [run for run in able if not unknown_fingerprints(plan, [plan.score(run)])]
    return {run.full_name: [made.path for _, made in plan.score(run).needs["checkpoints"]] for run in known}


def trained_runs(paths: Mapping[str, Sequence[str]]) -> list[str]:
    """The runs all of whose checkpoint folders are there."""
    return [name for name, folders in paths.items() if all(Path(folder).exists() for folder in folders)]


def what_there_is(plan: Plan, configfile: Path, given: Sequence[str]) -> str:
    """What of a configuration can predict: the runs that are trained, or how the first is made."""
    paths = checkpoints_of(plan)
    trained = trained_runs(paths)
    say = "Say with what: --run PAPER/NAME of a configuration, --checkpoint FOLDER, or --detector NAME."
    if trained:
        more = f" and {len(trained) - LISTED} more" if len(trained) > LISTED else ""
        return f"{say} Trained here, of {configfile}: {', '.join(trained[:LISTED])}{more}."
    lines = [f"{say} No run of {configfile} has been trained here yet, so there is nothing to predict with."]
    if paths:
        name, folders = next(iter(paths.items()))
        lines += [f"This trains {name}:", f"  {making(folders, configfile, given)}"]
    if plan.config.banner:
        lines.append(f"{plan.config.banner} Its detectors know small rendered scenes and nothing of your pictures.")
    lines.append("For photographs, train on your own (config/folder.yaml) or on the papers' sets (config/paper.yaml).")
    return "\n".join(lines)


def can_predict(run: Run) -> bool:
    """Whether a run looks at the pixels of any picture: not at captions and boxes, and not at one subset alone."""
    inputs = run.recipe.test_inputs()
    return set(inputs) == {"crops"} and isinstance(inputs["crops"], Pixels) and not run.recipe.models_by_subset()


def print_answer(answer: Answer) -> None:
    """The pictures that have a score, a row each."""
    several = list(answer.detectors) if len(answer.detectors) > 1 else []
    scores = [*several, "mean"] if several else ["p(fake)"]
    scores += ["probability"] if answer.calibration else []
    heads = ["picture", *scores, "verdict", "warnings", "metadata"]
    rows = []
    for row in answer.rows:
        if not row.problem:
            shown = [*row.scores, row.score] if several else [*row.scores]
            numbers = [f"{score:.3f}" for score in shown + ([answer.probability(row)] if answer.calibration else [])]
            said = ["; ".join(row.warnings), "; ".join(row.metadata)]
            rows.append([str(row.path), *numbers, answer.verdict(row), *said])
    if rows:
        print_table(heads, rows, right=scores)


def summary(answer: Answer, found: Found, out: Path | None) -> Iterator[str]:
    """What the answer rests on, how many pictures have none, and why."""
    bad = [row for row in answer.rows if row.problem]
    verdicts = Counter(answer.verdict(row) for row in answer.rows)
    called = f"{verdicts['fake']} called fake, {verdicts['real']} real at a threshold of {answer.threshold:g}"
    if answer.sure is not None:
        called = (
            f"{verdicts['fake']} called fake, {verdicts['real']} real with {answer.sure:g}, {verdicts['unsure']} unsure"
        )
    yield f"{len(answer.rows)} files: {called}, {len(bad)} unreadable." + (f" Written: {out}" if out else "")
    yield from (f"  {row.path}: {row.problem}" for row in bad[:LISTED])
    if len(bad) > LISTED:
        yield f"  and {len(bad) - LISTED} more"
    if found.skipped:
        yield f"{passed_over(found)}."
    yield from (f"{name}: {what}" for name, what in answer.detectors.items())
    if (fitted := answer.calibration) is not None:
        yield (
            f"probability: Platt's scaling on {fitted.reals} real and {fitted.fakes} generated pictures of "
            "--calibrate, if as many are real as generated. It holds for pictures like those; these are no test."
        )
    if answer.banner:
        yield answer.banner


def passed_over(found: Found) -> str:
    """What was passed over in folders, in words."""
    listed = "; ".join(f"{count} × {why}" for why, count in sorted(found.skipped.items()))
    return f"passed over: {listed or 'nothing'}"

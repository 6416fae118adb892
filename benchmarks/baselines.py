"""Write the tables of docs/baselines.md from the configuration.

python benchmarks/baselines.py            print the page
python benchmarks/baselines.py --write    write it to its place

The tables stand between the marks `<!-- generated: NAME -->` and `<!-- end -->`. They are made from
config/detectors.yaml, config/papers/baselines.yaml, the papers of config/paper.yaml and config/rates.yaml; the page's
own text is around them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tellsign.networks.catalogue import DETECTORS, read_detectors
from tellsign.networks.weights import size_of
from tellsign.plan.recipes import read_recipe
from tellsign.schema.loading import plain
from tellsign.schema.paper_files import read_paper_file
from tellsign.schema.strict_yaml import read_yaml

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "baselines.md"
METHODS = {"tiny-ladeda": {"method": "tiny-ladeda", "teacher": "run:NAME"}}
"""Recipes that no paper's run starts from: all of them are defaults of their method."""

USE = {"baseline", "data", "tests", "seeds", "over"}
"""What a run says that is not of its recipe."""

Fields = dict[str, Any]


def in_yaml(fields: Mapping[str, Any]) -> list[str]:
    """Each field as it would stand in a recipe."""
    texts = (yaml.safe_dump({key: fields[key]}, default_flow_style=True, width=1000, sort_keys=False) for key in fields)
    return [f"`{text.strip()[1:-1]}`" for text in texts]


def beside(chosen: Fields, *said: str) -> str:
    """In brackets: what settings hold beside the fields that are said already, and is not 0, false or empty."""
    rest = [text.strip("`") for text in in_yaml({k: v for k, v in chosen.items() if k not in said and v})]
    return f" ({', '.join(rest)})" if rest else ""


def network(fields: Fields, parameters: Mapping[str, int]) -> Iterator[str]:
    """The network, its size, its start and its head."""
    method = fields.pop("method")
    own = {"name": method, "weights": fields.pop("weights", "none")}
    name, weights = (backbone := fields.pop("backbone", own))["name"], backbone["weights"]
    size = f", {parameters[name] / 1e6:.2f} M parameters" if name in parameters else ""
    yield f"`{name}`{size}"
    yield "random weights" if weights == "none" else f"weights `{weights}`"
    if fields.pop("trainable", "all") == "head":
        yield "only the head is trained"
    if head := fields.pop("head", None):
        yield f"head `{head['name']}`{beside(head, 'name')}"


def resizing(resize: Fields | None) -> Iterator[str]:
    """How images are resized."""
    if resize is not None:
        squash = f"squashed to {resize['size']} × {resize['size']}"
        yield (squash if resize["mode"] == "squash" else f"shorter side {resize['size']}") + f" ({resize['filter']})"


def training_images(fields: Fields) -> Iterator[str]:
    """What is done to the training images, in this order."""
    yield from resizing(fields.pop("resize"))
    augment = fields.pop("augment", {"name": "none"})
    if augment["name"] != "none":
        yield f"`{augment['name']}`{beside(augment, 'name')}"
    if "crop" in fields:
        yield f"{'crop' if fields['epochs'] else 'centre crop'} {fields.pop('crop')}"
    else:
        yield "whole images"
    yield from (word for key, word in (("flip", "flip"), ("rotate", "rotation")) if fields.pop(key, False))


def training(fields: Fields) -> Iterator[str]:
    """Optimiser, schedule, batches and length; of a classifier that is fitted at once none of these."""
    if "optimiser" not in fields:
        yield "fitted at once"
        return
    optimiser, schedule, stop = (fields.pop(key) for key in ("optimiser", "schedule", "stop"))
    epochs, batch = fields.pop("epochs"), fields.pop("batch_size")
    if not epochs:
        yield "none: the features of the training images are stored"
        return
    yield f"`{optimiser['name']}` {optimiser['lr']:g}{beside(optimiser, 'name', 'lr', 'betas', 'nesterov')}"
    constant = schedule["kind"] == "step" and schedule["factor"] == 1
    yield "constant rate" if constant else f"`{schedule['kind']}`{beside(schedule, 'kind')}"
    yield f"batch {batch}"
    yield f"{epochs} epochs" if stop is None else f"at most {epochs} epochs, early stopping{beside(stop, 'subsets')}"


def test_images(fields: Fields) -> Iterator[str]:
    """What is done to the test images."""
    yield from resizing(fields.pop("resize_test"))
    side = fields.pop("crop_test", None) or fields.get("crop")
    yield "whole images" if side is None else f"centre crop {side}"


def recipes() -> Iterator[str]:
    """A row for each recipe. What no column tells and is not the default stands with the training."""
    parameters = {
        name: one["parameters"] for name, one in read_yaml(ROOT / "config" / "rates.yaml")["networks"].items()
    }
    default = plain(read_recipe({"backbone": {"name": "resnet50"}}, "default"))
    yield "| recipe | network | training images | training | test images |"
    yield "|---|---|---|---|---|"
    for name, spec in (read_yaml(ROOT / "config" / "papers" / "baselines.yaml") | METHODS).items():
        fields = plain(read_recipe(spec, name))
        tests = list(test_images(fields))
        cells = [list(network(fields, parameters)), list(training_images(fields)), list(training(fields))]
        cells[-1] += in_yaml({key: value for key, value in fields.items() if value != default.get(key)})
        yield f"| `{name}` | {' | '.join(map(', '.join, [*cells, tests]))} |"


def runs() -> Iterator[str]:
    """A row for all runs that change a recipe alike."""
    users: dict[tuple[str, str], list[str]] = {}
    for file in read_yaml(ROOT / "config" / "paper.yaml")["papers"]:
        paper = read_paper_file(file, ROOT)
        for name, spec in (paper["runs"] | paper.get("grids", {})).items():
            if spec is not None and "baseline" in spec:
                change = ", ".join(in_yaml({key: value for key, value in spec.items() if key not in USE})) or "–"
                users.setdefault((spec["baseline"], change), []).append(f"`{paper['paper']}/{name}`")
    yield "| recipe | runs of the papers | what they change |"
    yield "|---|---|---|"
    for (recipe, change), names in sorted(users.items()):
        yield f"| `{recipe}` | {', '.join(names)} | {change} |"


MEANS_FAKE = {(1, 1): "high", (1, 0): "low", (2, 0): "class 0", (2, 1): "class 1"}
"""How a table says which output means fake, by the number of outputs and the class."""


def detectors() -> Iterator[str]:
    """A row for each detector of other authors."""
    yield "| detector | paper | code | licence | test picture, as the released code takes it | fake is | runs by |"
    yield "|---|---|---|---|---|---|---|"
    for one in read_detectors(ROOT / DETECTORS).values():
        paper, place = one.paper, one.code.page.removeprefix("https://github.com/")
        published = " ".join(filter(None, [paper.venue, str(paper.year)]))
        named = f"[{published}](https://arxiv.org/abs/{paper.arxiv})" if paper.arxiv else published
        code = f"[{place}]({one.code.page}/tree/{one.code.commit})"
        runs_by = ", ".join(f"`{recipe}`" for recipe in one.recipes) or "–"
        fake = MEANS_FAKE[one.outputs, one.fake_class]
        yield f"| {one.name} | {named} | {code} | {one.code.licence} | {one.input} | {fake} | {runs_by} |"


def checkpoints() -> Iterator[str]:
    """A row for each released checkpoint."""
    yield "| `weights:` | file | trained on | holds | size | digest | fetched |"
    yield "|---|---|---|---|---|---|---|"
    for detector, one in read_detectors(ROOT / DETECTORS).items():
        for name, file in one.checkpoints.items():
            digest = "sha256" if file.sha256 else "git's" if file.blob else "–"
            cells = [file.trained_on, file.layout, size_of(file.megabytes), digest, "by hand" if file.get else "yes"]
            yield f"| `{detector}-{name}` | `{file.file}` | {' | '.join(cells)} |"


def numbers() -> Iterator[str]:
    """A row for what a detector's pages print of one set of weights."""
    yield "| detector | of | source | metrics | numbers |"
    yield "|---|---|---|---|---|"
    for one in read_detectors(ROOT / DETECTORS).values():
        for printed in one.numbers:
            values = "; ".join(f"{name} {' / '.join(map(str, all_))}" for name, all_ in printed.values.items())
            cells = [one.name, printed.of, printed.source, " / ".join(printed.metrics), values]
            yield f"| {' | '.join(cells)} |"


TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "detectors": detectors,
    "checkpoints": checkpoints,
    "numbers": numbers,
    "recipes": recipes,
    "runs": runs,
}


def written(page: str) -> str:
    """The page with every generated table made anew."""
    for name, table in TABLES.items():
        before, start, rest = page.partition(f"<!-- generated: {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        page = "".join([before, start, *(f"{line}\n" for line in table()), end, after])
    return page


def main() -> int:
    text = written(PAGE.read_text(encoding="utf-8"))
    if "--write" in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())

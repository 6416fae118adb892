"""Draw docs/images/architecture.svg: the stages, and which artifacts each reads.

python benchmarks/architecture.py            print the picture
python benchmarks/architecture.py --write    write it to its place

Names and texts come from the registry of stages, arrows from the demo's plan. An arrow that a longer way implies is
left out, unless that way ends in a mere starting point (a training can start from an encoder, but need not). Such an
arrow is dashed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from tellsign.commands.coverage import plan_without_data
from tellsign.plan.artifact import Artifact
from tellsign.schema.strict_yaml import read_yaml
from tellsign.stages.registry import RECORDS, STAGES

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "architecture.svg"
BOX, GAP, STEP = (350, 44), 36, 70
"""Width and height of a box, distance between boxes side by side and between rows, in pixels."""

IMAGES = "images"
TEXTS = {IMAGES: "your own, or public benchmarks"}
COLOURS = {"demo": "#f3ead9", "image": "#e3edf7", "train": "#dcefdc", "result": "#f6e1e4"}

Edges = dict[str, set[str]]
"""Stage → the stages whose artifacts it reads."""


def all_edges(artifacts: Mapping[str, Artifact]) -> tuple[Edges, set[tuple[str, str]]]:
    """What each stage reads, and those pairs (reader, read) in which it only starts from the other."""
    reads: Edges = {}
    roles: dict[tuple[str, str], set[str]] = {}
    for artifact in artifacts.values():
        for role, needs in artifact.needs.items():
            for _, needed in needs:
                if needed.stage != artifact.stage:
                    reads.setdefault(artifact.stage, set()).add(needed.stage)
                    roles.setdefault((artifact.stage, needed.stage), set()).add(role)
    reads["index"].add(IMAGES)
    return reads, {pair for pair, names in roles.items() if names == {"start"}}


def ancestors(stage: str, reads: Edges) -> set[str]:
    """All stages that a stage needs, directly or not."""
    return {far for near in reads.get(stage, ()) for far in {near, *ancestors(near, reads)}}


def drawn_edges(reads: Edges, starts: set[tuple[str, str]]) -> Edges:
    """The edges without those that a longer way implies."""
    return {
        stage: {
            one
            for one in needed
            if not any(one in ancestors(o, reads) for o in needed - {one} if (stage, o) not in starts)
        }
        for stage, needed in reads.items()
    }


def places(edges: Edges) -> dict[str, tuple[float, int]]:
    """Column and row of each stage: a row below all it reads, near the middle of what it reads."""
    order = [IMAGES, *(stage.name for stage in RECORDS)]
    rows: dict[str, int] = {IMAGES: 1}
    columns: dict[str, float] = {}
    for stage in order:
        if stage in edges or any(stage in needed for needed in edges.values()):
            rows.setdefault(stage, 1 + max((rows[one] for one in edges.get(stage, ())), default=-1))
    for row in range(max(rows.values()) + 1):
        names = [stage for stage in order if rows.get(stage) == row]
        middle = {n: [columns[one] for one in edges.get(n, ())] or [0.0] for n in names}
        wish = {n: sum(middle[n]) / len(middle[n]) for n in names}
        names.sort(key=wish.__getitem__)
        shift = sum(wish.values()) / len(names) - (len(names) - 1) / 2
        for number, name in enumerate(names):
            columns[name] = wish[name] if len(names) == 1 else shift + number
    return {name: (columns[name], rows[name]) for name in rows}


def colour(stage: str) -> str:
    """Colour of a box by what the stage is for."""
    if stage.startswith("demo_"):
        return COLOURS["demo"]
    if stage in ("table", "figure", "report", "evaluate"):
        return COLOURS["result"]
    record = STAGES.get(stage)
    return COLOURS["train" if record and (record.trains or stage.startswith("score")) else "image"]


def picture(artifacts: Mapping[str, Artifact]) -> str:
    """The SVG."""
    reads, starts = all_edges(artifacts)
    edges = drawn_edges(reads, starts)
    where = places(edges)
    left = min(column for column, _ in where.values())
    width, height = BOX
    corner = {n: (20 + (column - left) * (width + GAP), 20 + row * STEP) for n, (column, row) in where.items()}
    size = (
        max(x for x, _ in corner.values()) + width + 20,
        max(y for _, y in corner.values()) + height + 20,
    )
    lines = []
    for stage, needed in sorted(edges.items()):
        for one in sorted(needed, key=lambda name: corner[name]):
            (x0, y0), (x1, y1) = corner[one], corner[stage]
            start, end, below = x0 + width / 2, x1 + width / 2, y1 - STEP + height  # straight down past other boxes
            dashes = ' stroke-dasharray="5 3"' if (stage, one) in starts else ""
            lines.append(
                f'<path d="M{start:g} {y0 + height:g} V{below:g} C{start:g} {below + 14:g} {end:g} {y1 - 20:g} '
                f'{end:g} {y1 - 6:g}"{dashes}/>'
            )
    boxes = []
    for stage, (x, y) in sorted(corner.items()):
        text = STAGES[stage].help if stage in STAGES else TEXTS[stage]
        boxes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width}" height="{height}" rx="6" fill="{colour(stage)}"/>\n'
            f'<text x="{x + 10:g}" y="{y + 18:g}" font-weight="bold">{escape(stage)}</text>\n'
            f'<text x="{x + 10:g}" y="{y + 35:g}" font-size="11">{escape(text)}</text>'
        )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]:g} {size[1]:g}" font-family="sans-serif" '
            'font-size="13">',
            '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="2" refY="4" orient="auto">'
            '<path d="M0 0 L8 4 L0 8 z" fill="#555"/></marker></defs>',
            f'<rect width="{size[0]:g}" height="{size[1]:g}" fill="white"/>',
            '<g fill="none" stroke="#555" stroke-width="1.4" marker-end="url(#head)">',
            *lines,
            '</g>\n<g stroke="none">',
            *boxes,
            "</g>\n</svg>\n",
        ]
    )


def main() -> int:
    plan = plan_without_data(read_yaml(ROOT / "config" / "config.yaml"), ROOT)
    text = picture(plan.everything())
    if "--write" in sys.argv[1:]:
        PICTURE.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())

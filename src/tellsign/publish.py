"""The plain-named view of the latest tables, figures and report: links in ``results/``."""

from __future__ import annotations

import os
from pathlib import Path

from tellsign.plan import Plan


def link(target: Path, name: Path) -> None:
    """Make ``name`` a relative symbolic link to ``target``, replacing an older one in one step."""
    name.parent.mkdir(parents=True, exist_ok=True)
    text = os.path.relpath(target, name.parent)
    if name.is_symlink() and os.readlink(name) == text:  # noqa: PTH115 (compared as text)
        return
    fresh = name.with_name(f".{name.name}.part")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(text)
    fresh.replace(name)


def publish(plan: Plan, folder: Path) -> None:
    """Point ``folder/<paper>/<table or figure>`` and ``folder/report.html`` at what this configuration stands for."""
    for artifact in [*plan.tables(), *plan.figures()]:
        if Path(artifact.path).exists():
            link(Path(artifact.path), folder / artifact.name)
    report = Path(plan.report().path)
    if report.exists():
        link(report, folder / "report.html")

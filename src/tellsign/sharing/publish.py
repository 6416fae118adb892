"""The plain-named view of the latest tables, figures and report: links in ``results/``, a folder a configuration."""

from __future__ import annotations

import os
from pathlib import Path

from tellsign.errors import UserError
from tellsign.plan.plan import Plan


def link(target: Path, name: Path) -> None:
    """Make ``name`` a relative symbolic link to ``target``, replacing an older one in one step.

    Raises:
        UserError: a folder is in its place.
    """
    if name.is_dir() and not name.is_symlink():
        raise UserError(f"{name} is a folder, where a link to the latest {name.name} belongs. Move it elsewhere.")
    name.parent.mkdir(parents=True, exist_ok=True)
    text = os.path.relpath(target, name.parent)
    if name.is_symlink() and os.readlink(name) == text:  # noqa: PTH115 (compared as text)
        return
    fresh = name.with_name(f".{name.name}.part")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(text)
    fresh.replace(name)


def publish(plan: Plan, folder: Path) -> str:
    """Point ``NAME/<paper>/<table or figure>`` and ``NAME/report.html`` at what the configuration NAME stands for.

    A link whose table is not made yet under this configuration is removed: what its folder shows is current. Folders of
    other configurations in ``folder`` stay as they are.

    Returns:
        What is there now, for people. Rows that were asked for alone have links of their own and do not count.
    """
    place = folder / plan.config.name
    wanted = {place / made.name: Path(made.path) for made in [*plan.tables(), *plan.figures()]}
    wanted[place / "report.html"] = Path(plan.report().path)
    rows = {place / made.name: Path(made.path) for made in map(plan.row, plan.rows())}
    made = 0
    for name, target in wanted.items():
        if target.exists():
            link(target, name)
            made += 1
        elif name.is_symlink():
            name.unlink()
    for name, target in rows.items():
        if target.exists():
            link(target, name)
    for name in place.glob("*/*"):
        if name.is_symlink() and name not in wanted and not rows.get(name, Path()).is_dir():
            name.unlink()
    return f"{place}/ shows {made} of {len(wanted)} results (tables, figures and report) of {plan.config.name}."

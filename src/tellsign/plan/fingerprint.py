"""Digest of modules' code and of everything in this package that they import, however deeply.

What a stage chooses by name from a registry (`tellsign.registry`) it does not import: the plan names the module of the
chosen entry beside the stage's. An edit of an entry thus moves what uses it and nothing else.

Comments, docstrings, blank lines and formatting do not enter; the templates in a package's folder do. Modules that
only carry, check or write what others compute are neutral: what they say reaches the digest as settings, or cannot
change a number.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path

import grimp

PACKAGE = "tellsign"
ROOT = Path(__file__).parents[1]

NEUTRAL = frozenset(
    {
        "tellsign",  # the version
        "tellsign.__main__",  # turns flags into arguments
        "tellsign.data.augmentations",  # registry
        "tellsign.data.layouts",  # registry
        "tellsign.data.perturbations",  # registry
        "tellsign.detectors.registry",  # registry: the chosen record enters
        "tellsign.errors",  # messages
        "tellsign.evaluation.metrics",  # registry: the chosen record enters, its neighbours do not
        "tellsign.methods.masks",  # registry: the chosen record enters, its neighbours do not
        "tellsign.networks.backbones",  # registry
        "tellsign.networks.captioners",  # registry
        "tellsign.networks.grounders",  # registry
        "tellsign.networks.heads",  # registry
        "tellsign.networks.hub",  # fetches
        "tellsign.registry",  # looks up
        "tellsign.results.figures.kinds",  # registry
        "tellsign.results.tables.kinds",  # registry
        "tellsign.schema",  # its values enter as settings, with defaults resolved
        "tellsign.training.optimisers",  # registry
        "tellsign.training.schedules",  # registry
        "tellsign.system",  # files, locks, devices, progress
    }
)
"""Modules, and packages of the first level with all that is in them."""


def is_neutral(module: str) -> bool:
    """Whether a module cannot change a number, or says nothing but what enters as settings."""
    package = ".".join(module.split(".")[:2])
    return module in NEUTRAL or (package != PACKAGE and package in NEUTRAL)


@functools.cache
def import_graph() -> grimp.ImportGraph:
    """The package's import graph, read from the sources without importing anything."""
    return grimp.build_graph(PACKAGE, cache_dir=None, exclude_type_checking_imports=True)


def source_of(module: str) -> Path:
    """File of a module of this package."""
    base = ROOT.joinpath(*module.split(".")[1:])
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The tree with every docstring removed, in place."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return tree


@functools.cache
def module_digest(module: str) -> str:
    """Digest of one module's syntax tree without docstrings, and of a package's templates."""
    source = source_of(module)
    tree = without_docstrings(ast.parse(source.read_text(encoding="utf-8")))
    made_of = hashlib.sha256(ast.dump(tree).encode())
    if source.name == "__init__.py":
        for template in sorted(source.parent.glob("templates/*")):
            made_of.update(f"\n{template.name}\n".encode() + template.read_bytes())
    return made_of.hexdigest()


@functools.cache
def closure(module: str) -> tuple[str, ...]:
    """The module and all of this package that it imports, neutral modules left out."""
    todo, seen = [module], set()
    while todo:
        name = todo.pop()
        if name in seen or is_neutral(name):
            continue
        seen.add(name)
        if "." in name:
            todo.append(name.rpartition(".")[0])  # importing a.b runs a/__init__.py
        todo.extend(import_graph().find_modules_directly_imported_by(name))
    return tuple(sorted(seen))


@functools.cache
def code_digest(*modules: str) -> str:
    """Digest of the code closure of one or more modules together: 16 hex digits."""
    names = sorted({name for module in modules for name in closure(module)})
    lines = "\n".join(f"{name} {module_digest(name)}" for name in names)
    return hashlib.sha256(lines.encode()).hexdigest()[:16]

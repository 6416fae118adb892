import ast

import pytest

from tellsign import fingerprint


def stripped(text: str) -> str:
    return ast.dump(fingerprint.without_docstrings(ast.parse(text)))


def test_comments_docstrings_and_formatting_do_not_enter():
    plain = "def f(x):\n    return x + 1\n"
    dressed = '"""Module."""\n# why\ndef f(\n    x,\n):\n    """Add one."""\n\n    return (x + 1)  # really\n'
    assert stripped(plain) == stripped(dressed)


def test_a_changed_constant_enters():
    assert stripped("x = 1") != stripped("x = 2")


def test_a_docstring_alone_leaves_an_empty_body():
    assert stripped('def f():\n    """Only words."""') == stripped("def f():\n    pass")


@pytest.mark.parametrize(
    ("stage", "inside", "outside"),
    [
        ("train", "tellsign.masks", "tellsign.lattice"),
        ("pretrain", "tellsign.lattice", "tellsign.masks"),
        ("train_head", "tellsign.discrepancy", "tellsign.masks"),
        ("score", "tellsign.backbones", "tellsign.masks"),
        ("evaluate", "tellsign.metrics", "tellsign.backbones"),
        ("split", "tellsign.stages.split", "tellsign.images"),
    ],
)
def test_closures_hold_what_a_stage_computes_with_and_nothing_else(stage, inside, outside):
    held = fingerprint.closure(f"tellsign.stages.{stage}")
    assert inside in held
    assert outside not in held
    assert not fingerprint.NEUTRAL & set(held)


def test_neutral_modules_import_only_each_other():
    """A neutral module that imported a computing one could carry its numbers past the fingerprint."""
    graph = fingerprint.import_graph()
    for name in fingerprint.NEUTRAL - {"tellsign.__main__"}:
        assert graph.find_modules_directly_imported_by(name) <= fingerprint.NEUTRAL


def test_library_never_imports_stages():
    graph = fingerprint.import_graph()
    for name in graph.modules:
        if not name.startswith("tellsign.stages") and name != "tellsign.__main__":
            imported = graph.find_modules_directly_imported_by(name)
            assert not {m for m in imported if m.startswith("tellsign.stages.")}, name


def test_stages_do_not_import_each_other():
    graph = fingerprint.import_graph()
    for name in graph.find_children("tellsign.stages"):
        imported = graph.find_modules_directly_imported_by(name)
        assert not {m for m in imported if m.startswith("tellsign.stages.")}, name

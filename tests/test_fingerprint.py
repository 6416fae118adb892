import ast

import pytest

from tellsign.plan import fingerprint


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


def test_a_packages_templates_enter(tmp_path, monkeypatch):
    template = tmp_path / "tables/templates/table.md.j2"
    template.parent.mkdir(parents=True)
    (tmp_path / "tables/__init__.py").write_text("")
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    digests = set()
    for text in ("one", "two"):
        template.write_text(text)
        digests.add(fingerprint.module_digest.__wrapped__("tellsign.tables"))
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("module", "inside", "outside"),
    [
        ("detectors.image", "tellsign.methods.losses", "tellsign.methods.lattice"),
        ("detectors.features", "tellsign.methods.discrepancy", "tellsign.methods.masks.texture_aware"),
        ("stages.train", "tellsign.training.fit", "tellsign.detectors.image"),
        ("stages.pretrain", "tellsign.methods.lattice", "tellsign.methods.masks.texture_aware"),
        ("stages.score", "tellsign.networks.state", "tellsign.methods.masks.texture_aware"),
        ("stages.evaluate", "tellsign.evaluation.tally", "tellsign.networks.backbones.loading"),
        ("stages.split", "tellsign.stages.split", "tellsign.data.images"),
    ],
)
def test_closures_hold_what_a_stage_computes_with_and_nothing_else(module, inside, outside):
    held = fingerprint.closure(f"tellsign.{module}")
    assert inside in held
    assert outside not in held
    assert not any(map(fingerprint.is_neutral, held))


def test_neutral_modules_import_only_each_other():
    """A neutral module that imported a computing one could carry its numbers past the fingerprint."""
    graph = fingerprint.import_graph()
    for name in filter(fingerprint.is_neutral, graph.modules - {"tellsign.__main__"}):
        imported = graph.find_modules_directly_imported_by(name)
        assert all(map(fingerprint.is_neutral, imported)), (name, imported)


def test_library_never_imports_stages():
    graph = fingerprint.import_graph()
    for name in graph.modules:
        if not name.startswith("tellsign.stages") and name != "tellsign.__main__":
            imported = graph.find_modules_directly_imported_by(name)
            assert {m for m in imported if m.startswith("tellsign.stages.")} <= {"tellsign.stages.registry"}, name


def test_stages_do_not_import_each_other():
    graph = fingerprint.import_graph()
    for name in graph.find_children("tellsign.stages"):
        imported = graph.find_modules_directly_imported_by(name)
        inherited = {name.removesuffix("_head")} if name.endswith("_head") else set()  # the same stage, other resources
        assert {m for m in imported if m.startswith("tellsign.stages.")} == inherited, name

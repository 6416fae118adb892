"""The JSON schemas in config/schema: current, named by every shipped file, and true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
from conftest import ROOT

from tellsign.commands.schema import main, read_docstring, schemas
from tellsign.schema.strict_yaml import read_yaml

CONFIG = ROOT / "config"
FILES = sorted(path.relative_to(CONFIG).as_posix() for path in CONFIG.rglob("*.yaml"))


def test_the_schemas_in_the_repository_are_current(tmp_path: Path):
    assert main(out=tmp_path) == 0
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text() for path in (CONFIG / "schema").iterdir()}
    assert written == kept, "run `tellsign schema`"


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys):
    main(out=tmp_path)
    (tmp_path / "paper.json").write_text("{}")
    capsys.readouterr()
    main(out=tmp_path)
    main(out=tmp_path)
    assert capsys.readouterr().out == f"{tmp_path}: 7 files, 1 changed: paper.json\n{tmp_path}: 7 files, 0 changed\n"


def schema_named_by(file: Path) -> dict:
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", file.read_text(encoding="utf-8").splitlines()[0])
    assert named, f"the first line of {file} must name its schema"
    return json.loads((file.parent / named[1]).read_text())


@pytest.mark.parametrize("name", FILES)
def test_every_shipped_file_names_a_schema_that_accepts_it(name):
    file = CONFIG / name
    validator = jsonschema.Draft202012Validator(schema_named_by(file))
    problems = [f"{problem.json_path}: {problem.message[:300]}" for problem in validator.iter_errors(read_yaml(file))]
    assert not problems


@pytest.mark.parametrize("name", FILES)
def test_no_line_is_longer_than_a_page(name):
    assert max(map(len, (CONFIG / name).read_text(encoding="utf-8").splitlines())) <= 120


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("configuration", {"name": "x", "papers": [], "benchmarks": {}, "splits": {}, "split": {}}),
        ("configuration", {"name": "x", "papers": [], "benchmarks": {}, "splits": {"a": {"part": "trian"}}}),
        ("benchmarks", {"a": {"layout": "folder", "test_fraction": 50}}),
        ("recipes", {"a": {"mask": {"name": "cutout", "period": [0.1, 0.2]}}}),
        ("recipes", {"a": {"optimiser": {"lr": "1e-4"}}}),
        ("paper", {"paper": "x", "title": "X", "seeds": [0], "base": {}, "runs": {}, "tables": {"a": {"kind": "x"}}}),
        ("paper", {"paper": "x", "title": "X", "seeds": [0], "base": {}, "runs": {}, "figures": {"a": {"kind": "x"}}}),
    ],
)
def test_what_is_wrong_is_refused(kind, data):
    assert list(jsonschema.Draft202012Validator(schemas()[kind]).iter_errors(data))


def test_descriptions_come_from_docstrings():
    recipe = schemas()["recipes"]["additionalProperties"]["anyOf"][0]["properties"]
    assert recipe["crop"]["description"] == "Side of the random training crop and the centre test crop, in pixels."
    prose, attributes = read_docstring("""One line.

    Attributes:
        a, b: Both, over
            two lines.
        c: Alone.
    """)
    assert prose == "One line." and attributes == {
        "a": "Both, over two lines.",
        "b": "Both, over two lines.",
        "c": "Alone.",
    }

"""What SECURITY.md promises, held over every tracked file; and hostile file names from end to end."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT, demo_config, make_plan
from PIL import Image
from pipeline import copy_of_tree, snakemake

from tellsign.errors import UserError
from tellsign.networks.catalogue import read_catalogue
from tellsign.schema.strict_yaml import read_yaml
from tellsign.system.parquet import read_rows


def tracked(*patterns: str) -> list[Path]:
    """Files that git would commit."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


CODE = tracked("src/*.py", "workflow/*.py", "benchmarks/*.py")


def dotted(node: ast.expr) -> str:
    """``a.b.c`` of a name or an attribute; empty for anything else."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a file, by the dotted name of what is called, with names as they were imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            known |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            known |= {a.asname: a.name for a in node.names if a.asname}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, dot, rest = dotted(node.func).partition(".")
            yield f"{known.get(first, first)}{dot}{rest}", node


def given(call: ast.Call, name: str) -> str:
    """The source of a keyword argument; empty without."""
    return next((ast.unparse(k.value) for k in call.keywords if k.arg == name), "")


FORBIDDEN = re.compile(
    r"^(eval|exec|__import__|compile|os\.(system|popen|exec\w+|spawn\w+)|subprocess\.(getoutput|getstatusoutput)"
    r"|(c?[pP]ickle|dill|joblib|shelve|marshal|cloudpickle)\.(load|loads|open|Unpickler)|(pandas|pd)\.read_pickle"
    r"|torch\.jit\.load|torch\.hub\.load|yaml\.(unsafe_load|full_load|load_all|unsafe_load_all)"
    r"|tarfile\.open|shutil\.unpack_archive)$"
)
READ_ARCHIVES = {"headers.py", "torchscript.py"}
"""Modules that read members of torch's files into memory."""


def faults_of(path: Path) -> list[str]:
    """What a file does that SECURITY.md says nothing does."""
    found = []
    for name, call in calls(path):
        where = f"{path.name}:{call.lineno} {name}"
        if FORBIDDEN.match(name):
            found.append(where)
        if name == "torch.load" and given(call, "weights_only") != "True":
            found.append(f"{where} without weights_only=True")
        if name in ("yaml.load", "yaml.compose") and given(call, "Loader") != "_StrictLoader":
            found.append(f"{where} without the strict loader")
        if name in ("numpy.load", "np.load") and given(call, "allow_pickle") == "True":
            found.append(f"{where} that unpickles")
        if name.startswith("subprocess.") and given(call, "shell") not in ("", "False"):
            found.append(f"{where} through a shell")
        if name.endswith(".from_pretrained") and given(call, "trust_remote_code") not in ("", "False"):
            found.append(f"{where} runs downloaded code")
        if name == "zipfile.ZipFile" and path.name not in READ_ARCHIVES:
            found.append(f"{where} opens an archive outside the modules that read torch's files")
        if name.endswith(".urlopen") and path.name != "hub.py":
            found.append(f"{where} opens the network outside the one module that fetches")
        if name.endswith(".extractall") or name.endswith(".extract"):
            found.append(f"{where} unpacks an archive")
    return found


@pytest.mark.parametrize("path", CODE, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_unpickles_evaluates_or_passes_through_a_shell(path):
    assert faults_of(path) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle\npickle.load(f)", "from pickle import loads\nloads(b)", "import torch\ntorch.load(p)",
        "import torch\ntorch.load(p, weights_only=False)", "import yaml\nyaml.load(t, Loader=yaml.Loader)",
        "import subprocess as s\ns.run('x', shell=True)", "import os\nos.system('x')", "eval('1')",
        "import numpy as np\nnp.load(p, allow_pickle=True)", "import tarfile\ntarfile.open(p).extractall()",
        "import zipfile\nzipfile.ZipFile(p)",
    ],
)  # fmt: skip
def test_the_search_finds_what_it_looks_for(line, tmp_path):
    (tmp_path / "x.py").write_text(line)
    assert faults_of(tmp_path / "x.py")


RULES = tracked("workflow/rules/*.smk", "Snakefile")
# Numbers from profiles, fingerprints: nothing that a name of a file enters.
PLAIN = re.compile(r"^(resources\.\w+|threads|wildcards\.fp)$")


def unquoted(text: str) -> list[str]:
    """Fields of shell commands that are not quoted."""
    tree = text.split("shell:\n")[1:]
    commands = ["".join(re.findall(r'^\s+"(.*)"$', part.split("\n\n")[0], flags=re.M)) for part in tree]
    fields = [field for command in commands for field in re.findall(r"\{([^{}]*)\}", command)]
    return [field for field in fields if not field.endswith(":q") and not PLAIN.match(field)]


@pytest.mark.parametrize("path", RULES, ids=lambda p: p.name)
def test_every_value_in_a_shell_command_is_quoted(path):
    text = path.read_text(encoding="utf-8")
    assert unquoted(text) == []
    assert not re.search(r"^\s*(run|script|notebook|wrapper):", text, flags=re.M)


def test_the_search_for_unquoted_values_finds_one():
    assert unquoted(
        'rule x:\n    shell:\n        "tellsign x"\n        " --out {output.x}"\n        " > {log:q}"\n'
    ) == ["output.x"]


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['touch pwned']",
        "a: !!python/name:os.system",
        "!!python/object/new:subprocess.Popen [[touch, pwned]]",
    ],
)
def test_yaml_makes_no_objects(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(Exception, match="not valid YAML"):
        read_yaml(tmp_path / "x.yaml")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["../../../evil", "a/../../evil", "/evil", "a//b"])
def test_no_name_of_a_configuration_leaves_the_folder(name):
    config = demo_config()
    config["splits"][name] = config["splits"]["test"]
    with pytest.raises(UserError, match="cannot name a split"):
        make_plan(config).split(name)


@pytest.mark.parametrize(
    "file", ["../evil.safetensors", "/evil.safetensors", "a/../../evil.safetensors", "~/evil.safetensors"]
)
def test_no_file_of_the_catalogue_leaves_its_folder(file, tmp_path):
    entry = {"files": [file], "megabytes": 1, "licence": "x", "papers": [], "page": "x", "url": "https://x/y"}
    (tmp_path / "weights.yaml").write_text(yaml.safe_dump({"w": entry}))
    with pytest.raises(UserError, match="outside the folder of weights"):
        read_catalogue(tmp_path / "weights.yaml")


def test_no_tracked_file_names_a_registry():
    """Where packages come from is the machine's to say."""
    hosts = re.compile(r"(pypi\.org|pythonhosted\.org|--(extra-)?index-url|--find-links|conda\.anaconda\.org)")
    own = ROOT / "tests" / "test_security.py"
    for path in tracked("*.lock", "*.toml", "Makefile", ".ci/*", "*.md", "*.py", "*.smk", "*.yaml", "*.def"):
        assert path == own or not hosts.search(path.read_text(encoding="utf-8").replace("--emit-index-url", "")), path


HOSTILE = (
    "a b.png", "'.png", '".png', "it's \"x\".png", "$(touch pwned).png", "`touch pwned`.png", ";touch pwned;.png",
    "-rf.png", "--out=x.png", "new\nline.png", "a=b.png", "{output}.png", "{{x}}.png", "*.png", "?.png", "a|b&c>d.png",
    "\\.png", "~.png", "%s.png", "\t.png", "é☃.png", "#.png", "!x.png", "$HOME.png",
)  # fmt: skip


@pytest.mark.slow
def test_hostile_names_of_files_and_folders_go_from_end_to_end(tmp_path):
    """Index, split and crops of the user's own folder, by snakemake, with all that a shell could misread; in a clone
    with such a name, whose own code is run.
    """
    folder = copy_of_tree(tmp_path / "it's a {tree} $(touch pwned)")
    with (folder / "src" / "tellsign" / "stages" / "split.py").open("a") as stream:
        stream.write("\n\nPath('own-code').touch()\n")
    root = tmp_path / 'it\'s $(touch pwned) "root"; touch pwned'
    subset = "sub 'set' $(touch pwned)"
    for label in ("0_real", "1_fake"):
        for number, name in enumerate(HOSTILE):
            pixels = np.random.default_rng([number, label == "1_fake"]).integers(0, 256, (20, 30, 3), dtype=np.uint8)
            for part in ("train", "test"):
                place = root / subset / part / label / name
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels + (part == "test")).save(place, "PNG")
    (root / "photos").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (70, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "photos" / f"-{number} '$(touch pwned)'.png", "PNG")
    given = ["--configfile", "config/folder.yaml", "--config", f"root={root}", f"train={subset}"]
    said = snakemake(folder, "tables", *given, "-n")
    wanted = sorted(set(re.findall(r"output: (cache/crops/(?:train|test)-\S+)", said)))
    assert wanted
    snakemake(folder, *wanted, *given)
    rows = read_rows(next((folder / "data" / "index").glob("folder.*.parquet"))).to_pylist()
    assert {Path(row["path"]).name for row in rows} == set(HOSTILE)
    assert {row["status"] for row in rows} == {"ok"} and len(rows) == 4 * len(HOSTILE)
    for part in ("train", "test"):
        stored = read_rows(next((folder / "cache" / "crops").glob(f"{part}-whole*")) / "images.parquet")
        assert set(stored["id"].to_pylist()) == {row["id"] for row in rows if row["part"] == part}
    assert (folder / "own-code").exists() and not list(tmp_path.rglob("pwned"))

"""The profiles: what they name exists, what they repeat is the same, and what a cluster is asked for."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from pipeline import BIN, environment

from tellsign import __version__
from tellsign.__main__ import run
from tellsign.stages.registry import STAGES, Job

PROFILES = ROOT / "workflow" / "profiles"
RULE_FILES = "".join(path.read_text() for path in ROOT.glob("workflow/rules/*.smk"))
RULES = set(re.findall(r"^(?:rule|use rule \w+ as) (\w+)(?::| with:)", RULE_FILES, flags=re.M))
PARTS = {f"{stage.name}_part": stage for stage in STAGES.values() if stage.parts}
STAGE_OF = STAGES | PARTS  # the stage of each rule
GPU_RULES = {rule for rule, stage in STAGE_OF.items() if stage.gpu}


def profile(name: str) -> dict:
    return yaml.safe_load((PROFILES / name / "config.yaml").read_text())


@pytest.mark.parametrize("name", ["gpu", "slurm", "kubernetes"])
def test_a_profile_repeats_the_default_and_names_rules_that_exist(name):
    held = profile(name)
    default = yaml.safe_load((ROOT / "profiles" / "default" / "config.yaml").read_text())
    assert held.items() >= default.items()
    named = {*held.get("set-resources", {}), *held.get("set-threads", {}), *held.get("groups", {})}
    assert named and named <= RULES


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_a_cluster_is_told_what_every_rule_takes_and_no_group_holds_what_lies_outside_between(name):
    held = profile(name)
    everywhere = RULES - {"table", "report", "demo_weights"}  # these run where snakemake does
    told = held["set-resources"]
    assert set(told) == everywhere - {rule for rule, stage in STAGE_OF.items() if stage.job == Job()}
    assert told == {rule: stage.job.resources for rule, stage in STAGE_OF.items() if stage.job and stage.job.resources}
    assert all({"mem_mb"} <= {*one} for one in told.values())
    assert max(one["mem_mb"] for one in told.values()) <= held["resources"]["mem_mb"]
    assert held["groups"] == {rule: stage.job.group for rule, stage in STAGES.items() if stage.job and stage.job.group}
    assert held["groups"].keys() == {"demo_photos", "demo_generator", "index", "split"} | {
        "train_head", "score_head", "score", "evaluate"
    }  # fmt: skip


def test_rules_that_compute_on_gpus_take_free_ones():
    rule = r"^(?:use rule (\w+) as |rule )(\w+)(?: with)?:\n(.*?)(?=^\S|\Z)"
    own = {m[2]: (m[1], m[3]) for m in re.finditer(rule, RULE_FILES, flags=re.M | re.S)}

    def says(rule: str, pattern: str) -> str:
        """What a rule says itself, or the rule that it is a variant of."""
        origin, body = own[rule]
        said = re.search(pattern, body)
        return said[0] if said else says(origin, pattern) if origin else ""

    asking = {rule for rule in own if says(rule, r"\bgpu=\d") == "gpu=1"}
    flag = r"tellsign --gpus \{(resources\.gpu|params\.gpus:q)\} "
    taking = {rule for rule in own if says(rule, flag) and says(rule, r"\bgpu=\d") != "gpu=0"}
    assert asking == GPU_RULES == taking


@pytest.fixture
def kubectl(tmp_path, monkeypatch) -> Path:
    """A kubectl that keeps the job it is given and says what the file `says` holds."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "kubectl"
    program.write_text(f'#!/bin/sh\nif [ "$1" = create ]; then cat > {tmp_path}/stdin; else cat {tmp_path}/says; fi\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_a_pod_runs_the_script_with_the_rules_resources(kubectl):
    script = kubectl / "job.sh"
    asked = {"gpu": 2, "cpus_per_task": 8, "mem_mb": 32000, "runtime": 60}
    script.write_text(f"#!/bin/sh\n# properties = {json.dumps({'rule': 'pretrain', 'resources': asked})}\n")
    command = [str(PROFILES / "kubernetes" / "submit"), "--image", "i:1", "--claim", "c", "--mount", "/m", str(script)]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    job = json.loads((kubectl / "stdin").read_text())
    pod = job["spec"]["template"]["spec"]
    container = pod["containers"][0]
    limits = {"cpu": "8", "memory": "32000M", "nvidia.com/gpu": "2"}
    assert (job["metadata"]["name"], container["command"]) == (name, ["/bin/sh", str(script)])
    assert container["resources"] == {"requests": limits, "limits": limits}
    assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (0, 3600)
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "c"}
    assert {v["name"] for v in pod["volumes"]} == {m["name"] for m in container["volumeMounts"]}


@pytest.mark.parametrize(
    ("says", "state"),
    [("job-1 ", "running"), ("job-1 Complete", "success"), ("job-1 FailureTarget Failed", "failed"), ("", "failed"),
     ("job-1 SuccessCriteriaMet", "running"), (None, "running")],
)  # fmt: skip
def test_what_became_of_a_pod(kubectl, says, state):
    """None: the cluster does not answer."""
    if says is not None:
        (kubectl / "says").write_text(says)
    command = [str(PROFILES / "kubernetes" / "status"), "job-1"]
    status = subprocess.run(command, check=True, capture_output=True, text=True)
    assert status.stdout == f"{state}\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpu", "slurm", "kubernetes"])
def test_eight_gpus_and_eight_captioning_jobs_reach_the_jobs(name):
    """A dry run; --set-resources replaces the profile's list, so other rules fall back on its default resources."""
    plugins = ROOT / ".venv" / "plugins"
    if name != "gpu" and not plugins.is_dir():
        pytest.skip("needs the executors of clusters: make .venv/plugins/.ready")
    said = subprocess.run(
        [str(BIN / "snakemake"), "-n", "tables", "--workflow-profile", f"workflow/profiles/{name}",
         "--set-resources", "pretrain:gpu=8", "--config", "caption_jobs=8"],
        cwd=ROOT, env=environment(ROOT) | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{plugins}"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True,
    ).stdout  # fmt: skip
    asked = {rule: line for rule, line in re.findall(r"rule (\w+):\n(?: .*\n)*?    resources: (.*)", said)}
    assert "gpu=8" in asked["pretrain"] and "gpu=1" in asked["train"]
    assert name == "gpu" or "mem_mb=24000" in asked["train"]
    assert re.search(r"^caption_part +16$", said, flags=re.M) and re.search(r"^ground_part +16$", said, flags=re.M)


def test_every_stage_has_a_record_a_module_and_a_rule_of_its_name():
    modules = {path.stem for path in (ROOT / "src/tellsign/stages").glob("*.py")} - {"__init__", "registry"}
    assert set(STAGES) == modules
    assert set(STAGE_OF) == RULES
    for name, stage in STAGES.items():
        body = re.search(rf"^(?:use rule \w+ as |rule ){name}(?: with)?:\n.*?(?=^\S|\Z)", RULE_FILES, flags=re.M | re.S)
        assert body and ("directory(" in body[0]) == (stage.folder or name == "demo_weights")
        assert not stage.path or stage.path in body[0] or f"PLAN.{name}().path" in body[0]
        assert "threads: 1\n" in body[0]


def test_what_runs_beside_snakemake_has_no_job_on_a_cluster():
    local = re.search(r"^localrules:\n(.*?)(?=^\S)", (ROOT / "Snakefile").read_text(), flags=re.M | re.S)
    assert local
    named = set(re.findall(r"^    (\w+),", local[1], flags=re.M)) & set(STAGES)
    assert named == {name for name, stage in STAGES.items() if not stage.job and stage.path}


@pytest.mark.parametrize(
    ("flag", "words"), [("--help", "usage: tellsign COMMAND"), ("--version", f"tellsign {__version__}\n")]
)
def test_the_command_line_lists_every_stage_and_knows_its_version(capsys, flag, words):
    assert run([flag]) == 0
    said = capsys.readouterr().out
    assert words in said
    assert flag != "--help" or all(f"  {name} " in said and stage.help in said for name, stage in STAGES.items())


def test_an_unknown_command_is_told_in_a_line(capsys):
    assert run(["trian"]) == 2
    said = "tellsign: unknown command or stage 'trian'. Did you mean 'train'? `tellsign --help` lists all.\n"
    assert capsys.readouterr().err == said


def test_flags_are_explained_by_the_docstring(capsys):
    with pytest.raises(SystemExit):
        run(["schema", "--help"])
    assert "Folder of the schemas." in capsys.readouterr().out

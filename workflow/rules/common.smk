# What the rules share. Reads the configuration; writes nothing but the links in results/.
#
# Every input is ancient(): an artifact is current exactly when its file exists, since its path says what it was
# made from. Modification times mean nothing.

import itertools
import json
import os
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

sys.path.insert(0, str(Path(workflow.basedir) / "src"))

from tellsign.errors import UserError, choose
from tellsign.data.inventory import FileDigests, watched_digests
from tellsign.system.locks import clear_stale_lock
from tellsign.plan.plan import Plan
from tellsign.stages.registry import STAGES
from tellsign.sharing.publish import publish
from tellsign.system.devices import visible_gpus
from tellsign.networks.weights import open_catalogue

def quoted(path):
    """A path for a shell, in a text that Snakemake formats."""
    return shlex.quote(str(path)).replace("{", "{{").replace("}", "}}")


# Jobs run the code of this working tree, which is what the fingerprints are taken of, in the environment that
# snakemake itself runs in, or in the container's. The first line is what Snakemake sets where nothing is set here.
shell.prefix(
    "set -euo pipefail;"
    f" export PYTHONPATH={quoted(Path(workflow.basedir) / 'src')};"
    f' [ -n "${{{{APPTAINER_CONTAINER:-}}}}" ] || export PATH={quoted(Path(sys.executable).parent)}:"$PATH";'
    # a process that the system kills for want of memory says nothing itself
    ' tellsign() {{ local stage=$1 status=0; [ "$1" != --gpus ] || stage=$3; command tellsign "$@" || status=$?;'
    ' [ $status -ne 137 ] || echo "$stage was killed (SIGKILL), most'
    " often for want of memory: run fewer jobs at once (--cores), or give it a smaller batch size or a machine with"
    ' more, and run the same command again; finished stages and epochs are kept." >&2; return $status; }}; '
)

# What -n says; workflow.dryrun is not known yet while rules are read.
DRY_RUN = workflow.output_settings.dryrun


# The flags that name this configuration, for commands to be told; none of a default.
SAME_CONFIGURATION = " ".join(
    [
        *(f"--configfile {shlex.quote(os.path.relpath(file))}" for file in workflow.overwrite_configfiles),
        *(["--config", *map(shlex.quote, workflow.config_settings.config_args)] if workflow.config_settings.config else []),
    ]
)


def read_plan():
    """The plan of this configuration; what is wrong with it is said before any job starts."""
    folder, file_digest = Path(workflow.basedir), FileDigests(Path("cache/files.json"))
    try:
        catalogue = open_catalogue(folder, file_digest)
        plan = Plan(
            {key: value for key, value in config.items() if value is not None},
            raw_digests=watched_digests,
            file_digest=file_digest,
            find_weights=catalogue.find,
            folder=folder,
        )
        artifacts = plan.everything()
        targets = plan.targets()
        for before, word in itertools.pairwise(sys.argv):  # Snakemake itself would name no near miss
            named = word.partition("-")[0] in targets and not before.startswith("-") and not Path(word).exists()
            if named and workflow.is_main_process:
                choose(targets, word, "target")
        asked = [a for name, held in targets.items() if name in sys.argv for a in held]
        named = asked and not {"tables", "figures", "report", "all"} & set(sys.argv)
        # jobs run Snakemake again, for one artifact of a run that has been let through
        weights, folders = plan.missing_inputs(asked if named else artifacts.values()) if workflow.is_main_process else ((), ())
        lacking = [plan.missing_data_report(folders)] if folders else []
        if weights:
            try:
                needed = {w: users for w, users in plan.networks_needed().items() if w in weights}
                catalogue.require(needed, f"tellsign weights {SAME_CONFIGURATION} --fetch")
            except UserError as problem:
                lacking.append(str(problem))
        if lacking and not DRY_RUN:
            raise UserError("\n\n".join(lacking))
        if lacking:
            lacking.append("This is a dry run; jobs start only when nothing is missing.")
            logger.warning("\n\n".join(lacking))
        return plan, artifacts
    except UserError as problem:
        raise WorkflowError(str(problem)) from None


PLAN, ARTIFACTS = read_plan()


wildcard_constraints:
    name=r"[^.][^\0]*?",
    fp="[0-9a-f]{12}",
    part=r"\d+",
    parts=r"\d+",


def paths(artifacts):
    """Paths of artifacts, as inputs."""
    return [ancient(a.path) for a in artifacts]


def artifact(stage, wildcards):
    """The artifact that a job of a stage makes."""
    path = STAGES[stage].path_of(wildcards.name, wildcards.fp)
    if path not in ARTIFACTS:
        raise WorkflowError(f"{path} is not part of this configuration's plan.")
    return ARTIFACTS[path]


def is_done(made):
    """Whether a job need not be told its inputs, since its artifact exists.

    Otherwise Snakemake would make it again as soon as an input of it that is not here is made, such as crops that
    another run needs: ancient() covers inputs that exist. Jobs of a cluster and those that are forced are told always.
    """
    asked = workflow.dag_settings
    told = not workflow.is_main_process or asked.forcerun or asked.forceall or asked.forcetargets
    return not told and Path(made.path).exists()


def inputs_for(stage, role):
    """Input function: what a stage's artifact needs in a role (nothing, one or many)."""

    def inputs(wildcards):
        made = artifact(stage, wildcards)
        return [] if is_done(made) else paths([a for _, a in made.needs.get(role, [])])

    return inputs


def settings(stage):
    """Params function: the stage's settings as JSON."""
    return lambda wildcards: json.dumps(artifact(stage, wildcards).settings, sort_keys=True)


def key_path_pairs(stage, role):
    """Params function: what a stage's artifact needs in a role, as key=path."""
    return lambda wildcards: [f"{key}={a.path}" for key, a in artifact(stage, wildcards).needs.get(role, [])]


def roots(stage):
    """Params function: root folders of the images, made ones and the user's, as key=path."""

    def given(wildcards):
        made = artifact(stage, wildcards)
        held = {key: a.path for key, a in made.needs.get("made", [])} | made.roots
        return [f"{key}={path}" for key, path in held.items()]

    return given


def expected_by(stage):
    """Params function: what the stage is told besides its settings, as JSON."""
    return lambda wildcards: json.dumps(artifact(stage, wildcards).expected, sort_keys=True)


def store(stage):
    """Params function: the folder of rows that were made before."""
    return lambda wildcards: artifact(stage, wildcards).store


def part_files(stage):
    """Input function: what several jobs write that fill a stage's store; nothing where one job does all."""
    jobs = PLAN.config.caption_jobs
    share = f"data/work/{stage}/{{name}}.{{fp}}/{{n}}-of-{jobs}.parquet"

    def inputs(wildcards):
        whole = jobs == 1 or is_done(artifact(stage, wildcards))
        return [] if whole else [share.format(n=n, **wildcards) for n in range(1, jobs + 1)]

    return inputs


def optional_flag(stage, role):
    """Params function: the flag of a role that may be empty, with its values, or nothing at all."""

    def flag(wildcards):
        held = artifact(stage, wildcards).needs.get(role, [])
        return [f"--{role.replace('_', '-')}", *(a.path for _, a in held)] if held else []

    return flag


def optional_pairs(stage, role):
    """Params function: the flag of a role that may be empty, with its values as key=path, or nothing at all."""

    def flag(wildcards):
        pairs = [f"{key}={a.path}" for key, a in artifact(stage, wildcards).needs.get(role, [])]
        return [f"--{role.replace('_', '-')}", *pairs] if pairs else []

    return flag


def published(wildcards):
    """Params function: the flag of the table's quoted numbers, if the paper has any."""
    held = artifact("table", wildcards).roots.get("published")
    return ["--published", held] if held else []


# Told here, in one line: Snakemake itself would show where in its own code it could not make a folder.
if workflow.is_main_process and not DRY_RUN:
    for kept in map(Path, ("data", "cache", "logs", "results", ".snakemake")):
        if not os.access(kept if kept.exists() else Path.cwd(), os.W_OK):
            raise WorkflowError(
                f"{kept.absolute()} cannot be written. Give yourself permission, or run in a folder that can be "
                "written; nothing was changed."
            )

# After kill -9 of Snakemake the folder stays locked; nobody has to know that.
if workflow.is_main_process and not DRY_RUN:
    clear_stale_lock(Path.cwd())
    try:
        publish(PLAN, Path("results"))  # also when nothing is to be done, as after a change was taken back
    except UserError as problem:
        raise WorkflowError(str(problem)) from None


# Without a limit Snakemake would start all GPU jobs at once; a profile or --resources gpu=N overrules this one. Where
# there is no GPU, the cores are the limit.
if workflow.is_main_process and "gpu" not in workflow.global_resources and visible_gpus():
    workflow.register_resource("gpu", len(visible_gpus()))


onsuccess:
    logger.info(publish(PLAN, Path("results")))


onerror:
    logger.info(publish(PLAN, Path("results")))

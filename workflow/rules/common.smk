# What the rules share. Reads the configuration; writes nothing but the links in results/.
#
# Every input is ancient(): an artifact is current exactly when its file exists, since its path says what it was
# made from. Modification times mean nothing.

import json
import os
import shlex
import sys
from pathlib import Path

from snakemake.cli import get_argument_parser
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

import tellsign
from tellsign.commands.configuration import Request, plan_for_rules
from tellsign.errors import UserError
from tellsign.sharing.publish import publish
from tellsign.stages.registry import STAGES
from tellsign.system.devices import visible_gpus
from tellsign.system.locks import clear_stale_lock

FOLDER = Path(workflow.basedir)
DRY_RUN = workflow.output_settings.dryrun  # -n; workflow.dryrun is not known yet while rules are read
MAIN = workflow.is_main_process  # no job that runs Snakemake again


def refuse(problem):
    """End with a message and nothing else; an exception would trail lines of this file."""
    logger.error(str(problem))
    sys.exit(1)


if not Path(tellsign.__file__).is_relative_to(FOLDER / "src"):  # fingerprints would be those of other code
    refuse(
        f"tellsign comes from {Path(tellsign.__file__).parent}, not from {FOLDER / 'src'}. Use this folder's own "
        f"environment (`make env`), or say PYTHONPATH={FOLDER / 'src'}."
    )


def quoted(path):
    """A path for a shell, in a text that Snakemake formats."""
    return shlex.quote(str(path)).replace("{", "{{").replace("}", "}}")


shell.prefix(f". {quoted(FOLDER / 'workflow' / 'job.sh')} {quoted(Path(sys.executable).parent)}; ")


try:
    # the targets are not among the workflow's settings yet while rules are read
    asked = get_argument_parser().parse_known_args()[0].targets if MAIN else ()
    request = Request(asked, DRY_RUN, in_job=not MAIN)
    PLAN, ARTIFACTS, warning = plan_for_rules(config, FOLDER, request)
except UserError as problem:
    refuse(problem)
if warning:
    logger.warning(warning)


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
    forced = asked.forcerun or asked.forceall or asked.forcetargets
    return MAIN and not forced and Path(made.path).exists()


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
        folders = {key: a.path for key, a in made.needs.get("made", [])} | made.roots
        return [f"{key}={path}" for key, path in folders.items()]

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


def flag_of(role, values):
    """The flag of a role with its values; nothing at all where there are none."""
    return [f"--{role.replace('_', '-')}", *values] if values else []


def optional_flag(stage, role):
    """Params function: the flag of a role that may be empty, with its paths."""
    return lambda wildcards: flag_of(role, [a.path for _, a in artifact(stage, wildcards).needs.get(role, [])])


def optional_pairs(stage, role):
    """Params function: the flag of a role that may be empty, with its values as key=path."""
    pairs = key_path_pairs(stage, role)
    return lambda wildcards: flag_of(role, pairs(wildcards))


def published(wildcards):
    """Params function: the flag of the table's quoted numbers, if the paper has any."""
    file = artifact("table", wildcards).roots.get("published")
    return ["--published", file] if file else []


# Told here, in one line: Snakemake itself would show where in its own code it could not make a folder.
if MAIN and not DRY_RUN:
    for kept in map(Path, ("data", "cache", "logs", "results", ".snakemake")):
        if not os.access(kept if kept.exists() else Path.cwd(), os.W_OK):
            refuse(
                f"{kept.absolute()} cannot be written. Give yourself permission, or run in a folder that can be "
                "written; nothing was changed."
            )

# After kill -9 of Snakemake the folder stays locked; nobody has to know that.
if MAIN and not DRY_RUN:
    clear_stale_lock(Path.cwd())
    try:
        publish(PLAN, Path("results"))  # also when nothing is to be done, as after a change was taken back
    except UserError as problem:
        refuse(problem)


# Without a limit Snakemake would start all GPU jobs at once; a profile or --resources gpu=N overrules this one. Where
# there is no GPU, the cores are the limit.
if MAIN and "gpu" not in workflow.global_resources and visible_gpus():
    workflow.register_resource("gpu", len(visible_gpus()))


onsuccess:
    logger.info(publish(PLAN, Path("results")))


onerror:
    logger.info(publish(PLAN, Path("results")))

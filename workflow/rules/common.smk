# Functions that the rules share. Reads the configuration; writes only the links in results/.
#
# Every input is ancient(), so modification times mean nothing. An artifact's path says what it was made from, so an
# artifact is current exactly when its file exists.

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
from tellsign.system.fork_address import announce
from tellsign.system.last_words import failures
from tellsign.system.locks import clear_stale_lock

FOLDER = Path(workflow.basedir)
DRY_RUN = workflow.output_settings.dryrun  # -n; workflow.dryrun is not set yet while rules are read
MAIN = workflow.is_main_process  # false in a job, which runs Snakemake again


def refuse(problem):
    """Exit with the message alone; an exception would add a traceback of this file."""
    logger.error(str(problem))
    sys.exit(1)


if not Path(tellsign.__file__).is_relative_to(FOLDER / "src"):  # fingerprints would describe other code
    refuse(
        f"tellsign comes from {Path(tellsign.__file__).parent}, not from {FOLDER / 'src'}. Use this folder's own "
        f"environment (`make env`), or say PYTHONPATH={FOLDER / 'src'}."
    )


def quoted(path):
    """A path quoted for the shell, in a string that Snakemake formats."""
    return shlex.quote(str(path)).replace("{", "{{").replace("}", "}}")


# Jobs that this process starts share their imports (workflow/fork_client.py); one on a cluster runs Snakemake again.
announce(served=MAIN)

shell.prefix(f". {quoted(FOLDER / 'workflow' / 'job.sh')} {quoted(Path(sys.executable).parent)}; ")


try:
    # the workflow does not know its targets yet while rules are read
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
    """Paths of artifacts, for use as inputs."""
    return [ancient(a.path) for a in artifacts]


def artifact(stage, wildcards):
    """The artifact that a stage's job makes."""
    path = STAGES[stage].path_of(wildcards.name, wildcards.fp)
    if path not in ARTIFACTS:
        raise WorkflowError(f"{path} is not part of this configuration's plan.")
    return ARTIFACTS[path]


def is_done(made):
    """Whether a job's inputs can be left out because its artifact exists.

    ancient() covers only inputs that exist. When a missing input is made, such as crops that another run needs,
    Snakemake would make this artifact again. Cluster jobs and forced jobs always get their inputs.
    """
    asked = workflow.dag_settings
    forced = asked.forcerun or asked.forceall or asked.forcetargets
    return MAIN and not forced and Path(made.path).exists()


def inputs_for(stage, role):
    """Input function: the artifacts that a stage's artifact needs in a role (none, one or many)."""

    def inputs(wildcards):
        made = artifact(stage, wildcards)
        return [] if is_done(made) else paths([a for _, a in made.needs.get(role, [])])

    return inputs


def settings(stage):
    """Params function: the stage's settings as JSON."""
    return lambda wildcards: json.dumps(artifact(stage, wildcards).settings, sort_keys=True)


def key_path_pairs(stage, role):
    """Params function: the artifacts that a stage's artifact needs in a role, as key=path."""
    return lambda wildcards: [f"{key}={a.path}" for key, a in artifact(stage, wildcards).needs.get(role, [])]


def roots(stage):
    """Params function: root folders of the images, both generated and the user's, as key=path."""

    def given(wildcards):
        made = artifact(stage, wildcards)
        folders = {key: a.path for key, a in made.needs.get("made", [])} | made.roots
        return [f"{key}={path}" for key, path in folders.items()]

    return given


def expected_by(stage):
    """Params function: what the stage expects to find, as JSON; it does not enter the fingerprint."""
    return lambda wildcards: json.dumps(artifact(stage, wildcards).expected, sort_keys=True)


def store(stage):
    """Params function: the folder of rows from earlier runs."""
    return lambda wildcards: artifact(stage, wildcards).store


def part_files(stage):
    """Input function: the files of several jobs that fill a stage's store together; none if one job does it all."""
    jobs = PLAN.config.caption_jobs
    share = f"data/work/{stage}/{{name}}.{{fp}}/{{n}}-of-{jobs}.parquet"

    def inputs(wildcards):
        whole = jobs == 1 or is_done(artifact(stage, wildcards))
        return [] if whole else [share.format(n=n, **wildcards) for n in range(1, jobs + 1)]

    return inputs


def flag_of(role, values):
    """A role's flag and its values, or nothing if there are no values."""
    return [f"--{role.replace('_', '-')}", *values] if values else []


def optional_flag(stage, role):
    """Params function: the flag and paths of a role that may be empty."""
    return lambda wildcards: flag_of(role, [a.path for _, a in artifact(stage, wildcards).needs.get(role, [])])


def optional_pairs(stage, role):
    """Params function: the flag and key=path values of a role that may be empty."""
    pairs = key_path_pairs(stage, role)
    return lambda wildcards: flag_of(role, pairs(wildcards))


def published(wildcards):
    """Params function: the flag for the paper's quoted numbers, if it has any."""
    file = artifact("table", wildcards).roots.get("published")
    return ["--published", file] if file else []


# Said here in one line: Snakemake itself would end in a traceback when it cannot make a folder.
if MAIN and not DRY_RUN:
    for kept in map(Path, ("data", "cache", "logs", "results", ".snakemake")):
        if not os.access(kept if kept.exists() else Path.cwd(), os.W_OK):
            refuse(
                f"{kept.absolute()} cannot be written. Give yourself permission, or run in a folder that can be "
                "written; nothing was changed."
            )

# After kill -9 Snakemake leaves the folder locked; users should not have to unlock it by hand.
if MAIN and not DRY_RUN:
    clear_stale_lock(Path.cwd())
    try:
        publish(PLAN, Path("results"))  # even if no job runs, as after a change is undone
    except UserError as problem:
        refuse(problem)


# Without a limit Snakemake would start all GPU jobs at once. A profile or --resources gpu=N overrides this one. On a
# machine without GPUs, the number of cores is the limit.
if MAIN and "gpu" not in workflow.global_resources and visible_gpus():
    workflow.register_resource("gpu", len(visible_gpus()))


# For its limit of 100 jobs a second, which limits nothing here, Snakemake wakes every second once for each job that has
# ended: after some hundred jobs that keeps a core busy (its issue 3955). Limits that users set stay.
onstart:
    if (limiter := workflow.scheduler.job_rate_limiter) is not None and limiter.max_jobs == 100:
        workflow.scheduler.job_rate_limiter = None


onsuccess:
    logger.info(publish(PLAN, Path("results")))


onerror:
    logger.info(publish(PLAN, Path("results")))
    failed = sorted(workflow.scheduler.failed, key=lambda job: job.jobid)
    if failed:  # none where the user stopped it
        named = [(" ".join([job.rule.name, *job.wildcards[:1]]), next(map(Path, job.log), None)) for job in failed]
        logger.error(failures(named))

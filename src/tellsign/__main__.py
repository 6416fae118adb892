"""Command line: ``tellsign STAGE --flag value``. The flags are the keyword arguments of the ``main`` of a stage or
command; its positional ones, which commands for people may have, go without a flag.

Only the module of the chosen one is imported, so that ``--help`` is quick.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import inspect
import json
import logging
import os
import re
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from safetensors import SafetensorError

from tellsign import __version__
from tellsign.errors import UserError, near_miss
from tellsign.stages.registry import STAGES
from tellsign.system.files import is_made
from tellsign.system.gpus import reserve_gpus
from tellsign.system.integrity import check_files
from tellsign.system.progress import log_to_stderr

COMMANDS = {
    "predict": "score your own pictures by trained detectors",
    "serve": "open a local page where you drop a picture and see what detectors say of it",
    "look": "say in a second what tellsign sees in a folder of images",
    "doctor": "say what each table and figure needs, what is missing, and what it costs",
    "audit": "say what image files give away of their labels without a pixel",
    "compare": "compare two detectors on the same images: differences, intervals, tests",
    "rank": "rank detectors on the same images: how surely one is above another",
    "coverage": "list the papers' tables and figures, and what is run for each",
    "weights": "list the weights that a configuration needs, and fetch them",
    "scores": "write one CSV of every tested image with the score of every run",
    "schema": "write the JSON schemas of configuration files, by which editors check them",
    "share": "list what is new in data.dvc and push it to the team's remote",
    "get": "get what others made of a configuration's tables and figures",
    "prune": "remove what no configuration names any more, after listing it",
    "merge_data": "merge data.dvc of two branches; git calls it",
}


HELP_FOR = {
    errno.ENOSPC: "Free some space and run the same command again; finished stages are kept.",
    errno.EROFS: "The file system is read-only: run in a folder that can be written.",
    errno.ENOMEM: "It needs more memory than it may have: run fewer jobs at once (--cores), give it a smaller batch "
    "size or a machine with more, and run the same command again; finished stages and epochs are kept.",
    errno.EACCES: "Give yourself permission to read or write it, and run the same command again.",
}


# as torch says it of the processor's memory and of a GPU's, and the loader of a library that is imported
OUT_OF_MEMORY = re.compile("not enough memory|can't allocate memory|CUDA out of memory|failed to map segment")


def json_mapping(text: str) -> dict[str, Any]:
    """Parse a flag that holds a JSON mapping."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as problem:
        raise argparse.ArgumentTypeError(f"not JSON: {problem}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"expected a JSON mapping such as '{{\"seed\": 0}}', got {text!r}")
    return value


def key_and_path(text: str) -> tuple[str, Path]:
    """Parse ``key=path``."""
    key, equals, path = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected key=path, got {text!r}")
    return key, Path(path)


def is_mapping(hint: Any) -> bool:
    """Whether a parameter takes key=path pairs, or none."""
    return any(typing.get_origin(h) is dict for h in (hint, *typing.get_args(hint)))


def flag_help(main: Callable[..., int | None]) -> dict[str, str]:
    """What the docstring of a ``main`` says of its arguments, by name."""
    section = (inspect.getdoc(main) or "").partition("Args:\n")[2].partition("\n\n")[0]
    described = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", section, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in described}


def add_flag(
    parser: argparse.ArgumentParser, parameter: inspect.Parameter, hint: Any, nargs: str, text: str = ""
) -> None:
    """Add one parameter of a ``main``, with its help: a flag, or a word without one where it is positional."""
    if type(None) in typing.get_args(hint):  # Path | None
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
    args = typing.get_args(hint)
    required = parameter.default is inspect.Parameter.empty
    options: dict[str, Any] = {"default": None if required else parameter.default}
    if hint is dict or (typing.get_origin(hint) is dict and args[1] is Any):
        options |= {"type": json_mapping, "metavar": "JSON"}
    elif typing.get_origin(hint) is dict:
        options |= {"type": key_and_path, "nargs": "*", "metavar": "KEY=PATH"}
    elif typing.get_origin(hint) is list:
        options |= {"action": "extend", "type": args[0], "nargs": nargs, "metavar": args[0].__name__.upper()}
    elif hint is bool:
        options |= {"action": argparse.BooleanOptionalAction}
    else:
        options |= {"type": hint, "metavar": hint.__name__.upper()}
    options["help"] = text.replace("%", "%%")
    if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
        if not required:
            options["nargs"] = "*" if "nargs" in options else "?"
        options["metavar"] = parameter.name.upper()
        parser.add_argument(parameter.name, **options)
    else:
        options["required"] = required
        parser.add_argument(f"--{parameter.name.replace('_', '-')}", **options)


def stage_parser(stage: str, main: Callable[..., int | None], doc: str) -> argparse.ArgumentParser:
    """The parser of the flags of a stage or command. To people's commands a list without values is a mistake."""
    parser = argparse.ArgumentParser(
        prog=f"tellsign {stage}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    hints, texts = typing.get_type_hints(main), flag_help(main)
    nargs = "*" if stage in STAGES else "+"
    for parameter in inspect.signature(main).parameters.values():
        add_flag(parser, parameter, hints[parameter.name], nargs, texts.get(parameter.name, ""))
    return parser


def asked_gpus(argv: list[str]) -> tuple[int | None, list[str]]:
    """The number after a leading ``--gpus``, None without one, and the rest.

    Raises:
        UserError: it is no number of GPUs.
    """
    if argv[:1] != ["--gpus"]:
        return None, argv
    if len(argv) < 2 or not argv[1].isdecimal():
        raise UserError(f"--gpus {' '.join(argv[1:2])}: say how many, as in tellsign --gpus 1 train ...")
    return int(argv[1]), argv[2:]


def usage() -> str:
    """The list of commands and stages."""
    width = max(map(len, STAGES))

    def listed(choices: dict[str, str]) -> str:
        return "\n".join(f"  {name:<{width}}  {text}" for name, text in choices.items())

    return (
        "usage: tellsign COMMAND [flags]\n       tellsign [--gpus N] STAGE [flags]\n\nReproduce four papers on "
        "detecting AI-generated images: run `snakemake --cores 8 tables`.\nFor people:\n\n"
        f"{listed(COMMANDS)}\n\nEach rule calls one stage, which can also be run by hand:\n\n"
        f"{listed({name: stage.help for name, stage in STAGES.items()})}\n\n"
        "`tellsign NAME --help` explains the files and flags of each, `tellsign --version` gives the version.\n"
        "With --gpus N a stage waits for N free GPUs of this machine and sees no others; 0 takes none.\n"
    )


def inputs(flags: dict[str, Any]) -> list[Path]:
    """Files and folders that a stage is given to read and that stages made: the user's images are not held against
    lists, whatever they are called.
    """
    input_paths = []
    for name, value in flags.items():
        if name not in ("out", "work", "store"):
            values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
            paths = [path for path in values if isinstance(path, Path)]
            input_paths += [path for path in paths if name != "roots" or is_made(path)]
    return list(dict.fromkeys(input_paths))


def error_number(problem: Exception) -> int | None:
    """What the system said: libraries that are not Python's tell it in words."""
    if isinstance(problem, OSError) and problem.errno is not None:
        return problem.errno
    if isinstance(problem, MemoryError) or OUT_OF_MEMORY.search(str(problem)):
        return errno.ENOMEM
    match = re.search(r"os error (\d+)", str(problem))
    return int(match[1]) if match else None


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command or a stage; return the exit status (2 for an error that the user can mend)."""
    try:
        gpus, argv = asked_gpus(list(sys.argv[1:] if argv is None else argv))
    except UserError as problem:
        sys.stderr.write(f"tellsign: {problem}\n")
        return 2
    if not argv or argv[0] in ("-h", "--help"):
        sys.stdout.write(usage())
        return 0
    if argv[0] == "--version":
        sys.stdout.write(f"tellsign {__version__}\n")
        return 0
    name = argv[0].replace("-", "_")
    known = [*STAGES, *COMMANDS]
    if name not in known:
        sys.stderr.write(
            f"tellsign: unknown command or stage {argv[0]!r}.{near_miss(name, known)} `tellsign --help` lists all.\n"
        )
        return 2
    module = importlib.import_module(f"tellsign.{'stages' if name in STAGES else 'commands'}.{name}")
    flags = read_flags(name, module, argv[1:])
    log_to_stderr()
    return called(name, lambda: call(name, module.main, flags, gpus), flags.get("out"))


def read_flags(name: str, module: ModuleType, argv: Sequence[str]) -> dict[str, Any]:
    """The arguments of a module's ``main``."""
    flags = vars(stage_parser(name, module.main, module.__doc__ or "").parse_args(argv))
    hints = typing.get_type_hints(module.main)
    for flag, value in flags.items():
        if isinstance(value, list) and all(isinstance(pair, tuple) for pair in value) and is_mapping(hints[flag]):
            flags[flag] = dict(value)
    return flags


def call(name: str, main: Callable[..., int | None], flags: dict[str, Any], gpus: int | None) -> int:
    """Run a command, or a stage once its inputs are what was written and its GPUs are free."""
    if name in STAGES:
        for path in inputs(flags):
            check_files(path)
    with contextlib.nullcontext() if gpus is None else reserve_gpus(gpus):
        return main(**flags) or 0


def called(name: str, work: Callable[[], int], out: Path | None) -> int:
    """Do some work; what the user can mend is said in a line, everything else is raised."""
    log = logging.getLogger("tellsign")
    try:
        return work()
    except UserError as problem:
        log.error("%s: %s", name, problem)
        return 2
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, MemoryError, RuntimeError, ImportError, SafetensorError) as problem:
        number = error_number(problem)
        if number not in HELP_FOR:
            raise
        place = getattr(problem, "filename", None) or out
        log.error("%s: %s (%s). %s", name, os.strerror(number), place, HELP_FOR[number])
        return 2


if __name__ == "__main__":
    sys.exit(run())

"""Open a local page where you drop a picture and see what detectors say of it.

    tellsign serve                                     the first trained run of each paper of config/config.yaml
    tellsign serve --run lol/lol mpft/tam              these runs; a run has one detector for each of its seeds
    tellsign serve --run mpft/tam --configfile config/folder.yaml --config root=PATH train=SUBSET
    tellsign serve --checkpoint data/train/lol/lol-s0.682286be92c9
    tellsign serve --detector npr-progan               a published detector; `tellsign weights` fetches its file

The page shows what `tellsign predict --explain` does: score and verdict of each detector, what lowers the trust in
them, what the file says of its maker, what the detectors see and where they look. It needs no network. The server
listens to this machine alone, fetches nothing, reads no file for the page, and writes none; Ctrl-C ends it.
docs/predict.md says what the numbers mean, and what they do not.
"""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from tellsign.commands.configuration import plan_of
from tellsign.commands.predict import (
    EXPLAINED,
    check_threshold,
    checkpoints_of,
    predictors_of,
    trained_runs,
    what_there_is,
)
from tellsign.errors import UserError
from tellsign.plan.plan import Plan


def main(
    *,
    run: list[str] | None = None,
    checkpoint: list[Path] | None = None,
    detector: list[str] | None = None,
    configfile: Path = Path("config/config.yaml"),
    config: list[str] | None = None,
    threshold: float = 0.5,
    limit: float = 50.0,
    host: str = "127.0.0.1",
    port: int = 8765,
    device: str = "auto",
) -> None:
    """Serve the page; see the module.

    Args:
        run: PAPER/NAME of runs of the configuration; where nothing is named, the first of each paper.
        checkpoint: Checkpoint folders; pictures are seen through the centre crop of their training.
        detector: Published detectors, as config/papers/released.yaml calls them.
        configfile: The configuration that the runs are of.
        config: KEY=VALUE, as for snakemake.
        threshold: A mean score above it is called fake.
        limit: The most megabytes that a picture may have.
        host: The address to listen at; 0.0.0.0 lets everybody in who reaches this machine.
        port: The port to listen at; 0 for a free one.
        device: auto, cpu, cuda or cuda:1.
    """
    check_threshold(threshold)
    if not 0 < limit <= 1000:
        raise UserError(f"--limit is {limit:g} MB; a picture may have up to 1000 MB.")
    plan = plan_of(configfile, config or []) if run or not (checkpoint or detector) else None
    runs = run or (first_runs(plan, configfile, config or []) if plan else [])

    with listener(host, port) as listening:
        predictors = predictors_of(plan, runs, configfile, config or [], checkpoint or (), detector or (), device)

        from aiohttp import web

        from tellsign.prediction.page import PictureAsker, style
        from tellsign.prediction.server import application

        banner, most = plan.config.banner if plan else "", round(limit * 1e6)
        asker = PictureAsker(predictors, threshold, banner, EXPLAINED, most)
        logging.getLogger("tellsign.system.progress").setLevel(logging.WARNING)  # a picture takes no time to tell of
        names = ", ".join(predictor.source.name for predictor in predictors)
        sys.stdout.write(f"Open {address(listening)} to ask {names}. Ctrl-C ends it.\n")
        sys.stdout.flush()
        app = application(asker.look, asker.front, style(), most, [host])
        web.run_app(app, sock=listening, print=None, access_log=None)


def first_runs(plan: Plan, configfile: Path, given: Sequence[str]) -> list[str]:
    """The first trained run of each paper.

    Raises:
        UserError: there is none.
    """
    first: dict[str, str] = {}
    for name in trained_runs(checkpoints_of(plan)):
        first.setdefault(name.partition("/")[0], name)
    if not first:
        raise UserError(what_there_is(plan, configfile, given))
    return list(first.values())


def listener(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UserError: the port is taken or not allowed, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as problem:
        raise UserError(f"cannot listen at {host}, port {port}: {problem}. Try --port 0 for a free one.") from None


def address(listening: socket.socket) -> str:
    """The page's address."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

"""Where the jobs of a snakemake find their fork server (`tellsign.fork_server`)."""

from __future__ import annotations

import os
import secrets

ADDRESS = "TELLSIGN_FORK_SERVER"
"""Environment variable: the server's address, which ends in the number of the process that it serves."""


def announce(served: bool) -> None:
    """Tell the jobs that this process starts the address of a server of its own, or that they have none."""
    if served:
        os.environ[ADDRESS] = f"tellsign-{secrets.token_hex(8)}-{os.getpid()}"
    else:
        os.environ.pop(ADDRESS, None)

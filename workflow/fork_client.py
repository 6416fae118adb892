"""Run ``tellsign ARGUMENTS`` in a process that is forked from one with all imports done; job.sh calls it.

    python -I -S workflow/fork_client.py ADDRESS ARGUMENTS

ADDRESS ends in the number of the snakemake process: ``tellsign-TOKEN-PID``. The first client starts the server,
``src/tellsign/fork_server.py``, which says how it works. Where there can be none, ``tellsign`` itself is run. Only
modules that start within milliseconds are imported.
"""

import contextlib
import json
import os
import signal
import socket
import struct
import sys
import time


def start_server(address: str) -> int:
    """Start a server that outlives this client; its process number."""
    arguments = [sys.executable, "-m", "tellsign.fork_server", address, address.rpartition("-")[2]]
    streams = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in (0, 1, 2)]
    # what the libraries read once, when they are imported; every job then sets its own number
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return os.posix_spawn(sys.executable, arguments, environment, file_actions=streams)


def connect(address: str) -> socket.socket | None:
    """Connect to the server, once there is one; None where it does not start."""
    server = None
    while True:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            client.connect(f"\0{address}")
            return client
        except OSError:
            client.close()
        if server is None:
            server = start_server(address)
        ended, status = os.waitpid(server, os.WNOHANG)
        if ended and status:
            return None
        if ended:  # another client's server was there first
            server = None
        time.sleep(0.01)


def ask(client: socket.socket, arguments: list[str]) -> int:
    """Have the server run a job; its exit status, 128 and the signal's number for a job that a signal ended."""
    text = json.dumps([arguments, dict(os.environ), os.path.realpath(os.curdir)]).encode()
    answer = b""
    with contextlib.suppress(ConnectionError):
        socket.send_fds(client, [struct.pack("!I", len(text))], [0, 1, 2])
        client.sendall(text)
        answer = client.recv(4)
    if len(answer) < 4:  # the server was killed
        return 128 + signal.SIGKILL
    (status,) = struct.unpack("!i", answer)
    return status if status >= 0 else 128 - status


def main(address: str, arguments: list[str]) -> int:
    """Run a job; its exit status."""
    client = connect(address) if hasattr(os, "pidfd_open") else None
    if client is None:
        import subprocess  # here, for it would double the time that a client takes to start

        status = subprocess.run(["tellsign", *arguments], check=False).returncode
        return status if status >= 0 else 128 - status
    with client, contextlib.suppress(KeyboardInterrupt):
        return ask(client, arguments)
    return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))

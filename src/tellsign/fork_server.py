"""A process that imports each stage once and forks itself for every job, so that jobs wait for no imports.

    python -m tellsign.fork_server ADDRESS PID

``workflow/fork_client.py`` starts it with the first job that process PID, a snakemake, runs on this machine; it ends
with that process. ADDRESS is the name of a socket in Linux's abstract namespace, which no file stands for and nothing
has to clean up. A job has the client's arguments, environment, folder and streams, and receives SIGTERM once the client
has ended. (Python's own ``multiprocessing.forkserver`` serves only the process that started it; jobs are commands of
a shell.)

Until it forks the process computes nothing: neither CUDA nor a pool of threads outlives a fork.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import json
import logging
import os
import selectors
import signal
import socket
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

from tellsign.__main__ import asked_gpus, run
from tellsign.errors import UserError
from tellsign.stages.registry import STAGES
from tellsign.system.devices import threads

STREAMS = (0, 1, 2)
REQUEST_LENGTH = struct.Struct("!I")
STATUS = struct.Struct("!i")
"""An exit status, or minus the number of the signal that ended the job, as in `subprocess`."""


@dataclass(frozen=True)
class Request:
    """What a client asks for.

    Attributes:
        arguments: The words after ``tellsign``.
        environment: The job's environment variables.
        folder: The folder that it runs in.
        streams: File descriptors of its standard input, output and error.
    """

    arguments: list[str]
    environment: dict[str, str]
    folder: str
    streams: list[int]

    @property
    def name(self) -> str:
        """The stage or command; empty where the words make no sense, which is the job's own matter to report."""
        with contextlib.suppress(UserError):
            return next(iter(asked_gpus(self.arguments)[1]), "")
        return ""


def read_request(client: socket.socket) -> Request:
    """What a client asks for.

    Raises:
        ConnectionError: it has ended, or is another user's.
    """
    user = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))[1]
    if user != os.getuid():
        raise ConnectionError(f"user {user} may not run jobs here")
    head, streams, _, _ = socket.recv_fds(client, REQUEST_LENGTH.size, len(STREAMS))
    with client.makefile("rb") as stream:
        length = REQUEST_LENGTH.unpack(head)[0] if len(head) == REQUEST_LENGTH.size else 0
        text = stream.read(length)
    if not length or len(text) < length:
        for descriptor in streams:
            os.close(descriptor)
        raise ConnectionError("the client has ended")
    arguments, environment, folder = json.loads(text)
    return Request(arguments, environment, folder, streams)


def import_stage(name: str) -> None:
    """Import a stage, if it is one; what cannot be imported is the job's own matter to report."""
    if name in STAGES:
        with contextlib.suppress(ImportError):
            importlib.import_module(f"tellsign.stages.{name}")
    gc.freeze()  # collecting garbage among what was imported would copy the memory that forked processes share


def become(request: Request) -> None:
    """Take the environment, the folder and the streams of a job."""
    for stream, descriptor in zip(STREAMS, request.streams, strict=True):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    sys.argv = ["tellsign", *request.arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if (torch := sys.modules.get("torch")) is not None:  # it read OMP_NUM_THREADS when it was imported
        torch.set_num_threads(threads())
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(f"tellsign {request.name}"[:15])  # what top shows


@dataclass(frozen=True)
class Job:
    """A process that was forked for a client.

    Attributes:
        client: Waits for the job's status; has ended when it can be read.
        number: The process.
        process: Its file descriptor, which can be read once the job has ended.
    """

    client: socket.socket
    number: int
    process: int


def fork_for(client: socket.socket) -> Job | Request:
    """Fork for a client: in this process the job, in the new one what it is to run.

    Raises:
        OSError: the client has ended, or may not ask.
    """
    request = read_request(client)
    import_stage(request.name)
    number = os.fork()
    if number == 0:
        return request
    for descriptor in request.streams:
        os.close(descriptor)
    return Job(client, number, os.pidfd_open(number))


class Waiting(selectors.DefaultSelector):
    """What the server waits for: a listener, the process that it serves, and of every job its client and its end."""

    def add(self, job: Job) -> None:
        """Wait for a job and for its client."""
        self.register(job.client, selectors.EVENT_READ, job)
        self.register(job.process, selectors.EVENT_READ, job)

    def drop(self, waited_for: socket.socket | int) -> None:
        """Wait for something no longer, and close it."""
        descriptor = self.unregister(waited_for).fd
        waited_for.close() if isinstance(waited_for, socket.socket) else os.close(descriptor)

    def leave(self) -> None:
        """Close everything in a forked process: while it held other jobs' clients these would wait for it too."""
        for key in self.get_map().values():  # not unregistered, since both processes share what the system waits for
            key.fileobj.close() if isinstance(key.fileobj, socket.socket) else os.close(key.fd)
        self.close()

    def job_ends(self, job: Job) -> None:
        """Tell a job's client how it ended."""
        status = os.waitstatus_to_exitcode(os.waitpid(job.number, 0)[1])
        self.drop(job.process)
        if job.client.fileno() >= 0:  # not dropped yet
            with contextlib.suppress(OSError):  # the client has just ended
                job.client.send(STATUS.pack(status))
            self.drop(job.client)


def serve(listener: socket.socket, parent: int) -> Request | None:
    """Fork for every client until a process has ended, and all jobs with it.

    Args:
        listener: Where clients connect.
        parent: File descriptor of the process (`os.pidfd_open`).

    Returns:
        In a forked process, what it is to run; None at the end.
    """
    waiting = Waiting()
    waiting.register(listener, selectors.EVENT_READ)
    waiting.register(parent, selectors.EVENT_READ)
    while waiting.get_map():
        for key, _ in waiting.select():
            job = key.data
            if waiting.get_map().get(key.fd) is not key:  # dropped in this round
                continue
            if key.fileobj is listener:
                client = listener.accept()[0]
                try:
                    made = fork_for(client)
                except OSError:
                    client.close()
                    continue
                if isinstance(made, Request):
                    client.close()
                    waiting.leave()
                    return made
                waiting.add(made)
            elif job is None:  # the process that is served: jobs that run go on
                waiting.drop(listener)
                waiting.drop(parent)
            elif key.fd == job.process:
                waiting.job_ends(job)
            else:
                os.kill(job.number, signal.SIGTERM)
                waiting.drop(job.client)
    return None


def main(address: str, parent: int) -> int:
    """Serve until a process has ended; in a forked process, run the job and end.

    Args:
        address: Name of the socket.
        parent: Number of the process.

    Raises:
        OSError: there is no such process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches jobs themselves
    served = os.pidfd_open(parent)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(f"\0{address}")
    except OSError as problem:
        if problem.errno == errno.EADDRINUSE:  # another job's client was quicker
            return 0
        raise
    listener.listen(socket.SOMAXCONN)
    request = serve(listener, served)
    if request is None:
        return 0
    become(request)
    status = run(request.arguments)
    logging.shutdown()
    sys.stdout.flush()
    # Python's own end would take every imported module apart, and copy the memory it shares with the server to do so
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))

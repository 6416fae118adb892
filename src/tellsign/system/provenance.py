"""What made an artifact: commit, versions, machine."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any


def git_state() -> str:
    """The commit of the working tree, with ``+`` when it holds uncommitted changes; ``unknown`` outside git."""
    root = Path(__file__).parent

    def git(*args: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def versions() -> dict[str, str]:
    """Versions of what can move a number's last bits."""
    names = ("tellsign", "torch", "torchvision", "timm", "open_clip_torch", "transformers", "nltk", "numpy", "pillow")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}


def provenance(**facts: Any) -> str:
    """JSON text: what made an artifact, in which code and versions; ``facts`` come first."""
    record = facts | {"git": git_state(), "versions": versions(), "machine": platform.machine()}
    return json.dumps(record, indent=2, default=str) + "\n"

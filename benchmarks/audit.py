"""Dependencies: known vulnerabilities of the pinned packages (pip-audit, OSV's database), and docs/licences.md.

python benchmarks/audit.py            ask for vulnerabilities, compare the list of licences with what is installed
python benchmarks/audit.py --write    write the list again

Without a network it says that vulnerabilities are unknown, and goes on. It asks no package registry.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import cast

ROOT = Path(__file__).parent.parent
LOCK, PAGE = ROOT / "requirements.lock", ROOT / "docs" / "licences.md"
HEAD = """# Licences of the dependencies

The licences that the packages pinned in `requirements.lock` state in their own metadata. Written by `make licences`,
checked by `make audit`. A wheel may carry libraries whose licences differ: pillow-heif's has libheif and libde265
(LGPL-3) and x265 (GPL-2).

| package | licence |
|---|---|
"""


def pinned() -> list[str]:
    """Names of the packages in the lock that this machine installs."""
    names = re.findall(r"^([A-Za-z0-9_.-]+)==[^;\n]*$", LOCK.read_text(encoding="utf-8"), flags=re.M)
    return sorted(names, key=str.lower)


def licence(name: str) -> str:
    """A package's licence in a line: the SPDX expression, else the classifiers, else the text's first line."""
    facts = cast(Message, metadata.metadata(name))  # which the class is
    classified = [c.rpartition(" :: ")[2] for c in facts.get_all("Classifier") or () if c.startswith("License ::")]
    text = (facts.get("License") or "").strip().partition("\n")[0]
    found = facts.get("License-Expression") or ", ".join(c for c in classified if c != "OSI Approved") or text
    return re.sub(r"\s+", " ", found).replace("|", "/")[:100] or "not stated"


def page() -> str:
    return HEAD + "".join(f"| {name} | {licence(name)} |\n" for name in pinned())


def vulnerabilities() -> int:
    """Ask OSV; 1 when a package has a known one, or there is nothing to ask with."""
    if importlib.util.find_spec("pip_audit") is None:
        print("vulnerabilities: pip-audit is not installed; `make env`")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "audit.json"
        command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", "osv", "--no-deps", "--disable-pip"]
        command += ["--requirement", str(LOCK), "--format", "json", "--output", str(report), "--timeout", "10"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
            said = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        except subprocess.TimeoutExpired:
            said = ["no answer in five minutes"]
        if not report.is_file():
            print(f"vulnerabilities: not known, the database could not be asked ({said[0][:200]})")
            return 0
        packages = json.loads(report.read_text(encoding="utf-8"))["dependencies"]
    found = [(p["name"], p["version"], v["id"], v["fix_versions"]) for p in packages for v in p.get("vulns", ())]
    for name, version, identity, fixed in found:
        print(f"{name} {version}: {identity}, mended in {', '.join(fixed) or 'no version yet'}")
    print(f"vulnerabilities: {len(found)} known in {len(packages)} packages")
    return int(bool(found))


def main() -> int:
    try:
        wanted = page()
    except metadata.PackageNotFoundError as problem:
        print(f"licences: {problem.name} is pinned but not installed; `make env`")
        return 1
    if "--write" in sys.argv[1:]:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    stale = not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != wanted
    said = "not that of what is installed; `make licences`" if stale else "as it should be"
    print(f"licences: docs/licences.md is {said}")
    return vulnerabilities() or int(stale)


if __name__ == "__main__":
    sys.exit(main())

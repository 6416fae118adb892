"""What a configuration needs and is not there: weights and folders of images, and where to get them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from tellsign.plan.artifact import Artifact, ancestors
from tellsign.schema.data import Benchmark


def missing_weights(value: Any) -> set[str]:
    """The ``weights:`` in plain data that are marked as missing."""
    if isinstance(value, Mapping):
        own = {value["weights"]} if value.get("digest") == "missing" and "weights" in value else set()
        return own.union(*(missing_weights(v) for v in value.values()))
    return set().union(*map(missing_weights, value)) if isinstance(value, list) else set()


def missing_inputs(artifacts: Iterable[Artifact], missing_folders: Collection[str]) -> tuple[set[str], set[str]]:
    """What artifacts and all that they need lack: values of ``weights:``, and folders of images."""
    needed = ancestors(artifacts).values()
    weights = set[str]().union(*(missing_weights(artifact.settings) for artifact in needed))
    folders = {path for artifact in needed for path in artifact.roots.values() if path in missing_folders}
    return weights, folders


def missing_data_report(missing_folders: Mapping[str, list[str]], benchmarks: Mapping[str, Benchmark]) -> str:
    """Which folders are absent, what of, and how to get each; empty when none is."""
    if not missing_folders:
        return ""
    one = len(missing_folders) == 1
    what = "1 folder of images is" if one else f"{len(missing_folders)} folders of images are"
    lines = [f"{what} not there:"]
    listed: set[tuple[str, str]] = set()
    for path, users in missing_folders.items():
        lines.append(f"\n  {path}   ({', '.join(users)})")
        spec = benchmarks[users[0].partition("/")[0]]
        source = (spec.page, spec.get)
        if source in listed:
            continue
        listed.add(source)
        size = f", about {spec.gigabytes:g} GB" if spec.gigabytes else ""
        lines.append(f"    {spec.page} (licence: {spec.licence or 'not stated'}{size})")
        lines += [f"    {spec.get}"] if spec.get else []
    names = dict.fromkeys(name for users in missing_folders.values() for name in users)
    lines.append(
        "\nPut them there or link to them, give the folder that holds them all by --config data=FOLDER, or give "
        f"single ones in the configuration under\n  roots: {{{next(iter(names))}: PATH}}"
    )
    return "\n".join(lines)

"""The doctor's time for the trainings of a configuration, against the seconds that their provenance files hold.

What of the configuration has been made counts, pre-training too; stages that write no seconds do not. On a CPU both are
processor seconds, so that waiting for other work on the machine is in neither.
Exit status 1 where the prediction is more than 20 % away. Run:

    python benchmarks/prediction.py [CONFIGFILE]
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

from tellsign.commands.budget import Costs
from tellsign.commands.configuration import plan_of
from tellsign.commands.doctor import fitting_machine
from tellsign.commands.image_counts import ImageCounter
from tellsign.commands.rates import RATES, read_rates

ALLOWED = 0.2
"""How far the prediction may be from what was measured, as a share of the latter."""


def main(configfile: str = "config/config.yaml") -> int:
    plan = plan_of(Path(configfile), [])
    artifacts, rates = list(plan.everything().values()), read_rates(Path(RATES))
    costs = Costs(ImageCounter(plan.config, rates, Path(), plan.images), rates, fitting_machine(rates, artifacts))
    seconds: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for artifact in artifacts:
        provenance = Path(artifact.path) / "provenance.json"
        if artifact.stage not in ("train", "pretrain") or not provenance.exists():
            continue
        cost = costs.of(artifact)
        if cost.hours.whole:
            facts = json.loads(provenance.read_text(encoding="utf-8"))
            measured = facts["processor_seconds" if facts["device"] == "cpu" else "seconds"]
            paper = artifact.name.partition("/")[0]
            seconds[f"{artifact.stage}, {paper}"].append((cost.hours.value * 3600, measured))
    sys.stdout.write("| trainings | predicted, s | measured, s | ratio |\n|---|---:|---:|---:|\n")
    seconds["all"] = [pair for pairs in list(seconds.values()) for pair in pairs]
    ratio = 0.0
    for name, pairs in seconds.items():
        predicted, measured = (sum(values) for values in zip(*pairs, strict=True)) if pairs else (0.0, 0.0)
        ratio = predicted / measured if measured else 0.0
        sys.stdout.write(f"| {len(pairs)} × {name} | {predicted:.0f} | {measured:.0f} | {ratio:.2f} |\n")
    return 0 if abs(ratio - 1) <= ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""How to read a table's numbers: deviation, interval, checkpoint, threshold, protocol, test images."""

from __future__ import annotations

from collections.abc import Sequence

from tellsign.results.tables.document import TIMES, Number, distinct
from tellsign.results.tables.layout import range_text
from tellsign.results.tables.specification import Spec


def explanations(spec: Spec, numbers: Sequence[Number]) -> list[str]:
    """Footnotes that hold for the whole table."""
    ours = [number for number in numbers if number.source == "ours"]
    scored = [number for number in numbers if number.source in ("ours", "released")]
    return [
        *_deviation(spec),
        *_checkpoint(ours),
        *_threshold(scored),
        *_protocols(spec, scored),
        *_average_precision(numbers),
        *_several_metrics(spec),
        *_test_images(scored),
    ]


def _deviation(spec: Spec) -> list[str]:
    if spec.kind == "methods":
        return [
            "Percent, mean over seeds. Interval: 95 %, bootstrap over the test images, ends averaged over seeds; it "
            "says nothing of another training."
        ]
    over = "seeds"
    if spec.spread == "epochs":
        over = "the kept epochs, with that over seeds and the lowest of the kept epochs beside it (means over seeds)"
    return [
        f"Percent. Ours: mean over seeds {TIMES} standard deviation over {over}. One seed has no deviation (–). "
        "Interval: 95 %, bootstrap over the test images, ends averaged over seeds."
    ]


def _checkpoint(ours: Sequence[Number]) -> list[str]:
    averaged = [number.epochs for number in ours if number.checkpoint == "mean"]
    compared = [number.epochs for number in ours if number.checkpoint == "worst"]
    rules = {number.checkpoint for number in ours}
    texts = ["last epoch"] if "last" in rules else []
    texts += ["best of the kept epochs on the validation images"] if "best" in rules else []
    texts += [f"mean of the last {range_text(averaged)} epochs"] if averaged else []
    texts += [f"lowest of the last {range_text(compared)} epochs"] if compared else []
    return [f"Checkpoint: {', '.join(texts)}."]


def _threshold(scored: Sequence[Number]) -> list[str]:
    rules = sorted({number.threshold_rule for number in scored} - {"none", "oracle"})
    return [f"Accuracy: fake means a score above {' or '.join(rules)}."] if rules else []


def _protocols(spec: Spec, scored: Sequence[Number]) -> list[str]:
    places_by_protocol: dict[str, list[str]] = {}
    for number in scored:
        place = number.row if spec.kind == "protocols" else f"{number.row}, {number.column}"
        if number.protocol:
            places_by_protocol.setdefault(number.protocol, []).append(place)
    everywhere = len({number.protocol for number in scored}) == 1
    return [
        f"Protocol{'' if everywhere else ' of ' + '; '.join(distinct(places))}: {protocol}."
        for protocol, places in places_by_protocol.items()
    ]


def _average_precision(numbers: Sequence[Number]) -> list[str]:
    printed = any(number.source == "quoted" and number.metric.startswith("ap") for number in numbers)
    return ["The paper does not say which class its AP takes as positive."] if printed else []


def _several_metrics(spec: Spec) -> list[str]:
    if spec.kind != "subsets" or len(spec.metrics) == 1:
        return []
    return ["Cells of two numbers are without deviation and interval; table.csv holds them."]


def _test_images(scored: Sequence[Number]) -> list[str]:
    tested = sorted({(n.benchmark, n.n_real, n.n_fake) for n in scored if n.subset == "mean" and n.n_real})
    parts = [f"{benchmark}, {real} real and {fake} fake images" for benchmark, real, fake in tested]
    return [f"Tested on {'; '.join(parts)}."] if parts else []

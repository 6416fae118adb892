"""The stage that turns scores into metrics."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tellsign.errors import UserError
from tellsign.evaluation.measuring import measure
from tellsign.schema.evaluation import Evaluate
from tellsign.schema.loading import build, differences, plain
from tellsign.stages import evaluate, split
from tellsign.system.integrity import sha256_of_file
from tellsign.system.parquet import read_rows, write_rows

SUBSETS = ("ldm", "fsq")
SETTINGS = plain(Evaluate(resamples=200)) | {
    "paper": "mpft", "run": "tam", "recipe": "r", "code": "c", "data": "d", "protocol": "",
    "tests": {"test": {"benchmark": "demo", "perturbation": "none"}},
}  # fmt: skip


def score_rows(seeds: tuple[int, ...] = (0, 1), epochs: tuple[int, ...] = (9, 10), sharp: float = 1.0) -> dict:
    """Two subsets of 10 fakes each that share 10 reals."""
    draw = np.random.default_rng(0)
    rows: dict[str, list] = {name: [] for name in ("seed", "epoch", "subset", "id", "label", "score")}
    for seed in seeds:
        for epoch in epochs:
            for subset in SUBSETS:
                for number in range(20):
                    label = int(number >= 10)
                    held = (seed, epoch, subset, f"{subset if label else 'real'}{number:02}", label)
                    noise = draw.normal()
                    score = 1 / (1 + math.exp(-(label - 0.5) * sharp - noise))
                    for name, value in zip(rows, (*held, score), strict=True):
                        rows[name].append(value)
    size = len(rows["seed"])
    return rows | {
        "score": np.array(rows["score"], np.float32),
        "label": np.array(rows["label"], np.int8),
        "benchmark": ["demo"] * size,
        "perturbation": ["none"] * size,
    }


class House:
    """Files of one run."""

    def __init__(self, folder: Path, rows: dict) -> None:
        self.folder, self.rows = folder, rows
        self.scores, self.split, self.out = (
            folder / "s.parquet",
            folder / "split.parquet",
            folder / "m.parquet",
        )
        self.seen = {str(seed): 10.0 + seed for seed in sorted(set(rows["seed"]))}
        first = pa.table(rows).filter((pc.field("seed") == 0) & (pc.field("epoch") == rows["epoch"][-1]))
        write_rows(self.split, first.select(["subset", "id", "label"]))

    def run(self, **change: object) -> pa.Table:
        write_rows(self.scores, self.rows, {"images_seen": json.dumps(self.seen)})
        given = {"settings": SETTINGS, "scores": [self.scores], "splits": {"test": self.split}} | change
        evaluate.main(**given, out=self.out)  # type: ignore[arg-type]
        return read_rows(self.out)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, score_rows())


def pick(table: pa.Table, **wanted: object) -> list[dict]:
    for name, value in wanted.items():
        table = table.filter(pc.field(name) == value)
    return table.to_pylist()


def test_every_seed_subset_metric_and_rule_has_one_row(house: House) -> None:
    table = house.run()
    assert tuple(table.column_names) == evaluate.COLUMNS
    heads = table.select(["seed", "checkpoint", "epoch", "subset", "metric"]).to_pylist()
    assert len({tuple(head.values()) for head in heads}) == len(heads) == 2 * (2 + 1) * 8 * (1 + 1 + 2)
    assert set(table["threshold_rule"].to_pylist()) == {"0.5", "oracle", "none"}


def test_values_are_those_of_the_library_and_mean_is_plain(house: House) -> None:
    table, rows = house.run(), pa.table(house.rows)
    found = []
    for subset in SUBSETS:
        chosen = rows.filter((pc.field("seed") == 1) & (pc.field("epoch") == 10) & (pc.field("subset") == subset))
        expected = measure(chosen["label"].to_numpy(), chosen["score"].to_numpy(), 0.5)
        for metric, value in expected.items():
            (row,) = pick(table, seed=1, checkpoint="last", subset=subset, metric=metric)
            assert row["value"] == pytest.approx(value)
            assert row["low"] <= row["value"] <= row["high"] or metric in ("ece", "accuracy_oracle")
        found.append(expected["ap_fake"])
    (mean,) = pick(table, seed=1, checkpoint="last", subset="mean", metric="ap_fake")
    assert mean["value"] == pytest.approx(np.mean(found))
    assert (mean["n_real"], mean["n_fake"]) == (10, 20)  # the reals are shared
    assert mean["images_seen"] == 11.0


def test_mean_over_kept_epochs_and_its_spread(house: House) -> None:
    table = house.run()
    each = [
        pick(table, seed=0, checkpoint="epoch", epoch=epoch, subset="ldm", metric="accuracy")[0]["value"]
        for epoch in (9, 10)
    ]
    (mean,) = pick(table, seed=0, checkpoint="mean", subset="ldm", metric="accuracy")
    assert mean["value"] == pytest.approx(np.mean(each))
    assert mean["spread"] == pytest.approx(np.std(each, ddof=1))
    assert mean["epochs"] == 2
    (last,) = pick(table, seed=0, checkpoint="last", subset="ldm", metric="accuracy")
    assert math.isnan(last["spread"])


def test_one_kept_epoch_has_no_mean(tmp_path: Path) -> None:
    table = House(tmp_path, score_rows(epochs=(3,))).run()
    assert set(table["checkpoint"].to_pylist()) == {"last"}


def test_equal_inputs_give_equal_bytes_and_row_order_does_not_matter(house: House) -> None:
    before = house.run()
    digest = sha256_of_file(house.out)
    house.run()
    assert sha256_of_file(house.out) == digest
    order = np.random.default_rng(0).permutation(len(house.rows["seed"]))
    house.rows = pa.table(house.rows).take(order)
    after = house.run()
    (low,), (again,) = (pick(t, seed=0, checkpoint="last", subset="mean", metric="auc") for t in (before, after))
    assert (low["low"], low["high"]) == (pytest.approx(again["low"]), pytest.approx(again["high"]))


def test_paired_rows_against_a_baseline(house: House) -> None:
    baseline = house.folder / "baseline.parquet"
    write_rows(baseline, score_rows(epochs=(4,), sharp=9.0))
    table = house.run(baseline=baseline)
    (gain,) = pick(table, seed=0, subset="mean", metric="accuracy_gain")
    (ours,) = pick(table, seed=0, subset="mean", metric="accuracy", checkpoint="last")
    assert gain["value"] == pytest.approx(ours["value"] - 1.0)
    assert gain["high"] < 0
    assert len(pick(table, metric="mcnemar_p")) == 4
    itself = house.run(baseline=house.scores)
    (none,) = pick(itself, seed=0, subset="mean", metric="accuracy_gain")
    assert (none["value"], none["low"], none["high"]) == (0, 0, 0)


def test_only_the_metrics_of_the_settings_are_computed(house: House) -> None:
    def lows(table: pa.Table) -> dict:
        return {(row["seed"], row["checkpoint"], row["epoch"], row["subset"], row["metric"]): row["low"]
                for row in table.to_pylist()}  # fmt: skip

    every, some = lows(house.run()), lows(house.run(settings=SETTINGS | {"metrics": ["ap_fake", "ece"]}))
    assert some == {key: low for key, low in every.items() if key[-1] in ("ap_fake", "ece")}
    with pytest.raises(UserError, match="Did you mean 'ap_fake'"):
        house.run(settings=SETTINGS | {"metrics": ["ap_fakes"]})
    with pytest.raises(UserError, match="needs accuracy among the metrics"):
        house.run(settings=SETTINGS | {"metrics": ["auc"]}, baseline=house.scores)


def test_an_image_without_score_is_named(house: House) -> None:
    house.rows = pa.table(house.rows).slice(1)
    with pytest.raises(UserError, match=r"40 images are listed and 39 .*1 listed images have no.*ldm/real00/0"):
        house.run()


def test_an_unlisted_image_is_refused(house: House) -> None:
    table = read_rows(house.split)
    write_rows(house.split, table.slice(1))
    with pytest.raises(UserError, match="1 scored images are not listed"):
        house.run()


@pytest.mark.parametrize("wrong", [float("nan"), 1.5])
def test_a_score_that_is_no_probability_is_refused(house: House, wrong: float) -> None:
    house.rows["score"][3] = wrong
    with pytest.raises(UserError, match="1 scores are no probabilities"):
        house.run()


def test_an_image_of_both_classes_is_refused(tmp_path: Path) -> None:
    rows = score_rows()
    rows["id"] = ["real00" if name.endswith("10") else name for name in rows["id"]]
    with pytest.raises(UserError, match="both as real and as fake"):
        House(tmp_path, rows).run()


def test_a_subset_of_one_class_is_refused(tmp_path: Path) -> None:
    table = pa.table(score_rows())
    kept = table.filter((pc.field("label") == 0) | (pc.field("subset") == "ldm"))
    with pytest.raises(UserError, match="'fsq' has no fake images"):
        House(tmp_path, {name: kept[name].to_pylist() for name in kept.column_names}).run()


def test_a_missing_seed_and_a_missing_test_set_are_named(house: House) -> None:
    with pytest.raises(UserError, match="has no split"):
        house.run(splits={"other": house.split})
    both = {"test": SETTINGS["tests"]["test"], "noise": {"benchmark": "demo", "perturbation": "noise"}}
    with pytest.raises(UserError, match="demo / noise: there are no scores"):
        house.run(settings=SETTINGS | {"tests": both}, splits={"test": house.split, "noise": house.split})
    house.seen["2"] = 10.0
    with pytest.raises(UserError, match=r"trainings of seeds \[0, 1, 2\]"):
        house.run()


def test_splits_that_make_one_test_set_give_the_numbers_of_one_split(tmp_path: Path) -> None:
    house = House(tmp_path, score_rows())
    whole = house.run()
    split = read_rows(house.split)
    tests, splits = {}, {}
    for subset in SUBSETS:
        splits[f"test.{subset}"] = tmp_path / f"{subset}.parquet"
        write_rows(splits[f"test.{subset}"], split.filter(pc.field("subset") == subset))
        tests[f"test.{subset}"] = {"benchmark": "demo", "perturbation": "none"}
    joined = house.run(settings=SETTINGS | {"tests": tests}, splits=splits)
    assert str(joined.to_pydict()) == str(whole.to_pydict())  # as text, since nan is not equal to nan
    splits["test.fsq"] = splits["test.ldm"]
    with pytest.raises(UserError, match="both hold ldm: their scores cannot be told apart"):
        house.run(settings=SETTINGS | {"tests": tests}, splits=splits)


def test_scores_without_a_note_of_their_trainings_are_refused(house: House) -> None:
    write_rows(house.scores, house.rows)
    with pytest.raises(UserError, match="how many images its trainings saw"):
        evaluate.main(settings=SETTINGS, scores=[house.scores], splits={"test": house.split}, out=house.out)


# ------------------------------------------------------------------------------------------------ protocols

SEEN = {"images_seen": '{"0": 10}'}
"""The note of a file of scores of one training."""


class Bench:
    """One checkpoint a given epoch on a test set of given images: (subset, class, label, right or wrong)."""

    def __init__(self, folder: Path, rows: list[tuple[str, str, int, bool]], name: str = "test") -> None:
        self.folder, self.name = folder, name
        self.split = folder / f"{name}.parquet"
        self.rows = rows
        ids = [f"{name}{number:04}" for number in range(len(rows))]
        write_rows(
            self.split,
            {"subset": [r[0] for r in rows], "class": [r[1] for r in rows], "id": ids,
             "label": np.array([r[2] for r in rows], np.int8)},
        )  # fmt: skip
        self.ids = ids

    def scores(self, epoch: int = 1, right: list[bool] | None = None) -> dict:
        size = len(self.rows)
        right = right or [r[3] for r in self.rows]
        return {
            "seed": [0] * size, "epoch": [epoch] * size, "benchmark": [self.name] * size,
            "perturbation": ["none"] * size, "subset": [r[0] for r in self.rows], "id": self.ids,
            "label": np.array([r[2] for r in self.rows], np.int8),
            "score": np.array([0.9 if (r[2] == 1) == ok else 0.1 for r, ok in zip(self.rows, right, strict=True)],
                              np.float32),
        }  # fmt: skip

    def value(self, metric: str = "accuracy", subset: str = "mean", **protocol: object) -> float:
        return evaluated(self.folder, [self], [self.scores()], **protocol)[metric, subset, "last"]


def evaluated(folder: Path, benches: list[Bench], scores: list[dict], **protocol: object) -> dict:
    """(metric, subset, checkpoint) of the last bench to its value."""
    paths = []
    for number, rows in enumerate(scores):
        write_rows(folder / f"s{number}.parquet", rows, SEEN)
        paths.append(folder / f"s{number}.parquet")
    tests = {bench.name: {"benchmark": bench.name, "perturbation": "none"} for bench in benches}
    reading = build(Evaluate, {"resamples": 5, **protocol}, "protocol")
    settings = SETTINGS | plain(reading) | {"tests": tests, "protocol": differences(reading, Evaluate(resamples=5))}
    splits = {bench.name: bench.split for bench in benches}
    out = folder / "out.parquet"
    evaluate.main(settings=settings, scores=paths, splits=splits, out=out)
    rows = [row for row in read_rows(out).to_pylist() if row["benchmark"] == benches[-1].name]
    assert {row["protocol"] for row in rows} == {settings["protocol"]}
    return {(row["metric"], row["subset"], row["checkpoint"]): row["value"] for row in rows}


def images(subset: str, folder: str, label: int, right: int, wrong: int) -> list[tuple[str, str, int, bool]]:
    return [(subset, folder, label, True)] * right + [(subset, folder, label, False)] * wrong


def test_classes_are_pooled_or_averaged(tmp_path: Path) -> None:
    rows = [*images("a", "cat", 0, 27, 3), *images("a", "dog", 0, 5, 5)]
    rows += [*images("a", "cat", 1, 27, 3), *images("a", "dog", 1, 5, 5)]
    bench = Bench(tmp_path, rows)
    assert bench.value() == pytest.approx(64 / 80)
    assert bench.value(classes="mean") == pytest.approx((0.9 + 0.5) / 2)
    assert bench.value(subset="a", classes="mean") == pytest.approx(0.7)


def test_a_sample_is_the_first_of_each_label_and_falls_back_where_one_is_short(tmp_path: Path) -> None:
    # both subsets are right on the first 2 of each label, wrong on the next, right again from the fifth on
    rows = [r for y in (0, 1) for r in (*images("long", "", y, 2, 2), *images("long", "", y, 6, 0))]
    rows += [r for y in (0, 1) for r in (*images("short", "", y, 2, 2), *images("short", "", y, y, 0))]
    bench = Bench(tmp_path, rows)
    for limit, fallback, long, short in (
        (None, None, 16 / 20, (2 + 3) / 9),
        (4, None, 0.5, 0.5),
        (5, 2, 3 / 5, 1.0),  # short has 4 reals, fewer than 5: two of each label
        (100, 4, 0.5, 0.5),
        (100, None, 16 / 20, 5 / 9),
    ):
        sample = {"limit": limit, "fallback": fallback}
        assert bench.value(subset="long", sample=sample) == pytest.approx(long)
        assert bench.value(subset="short", sample=sample) == pytest.approx(short)


def test_a_sample_of_each_class_weighs_small_classes_more(tmp_path: Path) -> None:
    rows = [r for y in (0, 1) for r in (*images("a", "cat", y, 8, 0), *images("a", "dog", y, 0, 2))]
    bench = Bench(tmp_path, rows)
    assert bench.value() == pytest.approx(0.8)
    assert bench.value(sample={"limit": 2, "per": "class"}) == pytest.approx(0.5)
    assert bench.value(sample={"limit": 4, "per": "subset"}) == pytest.approx(1.0)  # cats come first


def test_pooled_reals_join_every_subset_or_the_named_ones(tmp_path: Path) -> None:
    rows = [*images("guided", "", 0, 10, 0), *images("guided", "", 1, 10, 0)]
    rows += [*images("ldm", "", 0, 0, 10), *images("ldm", "", 1, 10, 0)]
    bench = Bench(tmp_path, rows)

    def both(**protocol: Any) -> tuple[float, float]:
        return bench.value(subset="guided", **protocol), bench.value(subset="ldm", **protocol)

    assert both() == (1.0, 0.5)
    assert both(pooled_reals="all") == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert both(pooled_reals=["ldm"]) == (1.0, pytest.approx(2 / 3))
    assert bench.value("accuracy_real", "ldm", pooled_reals=["ldm"]) == pytest.approx(0.5)
    with pytest.raises(UserError, match="Did you mean 'ldm'"):
        bench.value(pooled_reals=["lmd"])


def test_reals_of_another_split_of_the_test_set_are_not_pooled(tmp_path: Path) -> None:
    one = Bench(tmp_path, [*images("a", "", 0, 4, 0), *images("a", "", 1, 4, 0)], "one")
    two = Bench(
        tmp_path, [r for name in ("b", "c") for r in (*images(name, "", 0, 0, 2), *images(name, "", 1, 2, 0))], "two"
    )
    scores = [bench.scores() | {"benchmark": ["one+two"] * len(bench.rows)} for bench in (one, two)]
    for number, rows in enumerate(scores):
        write_rows(tmp_path / f"s{number}.parquet", rows, SEEN)
    tests = {f"t.{bench.name}": {"benchmark": "one+two", "perturbation": "none"} for bench in (one, two)}
    settings = SETTINGS | {"tests": tests, "resamples": 5, "pooled_reals": "all", "validation": "t"}
    evaluate.main(
        settings=settings, scores=[tmp_path / "s0.parquet", tmp_path / "s1.parquet"], out=tmp_path / "out.parquet",
        splits={"t.one": one.split, "t.two": two.split},
    )  # fmt: skip
    found = {
        row["subset"]: row for row in pick(read_rows(tmp_path / "out.parquet"), metric="accuracy", checkpoint="best")
    }
    assert {name: (row["n_real"], row["value"]) for name, row in found.items() if name != "mean"} == {
        "a": (4, 1.0), "b": (4, pytest.approx(1 / 3)), "c": (4, pytest.approx(1 / 3)),
    }  # fmt: skip


def test_threshold_and_batches_change_what_they_should(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [*images("a", "", 0, 0, 16), *images("a", "", 1, 16, 0)])  # all scores are 0.9
    assert bench.value(threshold=0.95) == 0.5
    assert bench.value("accuracy_fake", threshold=0.95) == 0.0
    assert bench.value("accuracy_oracle") == bench.value(threshold="oracle") == 0.5
    assert bench.value(batch=32, sampler="shuffled") == bench.value()
    assert bench.value("accuracy_real", batch=4, sampler="shuffled") == 0.0
    with pytest.raises(UserError, match="32 images, fewer than the protocol's batch of 33"):
        bench.value(batch=33)


def test_best_is_the_kept_epoch_that_the_validation_images_choose(tmp_path: Path) -> None:
    val = Bench(tmp_path, [*images("a", "", 0, 4, 0), *images("a", "", 1, 4, 0)], "val")
    test = Bench(tmp_path, [*images("a", "", 0, 4, 0), *images("a", "", 1, 4, 0)], "held")
    scores = []
    for epoch, val_right, test_right in ((1, 5, 3), (2, 7, 6), (3, 7, 8), (4, 6, 1)):
        scores.append(val.scores(epoch, [k < val_right for k in range(8)]))
        scores.append(test.scores(epoch, [k < test_right for k in range(8)]))
    found = evaluated(tmp_path, [val, test], scores, validation="val")
    assert found["accuracy", "a", "best"] == pytest.approx(6 / 8)  # epoch 2, the first of two equals
    assert found["accuracy", "a", "last"] == pytest.approx(1 / 8)
    assert found["accuracy", "a", "mean"] == pytest.approx((3 + 6 + 8 + 1) / 32)
    assert ("accuracy", "a", "best") not in evaluated(tmp_path, [val, test], scores)
    with pytest.raises(UserError, match="validation is 'vla'; this run is tested on val, held"):
        evaluated(tmp_path, [val, test], scores, validation="vla")


def test_the_order_of_score_rows_does_not_matter(house: House) -> None:
    before = pa.table(house.rows)
    first = house.run().to_pylist()
    house.rows = before.take(np.random.default_rng(0).permutation(before.num_rows))
    assert str(house.run().to_pylist()) == str(first)


@pytest.mark.parametrize("fallback", [None, 4])
def test_a_sample_of_class_folders_is_the_one_that_the_split_would_draw(tmp_path: Path, fallback: int | None) -> None:
    folders = {"cat": (9, 7), "dog": (5, 30), "owl": (12, 12)}  # reals and fakes of each class folder
    rows = [
        {"subset": "a", "part": "test", "label": label, "generator": "", "class": name, "root": "r", "path": f"{at}",
         "id": hashlib.sha256(f"{name}{label}{at}".encode()).hexdigest(), "width": 9, "height": 9, "status": "ok"}
        for name, counts in folders.items() for label in (0, 1) for at in range(counts[label])
    ]  # fmt: skip
    everything = {
        "part": "test",
        "count": "all",
        "seed": 7,
        "subsets": [],
        "skip": 0,
        "per_class": None,
        "fallback": None,
    }
    values = []
    for settings, sample in (
        (everything, {"limit": 7, "fallback": fallback, "per": "class"}),
        (everything | {"per_class": 7, "fallback": fallback}, {}),
    ):
        drawn = split.sample(rows, settings)
        right = [int(row["id"][0], 16) < 8 for row in drawn]
        listed = [("a", row["class"], row["label"], ok) for row, ok in zip(drawn, right, strict=True)]
        values.append(Bench(tmp_path, listed).value(sample=sample))
    assert values[0] == values[1] != 0.5
    assert len(drawn) == (2 * (7 + 4 + 7) if fallback else 7 + 7 + 5 + 7 + 7 + 7)

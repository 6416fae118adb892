"""The stage that turns scores into metrics."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tellsign.errors import UserError
from tellsign.metrics import measure
from tellsign.runtime import read_rows, sha256_of_file, write_rows
from tellsign.stages import evaluate

SUBSETS = ("ldm", "fsq")
SETTINGS = {
    "paper": "mpft", "run": "tam", "threshold": 0.5, "resamples": 200, "seed": 0, "recipe": "r",
    "code": "c", "data": "d", "tests": {"test": {"benchmark": "demo", "perturbation": "none"}},
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
        self.checkpoints = {}
        for seed in sorted(set(rows["seed"])):
            place = folder / f"tam-s{seed}"
            place.mkdir()
            (place / "provenance.json").write_text(json.dumps({"images_seen": 10.0 + seed}))
            self.checkpoints[str(seed)] = place
        first = pa.table(rows).filter((pc.field("seed") == 0) & (pc.field("epoch") == rows["epoch"][-1]))
        write_rows(self.split, first.select(["subset", "id", "label"]))

    def run(self, **change: object) -> pa.Table:
        write_rows(self.scores, self.rows)
        given = {"settings": SETTINGS, "scores": [self.scores], "splits": {"test": self.split}} | change
        evaluate.main(**given, checkpoints=self.checkpoints, out=self.out)  # type: ignore[arg-type]
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
    house.checkpoints["2"] = house.checkpoints["0"]
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

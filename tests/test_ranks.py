"""Ranks of several detectors on the same images."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import demo_config, make_plan
from safetensors.numpy import save_file
from test_compare import csv_file, noisy, rows

from tellsign.__main__ import run
from tellsign.commands.rank import runs_of_table, speed_of, stored_numbers
from tellsign.errors import UserError
from tellsign.evaluation.matching import align
from tellsign.evaluation.ranks import places, ranks, shares_above


def test_ranks_of_a_column_and_ties() -> None:
    values = np.array([[0.9, 0.5], [0.7, 0.5], [0.8, 0.6]])
    assert ranks(values).tolist() == [[1, 2.5], [3, 2.5], [2, 1]]
    assert shares_above(values).tolist() == [[0.5, 0.75, 0.5], [0.25, 0.5, 0.0], [0.5, 1.0, 0.5]]


def test_places_follow_the_normal_approximation() -> None:
    held = align(
        {name: rows(noisy(right, seed)) for name, right, seed in (("a", 0.7, 1), ("b", 0.75, 2), ("c", 0.95, 3))}
    )
    found = places(held, "accuracy", 0.5, 4000, np.random.default_rng(0))
    by_name = {place.detector: place for place in found}
    assert found[0].detector == "c" and by_name["c"].first == 1.0
    assert (by_name["c"].rank_low, by_name["c"].rank_high) == (1.0, 1.0)
    one, other = found[1], found[2]
    gain = one.value - other.value
    right = {name: (held.scores[name][0] == held.label) * 1.0 for name in held.scores}
    gained = right[one.detector] - right[other.detector]
    spread = math.sqrt(sum(gained[held.label == k].var() / 200 / 4 for k in (0, 1)))
    assert one.above[2] == pytest.approx((1 + math.erf(gain / spread / math.sqrt(2))) / 2, abs=0.03)
    assert one.above[2] + other.above[1] == pytest.approx(1.0)


def test_images_that_some_lack_are_left_out_and_counted() -> None:
    whole = noisy(0.8, 1, 40)
    held = align({"a": rows(whole), "b": rows(dict(list(whole.items())[10:]), seeds=(1, 2))})
    assert held.left_out == {"a": 10, "b": 0} and len(held.label) == 30 and set(held.scores["b"]) == {1, 2}
    assert [place.rank for place in places(held, "auc", 0.5, 20, np.random.default_rng(0))] == [1.5, 1.5]


@pytest.mark.parametrize(
    ("other", "message"),
    [({("a", "x", 1): 0.5}, "share no image"), ({("a", "i0", 1): 0.5}, "1 images have one label in a and the other")],
)
def test_what_cannot_be_aligned_is_refused(other, message) -> None:
    with pytest.raises(UserError, match=message):
        align({"a": rows(noisy(0.8, 1, 4)), "b": rows(other)})


def test_a_ranking_of_one_label_needs_accuracy() -> None:
    held = align({name: rows({("a", "x", 1): 0.7, ("a", "y", 1): 0.2}) for name in "ab"})
    with pytest.raises(UserError, match="one label only, which have no auc"):
        places(held, "auc", 0.5, 5, np.random.default_rng(0))


def test_files_are_ranked_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [csv_file(tmp_path / f"{k}.csv", noisy(right, k)) for k, right in enumerate((0.6, 0.9, 0.75))]
    assert run(["rank", *names, "--resamples", "50", "--out", str(tmp_path / "r.csv")]) == 0
    said = capsys.readouterr().out
    assert said.index("1.csv") < said.index("2.csv") < said.index("0.csv") and "# scores/none" in said
    written = list(csv.DictReader((tmp_path / "r.csv").read_text().splitlines()))
    assert [row["rank"] for row in written] == ["1", "2", "3"] and written[0][f"above {names[0]}"] == "1"


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["a.csv"], "needs two detectors"), (["a", "b", "--metric", "acuracy"], "Did you mean 'accuracy'")],
)
def test_mistakes_are_explained(flags: list[str], said: str, caplog: pytest.LogCaptureFixture) -> None:
    assert run(["rank", *flags]) == 2 and said in caplog.text


def test_the_speed_is_that_of_the_scorings_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan, held = make_plan(demo_config()), {("demo", "none"): rows(noisy(0.8, 1, 40), seeds=(0, 1))}
    assert math.isnan(speed_of(plan, "lol/lol", held))
    made = plan.score(plan.run("lol", "lol"))
    log = tmp_path / "logs" / "score" / f"{made.name}.{made.fingerprint}.log"
    log.parent.mkdir(parents=True)
    lines = ["10:00:00 INFO batches scored: 1/3, 0.1/s, 20 s left", "10:00:09 INFO batches scored: 3/3 in 1.5 s"]
    log.write_text("\n".join([*lines, "10:00:12 INFO batches scored: 3/3 in 2.5 s"]))
    assert speed_of(plan, "lol/lol", held) == 2 * 40 / 4.0


def test_sizes_leave_out_running_statistics_and_name_what_lies_elsewhere(tmp_path: Path) -> None:
    held = {"head.weight": np.zeros((2, 3), np.float32), "bn.running_var": np.zeros(5, np.float32)}
    save_file(held, tmp_path / "model.safetensors", {"base": '{"network": "clip-vit-l14"}'})
    assert stored_numbers(tmp_path / "model.safetensors") == (6.0, "clip-vit-l14")
    plan = make_plan(demo_config())
    first, paper = next((f"{p}-{t}", p) for p, held in plan.papers.items() for t in held.tables)
    assert runs_of_table(plan, first)[0].startswith(f"{paper}/")

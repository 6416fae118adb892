"""Two detectors on the same images."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, demo_config, make_plan

from tellsign.__main__ import run
from tellsign.commands.compare_text import Compared, words
from tellsign.commands.score_sources import scores_from
from tellsign.errors import UserError
from tellsign.evaluation.listing import ScoreRows
from tellsign.evaluation.matching import match
from tellsign.evaluation.paired import MEAN, POOLED, Difference, differences, holm
from tellsign.system.parquet import write_rows


def rows(scores: dict[tuple[str, str, int], float], seeds: tuple[int, ...] = (0,)) -> ScoreRows:
    """Score rows from (subset, id, label) → score, the same at every seed."""
    subsets, images = (list(dict.fromkeys(key[k] for key in scores)) for k in (0, 1))
    held = [(seed, *key, score) for seed in seeds for key, score in scores.items()]
    return ScoreRows(
        subsets,
        images,
        seed=np.array([row[0] for row in held]),
        epoch=np.ones(len(held), np.int64),
        subset=np.array([subsets.index(row[1]) for row in held]),
        image=np.array([images.index(row[2]) for row in held]),
        label=np.array([row[3] for row in held]),
        score=np.array([row[4] for row in held]),
    )


def text_of(compared: Compared) -> str:
    """The words, unwrapped."""
    return " ".join(words(compared).split())


def by_place(lines: list[Difference]) -> dict[tuple[str, str, int | None], Difference]:
    return {(line.subset, line.metric, line.seed): line for line in lines}


def test_holms_correction() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 · 0.01; 2 · 0.03; no less than before


def noisy(right: float, seed: int, count: int = 400) -> dict[tuple[str, str, int], float]:
    draws = np.random.default_rng(seed).random(count)
    return {("a", f"i{k}", k % 2): float((draw < right) == (k % 2)) for k, draw in enumerate(draws)}


def test_the_interval_is_as_wide_as_the_variance_of_paired_differences_says() -> None:
    one, other = noisy(0.8, 1), noisy(0.7, 2)
    lines = by_place(differences(match(rows(one), rows(other), ("A", "B")), 0.5, 4000, np.random.default_rng(0)))
    line = lines["a", "accuracy", 0]
    gained = np.array([(one[k] == k[2]) * 1.0 - (other[k] == k[2]) for k in one])
    spread = np.sqrt(sum(gained[k::2].var() / 200 / 4 for k in (0, 1)))  # half of the images are of each label
    assert line.difference == pytest.approx(gained.mean())
    assert line.high - line.low == pytest.approx(2 * 1.96 * spread, rel=0.1)
    assert (line.only_first, line.only_second) == (int((gained > 0).sum()), int((gained < 0).sum()))
    assert line.p is not None and line.p == line.p_holm and line.p < 0.05


def test_shared_images_count_once_when_pooled_and_subsets_alike_in_the_mean() -> None:
    right = {
        ("a", "real", 0): 0.1,
        ("b", "real", 0): 0.1,
        ("a", "f1", 1): 0.9,
        ("b", "f2", 1): 0.9,
        ("b", "f3", 1): 1.0,
    }
    wrong = right | {("b", "f2", 1): 0.2}
    lines = by_place(differences(match(rows(right), rows(wrong), ("A", "B")), 0.5, 10, np.random.default_rng(0)))
    assert (lines[POOLED, "accuracy", 0].n_real, lines[POOLED, "accuracy", 0].n_fake) == (1, 3)
    assert lines[POOLED, "accuracy", None].difference == pytest.approx(1 / 4)
    assert lines[MEAN, "accuracy", None].difference == pytest.approx((0 + 1 / 3) / 2)
    assert lines["b", "accuracy", 0].p == 1.0 and lines[MEAN, "accuracy", 0].p is None


def test_images_with_a_score_for_each_subset_are_not_pooled() -> None:
    held = {("a", "real", 0): 0.1, ("b", "real", 0): 0.2, ("a", "f1", 1): 0.9, ("b", "f2", 1): 0.9}
    matched = match(rows(held), rows(held), ("A", "B"))
    lines = differences(matched, 0.5, 10, np.random.default_rng(0))
    assert POOLED not in {line.subset for line in lines}
    said = text_of(Compared("t", ("x", "y"), 0.5, matched, lines))
    assert "not pooled" in said and "not decided: the interval holds 0" in said


def test_a_subset_of_fakes_alone_has_accuracy_with_an_interval_and_no_ranking() -> None:
    one = {("a", f"f{k}", 1): 0.9 for k in range(20)}
    other = {key: 0.9 if k % 2 else 0.1 for k, key in enumerate(one)}
    matched = match(rows(one, (0, 1)), rows(other, (0, 1)), ("A", "B"))
    lines = by_place(differences(matched, 0.5, 200, np.random.default_rng(0)))
    assert {metric for _, metric, _ in lines} == {"accuracy"}
    assert lines["a", "accuracy", None].difference == 0.5 and 0 < lines["a", "accuracy", None].low < 0.5
    said = text_of(Compared("t", ("x", "y"), 0.5, matched, list(lines.values())))
    assert "A is better there" in said and "A calls everything fake on a (seed 0), a (seed 1)." in said


def test_what_only_one_has_is_named_and_left_out() -> None:
    held = {("a", "r", 0): 0.1, ("a", "f", 1): 0.9}
    matched = match(rows(held | {("a", "x", 1): 0.5}), rows(held | {("b", "r", 0): 0.1}), ("A", "B"))
    assert (matched.only_first, matched.only_second) == ([("a", "x")], [("b", "r")])
    assert matched.subsets == ["a"] and len(matched.label) == 2
    said = text_of(Compared("t", ("x", "y"), 0.5, matched, differences(matched, 0.5, 10, np.random.default_rng(0))))
    assert "Scored by A alone, and left out: 1 of a (a/x)." in said


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({("a", "r", 0): 0.1, ("a", "f", 0): 0.9}, "1 images have one label in A and the other in B, first a/f"),
        ({("b", "r", 0): 0.1}, "share no image"),
        ({("a", "r", 0): 1.5}, "1 scores are no probabilities, first 1.5"),
        ({("a", "r", 2): 0.5}, "labels are 0"),
        ({("a", "r", 0): 0.5, ("b", "r", 1): 0.5}, "1 images are both real and fake, first r"),
    ],
)
def test_what_cannot_be_compared_is_refused(other: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        match(rows({("a", "r", 0): 0.1, ("a", "f", 1): 0.9}), rows(other), ("A", "B"))


def test_two_scores_of_an_image_and_seeds_of_other_images_are_refused() -> None:
    held = rows({("a", "r", 0): 0.1, ("a", "f", 1): 0.9}, (0, 1))
    for change, said in (
        ({"seed": np.zeros(4, np.int64)}, "several scores"),
        ({"seed": np.array([0, 0, 1, 0])}, "seed"),
    ):
        broken = ScoreRows(**vars(held) | change)
        with pytest.raises(UserError, match=said):
            match(broken, held, ("A", "B"))


# ------------------------------------------------------------------------------------------------ command


def csv_file(path: Path, scores: dict[tuple[str, str, int], float], **more: str) -> str:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["subset", "id", "label", "score", *more])
        writer.writeheader()
        for (subset, image, label), score in scores.items():
            writer.writerow({"subset": subset, "id": image, "label": label, "score": score} | more)
    return str(path)


def test_files_are_compared_and_every_number_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = csv_file(tmp_path / "a.csv", noisy(0.9, 1)), csv_file(tmp_path / "b.csv", noisy(0.6, 2))
    assert run(["compare", one, other, "--resamples", "50", "--out", str(tmp_path / "c.csv")]) == 0
    said = capsys.readouterr().out
    assert "A is better there" in " ".join(said.split()) and f"A is {one}, B is {other}." in said
    written = list(csv.DictReader((tmp_path / "c.csv").read_text().splitlines()))
    assert [(row["metric"], row["seed"]) for row in written] == [
        (metric, seed) for metric in ("accuracy", "auc", "ap_fake") for seed in ("0", "mean")
    ]
    assert run(["compare", one, other, "--resamples", "50", "--out", str(tmp_path / "c.md")]) == 0
    assert (tmp_path / "c.md").read_text() == capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["a.csv", "a.csv"], "both are a.csv"),
        (["a.csv", "none.csv"], "there is no file or folder none.csv"),
        (["a.csv", "perturbed.csv"], "different test sets. a.csv: scores/none; perturbed.csv: scores/blur."),
        (["a.csv", "seeds.csv"], "different seeds. a.csv: 0; seeds.csv: 7. None is in both"),
        (["a.csv", "b.csv", "--out", "x.pdf"], "unknown suffix of --out '.pdf'"),
        (["a.csv", "b.csv", "--test", "scores/nine"], "Did you mean 'scores/none'"),
        (["a.csv", "bad.csv"], "lacks the columns label, score"),
        (["a.csv", "empty"], "holds no scores"),
        (["a.csv", "lol/lool"], "Did you mean 'lol/lol'"),
        (["a.csv", "lol/lol"], "lol/lol has not been scored"),
    ],
)
def test_mistakes_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, flags: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        csv_file(Path(f"{name}.csv"), noisy(0.9, 1, 8))
    csv_file(Path("perturbed.csv"), noisy(0.9, 1, 8), perturbation="blur")
    csv_file(Path("seeds.csv"), noisy(0.9, 1, 8), seed="7")
    Path("bad.csv").write_text("id,fake\nx,1\n")
    Path("empty").mkdir()
    Path("config").symlink_to(ROOT / "config")
    assert run(["compare", *flags]) == 2
    assert said in caplog.text


def test_a_runs_scores_are_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = make_plan(demo_config())
    path = Path(plan.score(plan.run("lol", "lol")).path)
    with pytest.raises(UserError, match=r"has not been scored.*snakemake --cores 2 data/score/lol/lol"):
        scores_from("lol/lol", lambda: plan)
    whole = {"benchmark": ["demo"], "perturbation": ["none"], "subset": ["ldm"], "id": ["x"], "seed": [0], "epoch": [6]}
    write_rows(path, whole | {"label": [1], "score": np.array([0.5], np.float32)})
    assert scores_from("lol/lol", lambda: plan)["demo", "none"].score.tolist() == [0.5]

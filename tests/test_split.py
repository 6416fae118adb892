from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tellsign.errors import UserError
from tellsign.stages.split import main, sample
from tellsign.system.parquet import read_rows, write_rows


def row(subset, part, label, name, status="ok", category=""):
    generator = subset if label else "real"
    place = {"root": "r", "path": f"{subset}/{label}/{name}", "width": 9, "height": 8}
    facts = {"generator": generator, "class": category, "id": name, "status": status}
    return {"subset": subset, "part": part, "label": label, **facts, **place}


def rows(fakes=10):
    shared = [row(s, "test", 0, f"real{i}") for s in ("adm", "sd") for i in range(10)]
    return shared + [row(s, "test", 1, f"{s}{i}") for s in ("adm", "sd") for i in range(fakes)]


def settings(**changes):
    plain = {"part": "test", "subsets": [], "count": 8, "seed": 0, "skip": 0, "per_class": None, "fallback": None}
    return plain | changes


def test_balanced_ordered_and_ranked():
    found = sample(rows(), settings())
    keys = [(r["subset"], r["label"], r["rank"]) for r in found]
    assert keys == [(s, label, rank) for s in ("adm", "sd") for label in (0, 1) for rank in range(4)]
    assert len({(r["subset"], r["id"]) for r in found}) == 16


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.integers(0, 5), st.integers(1, 10), st.integers(1, 10), st.randoms(use_true_random=False))
def test_nested_and_independent_of_the_order_of_rows(seed, small, large, rnd: random.Random):
    small, large = sorted((small, large))
    shuffled = rows()
    rnd.shuffle(shuffled)
    few = sample(rows(), settings(seed=seed, count=2 * small))
    many = sample(shuffled, settings(seed=seed, count=2 * large))
    assert few == [r for r in many if r["rank"] < small]


@hypothesis_settings(deadline=None, max_examples=20)
@given(st.integers(0, 5), st.integers(1, 9))
def test_what_a_split_skips_is_what_one_of_that_count_holds(seed, held):
    out, rest = (
        sample(rows(), settings(seed=seed) | one) for one in ({"count": 2 * held}, {"count": "all", "skip": 2 * held})
    )
    names = [{(r["subset"], r["id"]) for r in split} for split in (out, rest)]
    assert not names[0] & names[1] and len(names[0] | names[1]) == 40
    assert [r["rank"] for r in rest[: 10 - held]] == list(range(10 - held))
    with pytest.raises(UserError, match="skip is 3 images per subset"):
        sample(rows(), settings(skip=3))
    with pytest.raises(UserError, match="adm: 1 real, 4 wanted"):
        sample(rows(), settings(skip=18))


def test_adding_images_never_reorders_the_others():
    before = [r["id"] for r in sample(rows(), settings(count="all", subsets=["sd"])) if r["label"]]
    after = [r["id"] for r in sample(rows(20), settings(count="all", subsets=["sd"])) if r["label"]]
    assert [name for name in after if name in before] == before


def test_seeds_draw_differently_and_subsets_share_their_photographs():
    first, second = (sample(rows(), settings(seed=s)) for s in (0, 1))
    assert {r["id"] for r in first} != {r["id"] for r in second}
    reals = [[r["id"] for r in first if (r["subset"], r["label"]) == (s, 0)] for s in ("adm", "sd")]
    assert reals[0] == reals[1]


def test_unusable_and_repeated_files_are_not_drawn():
    extra = [row("sd", "test", 1, f"bad{i}", status="corrupt") for i in range(50)]
    extra += [row("sd", "test", 1, "sd0") | {"path": f"copy{i}"} for i in range(50)]
    found = sample(rows() + extra, settings(count=20, subsets=["sd"]))
    assert sorted(r["id"] for r in found if r["label"]) == sorted(f"sd{i}" for i in range(10))


def test_all_takes_every_image():
    assert len(sample(rows(fakes=3), settings(count="all", subsets="all"))) == 2 * (10 + 3)


def test_photographs_for_pretraining_have_one_label():
    photos = [row("photos", "pretrain", 0, str(i)) for i in range(5)]
    found = sample(photos, settings(part="pretrain", count=3))
    assert [(r["label"], r["rank"]) for r in found] == [(0, 0), (0, 1), (0, 2)]


def test_too_few_images_are_all_listed():
    with pytest.raises(UserError, match=r"adm: 3 fake, 4 wanted\n  sd: 3 fake, 4 wanted\n"):
        sample(rows(fakes=3), settings())
    with pytest.raises(UserError, match="adm: 0 fake, 1 wanted"):
        sample(rows(fakes=0), settings(count="all"))


def test_odd_counts_unknown_subsets_and_parts_are_errors():
    with pytest.raises(UserError, match=r"count is 7 .* even"):
        sample(rows(), settings(count=7))
    with pytest.raises(UserError, match=r"part 'test' has no subset 'amd'. Did you mean 'adm'\? Known: adm, sd"):
        sample(rows(), settings(subsets=["amd"]))
    with pytest.raises(UserError, match="part 'train' holds no usable image; this index has: test"):
        sample(rows(), settings(part="train"))


def test_main_writes_the_columns_and_the_same_bytes_again(tmp_path):
    columns = {name: [r[name] for r in rows()] for name in rows()[0]}
    write_rows(tmp_path / "index.parquet", columns)
    for name in ("a", "b"):
        main(settings=settings(), index=[tmp_path / "index.parquet"], out=tmp_path / name)
    found = read_rows(tmp_path / "a")
    assert found.column_names == [
        "subset",
        "part",
        "label",
        "generator",
        "class",
        "id",
        "root",
        "path",
        "width",
        "height",
        "rank",
    ]
    assert found.to_pylist() == sample(rows(), settings())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def nested(**counts):
    """A set of class folders, each with (real, fake) images."""
    return [
        row("progan", "test", label, f"{name}{label}{i}", category=name)
        for name, held in counts.items()
        for label in (0, 1)
        for i in range(held[label])
    ]


def drawn(rows, **changes):
    found = sample(rows, settings(count="all", **changes))
    return Counter((r["class"], r["label"]) for r in found)


def test_a_class_folder_gives_so_many_and_a_poor_one_the_fallback_of_both_labels():
    rows = nested(cat=(9, 9), cow=(9, 4), dog=(1, 9))
    plain = {("cat", 0): 5, ("cat", 1): 5, ("cow", 0): 5, ("cow", 1): 4, ("dog", 0): 1, ("dog", 1): 5}
    assert drawn(rows, per_class=5) == plain
    poor = {("cow", 0): 2, ("cow", 1): 2, ("dog", 0): 1, ("dog", 1): 2}
    assert drawn(rows, per_class=5, fallback=2) == plain | poor
    assert drawn(rows) == Counter((r["class"], r["label"]) for r in rows)


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.integers(0, 5), st.integers(1, 8), st.integers(1, 8), st.integers(1, 12))
def test_with_a_limit_a_class_smaller_samples_are_still_in_larger_ones(seed, one, other, count):
    rows = nested(cat=(9, 9), cow=(9, 8))
    by_limit = [
        {r["id"] for r in sample(rows, settings(count="all", seed=seed, per_class=n))} for n in sorted((one, other))
    ]
    assert by_limit[0] <= by_limit[1]
    fewer = {r["id"] for r in sample(rows, settings(count=2, seed=seed, per_class=one))}
    more = {r["id"] for r in sample(rows, settings(count=min(2 * count, 4 * one), seed=seed, per_class=one))}
    assert fewer <= more <= {r["id"] for r in sample(rows, settings(count="all", seed=seed, per_class=one))}

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellsign.errors import UserError
from tellsign.system.files import host, owner
from tellsign.system.store import Store, differences, rows_of_part

MADE = {"captioner": {"name": "blip2", "beams": 5}, "pixels": "abc"}


def test_only_missing_keys_are_made_in_shards_and_all_rows_come_back(tmp_path):
    store, asked = Store.open(tmp_path / "s", ("id",), MADE), []

    def make(rows, of="abcdefg"):
        asked.append([of[i] for i in rows])
        return {"id": [of[i] for i in rows], "text": [of[i].upper() for i in rows]}

    rows = store.complete([(c,) for c in "abca"], make, 2, "letters")
    assert asked == [["a", "b"], ["c"]] and len(store.shards()) == 2
    assert dict(zip(rows["id"].to_pylist(), rows["text"].to_pylist(), strict=True)) == {"a": "A", "b": "B", "c": "C"}
    asked.clear()
    Store.open(tmp_path / "s", ("id",), MADE).complete([(c,) for c in "abcdefg"], make, 10, "letters")
    assert asked == [["d", "e", "f", "g"]]


def test_what_was_made_before_a_kill_is_kept(tmp_path):
    store, made = Store.open(tmp_path, ("id",), MADE), []

    def make(rows):
        if len(made) == 4:
            raise KeyboardInterrupt
        made.extend(rows)
        return {"id": [str(i) for i in rows]}

    keys = [(str(i),) for i in range(10)]
    with pytest.raises(KeyboardInterrupt):
        store.complete(keys, make, 2, "numbers")
    made.clear()
    store.complete(keys, lambda rows: made.extend(rows) or {"id": [str(i) for i in rows]}, 2, "numbers")
    assert made == [4, 5, 6, 7, 8, 9]


def test_a_key_in_two_shards_counts_once_with_all_its_rows(tmp_path):
    store = Store.open(tmp_path, ("id", "caption"), MADE)
    store.add({"id": ["a", "a", "b"], "caption": ["x", "x", "x"], "phrase": ["p", "q", ""]})
    store.add({"id": ["a", "a", "a"], "caption": ["x", "x", "y"], "phrase": ["p", "q", "r"]})
    rows = store.read()
    found = sorted(zip(rows["id"].to_pylist(), rows["caption"].to_pylist(), rows["phrase"].to_pylist(), strict=True))
    assert found == [("a", "x", "p"), ("a", "x", "q"), ("a", "y", "r"), ("b", "x", "")]


def test_equal_rows_are_one_file_and_folders_merge_by_copying(tmp_path):
    one, two = (Store.open(tmp_path / name, ("id",), MADE) for name in ("one", "two"))
    for store in (one, one, two):
        store.add({"id": ["a"]})
    two.add({"id": ["b"]})
    assert len(one.shards()) == 1 and {s.name for s in one.shards()} < {s.name for s in two.shards()}
    for shard in two.shards():
        (one.folder / shard.name).write_bytes(shard.read_bytes())
    assert sorted(one.read()["id"].to_pylist()) == ["a", "b"]


def test_a_store_that_something_else_made_is_refused_by_name(tmp_path):
    Store.open(tmp_path, ("id",), MADE)
    other = {"captioner": {"name": "blip2", "beams": 1, "weights": "x"}, "pixels": "abc"}
    with pytest.raises(UserError, match=r"captioner\.beams is 5, not 1; captioner\.weights is None, not 'x'"):
        Store.open(tmp_path, ("id",), other)
    (tmp_path / "made.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        Store.open(tmp_path, ("id",), MADE)


@pytest.mark.parametrize("change", [lambda b: b[: len(b) // 2], lambda b: b[:50] + bytes([b[50] ^ 1]) + b[51:]])
def test_a_damaged_shard_is_refused_by_name(tmp_path, change):
    store = Store.open(tmp_path, ("id",), MADE)
    store.add({"id": ["a", "b"]})
    shard = store.shards()[0]
    shard.write_bytes(change(shard.read_bytes()))
    with pytest.raises(UserError, match=shard.name):
        store.read()


def test_differences_name_the_way_to_each():
    assert differences(MADE, json.loads(json.dumps(MADE))) == []
    assert differences({"a": {"b": 1}}, {"a": {"b": 1, "c": [2]}}) == ["a.c is None, not [2]"]


def test_half_written_shards_of_killed_writers_are_cleared_and_no_others(tmp_path):
    here, gone = host(), subprocess.Popen(["true"])
    gone.wait()
    parts = [
        tmp_path / f".x.{here}-{gone.pid}.part",
        tmp_path / f".y.{owner()}.part",
        tmp_path / ".z.far-1.part",
    ]
    for part in parts:
        part.touch()
    Store.open(tmp_path, ("id",), MADE)
    assert [part.exists() for part in parts] == [False, True, True]


def test_jobs_that_begin_a_store_at_once_do_not_disturb_each_other(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        for i in range(20):
            stores = list(pool.map(lambda _, i=i: Store.open(tmp_path / str(i), ("id",), MADE), range(8)))
            assert len(stores) == 8 and [p.name for p in (tmp_path / str(i)).iterdir()] == ["made.json"]


def test_rows_without_a_word_on_what_made_them_are_refused(tmp_path):
    Store.open(tmp_path, ("id",), MADE).add({"id": ["a"]})
    (tmp_path / "made.json").unlink()
    with pytest.raises(UserError, match=r"made\.json, which says what made them, is gone"):
        Store.open(tmp_path, ("id",), MADE)


@given(count=st.integers(0, 60), jobs=st.integers(1, 9), block=st.integers(1, 20))
@settings(deadline=None)
def test_parts_share_all_rows_and_keep_the_blocks_of_one_job(count, jobs, block):
    parts = [rows_of_part(count, f"{n}/{jobs}", block) for n in range(1, jobs + 1)]
    assert sorted(row for part in parts for row in part) == list(range(count))
    whole = [list(range(count))[i : i + block] for i in range(0, count, block)]
    assert sorted(part[i : i + block] for part in parts for i in range(0, len(part), block)) == whole


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b", "1/2/3", "-1/2", ""])
def test_a_part_that_is_none_is_refused(part):
    with pytest.raises(UserError, match="say which part of how many"):
        rows_of_part(10, part, 4)

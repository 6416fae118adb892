import math
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tellsign.errors import UserError, choose
from tellsign.networks.determinism import pick_device, placed, seeded
from tellsign.networks.inference import brought_back
from tellsign.system import integrity
from tellsign.system.files import add_to_manifest, file_beside, folder_beside, host, owner, write_text
from tellsign.system.integrity import check_files, sha256_once
from tellsign.system.parquet import read_rows, write_rows


def test_a_failed_write_leaves_nothing_and_keeps_the_old(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), file_beside(path) as part:
        part.write_text("half")
        _ = 1 / 0
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_folder_leaves_nothing(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), folder_beside(tmp_path / "f") as part:
        (part / "x").write_text("half")
        _ = 1 / 0
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_cleared(tmp_path: Path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    killed, alive = f".f.0123abcd.{host()}-{gone.pid}.part", f".f.4567cdef.{owner()}.part"
    (tmp_path / killed).mkdir()
    (tmp_path / killed / "x").write_text("half")
    (tmp_path / alive).write_text("another job's")
    with folder_beside(tmp_path / "f") as part:
        (part / "x").write_text("whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == [alive, "f"]


def test_writers_of_one_file_at_once_do_not_disturb_each_other(tmp_path: Path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: write_text(tmp_path / "f", str(i)), range(200)))
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_rows_come_back_as_they_were_and_equal_rows_are_equal_bytes(tmp_path: Path):
    columns = {
        "text": ["a", "ß", ""], "truth": [True, False, True], "whole": [1, -2, 3],
        "number": [0.5, 2, math.inf], "small": np.array([1, 2, 3], np.int8), "list": [[1.0], [], [2.0, 3.0]],
    }  # fmt: skip
    for name in ("one", "two"):
        write_rows(tmp_path / name, columns)
    back = read_rows(tmp_path / "one")
    assert back.to_pydict() == {k: list(v) for k, v in columns.items()}
    assert str(back.schema.field("small").type) == "int8"
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("content", [b"", b"PAR1 but cut short"])
def test_damaged_rows_are_named(tmp_path: Path, content: bytes):
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.parquet .*made anew"):
        read_rows(tmp_path / "x.parquet")


def test_seeded_restores_the_global_generator():
    import torch

    torch.manual_seed(1)
    before = torch.get_rng_state()
    with seeded(7):
        a = torch.rand(3)
    with seeded(7):
        b = torch.rand(3)
    assert torch.equal(a, b)
    assert torch.equal(before, torch.get_rng_state())


def test_a_missing_device_is_an_error():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(UserError, match="--device cpu"):
        pick_device("cuda")


def test_single_precision_is_not_rounded_to_tf32():
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    pick_device("cpu")
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


def test_a_result_is_fetched_after_the_next_was_asked_for():
    asked: list[int] = []

    def results():
        for number in range(3):
            asked.append(number)
            yield torch.tensor(number)

    assert [(int(result), list(asked)) for result in brought_back(results())] == [
        (0, [0, 1]), (1, [0, 1, 2]), (2, [0, 1, 2]),
    ]  # fmt: skip
    assert not list(brought_back(iter(())))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_convolutional_networks_lie_channels_last_and_others_as_they_are():
    device = torch.device("cuda")
    convolution = placed(nn.Conv2d(3, 8, 3), device)
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    mostly_linear = placed(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Linear(9, 9)), device)
    assert next(mostly_linear.parameters()).is_contiguous()


def test_choose_names_the_near_miss():
    with pytest.raises(UserError, match=r"Did you mean 'noise'\? Known: blur, noise"):
        choose({"noise": 1, "blur": 2}, "niose", "perturbation")


def test_ids_that_repeat_are_stored_once_and_can_stay_numbers(tmp_path: Path):
    draw = np.random.default_rng(0)
    ids = [draw.bytes(32).hex() for _ in range(20_000)]  # more text than one page of a Parquet dictionary holds
    sizes = []
    for times in (1, 4):
        path = tmp_path / f"{times}.parquet"
        write_rows(path, {"id": ids * times, "score": draw.random(20_000 * times).astype(np.float32)})
        sizes.append(path.stat().st_size - 4 * 20_000 * times)
        held = read_rows(path, codes=["id"])
        assert str(held.schema.field("id").type).startswith("dictionary")
        assert held["id"].to_pylist() == read_rows(path)["id"].to_pylist() == ids * times
    assert sizes[1] < 1.5 * sizes[0]


def test_rows_with_any_bit_flipped_or_cut_anywhere_are_refused(tmp_path: Path):
    path = tmp_path / "x.parquet"
    write_rows(path, {"id": ["a", "b"], "score": np.array([0.5, 1], np.float32)})
    whole = path.read_bytes()
    for at in range(len(whole)):
        held = bytearray(whole)
        held[at] ^= 1 << at % 8
        path.write_bytes(held)
        with pytest.raises(UserError, match=r"x\.parquet .*made anew"):
            read_rows(path)
        path.write_bytes(whole[:at])
        with pytest.raises(UserError, match=r"x\.parquet .*made anew"):
            read_rows(path)


def test_rows_of_an_older_version_have_no_seal_and_are_read(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "x.parquet")
    assert read_rows(tmp_path / "x.parquet").to_pydict() == {"id": ["a"]}


def test_a_folder_lists_its_files_and_what_differs_is_named(tmp_path: Path):
    with folder_beside(tmp_path / "f") as part:
        (part / "x").write_text("whole")
    check_files(tmp_path / "f")
    check_files(tmp_path)  # the user's own folder, without a list
    (tmp_path / "f" / ".hidden").write_text("Snakemake's or the system's")
    check_files(tmp_path / "f")
    for change, said in ((lambda p: p.write_text("whale"), "x is damaged"), (Path.unlink, "x is missing")):
        change(tmp_path / "f" / "x")
        with pytest.raises(UserError, match=said):
            check_files(tmp_path / "f")
    (tmp_path / "f" / "x").write_text("whole")
    (tmp_path / "f" / "y").write_text("more")
    with pytest.raises(UserError, match="y is not in"):
        check_files(tmp_path / "f")


def test_a_manifest_grows_by_what_is_written_and_keeps_what_it_says_of_others(tmp_path: Path):
    for name in ("b", "a"):
        (tmp_path / name).write_text(name)
        add_to_manifest(tmp_path / name)
    check_files(tmp_path)
    (tmp_path / "a").write_text("A")  # damage, which a later file must not cover up
    (tmp_path / "b").write_text("new")
    add_to_manifest(tmp_path / "b")
    with pytest.raises(UserError, match="a is damaged"):
        check_files(tmp_path)


def test_a_settled_file_is_hashed_once_and_a_changed_one_again(tmp_path: Path, monkeypatch):
    path, read, real = tmp_path / "x", [], integrity.sha256_of_file
    monkeypatch.setattr(integrity, "sha256_of_file", lambda path: read.append(path) or real(path))
    path.write_text("one")
    for _ in range(2):  # just written: what changes in the same tick would go unnoticed
        assert sha256_once(path) == real(path)
    assert len(read) == 2
    monkeypatch.setattr(integrity, "SETTLED_NS", -(10**18))
    for _ in range(2):
        assert sha256_once(path) == real(path)
    assert len(read) == 3
    path.write_text("other")
    assert sha256_once(path) == real(path) and len(read) == 4

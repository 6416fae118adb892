from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellsign.data.benchmarks import Placed, list_images, part_of, passed_over
from tellsign.errors import UserError


def make(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")


def listed(layout, roots, subsets=(), exclude=()):
    return list_images(roots, {"layout": layout, "subsets": subsets, "exclude": exclude})


def test_folder_flat_nested_and_with_parts(tmp_path):
    make(tmp_path, "sd/0_real/b.JPEG", "sd/0_real/a.png", "sd/1_fake/x.PNG")
    make(tmp_path, "progan/cat/0_real/1.png", "progan/dog/1_fake/1.png", "dog")
    make(tmp_path, "adm/Train/0_REAL/1.png", "adm/test/1_fake/deep/1.png", "adm/test/cat/1_fake/2.png")
    assert listed("folder", {"r": tmp_path}).files == [
        Placed("adm", "test", 1, "adm", "r", "adm/test/1_fake/deep/1.png"),
        Placed("adm", "test", 1, "adm", "r", "adm/test/cat/1_fake/2.png", "cat"),
        Placed("adm", "train", 0, "real", "r", "adm/Train/0_REAL/1.png"),
        Placed("progan", "", 0, "real", "r", "progan/cat/0_real/1.png", "cat"),
        Placed("progan", "", 1, "progan", "r", "progan/dog/1_fake/1.png", "dog"),
        Placed("sd", "", 0, "real", "r", "sd/0_real/a.png"),
        Placed("sd", "", 0, "real", "r", "sd/0_real/b.JPEG"),
        Placed("sd", "", 1, "sd", "r", "sd/1_fake/x.PNG"),
    ]


def test_what_is_passed_over_is_counted(tmp_path):
    make(tmp_path, "sd/0_real/a.png", "sd/1_fake/.a.png", "sd/1_fake/a.svg", "__MACOSX/sd/0_real/a.png")
    make(tmp_path, "photos/a.jpg", "top.png", "sd/other/1.png")
    make(tmp_path, "adm/test/0_real/1.png", "adm/val/0_real/1.png", "adm/val/1_fake/1.png")
    listing = listed("folder", {"r": tmp_path}, exclude=("photos",))
    assert [file.path for file in listing.files] == ["adm/test/0_real/1.png", "sd/0_real/a.png"]
    assert passed_over([listing.skipped]) == {
        "__MACOSX folder": 1,
        "excluded folder photos": 1,
        "hidden (name starts with a dot)": 1,
        "outside the label folders (under sd)": 1,
        "outside the label folders (under the root)": 1,
        "outside train and test (under adm)": 2,
        "suffix .svg": 1,
    }


def test_demo_shares_the_photographs_of_a_part(tmp_path):
    make(tmp_path, "a/1.jpg", "b/1.jpg", "ldm/train/1.jpg", "ldm/test/1.jpg", "fsq/test/1.jpg", "fsq/x.jpg")
    roots = {
        "train": tmp_path / "a",
        "test": tmp_path / "b",
        "ldm": tmp_path / "ldm",
        "fsq": tmp_path / "fsq",
    }
    listing = listed("demo", roots)
    assert listing.files == [
        Placed("fsq", "test", 0, "real", "test", "1.jpg"),
        Placed("fsq", "test", 1, "fsq", "fsq", "test/1.jpg"),
        Placed("ldm", "test", 0, "real", "test", "1.jpg"),
        Placed("ldm", "test", 1, "ldm", "ldm", "test/1.jpg"),
        Placed("ldm", "train", 0, "real", "train", "1.jpg"),
        Placed("ldm", "train", 1, "ldm", "ldm", "train/1.jpg"),
    ]
    assert passed_over([listing.skipped]) == {"outside train and test (generator fsq)": 1}


def test_photos(tmp_path):
    make(tmp_path, "n01/1.JPEG", "2.jpg")
    assert listed("photos", {"p": tmp_path}).files == [
        Placed("photos", "pretrain", 0, "real", "p", "2.jpg"),
        Placed("photos", "pretrain", 0, "real", "p", "n01/1.JPEG"),
    ]


def test_subsets_select_and_an_unknown_one_is_an_error(tmp_path):
    make(tmp_path, "sd_v1/0_real/a.png", "adm/0_real/a.png")
    assert {file.subset for file in listed("folder", {"r": tmp_path}, ["adm"]).files} == {"adm"}
    with pytest.raises(UserError, match=r"subset 'sd_v2' is not in .* Did you mean 'sd_v1'\? Found: adm, sd_v1"):
        listed("folder", {"r": tmp_path}, ["sd_v2"])


def test_errors_show_the_expected_tree(tmp_path):
    with pytest.raises(UserError, match=r"unknown layout 'foldr'. Did you mean 'folder'"):
        listed("foldr", {"r": tmp_path})
    with pytest.raises(UserError, match=r"root 'r': there is no folder .*none(.|\n)*<subset>/\{0_real,1_fake\}"):
        listed("folder", {"r": tmp_path / "none"})
    make(tmp_path, "a.png")
    with pytest.raises(UserError, match=r"(.|\n)*Passed over: 1 × outside the label folders \(under the root\)"):
        listed("folder", {"r": tmp_path})
    make(tmp_path, "0_real/a.png", "1_fake/b.png")
    with pytest.raises(UserError, match=r"0_real: it is itself a label's folder: give the folder above"):
        listed("folder", {"r": tmp_path})


@pytest.mark.parametrize(
    ("path", "label", "category"),
    [
        ("a/Real/1.png", 0, ""),
        ("a/FAKE/1.png", 1, ""),
        ("a/nature/1.png", 0, ""),
        ("a/Train/AI/1.png", 1, ""),
        ("a/0/1.png", 0, ""),
        ("a/1/1.png", 1, ""),
        ("a/0/1_fake/1.png", 1, "0"),  # a class called 0
        ("a/real/1_fake/1.png", 1, "real"),
        ("a/1/real/1.png", 0, "1"),
    ],
)
def test_names_of_label_folders(tmp_path, path, label, category):
    make(tmp_path, path)
    (file,) = listed("folder", {"r": tmp_path}).files
    assert (file.label, file.category) == (label, category)


def test_a_folder_without_labels_is_an_error_with_the_near_miss(tmp_path):
    make(tmp_path, "sd/real/a.png", "swapped/fakes/1.png", "swapped/fakes/2.png", "plots/x/1.png", "notes/a.txt")
    with pytest.raises(UserError) as caught:
        listed("folder", {"r": tmp_path})
    lines = str(caught.value).splitlines()
    assert lines[1:3] == [
        "  plots: it holds x (1 images).",
        "  swapped: it holds fakes (2 images). Did you mean 'fake'?",
    ]
    assert len(lines) == 4 and len(listed("folder", {"r": tmp_path}, exclude=("swapped", "plots")).files) == 1


def test_one_label_inside_another_is_an_error(tmp_path):
    make(tmp_path, "a/real/fake/1.png")
    with pytest.raises(UserError, match="real/fake: 'real' and 'fake' lie in one another"):
        listed("folder", {"r": tmp_path})


@given(st.integers(0, 1000))
def test_parts_by_hash_grow_with_the_fraction(seed):
    ids = [f"{seed}-{i}" for i in range(50)]
    tests = [{i for i in ids if part_of(i, 3407, f) == "test"} for f in (0.0, 0.3, 0.6, 1.0)]
    assert tests[0] == set()
    assert tests[0] <= tests[1] <= tests[2] <= tests[3] == set(ids)


def test_parts_by_hash_meet_the_fraction_and_follow_the_seed():
    ids = [str(i) for i in range(4000)]
    chosen = [[part_of(i, seed, 0.25) == "test" for i in ids] for seed in (1, 2)]
    for draw in chosen:
        assert abs(sum(draw) - 1000) < 5 * (4000 * 0.25 * 0.75) ** 0.5
    both = sum(a and b for a, b in zip(*chosen, strict=True))
    assert abs(both - 250) < 5 * 250**0.5

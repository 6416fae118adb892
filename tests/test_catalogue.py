"""The record of other authors' detectors, and their released weights as entries of the catalogue."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from baseline_cases import ABSENT, FOLDER
from conftest import ROOT

from tellsign.commands import weights as command
from tellsign.detectors.registry import METHODS
from tellsign.errors import UserError
from tellsign.networks.catalogue import DETECTORS, Catalogue, read_detectors, released_weights
from tellsign.networks.weights import WeightsCatalogue, total_size
from tellsign.schema.detectors import DetectorRecord
from tellsign.schema.loading import build
from tellsign.schema.strict_yaml import read_yaml
from tellsign.schema.weights import MissingWeightsError
from tellsign.system.integrity import git_blob, sha256_of_file

OFFICIAL = {"cnndet": "cnndetection", "tiny-ladeda": "ladeda"}
"""Detectors whose official tensors are listed under another name."""

RECORD = {
    "name": "Mine",
    "paper": {"title": "T", "authors": "A", "year": 2024},
    "code": {"page": "https://example.org/a/b", "commit": "a" * 40, "licence": "MIT"},
    "recipes": [],
    "input": "as it is",
    "outputs": 1,
    "fake_class": 1,
}
FILE = {"file": "net.pth", "trained_on": "ProGAN", "layout": "tensors alone", "tensors": ["conv.weight", "fc.bias"]}


def catalogue_of(folder: Path, **checkpoints: dict) -> WeightsCatalogue:
    """A project whose one detector has released these."""
    (folder / "config").mkdir()
    (folder / "config" / "weights.yaml").write_text("{}")
    (folder / DETECTORS).write_text(yaml.safe_dump({"mine": RECORD | {"checkpoints": checkpoints}}))
    return WeightsCatalogue(Catalogue(folder), folder / "weights", sha256_of_file, folder)


def put(catalogue: WeightsCatalogue, name: str, tensors: dict) -> Path:
    """A file where the catalogue looks for it."""
    path = catalogue.folder / name / "net.pth"
    path.parent.mkdir(parents=True)
    torch.save({"model": {f"module.{key}": torch.zeros(1) for key in tensors}}, path)
    return path


def test_every_recipe_that_is_named_exists():
    recipes = {*read_yaml(ROOT / "config" / "papers" / "baselines.yaml"), *METHODS}
    detectors = read_detectors(ROOT / DETECTORS)
    assert all(set(record.recipes) <= recipes for record in detectors.values())
    assert len(released_weights(detectors)) == sum(len(record.checkpoints) for record in detectors.values())


def test_tensors_that_are_named_are_the_official_ones():
    if not FOLDER.is_dir():
        pytest.skip(ABSENT)
    for detector, record in read_detectors(ROOT / DETECTORS).items():
        lists = sorted((FOLDER / OFFICIAL.get(detector, detector)).glob("tensors*.tsv"))
        official = [{line.split("\t")[0] for line in path.read_text().splitlines()} for path in lists]
        for name, released in record.checkpoints.items():
            if (detector, name) != ("unifd", "progan"):  # the last layer alone, whose file is at hand
                assert any(names >= set(released.tensors) for names in official), (detector, name)


@pytest.mark.parametrize(("name", "place"), [("rine-2class", "rine"), ("unifd-progan", "unifd")])
def test_a_released_file_is_known_by_its_digest_and_its_tensors(tmp_path, name, place):
    if not FOLDER.is_dir():
        pytest.skip(ABSENT)
    catalogue = WeightsCatalogue(Catalogue(ROOT), tmp_path, sha256_of_file, tmp_path)
    entry = catalogue.entries[name]
    (tmp_path / name).mkdir()
    shutil.copy(FOLDER / place / entry.files[0], tmp_path / name)
    assert catalogue.find(name).digest == entry.sha256[entry.files[0]]


def test_another_file_in_its_place_is_told(tmp_path):
    catalogue = catalogue_of(tmp_path, net=FILE | {"get": "a drive"})
    path = put(catalogue, "mine-net", {"conv.weight": 1, "head.bias": 1})
    with pytest.raises(UserError, match=r"is not mine-net: it holds no tensor fc\.bias"):
        catalogue.find("mine-net")
    torch.save({"conv.weight": torch.zeros(1), "fc.bias": torch.zeros(1)}, path)
    assert catalogue.find("mine-net").recorded


def test_a_file_of_a_repository_is_known_by_gits_id_of_it(tmp_path):
    (tmp_path / "hello").write_bytes(b"hello\n")
    assert git_blob(tmp_path / "hello") == "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object
    catalogue = catalogue_of(tmp_path, net=FILE | {"path": "weights/net.pth", "blob": "0" * 40})
    assert catalogue.entries["mine-net"].url == f"https://example.org/a/b/raw/{'a' * 40}/weights/net.pth"
    put(catalogue, "mine-net", {"conv.weight": 1, "fc.bias": 1})
    with pytest.raises(UserError, match=r"not the released file: git's id of it is [0-9a-f]{40}, \S+ has 0000"):
        catalogue.find("mine-net")


def test_what_has_no_address_is_left_to_a_person(tmp_path, monkeypatch, capsys):
    catalogue = catalogue_of(tmp_path, net=FILE | {"get": "a drive"}, web=FILE | {"url": "https://example.org/net.pth"})
    with pytest.raises(MissingWeightsError, match=r"get it by hand \(a drive\)\nand put it to \S+/mine-net/net.pth"):
        catalogue.find("mine-net")
    assert command.fetch_missing(catalogue, ["mine-net"]) == []
    rows = command.states(catalogue, {"mine-net": ["x"], "mine-web": ["y"]}, {})
    text = command.summary(rows, {"mine-net": ["x"], "mine-web": ["y"]})
    assert "tellsign weights --only mine-web --fetch" in text and "published (1 of unknown size)" in text
    assert command.users_of(catalogue.entries["mine-net"]) == ["Mine as released"]


def test_a_name_of_both_files_is_told(tmp_path):
    catalogue_of(tmp_path, net=FILE | {"get": "a drive"})
    entry = {"url": "https://x/y", "files": ["y"], "licence": "MIT", "papers": ["tidy"], "page": "https://x"}
    (tmp_path / "config" / "weights.yaml").write_text(json.dumps({"mine-net": entry}))
    with pytest.raises(UserError, match="has an entry 'mine-net' too"):
        list(Catalogue(tmp_path))


@pytest.mark.parametrize(
    ("checkpoint", "said"),
    [
        ({}, "one of url, path and get"),
        ({"url": "https://x", "get": "a drive"}, "one of url, path and get"),
        ({"url": "https://x", "sha256": "0" * 63}, "64 hex digits"),
    ],
)
def test_a_wrong_checkpoint_is_told(checkpoint, said):
    with pytest.raises(UserError, match=said):
        build(DetectorRecord, RECORD | {"checkpoints": {"net": FILE | checkpoint}}, "mine")


def test_a_number_too_few_is_told():
    numbers = [{"of": "x", "source": "y", "metrics": ["accuracy", "AP"], "values": {"ADM": [50.0]}}]
    with pytest.raises(UserError, match=r"ADM needs 2 numbers from 0 to 100, got \[50.0\]"):
        build(DetectorRecord, RECORD | {"numbers": numbers}, "mine")


def test_sizes_add_up_as_far_as_they_are_stated():
    entries = Catalogue(ROOT)
    assert total_size([entries["clip-rn50"], entries["npr-progan"]]) == "408 MB and 1 of unknown size"

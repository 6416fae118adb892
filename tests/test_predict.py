"""`tellsign predict`: a person's pictures, scored as the pipeline scores its test sets."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pillow_heif
import pytest
import yaml
from conftest import demo_config, make_plan
from PIL import Image, PngImagePlugin
from small_runs import BRIEF, plan_of, trained_runs

import tellsign
from tellsign.__main__ import run
from tellsign.commands import predict
from tellsign.data.kinds import JXL, RAW
from tellsign.errors import UserError
from tellsign.plan.plan import Plan
from tellsign.prediction.evidence import metadata_of
from tellsign.prediction.pictures import find_pictures
from tellsign.prediction.sources import Source, centre_crop
from tellsign.stages import crops, score
from tellsign.system.parquet import read_rows, write_rows

CONTROLLED = {"control": "jpeg+size", "quality": 80, "size": 100}


pillow_heif.register_heif_opener()  # to write with


class World(NamedTuple):
    """A folder with a trained run ``toys/a``, a run ``toys/b`` that differs in its bias control, and pictures."""

    folder: Path
    plan: Plan
    pictures: list[Path]


def picture(path: Path, size: tuple[int, int], seed: int, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def opened(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder, plan = trained_runs(tmp_path_factory, BRIEF, {"a": {}, "b": {"bias": CONTROLLED}})
    suffixes = ("png", "jpg", "webp")
    pictures = [picture(folder / f"mine/{i:02}.{suffixes[i % 3]}", (60 + 7 * i, 130 - 6 * i), i) for i in range(9)]
    return World(folder, plan, pictures)


@pytest.fixture
def there(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The world as the current folder, its plan that of any configuration."""
    monkeypatch.chdir(world.folder)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(predict, "plan_of", lambda _file, _given: world.plan)
    return world


def checkpoint_of(world: World, name: str) -> Path:
    return world.folder / world.plan.checkpoint(world.plan.run("toys", name), 0).path


def asked(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit status and the pictures of the answer."""
    status = run(["predict", *arguments, "--device", "cpu", "--out", "answer.json"])
    return status, json.loads(Path("answer.json").read_text())["pictures"]


def pipeline_scores(world: World, name: str) -> list[float]:
    """The scores of the pictures by the stages crops and score."""
    folder = world.folder / f"stages-{name}"
    rows = []
    for i, path in enumerate(world.pictures):
        height, width = opened(path).shape[:2]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append({"id": digest, "subset": "s", "label": i % 2, "rank": i, "root": "r", "path": path.name,
                     "width": width, "height": height})  # fmt: skip
    folder.mkdir()
    write_rows(folder / "split.parquet", {key: [row[key] for row in rows] for key in rows[0]})
    planned = world.plan.score(world.plan.run("toys", name))
    ((_, made),) = planned.needs["inputs"]
    roots = {"r": world.folder / "mine"}
    crops.main(settings=made.settings, split=folder / "split.parquet", roots=roots, out=folder / "crops")
    (test,) = planned.settings["tests"]
    score.main(settings=planned.settings, checkpoints={"0": checkpoint_of(world, name)},
               splits={test: folder / "split.parquet"}, inputs={f"crops@{test}": folder / "crops"},
               out=folder / "scores.parquet", device="cpu")  # fmt: skip
    return read_rows(folder / "scores.parquet")["score"].to_pylist()


@pytest.mark.parametrize("name", ["a", "b"])
def test_scores_are_the_pipelines_to_the_bit(there, name):
    status, rows = asked("mine", "--run", f"toys/{name}")
    due = pipeline_scores(there, name)
    assert status == 0 and [row["score"] for row in rows] == due and len(set(due)) > 5
    assert [row["path"] for row in rows] == [f"mine/{path.name}" for path in there.pictures]


def test_a_run_says_its_protocol_and_several_have_a_mean(there):
    _, rows = asked("mine", "--run", "toys/a", "toys/b")
    for row in rows:
        assert row["score"] == pytest.approx((row["score toys/a-s0"] + row["score toys/b-s0"]) / 2)
        assert row["verdict"] == ("fake" if row["score"] > 0.5 else "real")
        assert "centre crop of 72 px; toys/b" in row["rests_on"]
        assert "toys/b-s0: checkpoint" in row["rests_on"] and "common crop of 100 px and JPEG" in row["rests_on"]
        assert row["banner"].startswith("Demo")


def test_a_checkpoint_alone_and_the_threshold(there):
    folder = str(checkpoint_of(there, "a"))
    _, rows = asked("mine/00.png", "--checkpoint", folder, "--threshold", "0")
    (digest,) = {hashlib.sha256((Path(folder) / "model.safetensors").read_bytes()).hexdigest()[:12]}
    assert rows[0]["verdict"] == "fake" and f"checkpoint {digest}, centre crop of 72 px" in rows[0]["rests_on"]
    assert rows[0]["score"] == asked("mine/00.png", "--run", "toys/a")[1][0]["score"]


def test_warnings(there):
    small = picture(there.folder / "odd/small.jpg", (50, 90), 1, quality=30)
    (row,) = asked(str(small), "--run", "toys/a")[1]
    assert row["quality"] == 30
    assert row["warnings"] == "JPEG of quality about 30; smaller than the crop of 72 px: tiled"


def test_sizes_outside_those_of_the_training(there):
    split = Path(there.plan.checkpoint(there.plan.run("toys", "a"), 0).needs["split"][0][1].path)
    columns = {"subset": ["ldm", "ldm", "other"], "width": [100, 120, 9], "height": [110, 130, 9]}
    write_rows(split, columns)
    source = next(predict.sources_of(there.plan, "toys/a", Path("c.yaml"), []))
    split.unlink()
    assert source.sides in [(100, 120), (9, 120)]  # the run's subsets, or all of them
    from tellsign.prediction.predictor import Predictor

    predictor = Predictor(source, "cpu")
    assert list(predictor.warnings(300, 119)) == []
    assert list(predictor.warnings(300, 200)) == [f"shorter side of 200 px, in training {source.sides[0]} to 120"]


def test_unreadable_files_are_named_and_counted(there, capsys):
    folder = there.folder / "mixed"
    picture(folder / "good.png", (80, 80), 3)
    picture(folder / "phone.HEIC", (80, 90), 3, format="HEIF")
    (folder / "called.jpg").write_bytes((folder / "phone.HEIC").read_bytes())
    (folder / "cut.heic").write_bytes((folder / "phone.HEIC").read_bytes()[:99])
    (folder / "new.jxl").write_bytes(b"\xff\x0a")
    (folder / "renamed.jpg").write_bytes(b"\xff\x0a")
    (folder / "raw.dng").write_bytes(b"II*\0")
    (folder / "notes.txt").write_text("x")
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:3000])
    status, rows = asked("mixed", "--run", "toys/a")
    assert status == 1
    problems = {Path(row["path"]).name: row["problem"] for row in rows}
    assert problems["good.png"] == "" and problems["cut.png"].startswith("corrupt")
    assert problems["phone.HEIC"] == problems["called.jpg"] == "" and problems["cut.heic"].startswith("corrupt")
    assert problems["new.jxl"] == problems["renamed.jpg"] == f"not an image: {JXL}" and problems["raw.dng"] == RAW
    assert all(row["score"] is None for row in rows if row["problem"])
    scores = {Path(row["path"]).name: row["score"] for row in rows}
    assert scores["phone.HEIC"] == pytest.approx(scores["called.jpg"], rel=1e-5)
    said = capsys.readouterr().out
    assert "8 files" in said and "5 unreadable" in said and "passed over: 1 × suffix .txt (a list or text)." in said


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_other_files_hold_the_same(there, suffix):
    _, rows = asked("mine", "--run", "toys/a")
    assert run(["predict", "mine", "--run", "toys/a", "--device", "cpu", "--out", f"answer.{suffix}"]) == 0
    if suffix == "csv":
        import csv

        found = [float(row["score"]) for row in csv.DictReader(Path("answer.csv").read_text().splitlines())]
    else:
        found = read_rows(Path("answer.parquet"))["score"].to_pylist()
    assert found == [row["score"] for row in rows]


def test_a_list_on_standard_input(there, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("mine/01.jpg\n\nmine/none.png\nmine/01.jpg\n"))
    status, rows = asked("-", "--run", "toys/a")
    assert status == 1 and [(row["path"], row["problem"]) for row in rows] == [
        ("mine/01.jpg", ""),
        ("mine/none.png", "there is no such file"),
    ]


def test_the_terminal_has_a_row_for_each_picture(there, capsys):
    assert run(["predict", "mine/0[01].*", "--run", "toys/a", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "mine/00.png" in said and "mine/01.jpg" in said and "mine/02" not in said and "p(fake)" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["https://example.org/a.png", "--run", "toys/a"], "addresses are not fetched"),
        (["nowhere.png", "--run", "toys/a"], "there is no such file or folder"),
        (["mine", "--run", "toys/aa"], "unknown run of config/config.yaml 'toys/aa'. Did you mean 'toys/a'?"),
        (["mine", "--run", "toys/a", "--threshold", "2"], "--threshold is 2.0"),
        (["mine", "--run", "toys/a", "--out", "x.txt"], "unknown suffix of --out '.txt'"),
        (["mine", "--run", "toys/a", "toys/a"], "toys/a-s0 would be two columns"),
        (["mine", "--checkpoint", "mine"], "mine is no checkpoint folder"),
        (["mine"], "Trained here, of config/config.yaml: toys/a, toys/b."),
    ],
)
def test_wrong_use(there, caplog, arguments, said):
    assert run(["predict", *arguments]) == 2 and said in caplog.text


def test_before_anything_was_trained(there, caplog, tmp_path, monkeypatch):
    picture(tmp_path / "a.png", (80, 80), 0)
    monkeypatch.chdir(tmp_path)
    path = there.plan.checkpoint(there.plan.run("toys", "a"), 0).path
    assert run(["predict", "a.png"]) == 2
    assert "nothing to predict with" in caplog.text and f"snakemake --cores 2 {path}" in caplog.text
    assert run(["predict", "a.png", "--run", "toys/a"]) == 2 and "has not been trained yet" in caplog.text


def test_methods_on_captions_and_boxes_are_refused(tmp_path, monkeypatch, caplog):
    picture(tmp_path / "a.png", (80, 80), 0)
    (tmp_path / "tidy").mkdir()
    (tmp_path / "tidy/recipe.yaml").write_text(yaml.safe_dump({"method": "features"}))
    monkeypatch.chdir(tmp_path)
    assert run(["predict", "a.png", "--checkpoint", "tidy"]) == 2
    assert "looks at features, which follow from captions and boxes" in caplog.text


def test_runs_that_cannot_be_asked_are_refused_before_they_are_trained(there):
    few = {"start": "run:a", "shots": 2}
    plan = plan_of(there.folder, {"a": {}, "few": few}, BRIEF)
    with pytest.raises(UserError, match="toys/few cannot be asked about any picture: its weights were adapted"):
        next(predict.sources_of(plan, "toys/few", Path("c.yaml"), []))
    demo = make_plan(demo_config())
    with pytest.raises(UserError, match="its method 'features' looks at captions and boxes"):
        next(predict.sources_of(demo, "tidy/both", Path("c.yaml"), []))


def test_metadata_is_a_fact_beside_the_score(there):
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a castle\nSteps: 20\x1b[31m")
    plain, signed = (
        picture(there.folder / f"meta/{n}.png", (80, 80), 5, pnginfo=p) for n, p in (("a", None), ("b", text))
    )
    rows = asked(str(plain), str(signed), "--run", "toys/a")[1]
    assert [row["metadata"] for row in rows] == ["", "PNG parameters: a castle Steps: 20 [31m"]
    assert rows[0]["score"] == rows[1]["score"]


def test_metadata_of_a_jpeg(tmp_path):
    exif = Image.Exif()
    exif[0x0131] = "Some Generator 3"
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + "a cat, Steps: 5".encode("utf-16-be")
    xmp = b'<x xmp:CreatorTool="Tool 1"/><y>DigitalSourceType="http://x/trainedAlgorithmicMedia"</y>'
    path = picture(tmp_path / "a.jpg", (20, 20), 0, exif=exif, xmp=xmp)
    assert metadata_of(path.read_bytes()) == (
        "EXIF software: Some Generator 3",
        "EXIF user comment: a cat, Steps: 5",
        "XMP creator tool: Tool 1",
        "XMP digital source type: http://x/trainedAlgorithmicMedia",
    )
    assert metadata_of(b"no image") == ()


def test_pictures_of_folders_are_sorted_and_each_counts_once(tmp_path):
    for name in ("b/2.png", "b/1.jpg", "a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_pictures([f"{tmp_path}/b", f"{tmp_path}/**/*.png"], [])
    assert [path.relative_to(tmp_path).as_posix() for path in found.files] == ["b/1.jpg", "b/2.png", "a.png"]


def test_from_python(there):
    detector = tellsign.load(checkpoint_of(there, "a"), device="cpu")
    path = there.pictures[0]
    pixels = opened(path)
    scores = detector.predict([path, str(path), path.read_bytes(), Image.fromarray(pixels), pixels])
    assert scores.shape == (5,) and 0 < scores[0] < 1
    np.testing.assert_allclose(scores, scores[0], rtol=1e-5)  # last bits depend on the place in the batch
    assert len(detector.predict([])) == 0
    for wrong, said in ((b"x", "not an image"), (np.zeros((9, 9)), "must be uint8")):
        with pytest.raises(UserError, match=said):
            detector.predict([wrong])


def test_importing_the_package_is_light():
    code = "import sys, tellsign; sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'PIL')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'predictor'"):
        _ = tellsign.predictor  # pyright: ignore[reportAttributeAccessIssue]


def test_protocols_in_words():
    resized = centre_crop(224) | {"resize": {"mode": "squash", "size": 256, "filter": "bilinear"}}
    assert Source("a", Path(), {}, resized).protocol == "squashed to 256 px (bilinear), centre crop of 224 px"


def test_explanations_are_a_picture_and_a_line_each(there):
    bad = there.folder / "bad <b>.png"
    bad.write_bytes(b"x")
    arguments = ["mine/00.png", str(bad), "--run", "toys/a", "--explain", "looked"]
    assert asked(*arguments)[0] == 1
    page = Path("looked/index.html").read_text()
    assert "mine/00.png: p(fake): toys/a-s0 0." in page and "bad &lt;b&gt;.png: not an image" in page
    sheet = opened(Path("looked/00001-00.png"))
    assert sheet.shape == (72, 2 * 72, 3)
    from tellsign.data.images import center_window

    np.testing.assert_array_equal(sheet[:, :72], center_window(opened(there.pictures[0]), 72))
    assert run(["predict", *arguments]) == 2  # the folder is there


def test_heat_maps_lie_over_the_grey_picture():
    from tellsign.prediction.explain import overlay

    pixels = np.full((4, 4, 3), 100, np.uint8)
    dark, bright = (overlay(pixels, np.full((2, 2), share))[0, 0] for share in (0.0, 1.0))
    assert dark.tolist() == [40, 40, 42]  # inferno begins at (0.0015, 0.0005, 0.0139) and ends at (0.988, 0.998, 0.645)
    assert bright.tolist() == [191, 193, 139]


def test_a_texture_mask_is_drawn_at_the_middle_of_its_range(there):
    from tellsign.prediction.explain import panels
    from tellsign.prediction.predictor import load

    predictor = load(checkpoint_of(there, "a"), device="cpu")
    mask = {"name": "texture_aware", "ratio": [0.4, 0.6], "patch_size": 36, "which": "high", "ratio_per": "image"}
    predictor.recipe = predictor.recipe | {"mask": mask}
    crop = np.full((72, 72, 3), 128, np.uint8)
    crop[:36, :, 0] = np.random.default_rng(0).integers(0, 256, (36, 72))
    _, masked = panels(predictor, crop)
    assert not masked[:36].any() and (masked[36:] == crop[36:]).all()

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from tellsign.demo import generators as g
from tellsign.demo import layers
from tellsign.errors import UserError
from tellsign.networks.determinism import seeded
from tellsign.stages import demo_generator, demo_photos

CPU = torch.device("cpu")


def photos(count: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(256, (count, 3, size, size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_the_eight_names():
    wanted = "ldm vae_deconv ae_nearest sr_bilinear sr_shuffle fsq layout_gan pixel_ddpm"
    assert list(g.GENERATORS) == wanted.split()


def test_bytes_survive_the_way_to_signed_and_back():
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert (layers.to_bytes(layers.to_signed(pixels)) == pixels).all()


def test_crops_are_windows_of_the_photographs():
    source = list(photos(3, 24))
    crops = layers.to_bytes(layers.random_crops(source, 8, 5, torch.Generator().manual_seed(1), CPU))
    windows = torch.stack([p.unfold(1, 8, 1).unfold(2, 8, 1) for p in source]).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    for crop in crops:
        assert (windows == crop).flatten(1).all(1).any()


def test_radial_spectrum_finds_a_wave_on_its_ring():
    line = torch.cos(2 * torch.pi * 6 * torch.arange(32) / 32)
    wave = line.expand(1, 3, 32, 32)
    spectrum = layers.radial_spectrum(wave)[0, 0]
    assert spectrum.argmax() == 3  # six cycles lie on the ring of 6 and 7
    at = torch.fft.fft2(wave[0, 0].double()).abs().square() / 32**2
    fy, fx = torch.meshgrid(torch.fft.fftfreq(32) * 32, torch.fft.rfftfreq(32) * 32, indexing="ij")
    ring = (torch.hypot(fy, fx) / 2).long().clamp(max=10) == 3
    assert spectrum[3].item() == pytest.approx(torch.log(at[:, :17][ring].mean() + 1e-5).item(), abs=1e-4)


def test_spectral_loss_is_zero_for_shifted_images_and_grows_with_blur():
    real = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert layers.spectral_loss(real.roll((3, 5), (2, 3)), real) < 1e-4
    assert layers.spectral_loss(F.avg_pool2d(real, 3, 1, 1), real) > 0.5


def test_one_cycle_rises_then_falls():
    rates = [layers.one_cycle(step, 100) for step in range(100)]
    assert max(rates) == pytest.approx(1, abs=1e-3) and rates.index(max(rates)) in (14, 15)
    assert rates[:15] == sorted(rates[:15]) and rates[15:] == sorted(rates[15:], reverse=True)
    assert 0 < rates[-1] < 0.01


@pytest.mark.parametrize("upsampler", [layers.Nearest, layers.Bilinear, layers.Shuffle, layers.Transposed])
def test_colour_path_starts_as_bilinear_interpolation(upsampler):
    x = torch.randn(1, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    wanted = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    got = layers.interpolating(upsampler)(x).detach()
    torch.testing.assert_close(got[..., 2:-2, 2:-2], wanted[..., 2:-2, 2:-2])


def test_quantised_latent_has_few_levels_and_passes_the_gradient():
    with seeded(0):
        model = g.Autoencoder(layers.Nearest, levels=6)
    z = model.encode(layers.to_signed(photos(4, 32)))
    assert 3 <= z[:, 3:].unique().numel() <= 6
    first = next(model.encoder.parameters())
    assert torch.autograd.grad(z.sum(), first)[0].abs().sum() > 0


def test_layout_is_flat_and_hides_fine_grain():
    base = torch.full((1, 3, 32, 32), 0.3)
    grain = 0.2 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    layout = g.LayoutGan().layout(base + grain)
    levels = (layout + 1) * 6.5
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    assert layout.unique().numel() <= 6


def test_untrained_denoiser_is_the_best_linear_shrinkage_and_training_beats_it():
    with seeded(0):
        denoiser = layers.to_device(g.Denoiser(3, 2, 16), CPU)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    got = denoiser(x, torch.full((2,), 0.5))
    torch.testing.assert_close(got, 0.5 * x)  # spread² / (spread² + sigma²)
    generator = torch.Generator().manual_seed(1)

    def flat() -> torch.Tensor:
        return 0.5 * torch.randn(8, 3, 1, 1, generator=generator).expand(8, 3, 8, 8)

    losses = denoiser.learn(flat, 40, 0.2, 0.5, generator)
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_edit_with_a_perfect_denoiser_gives_its_answer():
    class Oracle(g.Denoiser):
        def forward(self, x, sigma):
            return torch.full_like(x, 0.25)

    oracle = Oracle(3, 1, 4)
    draw = layers.image_draw([torch.Generator().manual_seed(0)], CPU)
    torch.testing.assert_close(oracle.edit(torch.zeros(1, 3, 4, 4), draw, (0.5, 0.1)), torch.full((1, 3, 4, 4), 0.25))


@pytest.mark.parametrize("name", g.GENERATORS)
def test_each_learns_and_remakes_each_image_from_its_own_noise(name: str):
    with seeded(0):
        model = layers.to_device(g.GENERATORS[name](), CPU)
    before = [p.clone() for p in model.parameters()]
    source, generator = list(photos(3, 72)), torch.Generator().manual_seed(1)
    losses = model.learn(lambda: layers.random_crops(source, model.crop, 2, generator, CPU), 4, generator)
    assert np.isfinite(losses).all()
    assert any((a != b).any() for a, b in zip(before, model.parameters(), strict=True))
    model.eval()
    batch = layers.to_signed(photos(2, 40, seed=5))

    def remake(rows: list[int], seeds: list[int]) -> torch.Tensor:
        noise = [torch.Generator().manual_seed(seed) for seed in seeds]
        with torch.inference_mode():
            return model.remake(batch[rows], layers.image_draw(noise, CPU))

    both = remake([0, 1], [7, 8])
    assert both.shape == batch.shape
    torch.testing.assert_close(remake([1], [8])[0], both[1], atol=1e-4, rtol=1e-4)
    assert (remake([1], [9])[0] - both[1]).abs().max() > 1e-3


def test_stage_is_byte_deterministic_and_tells_nothing_in_names(tmp_path):
    for part, count in (("source", 3), ("prompt_train", 2), ("prompt_test", 3)):
        demo_photos.main(settings={"part": part, "count": count, "side": 96, "seed": 0}, out=tmp_path / part)
    base = {"name": "fsq", "steps": 2, "batch": 2, "train_count": 1, "test_count": 3, "seed": 0}
    folders = {key: tmp_path / key for key in ("source", "prompt_train", "prompt_test")}
    made = {}
    for key, chosen in {"a": base, "b": base, "c": base | {"seed": 1}}.items():
        demo_generator.main(settings=chosen, **folders, out=tmp_path / key, device="cpu")
        paths = sorted(path for path in (tmp_path / key).rglob("*") if path.is_file())
        made[key] = {path.relative_to(tmp_path / key).as_posix(): path.read_bytes() for path in paths}
    assert list(made["a"]) == [
        "files.sha256",
        "test/1_fake/00000.jpg",
        "test/1_fake/00001.jpg",
        "test/1_fake/00002.jpg",
        "train/1_fake/00000.jpg",
    ]
    assert made["a"] == made["b"]
    assert all(made["a"][file] != made["c"][file] for file in made["a"])
    for row in range(3):
        fake, prompt = (
            tmp_path / "a" / "test" / "1_fake" / f"{row:05d}.jpg",
            tmp_path / "prompt_test" / f"{row:05d}.png",
        )
        with Image.open(fake) as made_image, Image.open(prompt) as image:
            assert made_image.size == image.size


def test_stage_refuses_more_fakes_than_prompts(tmp_path):
    chosen = {"name": "fsq", "steps": 1, "batch": 1, "train_count": 1, "test_count": 0, "seed": 0}
    for name in ("source", "prompt"):
        (tmp_path / name).mkdir()
    given = {
        "source": tmp_path / "source",
        "prompt_train": tmp_path / "prompt",
        "prompt_test": tmp_path / "prompt",
    }
    with pytest.raises(UserError, match="0 photographs"):
        demo_generator.main(settings=chosen, **given, out=tmp_path / "out", device="cpu")
    with pytest.raises(UserError, match="Did you mean 'fsq'"):
        demo_generator.main(settings=chosen | {"name": "fsk"}, **given, out=tmp_path / "out", device="cpu")

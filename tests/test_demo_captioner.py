from __future__ import annotations

import numpy as np
import torch

from tellsign.demo.camera import camera
from tellsign.demo.captioner import (
    PREFIX,
    DemoCaptioner,
    PrefixLanguageModel,
    image_tokens,
    prefix_mask,
    whole_views,
)
from tellsign.demo.scenes import scene
from tellsign.demo.towers import PlaceEncoder
from tellsign.demo.words import END, LENGTH, PAD, START, text_of
from tellsign.networks.captioners.captioner import load_captioner
from tellsign.networks.determinism import seeded


def photographs(count: int, first: int = 0) -> tuple[list[np.ndarray], list[set[str]]]:
    images, phrases = [], []
    for i in range(first, first + count):
        generator = np.random.default_rng([7, i])
        image, truth = scene(generator, int(generator.integers(16, 28)) * 8)
        images.append(camera(image, generator))
        phrases.append({item.phrase for item in truth.objects})
    return images, phrases


def random_captioner(seed: int = 0) -> DemoCaptioner:
    with seeded(seed):
        return DemoCaptioner(PlaceEncoder(), PrefixLanguageModel()).eval()


def test_the_mask_lets_words_read_the_image_and_the_past():
    mask = prefix_mask(2, 3)
    expected = [[(i < 2 and j < 2) or (i >= 2 and j <= i) for j in range(5)] for i in range(5)]
    assert mask.tolist() == expected


def test_later_words_do_not_reach_earlier_logits():
    language = random_captioner().language
    tokens, words = torch.randn(1, PREFIX, 128), torch.tensor([[START, 5, 6, 7]])
    other = words.clone()
    other[0, 3] = 9
    a, b = language(tokens, words), language(tokens, other)
    assert torch.allclose(a[:, :3], b[:, :3], atol=1e-6) and not torch.allclose(a[:, 3], b[:, 3], atol=1e-3)


def test_writing_with_kept_keys_equals_reading_everything_anew():
    language, tokens = random_captioner(3).language, torch.randn(4, PREFIX, 128)
    with torch.no_grad():
        language.to_words.bias[END] -= 100  # else a random model may stop at once
    words = torch.full((4, 1), START)
    for _ in range(LENGTH - 1):
        words = torch.cat([words, language(tokens, words)[:, -1:].argmax(2)], dim=1)
    assert torch.equal(language.write(tokens), words[:, 1:])


def test_writing_stops_at_the_end_of_each_caption():
    language = random_captioner().language
    with torch.no_grad():
        language.to_words.bias[END] += 100
    written = language.write(torch.randn(3, PREFIX, 128))
    assert written.tolist() == [[END]] * 3 and text_of([END, PAD]) == ""


def test_image_tokens_are_means_and_maxima_of_squares():
    encoder = PlaceEncoder().eval()
    pixels = torch.randint(0, 256, (1, 3, 96, 96), dtype=torch.uint8)
    features = encoder(pixels.float() / 127.5 - 1)[0]
    tokens = image_tokens(encoder, pixels)[0]
    for k in (0, 7, 35):
        square = features[:, 4 * (k // 6) : 4 * (k // 6) + 4, 4 * (k % 6) : 4 * (k % 6) + 4]
        assert torch.allclose(tokens[k], torch.cat([square.mean((1, 2)), square.amax((1, 2))]), atol=1e-5)


def test_whole_views_keep_an_image_of_their_size():
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    assert np.array_equal(whole_views([image], 96)[0].permute(1, 2, 0).numpy(), image)
    assert whole_views([image[:50], image[:, :40]], 96).shape == (2, 3, 96, 96)


def test_a_caption_does_not_depend_on_the_other_images():
    captioner, (images, _) = load_captioner({"name": "demo"}, 32), photographs(35)
    together = captioner.caption(images)
    assert [captioner.caption([image])[0] for image in images[-5:]] == together[-5:]
    assert captioner.caption(images[::-1]) == together[::-1]
    assert captioner.caption([]) == []


def test_the_shipped_captioner_says_what_is_there():
    images, phrases = photographs(60)
    captions = load_captioner({"name": "demo"}, 32).caption(images)
    said = [phrase in text for text, row in zip(captions, phrases, strict=True) for phrase in row]
    assert np.mean(said) > 0.75  # 0.92 of photographs like those it learned from; chance is about 0.03
    assert all(text.endswith("background") for text in captions)

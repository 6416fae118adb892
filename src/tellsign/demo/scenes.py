"""Made scenes: a textured background with one to three shaded shapes, their caption and their boxes.

The scenes stand in for photographs' content. They are made so that the demo's tiny networks have something to
learn from: words (colour, shape, background, relation), places, and natural image statistics (1/f textures,
power-law leaves, soft shadows). Camera and web come after: `tellsign.demo.camera`, `tellsign.demo.web`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float32

from tellsign.errors import UserError

Image = Float32[np.ndarray, "side side 3"]
Plane = Float32[np.ndarray, "h w"]
Colour = tuple[float, float, float]

COLOURS: dict[str, Colour] = {
    "red": (0.80, 0.13, 0.12),
    "green": (0.15, 0.60, 0.20),
    "blue": (0.14, 0.25, 0.75),
    "yellow": (0.88, 0.78, 0.15),
    "purple": (0.50, 0.18, 0.60),
    "orange": (0.92, 0.50, 0.10),
    "white": (0.90, 0.90, 0.88),
    "black": (0.10, 0.10, 0.11),
}
# Extent of each shape around its centre, in radii: left, top, right, bottom (y grows downwards).
SHAPES: dict[str, tuple[float, float, float, float]] = {
    "circle": (1.0, 1.0, 1.0, 1.0),
    "square": (0.86, 0.86, 0.86, 0.86),
    "triangle": (0.935, 1.0, 0.935, 0.62),
    "ring": (0.96, 0.96, 0.96, 0.96),
    "cross": (1.0, 1.0, 1.0, 1.0),
    "diamond": (0.74, 1.0, 0.74, 1.0),
}
BACKGROUNDS: tuple[str, ...] = ("plain", "striped", "checked", "cloudy", "leafy", "dotted")
BACKGROUND_COLOURS: dict[str, Colour] = {
    "gray": (0.50, 0.50, 0.50),
    "brown": (0.45, 0.32, 0.20),
    "pink": (0.85, 0.60, 0.65),
    "cyan": (0.35, 0.65, 0.70),
    "olive": (0.42, 0.45, 0.20),
    "sand": (0.76, 0.68, 0.50),
}

SMALLEST, LARGEST = 48, 384
_EXPONENTS = (0.8, 1.0, 1.2, 1.4)
_FIELDS = 16
_LEAVES = 170


@dataclass(frozen=True)
class SceneObject:
    """One shape. Coordinates are fractions of the side; x grows to the right, y downwards."""

    colour: str
    shape: str
    centre: tuple[float, float]
    radius: float
    box: tuple[float, float, float, float]

    @property
    def phrase(self) -> str:
        """The words a grounder should find, e.g. ``red circle``; no two objects of a scene share them."""
        return f"{self.colour} {self.shape}"

    @property
    def named(self) -> str:
        """The phrase with its article."""
        return f"{'an' if self.colour[0] in 'aeiou' else 'a'} {self.phrase}"


@dataclass(frozen=True)
class Scene:
    """What is in the image; ``objects`` from the largest to the smallest."""

    background: str
    background_colour: str
    objects: tuple[SceneObject, ...]


def caption(scene: Scene) -> str:
    """One sentence: the largest object, its relation to the second, the third, the background.

    Example: ``a red circle left of a blue ring and a green cross on a pink striped background``.
    """
    first, *rest = scene.objects
    text = first.named
    if rest:
        dx = first.centre[0] - rest[0].centre[0]
        dy = first.centre[1] - rest[0].centre[1]
        sideways = "right of" if dx > 0 else "left of"
        upright = "below" if dy > 0 else "above"
        text += f" {sideways if abs(dx) > abs(dy) else upright} {rest[0].named}"
    text += "".join(f" and {other.named}" for other in rest[1:])
    article = "an" if scene.background_colour[0] in "aeiou" else "a"
    return f"{text} on {article} {scene.background_colour} {scene.background} background"


def scene(generator: np.random.Generator, side: int) -> tuple[Image, Scene]:
    """Draw one scene.

    Args:
        generator: Source of every draw.
        side: Height and width in pixels, 48 to 384.

    Returns:
        The image, values in [0.005, 1] (display-referred; the camera turns it to light), and what is in it.

    Raises:
        UserError: the side is out of range.
    """
    if not SMALLEST <= side <= LARGEST:
        raise UserError(f"a demo scene's side is {SMALLEST} to {LARGEST} pixels, not {side}.")
    kind = BACKGROUNDS[generator.integers(len(BACKGROUNDS))]
    colour = tuple(BACKGROUND_COLOURS)[generator.integers(len(BACKGROUND_COLOURS))]
    image = _background(generator, side, kind, BACKGROUND_COLOURS[colour])
    objects = _place(generator)
    for item in objects:
        _paint(generator, image, item)
    np.clip(image, 0.005, 1.0, out=image)
    return image, Scene(kind, colour, tuple(sorted(objects, key=lambda item: -item.radius)))


@cache
def noise_bank() -> Float32[np.ndarray, "16 384 384"]:
    """Random fields of unit variance whose amplitude falls as 1/f^b, b = 0.8, 1, 1.2, 1.4 in turn.

    Photographs' spectra fall like this (Field 1987). The bank is the same in every process (fixed seed):
    making a field costs an FFT, cutting a window out of one costs nothing.
    """
    generator = np.random.default_rng(12345)
    frequency = np.hypot(np.fft.fftfreq(LARGEST)[:, None], np.fft.rfftfreq(LARGEST)[None])
    frequency[0, 0] = 1
    bank = np.empty((_FIELDS, LARGEST, LARGEST), np.float32)
    for i in range(_FIELDS):
        white = np.fft.rfft2(generator.standard_normal((LARGEST, LARGEST)))
        field = np.fft.irfft2(white / frequency ** _EXPONENTS[i % len(_EXPONENTS)], s=(LARGEST, LARGEST))
        bank[i] = (field - field.mean()) / field.std()
    bank.setflags(write=False)
    return bank


def _noise(generator: np.random.Generator, height: int, width: int, exponent: int | None = None) -> Plane:
    """A random window of a random field (of the given place in ``_EXPONENTS``), mirrored at random."""
    if exponent is None:
        row = int(generator.integers(_FIELDS))
    else:
        row = int(generator.integers(_FIELDS // len(_EXPONENTS))) * len(_EXPONENTS) + exponent
    top, left = generator.integers((LARGEST - height + 1, LARGEST - width + 1))
    up, side = generator.integers(2, size=2) * 2 - 1
    return noise_bank()[row, top : top + height, left : left + width][::up, ::side]


def _inside(distance: Plane, softness: float) -> Plane:
    """Coverage of a pixel from its signed distance to an edge: 1 inside, 0 outside, linear between."""
    return np.clip(0.5 - distance / softness, 0.0, 1.0)


def _background(generator: np.random.Generator, side: int, kind: str, colour: Colour) -> Image:
    scale = side / 176  # patterns keep their look when the side changes
    y, x = np.mgrid[:side, :side].astype(np.float32)
    base = np.asarray(colour, np.float32)
    texture = np.empty((side, side, 3), np.float32)
    shared = 0.055 * _noise(generator, side, side)
    for channel in range(3):
        texture[..., channel] = shared + 0.02 * _noise(generator, side, side)
    angle = generator.uniform(0, np.pi)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    u, v = x * cos + y * sin, y * cos - x * sin
    slope = generator.uniform(-0.25, 0.25) / side
    image = texture + (base + (slope * (u - u.mean()))[..., None])
    darker, lighter = base * generator.uniform(0.45, 0.7), base * 0.4 + 0.58
    other = darker if generator.random() < 0.6 else lighter
    mask = None
    if kind == "striped":
        period = generator.uniform(12, 26) * scale
        wavy = u + 2 * scale * _noise(generator, side, side)
        mask = _inside(np.abs(wavy % period - period / 2) - period / 4, 1.2)
    elif kind == "checked":
        period = generator.uniform(14, 30) * scale
        mask = np.clip(0.5 + np.sin(np.pi / period * u) * np.sin(np.pi / period * v) * (period / 2.5), 0, 1)
    elif kind == "dotted":
        period = generator.uniform(14, 26) * scale
        mask = _inside(np.hypot(u % period - period / 2, v % period - period / 2) - 0.28 * period, 1.2)
    elif kind == "cloudy":
        mask = 1 / (1 + np.exp(-1.25 * _noise(generator, side, side, exponent=3)))
    elif kind == "leafy":
        _leaves(generator, image, texture, base, scale)
    if mask is not None:
        image += mask[..., None] * (other + texture - image)
    return image


def _leaves(generator: np.random.Generator, image: Image, texture: Image, base: Plane, scale: float) -> None:
    """Strew ellipses whose radii follow a power law (the dead-leaves model; Lee et al. 2001), in place."""
    side = len(image)
    radii = np.clip(3 / np.sqrt(generator.uniform(0.01, 1, _LEAVES)), 3, 30) * scale
    centres = generator.uniform(0, side, (_LEAVES, 2))
    flatness = generator.uniform(0.5, 1, _LEAVES)
    angles = generator.uniform(0, np.pi, _LEAVES)
    shades = generator.uniform(0.5, 1.35, (_LEAVES, 1)) + generator.normal(0, 0.05, (_LEAVES, 3))
    colours = np.clip(base * shades, 0.02, 0.98).astype(np.float32)
    roughness = generator.uniform(0.3, 1.6, _LEAVES)
    tilt = generator.uniform(-0.15, 0.15, _LEAVES)
    low = np.maximum(centres - radii[:, None] - 1, 0).astype(int)
    high = np.minimum(centres + radii[:, None] + 2, side).astype(int)
    line = np.arange(side, dtype=np.float32)
    cos, sin = np.cos(angles), np.sin(angles)
    for i in range(_LEAVES):
        columns, rows = slice(low[i, 0], high[i, 0]), slice(low[i, 1], high[i, 1])
        dx = line[None, columns] - float(centres[i, 0])
        dy = line[rows, None] - float(centres[i, 1])
        along = dx * float(cos[i]) + dy * float(sin[i])
        across = (dy * float(cos[i]) - dx * float(sin[i])) / float(flatness[i])
        mask = _inside(np.sqrt(along * along + across * across) - float(radii[i]), 1.1)[..., None]
        under = image[rows, columns]
        leaf = texture[rows, columns] * float(roughness[i])
        leaf += colours[i]
        leaf += (dx * float(tilt[i] / radii[i]))[..., None]
        leaf -= under
        leaf *= mask
        under += leaf


def _place(generator: np.random.Generator) -> list[SceneObject]:
    """One to three objects that hardly overlap; one that finds no room in thirty tries is left out."""
    count = int(generator.choice(3, p=(0.25, 0.5, 0.25))) + 1
    looks = generator.choice(len(COLOURS) * len(SHAPES), count, replace=False)
    objects: list[SceneObject] = []
    for look in looks.tolist():
        colour, shape = tuple(COLOURS)[look // len(SHAPES)], tuple(SHAPES)[look % len(SHAPES)]
        for _ in range(30):
            radius = generator.uniform(0.11, 0.20)
            x, y = generator.uniform(radius + 0.012, 1 - radius - 0.012, 2).tolist()
            room = (np.hypot(x - o.centre[0], y - o.centre[1]) - 0.95 * (radius + o.radius) for o in objects)
            if all(gap > 0 for gap in room):
                left, top, right, bottom = (radius * extent for extent in SHAPES[shape])
                box = (x - left, y - top, x + right, y + bottom)
                objects.append(SceneObject(colour, shape, (x, y), radius, box))
                break
    return objects


def _distance(shape: str, x: Plane, y: Plane, radius: float) -> Plane:
    """Signed distance (roughly, in pixels) to the edge of a shape centred at 0; negative inside."""
    if shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) - 0.86 * radius
    if shape == "triangle":
        return np.maximum(y - 0.62 * radius, 0.866 * np.abs(x) - 0.5 * y - 0.5 * radius)
    if shape == "diamond":
        return (1.35 * np.abs(x) + np.abs(y) - radius) / 1.68
    if shape == "cross":
        long, short = np.maximum(np.abs(x), np.abs(y)), np.minimum(np.abs(x), np.abs(y))
        return np.maximum(long - radius, short - 0.34 * radius)
    away = np.hypot(x, y)
    return np.abs(away - 0.72 * radius) - 0.24 * radius if shape == "ring" else away - radius


def _paint(generator: np.random.Generator, image: Image, item: SceneObject) -> None:
    """Paint an object with its shadow, its shading from one light and a little texture, in place."""
    side = len(image)
    radius, (cx, cy) = item.radius * side, (c * side for c in item.centre)
    reach = int(radius + 0.05 * side) + 1
    rows = slice(max(0, int(cy) - reach), min(side, int(cy) + reach + 1))
    columns = slice(max(0, int(cx) - reach), min(side, int(cx) + reach + 1))
    y, x = np.mgrid[rows, columns].astype(np.float32)
    x -= cx
    y -= cy
    window = image[rows, columns]
    offset = 0.017 * side
    shadow = _inside(_distance(item.shape, x - offset, y - 1.3 * offset, radius), 0.045 * side)
    window *= 1 - 0.45 * shadow[..., None]
    light = generator.uniform(-2.6, -0.5)
    facing = (x * float(np.cos(light)) + y * float(np.sin(light))) / radius
    if item.shape == "circle":
        height = np.sqrt(np.clip(1 - (x * x + y * y) / radius**2, 0, 1))
        shade = 0.45 + 0.6 * np.clip(0.55 * facing + 0.75 * height, 0, 1.2)
        shine = 0.5 * np.clip(0.6 * facing + 0.8 * height, 0, 1) ** 24
    else:
        shade, shine = 1 + 0.3 * facing, np.zeros_like(facing)
    shine += generator.uniform(0.02, 0.07) * _noise(generator, *x.shape)
    colour = np.asarray(COLOURS[item.colour], np.float32) * generator.uniform(0.9, 1.1)
    painted = colour * shade[..., None] + shine[..., None]
    window += _inside(_distance(item.shape, x, y, radius), 1.1)[..., None] * (painted - window)

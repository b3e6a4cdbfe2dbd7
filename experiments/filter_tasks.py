"""Six kinds of pictures to filter, drawn: what a filter learns from and what it is judged on.

Text and music are drawn by Pillow with the font that it contains, so that the pictures are the same
everywhere. Each picture is (image, target): the image bool, or uint8 gray, (H, W); the target bool,
True where there is ink or a cell.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from scipy import ndimage

SHAPE = (320, 480)
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_PIECES = list(_LETTERS) + ["th", "er", "an", "in", "st", "e", "a", "o", "n", "t", "i"] * 3

Picture = tuple[np.ndarray, np.ndarray]


def _lines_of_text(rng: np.random.Generator, size: int) -> np.ndarray:
    """Words at random, set in lines: coverage by ink in 0..1, (H, W)."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = SHAPE
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size)
    y = int(rng.integers(2, size))
    while y < height:
        x = int(rng.integers(2, 3 * size))
        while x < width:
            word = "".join(rng.choice(_PIECES, rng.integers(1, 7)))
            draw.text((x, y), word, fill=255, font=font)
            x += int(draw.textlength(word, font)) + int(rng.integers(size // 3, size))
        y += int(size * rng.uniform(1.2, 1.7))
    return np.asarray(canvas) / 255.0


def _speckled(rng: np.random.Generator, image: np.ndarray, share: float) -> np.ndarray:
    replaced = rng.random(image.shape) < share
    noisy: np.ndarray = np.where(replaced, rng.random(image.shape) < 0.5, image)
    return noisy


def _as_gray(image: np.ndarray) -> np.ndarray:
    gray: np.ndarray = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return gray


def ruled(rng: np.random.Generator) -> Picture:
    """Text on ruled paper, with salt and pepper: only the text is wanted."""
    text = _lines_of_text(rng, int(rng.integers(13, 20))) > 0.5
    noisy = text.copy()
    step, first = int(rng.integers(18, 26)), int(rng.integers(0, 18))
    noisy[first::step] = True
    if rng.random() < 0.5:
        noisy[first + 1 :: step] = True
    for x in rng.integers(0, SHAPE[1], 2):
        noisy[:, x] = True
    return _speckled(rng, noisy, 0.06), text


def staff(rng: np.random.Generator) -> Picture:
    """Music on staves: everything but the lines of the staves is wanted."""
    from PIL import Image, ImageDraw

    height, width = SHAPE
    music, lines = Image.new("1", (width, height)), Image.new("1", (width, height))
    draw, ruler = ImageDraw.Draw(music), ImageDraw.Draw(lines)
    gap, thick = int(rng.integers(7, 10)), int(rng.integers(1, 3))
    top = int(rng.integers(10, 25))
    while top + 4 * gap < height - 15:
        for line in range(5):
            y = top + line * gap
            ruler.rectangle((4, y, width - 5, y + thick - 1), fill=1)
        x = int(rng.integers(15, 40))
        while x < width - 25:
            at = top + int(rng.integers(-1, 10)) * gap / 2
            r = gap / 2
            kind = rng.integers(6)
            if kind < 4:
                box = (x - 1.3 * r, at - r, x + 1.3 * r, at + r)
                draw.ellipse(box, fill=int(kind < 3), outline=1, width=2)
                up = at > top + 2 * gap
                end = at - 3.5 * gap if up else at + 3.5 * gap
                stem = x + 1.3 * r if up else x - 1.3 * r
                draw.line((stem, at, stem, end), fill=1, width=1 + int(rng.random() < 0.3))
                if kind == 0:
                    draw.line((stem, end, stem + gap, end + (gap if up else -gap)), fill=1, width=2)
                elif kind == 1:
                    draw.line(
                        (stem, end, stem + 3 * gap, end + rng.integers(-6, 7)), fill=1, width=4
                    )
            elif kind == 4:
                draw.line((x, top, x, top + 4 * gap), fill=1, width=int(rng.integers(1, 4)))
            else:
                draw.rectangle((x - gap, top + gap, x + gap, top + 1.5 * gap), fill=1)
            x += int(rng.integers(2 * gap, 5 * gap))
        top += 4 * gap + int(rng.integers(30, 50))
    symbols = np.asarray(music)
    return _speckled(rng, symbols | np.asarray(lines), 0.01), symbols


def broken(rng: np.random.Generator) -> Picture:
    """Text whose strokes have holes and gaps: whole strokes are wanted."""
    text = _lines_of_text(rng, int(rng.integers(14, 22))) > 0.45
    holes = rng.random(SHAPE) < 0.02
    holes = ndimage.binary_dilation(holes, np.ones((2, 2)))
    cuts = ndimage.binary_dilation(rng.random(SHAPE) < 0.002, np.ones((2, 9)))
    cuts |= ndimage.binary_dilation(rng.random(SHAPE) < 0.002, np.ones((9, 2)))
    return _speckled(rng, text & ~holes & ~cuts, 0.01), text


def cells(rng: np.random.Generator) -> Picture:
    """Bright cells that touch, in gray: the cells, apart from each other, are wanted."""
    height, width = SHAPE
    rows, columns = np.mgrid[:height, :width]
    nearest = np.full(SHAPE, np.inf)
    second = np.full(SHAPE, np.inf)
    light = np.zeros(SHAPE)
    for _ in range(150):
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        a, b, turn = rng.uniform(9, 17), rng.uniform(9, 17), rng.uniform(0, np.pi)
        u = (columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)
        v = (rows - y) * np.cos(turn) - (columns - x) * np.sin(turn)
        distance = np.hypot(u / a, v / b)
        second = np.minimum(second, np.maximum(distance, nearest))
        nearer = distance < nearest
        light = np.where(nearer, rng.uniform(90, 170), light)
        nearest = np.minimum(nearest, distance)
    mask = (nearest < 1) & (second - nearest > 0.12)
    shade = np.where(mask, light * (1.15 - 0.3 * np.minimum(nearest, 1)), 0)
    image = 40 + ndimage.gaussian_filter(shade, 1.2) + rng.normal(0, 12, SHAPE)
    return _as_gray(image), mask


def bleed(rng: np.random.Generator) -> Picture:
    """Dark text in gray, with the text of the back showing through: the text of the front."""
    size = int(rng.integers(14, 20))
    front, back = _lines_of_text(rng, size), _lines_of_text(rng, size)[:, ::-1]
    through = ndimage.gaussian_filter(back, 1.0) * rng.uniform(80, 120)
    paper = 215 + 15 * ndimage.gaussian_filter(rng.normal(0, 20, SHAPE), 20)
    ink = ndimage.gaussian_filter(front, 0.6) * 140
    return _as_gray(paper - np.maximum(ink, through) + rng.normal(0, 14, SHAPE)), front > 0.5


def jpeg(rng: np.random.Generator) -> Picture:
    """Small text, out of focus, noisy, and stored as a JPEG of low quality: the text."""
    from PIL import Image

    text = _lines_of_text(rng, int(rng.integers(10, 14)))
    blurred = ndimage.gaussian_filter(text, 1.1)
    gray = _as_gray(220 - 170 * blurred + rng.normal(0, 12, SHAPE))
    stream = BytesIO()
    Image.fromarray(gray).save(stream, "JPEG", quality=20)
    return np.asarray(Image.open(stream)), text > 0.5


KINDS: dict[str, Callable[[np.random.Generator], Picture]] = {
    f.__name__: f for f in (ruled, staff, broken, cells, bleed, jpeg)
}


@dataclass(frozen=True)
class FilterTask:
    """Pairs to learn from and pairs that judge."""

    name: str
    training: list[Picture]
    test: list[Picture]


def draw_task(name: str, seed: int, training: int = 6, test: int = 2) -> FilterTask:
    """Pictures of one of the `KINDS`, as many to learn from and to judge on as is said."""
    rng = np.random.default_rng([seed, list(KINDS).index(name)])
    pictures = [KINDS[name](rng) for _ in range(training + test)]
    return FilterTask(name, pictures[:training], pictures[training:])

"""Thresholds of images: against scikit-image on whole numbers, and on pages without ink."""

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from bimonn_jax.data.image_files import Reading
from bimonn_jax.data.tones import THRESHOLDS

RNG = np.random.default_rng(0)
SHAPE = (120, 120)


@pytest.mark.parametrize(("top", "dtype"), [(255, np.uint8), (65535, np.uint16)])
@pytest.mark.parametrize("count", [2, 3, 4, 16, 200])
def test_otsu_is_that_of_the_whole_numbers(top, dtype, count):
    for _ in range(20):
        levels = RNG.choice(top + 1, count, replace=False)
        image = RNG.choice(levels, SHAPE, p=RNG.dirichlet(np.ones(count))).astype(dtype)
        gray = image.astype(np.float32) / np.float32(top / 255)
        expected = image <= threshold_otsu(image)
        np.testing.assert_array_equal(Reading("otsu").to_bits(gray), expected)
        np.testing.assert_array_equal(Reading("otsu", "light").to_bits(gray), ~expected)


def test_otsu_of_floating_point_leaves_the_means_furthest_apart():
    image = RNG.choice([3.25, 40.7, 41.1, 180.3, 200.9], SHAPE, p=[0.1, 0.3, 0.2, 0.3, 0.1])
    between = {}
    for level in np.unique(image)[:-1]:
        dark = image <= level
        apart = image[dark].mean() - image[~dark].mean()
        between[level] = dark.mean() * (1 - dark.mean()) * apart**2
    best = max(between, key=between.get)
    found = Reading("otsu").to_bits(image.astype(np.float32))
    np.testing.assert_array_equal(found, image <= best)


def grain(mean, spread, step=1.0):
    """Gaussian grain around a tone, rounded as a file's levels are, cut at black and white."""
    noisy = mean + spread * RNG.standard_normal(SHAPE)
    return np.clip(np.round(noisy / step) * step, 0, 255).astype(np.float32)


PAGES = {
    "white": np.full(SHAPE, 255.0),
    "two neighboring levels": np.where(RNG.random(SHAPE) < 0.3, 254.0, 255.0),
    "few darker pixels": RNG.choice([253.0, 254.0, 255.0], SHAPE, p=[0.05, 0.05, 0.9]),
    "grain": grain(250, 2),
    "grain cut off by white": grain(254, 2),
    "much grain": grain(225, 8),
    "grain of 16 bits": grain(250, 2, 1 / 257),
    "grain of floating point": grain(250, 2, 1e-3),
    "a page in shade": grain(100, 3),
}


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_a_blank_page_has_no_ink(page, threshold):
    assert Reading(threshold).to_bits(page).mean() < 1e-3
    # The negative of it, with light foreground, has none either; but 0 and 1 are a mask.
    if page.min() < 254 or page.max() == page.min():
        assert Reading(threshold, "light").to_bits(255 - page).mean() < 1e-3


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("level", [0.0, 3.0])
def test_an_image_all_black_is_ink_throughout(level, threshold):
    for page in (np.full(SHAPE, level), grain(level, 1)):
        assert Reading(threshold).to_bits(page).mean() > 1 - 1e-3
        assert Reading(threshold, "light").to_bits(page).mean() < 1e-3


def blots(count, size):
    ink = np.zeros(SHAPE, bool)
    for row, column in RNG.integers(0, SHAPE[0] - size, (count, 2)):
        ink[row : row + size, column : column + size] = True
    return ink


INK = {
    "pencil": (grain(245, 1.5), blots(12, 5), 30),
    "pencil in 16 bits": (grain(245, 1.5, 1 / 257), blots(12, 5), 30),
    "a page in shade": (grain(110, 2), blots(12, 9), 40),
    "one pixel": (np.where(RNG.random(SHAPE) < 0.3, 254.0, 255.0), blots(1, 1), 250),
    "one pixel on white": (np.full(SHAPE, 255.0), blots(1, 1), 200),
    "a dot on grain": (grain(248, 2), blots(1, 2), 200),
    "a faint dot on grain": (grain(248, 1), blots(1, 2), 60),
}


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize(("page", "ink", "depth"), INK.values(), ids=INK)
def test_ink_is_found_however_faint_or_little(page, ink, depth, threshold):
    image = np.where(ink, page - depth, page)
    np.testing.assert_array_equal(Reading(threshold).to_bits(image), ink)
    np.testing.assert_array_equal(Reading(threshold, "light").to_bits(255 - image), ink)


@pytest.mark.parametrize("step", [1, 1 / 257, 1e-3])
def test_otsu_finds_ink_that_is_hardly_darker_than_the_paper(step):
    ink = blots(12, 9)
    page = grain(245, 1, step)
    np.testing.assert_array_equal(Reading("otsu").to_bits(np.where(ink, page - 12, page)), ink)


def test_dim_images_of_many_levels_are_not_blank():
    cells = blots(15, 8)
    counts = np.round(np.where(cells, 250, 100) + 10 * RNG.standard_normal(SHAPE))
    dim = (counts / 257).astype(np.float32)
    assert dim.max() < 2
    assert (Reading("otsu", "light").to_bits(dim) != cells).mean() < 1e-3


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (0, 1 / 257), (0, 0.3), (250, 252)])
def test_two_levels_are_bits(low, high):
    mask = blots(9, 9)
    for threshold in THRESHOLDS:
        for foreground in ("dark", "light"):
            gray = np.where(mask == (foreground == "light"), np.float32(high), np.float32(low))
            np.testing.assert_array_equal(Reading(threshold, foreground).to_bits(gray), mask)


def test_a_local_threshold_leaves_plain_areas_to_the_background():
    """Objects on a gradient, with plain paper at the left, where nothing is to be found."""
    shade = np.maximum(np.linspace(-60, 120, SHAPE[1]), 0)[None].repeat(SHAPE[0], axis=0)
    objects = blots(15, 5)
    for sign, foreground, paper in ((-1, "dark", 230 - shade), (1, "light", 25 + shade)):
        gray = np.clip(paper + sign * 60 * objects, 0, 255)
        found = Reading("local", foreground).to_bits(gray)
        # Near the edge the gradient itself is as large as the offset.
        inside = np.s_[:, :90]
        np.testing.assert_array_equal(found[inside], objects[inside])

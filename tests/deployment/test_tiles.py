"""Tile by tile a network computes what it computes on the whole image."""

import itertools
import re

import numpy as np
import pytest

from bimonn_jax.deployment.tiles import TiledNetwork
from bimonn_jax.morphology.windows import PAD_MODES
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.kinds import BiSELLayer, HitOrMissConvLayer, LUIConvLayer
from bimonn_jax.neurons.params import BooleanNeurons, RankNeurons
from tests.support.boolean_networks import NAMES, RANK_NAMES, examples, inputs, network
from tests.support.runtimes import python

TILE = 3
# What reads a whole image at once, or continues it at its other side.
REFUSED = {
    "wrap": "border='wrap'",
    "dense": "only networks of images",
    **dict.fromkeys(
        ("ternary", "popcount", "convolutional", "real head", "large", "branches to votes",
         "joined features", "large windows"),
        "only networks from images to images",
    ),
}  # fmt: skip
TAKEN = [name for name in NAMES + RANK_NAMES if name.removesuffix(", ranks") not in REFUSED]


def check_sizes(plain, of_size, sizes, folder, tile=TILE):
    """One tiled network on images of all sizes, against the exported Python of each size."""
    height, width = max(sizes)
    tiled = TiledNetwork(plain, of_size(height, width).shape[1:], tile=tile)
    seen = 0
    for size in sizes:
        x = of_size(*size)
        of_its_own = folder / "x".join(map(str, size))
        of_its_own.mkdir()
        try:
            expected = python(plain, x.shape[1:], of_its_own)(x)
        except ValueError as error:
            # Too small for a border.
            with pytest.raises(ValueError, match=re.escape(str(error))):
                tiled(x)
            continue
        np.testing.assert_array_equal(tiled(x), expected, err_msg=f"size {size}")
        seen += 1
    # One program, whatever the sizes.
    assert tiled._run._cache_size() == 1
    assert seen


@pytest.mark.parametrize(
    "name", [name for name in TAKEN if name in NAMES or name.startswith(("wide", "three"))]
)
def test_networks_of_all_kinds(name, tmp_path):
    plain, shape = network(name)
    sizes = (1, 1), (2, 7), (3, 3), (4, 2), (6, 5), (8, 11)
    check_sizes(plain, lambda h, w: inputs(name, (h, w, shape[2]), 3), sizes, tmp_path)


def test_tiles_of_the_size_that_is_chosen():
    """More images than there are bits in a word, each less than a tile."""
    plain, shape = network("u-shaped")
    x, expected = examples("u-shaped", 40)
    np.testing.assert_array_equal(TiledNetwork(plain, shape)(x), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", TAKEN)
def test_every_size_up_to_two_tiles_and_more(name, tmp_path):
    plain, shape = network(name, seed=1)
    sizes = list(itertools.product(range(1, 2 * TILE + 3), repeat=2))
    check_sizes(plain, lambda h, w: inputs(name, (h, w, shape[2]), 4), sizes, tmp_path)


def random_neurons(rng, bits, count):
    """Neurons (count...) over so many bits, most of them complemented: 1 beyond every border."""
    footprint = rng.random((*bits, *count)) < 2.5 / np.prod(bits)
    complement = rng.random(count) < 0.6
    if rng.random() < 0.5:
        return RankNeurons(footprint, rng.integers(1, 4, count).astype(np.int32), complement)
    return BooleanNeurons(footprint, rng.random(count) < 0.5, complement)


def deep_network(rng, border):
    """Four layers of random kinds, windows and paddings."""
    layers, params, channels = [], {}, 1
    for name in "abcd":
        kind = rng.choice([BiSELLayer, LUIConvLayer, HitOrMissConvLayer])
        window = tuple(map(int, rng.integers(1, 4, 2)))
        paddings = ["SAME", "SAME", "VALID", 1, 2, ((0, 2), (1, 0))]
        layers.append(kind(name, padding=paddings[rng.integers(len(paddings))], border=border))
        if kind is BiSELLayer:
            params[name] = {
                "bise": random_neurons(rng, window, (channels, 2)),
                "lui": random_neurons(rng, (channels,), (2,)),
            }
        else:
            rows = channels * (2 if kind is HitOrMissConvLayer else 1)
            params[name] = {"lui": random_neurons(rng, (*window, rows), (2,))}
        channels = 2
    return BooleanNetwork(tuple(layers), params)


@pytest.mark.parametrize("border", sorted(set(PAD_MODES) - {"wrap"}))
@pytest.mark.parametrize("seed", range(2))
def test_deep_networks_at_the_borders(border, seed, tmp_path):
    rng = np.random.default_rng(seed)
    plain = deep_network(rng, border)
    sizes = [(9, 8), (1, 1), (1, 5), (5, 2), (4, 3), (7, 4)]
    check_sizes(plain, lambda h, w: rng.random((40, h, w, 1)) < rng.random(), sizes, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("border", sorted(set(PAD_MODES) - {"wrap"}))
@pytest.mark.parametrize("seed", range(2, 18))
def test_deep_networks_at_all_borders(border, seed, tmp_path):
    rng = np.random.default_rng(seed)
    plain = deep_network(rng, border)
    sizes = [(9, 8), *itertools.product(range(1, 2 * TILE + 1), repeat=2)]
    check_sizes(plain, lambda h, w: rng.random((40, h, w, 1)) < rng.random(), sizes, tmp_path)


@pytest.mark.parametrize("name", REFUSED)
def test_networks_that_need_the_whole_image_are_refused(name):
    plain, shape = network(name)
    with pytest.raises(ValueError, match=REFUSED[name]):
        TiledNetwork(plain, shape)


def test_what_is_no_batch_of_images_is_refused():
    plain, shape = network("wide")
    tiled = TiledNetwork(plain, shape, tile=4)
    for wrong in (np.zeros(shape, bool), np.zeros((1, 9, 7, 3), bool)):
        with pytest.raises(ValueError, match=r"\(N, H, W, 2\) was expected"):
            tiled(wrong)
    with pytest.raises(ValueError, match="x must be bool, got float64"):
        tiled(np.zeros((1, *shape)))
    with pytest.raises(ValueError, match="tile must be at least 1"):
        TiledNetwork(plain, shape, tile=0)
    assert tiled(np.zeros((0, *shape), bool)).shape == (0, 9, 7, 2)

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import morphology
from bimonn_jax.morphology.footprints import operator
from bimonn_jax.networks.saving import load_network, save_network
from bimonn_jax.training.metrics import dice
from bimonn_jax.training.search import ROUNDS, _Examples, _improve, search_hit_or_miss

KEY = jax.random.key(0)
CORNER = np.array([[0, 1, 0], [0, 1, 1], [0, 0, 0]], bool)


def search(x, y, **options):
    """Of images without an axis of channels."""
    return search_hit_or_miss([i[..., None] for i in x], [i[..., None] for i in y], **options)


def images(count=6, density=0.5, seed=0):
    return np.random.default_rng(seed).random((count, 40, 40)) < density


@pytest.mark.parametrize(
    ("name", "kernel_size", "density"),
    [("dilation", 3, 0.2), ("erosion", 3, 0.7), ("opening", 5, 0.7), ("white_tophat", 5, 0.7)],
)
def test_operators_are_found_exactly_and_hold_on_unseen_images(name, kernel_size, density):
    apply = operator(name, CORNER)
    x, unseen = images(density=density), images(seed=1, density=density)
    y = np.asarray(apply(jnp.asarray(x)))
    found = search(x, y, key=KEY, kernel_size=kernel_size, min_gain=1.0)
    expected = apply(jnp.asarray(unseen))
    assert float(dice(found.network(unseen[..., None])[..., 0], expected)) > 0.99
    assert len(found.history) == ROUNDS


def test_an_erosion_is_one_transform_with_its_footprint():
    x = images(density=0.7)
    y = np.asarray(morphology.erosion(jnp.asarray(x), jnp.asarray(CORNER)))
    neurons = search(x, y, key=KEY, kernel_size=3).network.params["transforms"]["lui"]
    np.testing.assert_array_equal(neurons.footprint[..., 0, 0], CORNER)
    assert neurons.footprint.shape == (3, 3, 2, 1)
    assert not neurons.footprint[..., 1, 0].any()


def test_gray_levels_are_read_as_level_sets():
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 256, (5, 40, 40)).astype(np.float32)
    # Dark above light: two levels of two pixels.
    y = (gray >= 150) & (np.roll(gray, 1, axis=1) < 80)
    y[:, 0] = gray[:, 0] >= 150
    found = search(gray, y, key=KEY, kernel_size=3, thresholds=[80.0, 150.0])
    assert found.network.takes_numbers
    np.testing.assert_array_equal(found.network(gray[..., None])[..., 0], y)


def test_the_change_of_every_bit_is_known_exactly():
    rng = np.random.default_rng(1)
    literals = rng.random((500, 12)) < 0.7
    worth = rng.choice([-1.0, 1.0], 500)
    examples = _Examples(literals, worth > 0)
    start = rng.random(12) < 0.4

    def total(chosen):
        return worth[literals[:, chosen].all(axis=1)].sum()

    chosen, found = _improve(start, examples, worth)
    assert found == total(chosen) >= total(start)
    for bit in range(12):
        other = chosen.copy()
        other[bit] ^= True
        assert total(other) <= found


def test_images_may_differ_in_size_and_few_pixels_suffice():
    x = [images(1)[0], images(1, seed=1)[0][:17, :23]]
    y = [np.asarray(morphology.dilation(jnp.asarray(i), jnp.asarray(CORNER))) for i in x]
    found = search(x, y, key=KEY, kernel_size=3, pixels=600)
    for one, expected in zip(x, y, strict=True):
        np.testing.assert_array_equal(found.network(one[None, ..., None])[0, ..., 0], expected)


def test_the_same_key_finds_the_same_and_max_transforms_is_a_limit():
    x = images(density=0.1)
    y = np.asarray(morphology.dilation(jnp.asarray(x), jnp.ones((3, 3), bool)))
    options = {"key": KEY, "kernel_size": 3, "max_transforms": 4, "pixels": 3000}
    first, second = (search(x, y, **options).network for _ in range(2))
    same = jax.tree.map(lambda a, b: bool((a == b).all()), first.params, second.params)
    assert jax.tree.all(same)
    assert first.params["union"]["lui"].footprint.shape == (4, 1)


def test_a_found_network_can_be_saved(tmp_path):
    x = images(2)
    network = search(x, x, key=KEY, kernel_size=3).network
    save_network(tmp_path / "n.npz", network.architecture, network.params)
    np.testing.assert_array_equal(load_network(tmp_path / "n.npz")(x[..., None])[..., 0], x)


def test_what_cannot_be_searched_is_named():
    x = images(2)[..., None]
    with pytest.raises(ValueError, match="as many images, at least one; got 0, 0"):
        search_hit_or_miss([], [], key=KEY)
    with pytest.raises(ValueError, match=r"image 0: x \(40, 40, 1\) and y \(39, 40, 1\)"):
        search_hit_or_miss(x, x[:, 1:], key=KEY)
    with pytest.raises(
        ValueError, match=r"image 0: x \(0, 40, 1\) and y \(0, 40, 1\), bool; .* with pix"
    ):
        search_hit_or_miss(*np.zeros((2, 1, 0, 40, 1), bool), key=KEY)
    with pytest.raises(ValueError, match="kernel_size must be odd"):
        search_hit_or_miss(x, x, key=KEY, kernel_size=4)
    with pytest.raises(ValueError, match="x must be bool: threshold it first"):
        search_hit_or_miss(x.astype(np.float32), x, key=KEY)
    with pytest.raises(ValueError, match=r"no transform of 5 x 5 pixels gains 20\.0 pixels"):
        search_hit_or_miss(x, np.zeros_like(x), key=KEY)


def test_several_channels_are_searched_together():
    # Set where the first channel is and the second, one pixel to the right, is not.
    rng = np.random.default_rng(0)
    x = rng.random((4, 30, 30, 2)) < 0.5
    y = x[..., :1] & ~np.roll(x[..., 1:], -1, axis=2)
    y[:, :, -1] = x[:, :, -1, :1]
    network = search_hit_or_miss(x, y, key=KEY, kernel_size=3).network
    np.testing.assert_array_equal(network(x), y)

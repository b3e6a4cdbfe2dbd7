"""Filters that need no learning, as boolean networks: what a learned one must be better than."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from bimonn_jax.data.image_files import Foreground, Reading
from bimonn_jax.data.image_pairs import tiles
from bimonn_jax.filters.pairs import GrayPair, f_measure
from bimonn_jax.morphology.operators import embed_in_odd, reflect
from bimonn_jax.morphology.windows import Padding
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.kinds import BiSELayer, Layer
from bimonn_jax.neurons.params import BinaryNeurons, BooleanNeurons, RankNeurons
from bimonn_jax.training.baselines import Handmade, best_handmade

# Side of the squares on which filters made by hand are tried.
_TILE = 64


def _of_one_channel(name: str, padding: Padding) -> BiSELayer:
    return BiSELayer(name, padding=padding, border="edge")


def _operator(footprint: np.ndarray, *, is_erosion: bool) -> BooleanNeurons:
    shaped = jnp.asarray(footprint)[..., None, None]
    return BooleanNeurons(shaped, jnp.full((1, 1), is_erosion), jnp.zeros((1, 1), bool))


def _network(layers: list[Layer], neurons: list[BinaryNeurons]) -> BooleanNetwork:
    params = {layer.name: {"bise": n} for layer, n in zip(layers, neurons, strict=True)}
    return BooleanNetwork(tuple(layers), params)


def identity_network() -> BooleanNetwork:
    """The input as it is: bool (N, H, W, 1) -> bool (N, H, W, 1)."""
    one = np.ones((1, 1), bool)
    return _network([_of_one_channel("identity", "SAME")], [_operator(one, is_erosion=False)])


def median_network(side: int = 3) -> BooleanNetwork:
    """The median of side x side pixels, edges replicated."""
    count = side * side
    neurons = RankNeurons(
        jnp.ones((side, side, 1, 1), bool),
        jnp.full((1, 1), (count + 1) // 2, jnp.int32),
        jnp.zeros((1, 1), bool),
    )
    return _network([_of_one_channel("median", "SAME")], [neurons])


def handmade_network(handmade: Handmade) -> BooleanNetwork:
    """An opening, a closing, or one after the other, edges replicated, as layers of neurons."""
    footprint = np.asarray(embed_in_odd(jnp.asarray(handmade.footprint)))
    reflected = np.asarray(reflect(jnp.asarray(handmade.footprint)))
    both = tuple((side - 1, side - 1) for side in footprint.shape)
    layers: list[Layer] = []
    neurons: list[BinaryNeurons] = []
    for step in handmade.steps:
        # The image is extended once, for both operators: see `bimonn_jax.morphology.opening`.
        for f, padding, is_erosion in (
            (footprint, both, step == "opening"),
            (reflected, "VALID", step != "opening"),
        ):
            layers.append(_of_one_channel(f"{step}_{len(layers)}", padding))
            neurons.append(_operator(f, is_erosion=is_erosion))
    return _network(layers, neurons)


def reading_of_bits(pairs: Sequence[GrayPair], foreground: Foreground | None) -> Reading:
    """How images become bits: by the rule, of Otsu's and the local one, nearer to the targets.

    Where no foreground is given, by the nearer of both, dark and light.
    """
    polarities: tuple[Foreground, ...] = (foreground,) if foreground else ("dark", "light")
    return max(
        (Reading(rule, polarity) for polarity in polarities for rule in ("otsu", "local")),
        key=lambda reading: f_measure([reading.to_bits(p.x) for p in pairs], [p.y for p in pairs]),
    )


def simple_networks(
    bits: Sequence[np.ndarray], targets: Sequence[np.ndarray]
) -> dict[str, BooleanNetwork]:
    """The input, the median, and the best opening or closing made by hand, by their names.

    Args:
      bits: images, each bool (H, W).
      targets: what they should become, each bool (H, W): they choose the last one.
    """
    side = min(_TILE, *(side for image in bits for side in image.shape))
    made = best_handmade(tiles(bits, side), tiles(targets, side))
    return {
        "input": identity_network(),
        "median 3 x 3": median_network(),
        made.name: handmade_network(made),
    }

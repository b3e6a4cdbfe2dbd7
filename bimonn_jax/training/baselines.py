"""Hand-made filters to compare a learned one with."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from bimonn_jax.morphology.footprints import FOOTPRINTS
from bimonn_jax.morphology.operators import closing, opening
from bimonn_jax.training.metrics import dice


def median_3x3(x: jax.Array) -> jax.Array:
    """The 3 x 3 median filter of a bool image (H, W), edges replicated."""
    return jnp.asarray(ndimage.median_filter(np.asarray(x), size=3, mode="nearest"))


@dataclass(frozen=True)
class Handmade:
    """An opening, a closing or one after the other, by one footprint."""

    name: str
    steps: tuple[str, ...]
    footprint: np.ndarray

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the filter to a bool image (..., H, W), edges replicated."""
        operators = {"opening": opening, "closing": closing}
        for step in self.steps:
            x = operators[step](x, jnp.asarray(self.footprint), border="edge")
        return x


def handmade_filters() -> list[Handmade]:
    """Openings, closings and their chains, by the zoo at sizes 3 and 5 and by 2-pixel sets."""
    footprints = {
        f"{name} {size}": make(size) for name, make in FOOTPRINTS.items() for size in (3, 5)
    }
    for rows, columns in ((1, 2), (2, 1), (2, 2)):
        footprints[f"rectangle {rows} x {columns}"] = np.ones((rows, columns), bool)
    chains = (("opening",), ("closing",), ("opening", "closing"), ("closing", "opening"))
    return [
        Handmade(f"{' then '.join(chain)} by {name}", chain, footprint)
        for name, footprint in footprints.items()
        for chain in chains
    ]


def best_handmade(x: jax.Array, y: jax.Array) -> Handmade:
    """The hand-made filter with the best DICE on training images x -> y, bool (..., H, W)."""
    return max(handmade_filters(), key=lambda candidate: float(dice(candidate(x), y)))

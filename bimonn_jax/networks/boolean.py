"""Boolean networks: architecture and arrays as one function of its input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.morphology.levels import as_numbers
from bimonn_jax.networks.architecture import apply_layers
from bimonn_jax.networks.kinds import Architecture, LevelSetsLayer


@dataclass(frozen=True)
class _Static:
    """What is no array of a network: compared by value, as `jax.jit` does."""

    architecture: Architecture
    metadata: Mapping[str, Any]

    def __hash__(self) -> int:
        return hash(self.architecture)


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, eq=False, repr=False)
class BooleanNetwork:
    """A boolean network that runs by itself.

    It is a function of its input, for `jax.jit` and `jax.vmap` too, and a pytree whose leaves are
    its boolean arrays. Two networks are equal only if they are one object.

    Attributes:
      architecture: the layers, in order.
      params: the boolean parameter tree (nested dicts).
      metadata: JSON values: data set, metric, seed, whatever the writer found worth keeping.
    """

    architecture: Architecture
    params: Any
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def takes_numbers(self) -> bool:
        """Whether the input is grayscale or color, for level sets, rather than bits."""
        return any(isinstance(layer, LevelSetsLayer) for layer in self.architecture)

    def __repr__(self) -> str:
        """One line: the layers, and how many parameters they have, most of them bits."""
        is_chain = not any(layer.inputs for layer in self.architecture)
        kinds = (" -> " if is_chain else ", ").join(layer.kind for layer in self.architecture)
        size = sum(np.size(leaf) for leaf in jax.tree.leaves(self.params))
        return f"BooleanNetwork({kinds or 'no layers'}; {size:,} parameters)"

    def tree_flatten(self) -> tuple[tuple[Any], _Static]:
        """The parameters, and what is no array."""
        return (self.params,), _Static(self.architecture, self.metadata)

    @classmethod
    def tree_unflatten(cls, static: _Static, children: tuple[Any]) -> BooleanNetwork:
        """The inverse of `tree_flatten`."""
        return cls(static.architecture, children[0], static.metadata)

    def __call__(self, x: jax.Array | np.ndarray) -> jax.Array:
        """Runs the network, compiled once for each shape of ``x``.

        Args:
          x: bool, or numbers that are all 0 or 1; numbers of any value if the first layer takes
            level sets. Under `jax.jit` and `jax.vmap` there are no values to look at: there
            every number other than 0 counts as 1.

        Returns:
          Bool, or float logits from a real head.

        Raises:
          ValueError: for other values, or a shape that the network does not take.
        """
        x = as_numbers(x)
        if x.dtype != jnp.bool_ and not self.takes_numbers:
            x = _as_bits(x)
        y: jax.Array = apply_layers(self.architecture, self.params, x)
        return y


def _as_bits(x: jax.Array) -> jax.Array:
    if not isinstance(x, jax.core.Tracer):
        other = x[(x != 0) & (x != 1)]
        if other.size:
            raise ValueError(
                f"x must be binary, but holds {other.size} values other than 0 and 1, the first "
                f"{other[0]}: threshold it first, for example x > 0.5"
            )
    return x != 0

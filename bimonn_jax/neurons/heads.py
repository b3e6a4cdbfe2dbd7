"""Classification heads that stay boolean: ternary weights and popcounts of groups.

Both turn bool features (n,) into a whole number per class, by counting bits: no multiplication is
left after binarization. The class is the largest count.
"""

import jax
import jax.numpy as jnp

from bimonn_jax._support.pytrees import pytree
from bimonn_jax.neurons.precision import matmul

# A latent above this counts as +1, below its negative as -1.
_TERNARY_LEVEL = 1 / 3
# Votes are added in float32. Every partial sum of n votes, in whatever order, is a whole number of
# -n to n, and float32 holds all of those up to n = 2^24.
_MOST_FEATURES = 2**24


@pytree
class TernaryLatents:
    """Free parameters of a ternary head, trained with a straight-through gradient.

    Attributes:
      latent: float (n, classes).
    """

    latent: jax.Array


@pytree
class TernaryWeights:
    """Weights in {-1, 0, 1} as two footprints.

    Attributes:
      positive: bool (n, classes); features that vote for a class.
      negative: bool (n, classes); features that vote against it.
    """

    positive: jax.Array
    negative: jax.Array


def check_countable(features: int) -> None:
    """Raises ValueError where a head reads more bits than are counted exactly in float32."""
    if features > _MOST_FEATURES:
        raise ValueError(
            f"a head counts at most {_MOST_FEATURES:,} features exactly; got {features:,}"
        )


def is_ternary(node: object) -> bool:
    """Whether a node of a parameter tree belongs to a ternary head."""
    return isinstance(node, TernaryLatents | TernaryWeights)


def ternary_weights(head: TernaryLatents) -> TernaryWeights:
    """The weights that a trained head has in its forward pass."""
    # As JAX has them, which is how they run: NumPy would compare float64 with float64.
    latent = jnp.asarray(head.latent)
    return TernaryWeights(latent > _TERNARY_LEVEL, latent < -_TERNARY_LEVEL)


def binarize_heads(tree: object) -> object:
    """Replaces every `TernaryLatents` of a tree by its `TernaryWeights`."""
    return jax.tree.map(
        lambda node: ternary_weights(node) if isinstance(node, TernaryLatents) else node,
        tree,
        is_leaf=is_ternary,
    )


def ternary_scores(head: TernaryLatents | TernaryWeights, x: jax.Array) -> jax.Array:
    """Votes for minus votes against each class.

    Args:
      head: of n features.
      x: float or bool (..., n).

    Returns:
      Float (..., classes) of `TernaryLatents`, int32 of `TernaryWeights`.

    Raises:
      ValueError: if the features are not n, or more than `TernaryWeights` can count exactly.
    """
    latent = head.latent if isinstance(head, TernaryLatents) else head.positive
    if x.shape[-1:] != latent.shape[:1]:
        raise ValueError(f"x has shape {x.shape}; (..., {latent.shape[0]}) was expected")
    weights = ternary_weights(head) if isinstance(head, TernaryLatents) else head
    signs = weights.positive.astype(jnp.float32) - weights.negative.astype(jnp.float32)
    if isinstance(head, TernaryWeights):
        check_countable(x.shape[-1])
        return matmul(x.astype(jnp.float32), signs).astype(jnp.int32)
    # The difference is exactly 0, so the scores are whole numbers whatever the latents' size.
    straight_through = signs + (head.latent - jax.lax.stop_gradient(head.latent))
    return matmul(x.astype(jnp.float32), straight_through)


def popcount_signs(features: int, classes: int) -> jax.Array:
    """The fixed votes of a popcount head, float (features, classes) in {-1, 0, 1}.

    Feature i belongs to class i mod classes; in each group, every other feature votes against.
    """
    index = jnp.arange(features)
    sign = jnp.where((index // classes) % 2 == 0, 1, -1)
    is_own = index[:, None] % classes == jnp.arange(classes)[None]
    return jnp.where(is_own, sign[:, None], 0).astype(jnp.float32)


def popcount_scores(x: jax.Array, classes: int) -> jax.Array:
    """Set bits of each class's group, those that vote for it minus those against.

    Args:
      x: float or bool (..., n).
      classes: how many.

    Returns:
      Float (..., classes) where x is float, int32 where it is bool.

    Raises:
      ValueError: for more bools than are counted exactly.
    """
    if x.dtype == jnp.bool_:
        check_countable(x.shape[-1])
    scores = matmul(x.astype(jnp.float32), popcount_signs(x.shape[-1], classes))
    return scores.astype(jnp.int32) if x.dtype == jnp.bool_ else scores

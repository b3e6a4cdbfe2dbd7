"""The float network and its boolean one side by side, on data."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from bimonn_jax._support.pytrees import pytree, static
from bimonn_jax.binarization.conversion import binarize
from bimonn_jax.data.classification import check_labeled
from bimonn_jax.networks.architecture import apply_layers, layer_outputs
from bimonn_jax.networks.kinds import Architecture, NeuronLayer
from bimonn_jax.neurons.activation import activation
from bimonn_jax.neurons.params import RealNeurons, named_neurons, real_parameters


def map_in_chunks(
    fn: Callable[[jax.Array], jax.Array], images: jax.Array, *, chunk: int = 1000
) -> jax.Array:
    """``fn(images)``, on a limited number at a time: for layers whose output is large."""
    count = images.shape[0]
    if count <= chunk:
        return fn(images)
    missing = -count % chunk
    padded = jnp.concatenate([images, images[:missing]])
    parts: jax.Array = jax.lax.map(fn, padded.reshape(-1, chunk, *images.shape[1:]))
    return parts.reshape(-1, *parts.shape[2:])[:count]


@jax.jit
def activated_share(params: Any) -> jax.Array:
    """Share of the neurons of a parameter tree that are activated on binary inputs, float ().

    As operators of any rank, see `bimonn_jax.neurons.activation`.

    Raises:
      ValueError: if there are no real-valued neurons in it; boolean ones are activated by nature.
    """
    activated = [
        activation(*real_parameters(neurons)).is_activated.reshape(-1)
        for neurons in named_neurons(params).values()
        if isinstance(neurons, RealNeurons)
    ]
    if not activated:
        raise ValueError(
            "params holds no real-valued neurons, of which a share could be activated: give the "
            "tree as it was before it was binarized"
        )
    return jnp.mean(jnp.concatenate(activated).astype(jnp.float32))


def activated_shares(params: Any) -> dict[str, jax.Array]:
    """`activated_share` of each set of neurons, by path."""
    return {
        path: activated_share(neurons)
        for path, neurons in named_neurons(params).items()
        if isinstance(neurons, RealNeurons)
    }


def live_neurons(architecture: Architecture, boolean: Any, x: jax.Array) -> dict[str, jax.Array]:
    """Which outputs of each layer of neurons take both values on the data; the others are dead.

    Args:
      architecture: of the network.
      boolean: its boolean tree.
      x: the input, bool (N, ...), or what the first layer takes.

    Returns:
      By layer name, bool (features,).
    """
    live = {}
    for layer, output in zip(architecture, layer_outputs(architecture, boolean, x), strict=True):
        if isinstance(layer, NeuronLayer) and layer.name:
            flat = output.reshape(-1, output.shape[-1])
            live[layer.name] = jnp.any(flat, axis=0) & ~jnp.all(flat, axis=0)
    return live


@pytree(eq=False)
class _Comparison:
    """What `compare` builds: a function that is a tree, whose arrays are the data."""

    x: jax.Array
    y: jax.Array
    architecture: Architecture = static()
    method: str = static()

    def __call__(self, params: Any) -> Mapping[str, jax.Array]:
        boolean = binarize(params, method=self.method)
        live = jnp.concatenate(list(live_neurons(self.architecture, boolean, self.x).values()))
        return {
            "dice_float": dice(apply_layers(self.architecture, params, self.x) > 0.5, self.y),
            "dice_boolean": dice(apply_layers(self.architecture, boolean, self.x), self.y),
            "activated_share": activated_share(params),
            "live_share": jnp.mean(live.astype(jnp.float32)),
            **{f"activated_share/{path}": s for path, s in activated_shares(params).items()},
        }


def compare(
    architecture: Architecture, x: jax.Array, y: jax.Array, *, method: str = "activable"
) -> Callable[[Any], Mapping[str, jax.Array]]:
    """Builds an evaluation for `bimonn_jax.fit`.

    Args:
      architecture: of the network.
      x: its input, bool (N, H, W, C).
      y: the target, bool, of the shape of its output.
      method: how to binarize, see `bimonn_jax.binarize`.

    Returns:
      params -> dice_float (of the float network thresholded at 1/2), dice_boolean (of the binarized
      one), activated_share and live_share, the first also as activated_share/PATH for each set of
      neurons; each a float ().

    Raises:
      ValueError: if there are no images, or not as many targets.
    """
    if not len(x) or len(x) != len(y):
        raise ValueError(
            f"x and y must be as many images, at least one; got the shapes {x.shape} and {y.shape}"
        )
    return _Comparison(x, y, architecture, method)


def dice(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """DICE score 2 |A and B| / (|A| + |B|) of bool arrays, over all elements; 1 if both are empty.

    Examples:
      >>> import jax.numpy as jnp
      >>> float(dice(jnp.array([True, True]), jnp.array([True, False])))
      0.6666666865348816
    """
    size = jnp.sum(prediction) + jnp.sum(target)
    overlap = 2 * jnp.sum(prediction & target)
    return jnp.where(size > 0, overlap.astype(float) / jnp.maximum(size, 1).astype(float), 1.0)


def error_percent(
    architecture: Architecture, params: Any, images: jax.Array, labels: jax.Array
) -> jax.Array:
    """Share of the images whose largest score (of equal ones, the first) is not their label's.

    Args:
      architecture: of the classifier.
      params: its parameters, real-valued or boolean.
      images: (N, H, W, C).
      labels: (N,).

    Returns:
      Float (), in percent.

    Raises:
      ValueError: if there are no images, or not as many labels.
    """
    check_labeled(images, labels)
    scores = map_in_chunks(partial(apply_layers, architecture, params), images)
    return 100 * jnp.mean(jnp.argmax(scores, axis=-1).astype(labels.dtype) != labels)

"""Times the correlation of BiSE layers, forward and backward, against two other ways.

    python -m experiments.correlation_speed

Prints milliseconds (median of the runs) for a batch of 32 images of 44 x 44 and 5 x 5 kernels:
XLA's grouped convolution, a sum of shifted images differentiated by JAX, and `correlate`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from bimonn_jax.morphology.windows import shifted_views
from bimonn_jax.neurons.correlation import correlate

from .program import Program, Settings, option
from .timing import median_seconds

Correlation = Callable[[jax.Array, jax.Array], jax.Array]


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """What is timed."""

    runs: int = option("Timed runs of each.", 9, at_least=1)


def grouped(images: jax.Array, kernels: jax.Array) -> jax.Array:
    """`correlate` as a grouped convolution."""
    kh, kw, channels, outputs = kernels.shape
    maps = lax.conv_general_dilated(
        images.transpose(1, 2, 3, 0),
        kernels.reshape(kh, kw, 1, channels * outputs),
        (1, 1),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels,
    )
    return maps.reshape(*maps.shape[:3], channels, outputs).transpose(3, 4, 0, 1, 2)


def shifted(images: jax.Array, kernels: jax.Array) -> jax.Array:
    """`correlate` as a sum of shifted images, with the derivative that JAX makes of it."""
    weights = kernels[..., None, None, None]
    views = shifted_views(images, (kernels.shape[0], kernels.shape[1]))
    return reduce(jnp.add, [view[:, None] * weights[at] for at, view in views])


def milliseconds(
    correlation: Correlation, images: jax.Array, kernels: jax.Array, runs: int
) -> float:
    """Median time of both gradients of a nonlinear function of the output."""
    gradients = jax.jit(jax.grad(lambda x, w: jnp.sum(jnp.tanh(correlation(x, w))), argnums=(0, 1)))
    return 1e3 * median_seconds(gradients, images, kernels, runs=runs)


def run(config: Config, data: None = None, folder: None = None) -> dict[str, Any]:
    """Milliseconds by the shape of the layer and the way."""
    ways: dict[str, Correlation] = {"grouped": grouped, "shifted": shifted, "correlate": correlate}
    rows = []
    for channels, outputs in ((1, 16), (16, 1), (2, 64)):
        images = jax.random.uniform(jax.random.key(0), (channels, 32, 44, 44))
        kernels = jax.random.uniform(jax.random.key(1), (5, 5, channels, outputs))
        times = {n: milliseconds(way, images, kernels, config.runs) for n, way in ways.items()}
        rows.append({"channels x outputs": f"{channels} x {outputs}", **times})
    return {"rows": rows}


main = Program(Config, run, folder="", extra="")

if __name__ == "__main__":
    main()

"""Times the correlation of BiSE layers, forward and backward, against two other ways.

    python -m experiments.correlation_speed

Prints milliseconds (median of the runs) for a batch of 32 images of 44 x 44 and 5 x 5 kernels:
XLA's grouped convolution, a sum of shifted images differentiated by JAX, and `correlate`.
"""

from collections.abc import Callable
from functools import reduce

import jax
import jax.numpy as jnp
from absl import app, flags
from jax import lax

from bimonn_jax.morphology.windows import shifted_views
from bimonn_jax.neurons.correlation import correlate
from experiments.timing import median_seconds

RUNS = flags.DEFINE_integer("runs", 9, "Timed runs of each.", lower_bound=1)

Correlation = Callable[[jax.Array, jax.Array], jax.Array]


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


def milliseconds(correlation: Correlation, images: jax.Array, kernels: jax.Array) -> float:
    """Median time of both gradients of a nonlinear function of the output."""
    gradients = jax.jit(jax.grad(lambda x, w: jnp.sum(jnp.tanh(correlation(x, w))), argnums=(0, 1)))
    return 1e3 * median_seconds(gradients, images, kernels, runs=RUNS.value)


def main(argv: list[str]) -> None:
    """Runs the program."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    ways: dict[str, Correlation] = {"grouped": grouped, "shifted": shifted, "correlate": correlate}
    print(f"{'channels x outputs':<20}" + "".join(f"{name:>12}" for name in ways))
    for channels, outputs in ((1, 16), (16, 1), (2, 64)):
        images = jax.random.uniform(jax.random.key(0), (channels, 32, 44, 44))
        kernels = jax.random.uniform(jax.random.key(1), (5, 5, channels, outputs))
        times = [milliseconds(way, images, kernels) for way in ways.values()]
        print(f"{f'{channels} x {outputs}':<20}" + "".join(f"{t:>12.1f}" for t in times))


if __name__ == "__main__":
    app.run(main)

"""Times a training step with each regulariser, and shows what taking turns costs in effect.

    python -m experiments.regularizer_cost

First the time of a step of a network 784 -> 4096 -> 10, batch 256, relative to the step without a
regulariser. Then the effect: 300 steps of a network 784 -> 512 -> 10 that learns to tell ten random
linear forms apart, with the same coefficient: how far the neurons' mean squared distance to the
nearest activable one falls when all are drawn at every step, or each only in its turn.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from absl import app, flags

from bimonn_jax import NeuronConfig
from bimonn_jax.binarization.projection import project
from bimonn_jax.networks.modules import DenseLUI
from bimonn_jax.neurons.params import real_parameters
from bimonn_jax.training.loop import Apply, init_state, make_step
from bimonn_jax.training.optimizers import optimizer_for
from bimonn_jax.training.regularization import NAMES, regularizer

RUNS = flags.DEFINE_integer("runs", 15, "Timed runs of each.", lower_bound=1)
STEPS = flags.DEFINE_integer("steps", 300, "Training steps for the effect.", lower_bound=1)
COEFFICIENT = flags.DEFINE_float("coefficient", 0.01, "Of acti, relative, for the effect.")
SMALL = flags.DEFINE_bool("small", False, "Tiny layers, to see that the program runs.")

BATCH, INPUTS, CLASSES = 256, 784, 10


class _Classifier(nn.Module):
    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(CLASSES)(DenseLUI(self.hidden, NeuronConfig("identity", "identity"))(x))


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over the batch."""
    losses: jax.Array = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses.mean()


def batch(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Random binary inputs, labelled by the largest of ten fixed random linear forms."""
    x = jax.random.bernoulli(key, 0.2, (BATCH, INPUTS))
    forms = jax.random.normal(jax.random.key(7), (INPUTS, CLASSES))
    return x, jnp.argmax(x @ forms, axis=1)


def start(hidden: int) -> tuple[Apply, Any]:
    """A network as a function of its parameters, and the parameters."""
    model = _Classifier(hidden)

    def apply(params: Any, x: jax.Array) -> jax.Array:
        return jnp.asarray(model.apply({"params": params}, x))

    return apply, model.init(jax.random.key(2), batch(jax.random.key(0))[0])["params"]


def step_times(hidden: int) -> dict[str, float]:
    """Median seconds of a step by regulariser; the runs take turns, so that all meet one load."""
    apply, params = start(hidden)
    optimizer = optimizer_for(real=optax.adam(1e-3))
    choices = {"none": None, **{name: regularizer(name) for name in NAMES}}
    choices |= {f"{name}, no turns": regularizer(name, every=1) for name in ("acti", "exact")}
    data = batch(jax.random.key(0))
    steps: dict[str, Callable[..., Any]] = {}
    seconds: dict[str, list[float]] = {}
    state = init_state(params, optimizer)
    for name, chosen in choices.items():
        steps[name] = jax.jit(make_step(apply, optimizer, cross_entropy, chosen))
        jax.block_until_ready(steps[name](state, data, 0.01, 0))
        seconds[name] = []
    for _ in range(RUNS.value):
        for name, step in steps.items():
            started = time.perf_counter()
            jax.block_until_ready(step(state, data, 0.01, 0))
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def effect(hidden: int, every: int | None) -> tuple[float, float, float]:
    """(Mean squared distance to activable at the end, loss at the end, seconds)."""
    apply, params = start(hidden)
    optimizer = optimizer_for(real=optax.adam(1e-3))
    chosen = None if every is None else regularizer("acti", relative=True, every=every)
    step = make_step(apply, optimizer, cross_entropy, chosen)

    @jax.jit
    def train(state: Any) -> tuple[Any, jax.Array]:
        def one(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            return step(state, batch(key), COEFFICIENT.value, 0)

        return jax.lax.scan(one, state, jax.random.split(jax.random.key(1), STEPS.value))

    started = time.perf_counter()
    state, _ = jax.block_until_ready(train(init_state(params, optimizer)))
    seconds = time.perf_counter() - started
    W, B, _ = real_parameters(state.params["DenseLUI_0"]["lui"])
    x, y = batch(jax.random.key(3))
    loss = cross_entropy(apply(state.params, x), y)
    distance = project(W, B).squared_distance / jnp.sum(jnp.square(W), axis=0)
    return float(jnp.mean(distance)), float(loss), seconds


def main(argv: list[str]) -> None:
    """Runs the program."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    times = step_times(128 if SMALL.value else 4096)
    print(f"{'regulariser':<18}{'ms per step':>12}{'ratio':>8}")
    for name, seconds in times.items():
        print(f"{name:<18}{1e3 * seconds:>12.1f}{seconds / times['none']:>8.2f}")
    print(f"\n{'acti, each neuron':<18}{'distance / |W|^2':>18}{'loss':>8}{'s':>8}")
    for every in (None, 1, 4, 16, 32):
        distance, loss, seconds = effect(64 if SMALL.value else 512, every)
        title = "never" if every is None else f"every {every} steps"
        print(f"{title:<18}{distance:>18.4f}{loss:>8.3f}{seconds:>8.1f}")


if __name__ == "__main__":
    app.run(main)

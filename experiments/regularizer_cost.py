"""Times a training step with each regularizer, and shows what taking turns costs in effect.

    python -m experiments.regularizer_cost

First the time of a step of a network 784 -> 4096 -> 10, batch 256, relative to the step without a
regularizer. Then the effect: 300 steps of a network 784 -> 512 -> 10 that learns to tell ten random
linear forms apart, with the same coefficient: how far the neurons' mean squared distance to the
nearest activable one falls when all are drawn at every step, or each only in its turn.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from bimonn_jax import NeuronConfig
from bimonn_jax.binarization.projection import project
from bimonn_jax.networks.modules import LUI
from bimonn_jax.neurons.params import real_parameters
from bimonn_jax.training.loop import Apply, init_state, make_step
from bimonn_jax.training.losses import cross_entropy as softmax_cross_entropy
from bimonn_jax.training.optimizers import optimizer_for
from bimonn_jax.training.regularization import NAMES, regularizer

from .program import Program, Settings, option

BATCH, INPUTS, CLASSES = 256, 784, 10
cross_entropy = softmax_cross_entropy()


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """What is timed."""

    runs: int = option("Timed runs of each.", 15, at_least=1)
    steps: int = option("Training steps for the effect.", 300, at_least=1)
    coefficient: float = option("Coefficient of acti, relative, for the effect.", 0.01)
    small: bool = option("Tiny layers, to see that the program runs.", False)


class _Classifier(nn.Module):
    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(CLASSES)(LUI(self.hidden, NeuronConfig("identity", "identity"))(x))


def batch(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Random binary inputs, labeled by the largest of ten fixed random linear forms."""
    x = jax.random.bernoulli(key, 0.2, (BATCH, INPUTS))
    forms = jax.random.normal(jax.random.key(7), (INPUTS, CLASSES))
    return x, jnp.argmax(x @ forms, axis=1)


def start(hidden: int) -> tuple[Apply, Any]:
    """A network as a function of its parameters, and the parameters."""
    model = _Classifier(hidden)

    def apply(params: Any, x: jax.Array) -> jax.Array:
        return jnp.asarray(model.apply({"params": params}, x))

    return apply, model.init(jax.random.key(2), batch(jax.random.key(0))[0])["params"]


def step_times(hidden: int, runs: int) -> dict[str, float]:
    """Median seconds of a step by regularizer; the runs take turns, so that all meet one load."""
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
    for _ in range(runs):
        for name, step in steps.items():
            started = time.perf_counter()
            jax.block_until_ready(step(state, data, 0.01, 0))
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def effect(config: Config, every: int | None) -> dict[str, Any]:
    """Mean squared distance to activable at the end, loss at the end, seconds."""
    hidden = 64 if config.small else 512
    apply, params = start(hidden)
    optimizer = optimizer_for(real=optax.adam(1e-3))
    chosen = None if every is None else regularizer("acti", relative=True, every=every)
    step = make_step(apply, optimizer, cross_entropy, chosen)

    @jax.jit
    def train(state: Any) -> tuple[Any, jax.Array]:
        def one(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            return step(state, batch(key), config.coefficient, 0)

        return jax.lax.scan(one, state, jax.random.split(jax.random.key(1), config.steps))

    started = time.perf_counter()
    state, _ = jax.block_until_ready(train(init_state(params, optimizer)))
    seconds = time.perf_counter() - started
    W, B, _ = real_parameters(state.params["LUI_0"]["lui"])
    x, y = batch(jax.random.key(3))
    loss = cross_entropy(apply(state.params, x), y)
    distance = project(W, B).squared_distance / jnp.sum(jnp.square(W), axis=0)
    return {
        "acti, each neuron": "never" if every is None else f"every {every} steps",
        "distance / |W|^2": float(jnp.mean(distance)),
        "loss": float(loss),
        "s": seconds,
    }


def run(config: Config, data: None = None, folder: None = None) -> dict[str, Any]:
    """The time of a step by regularizer, and the effect of taking turns."""
    times = step_times(128 if config.small else 4096, config.runs)
    return {
        "times": [
            {"regularizer": name, "ms per step": 1e3 * seconds, "ratio": seconds / times["none"]}
            for name, seconds in times.items()
        ],
        "effect": [effect(config, every) for every in (None, 1, 4, 16, 32)],
    }


main = Program(Config, run, folder="", extra="")

if __name__ == "__main__":
    main()

"""Layers of rank neurons over a window, trained through the binarization on windows of images.

A neuron asks for a fixed number of literals (bits that are to be set, or clear) and counts how many
hold. Which ones: those whose latents are the largest in size, as in the top-k of sparse networks;
the gradient reaches all of them (straight-through, Bengio et al. 2013). While it is trained, counts
are centred and scaled by their mean and spread over the batch (Ioffe and Szegedy 2015); at the end
these fold into whole ranks, layer by layer, so nothing is lost.

Only one pixel of each window is computed, by products of matrices: on a CPU that is many times as
fast as training on images, and neighbors, which are alike, are not in one batch.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bimonn_jax._support.promotion import promoting
from bimonn_jax._support.random_arrays import uniform
from bimonn_jax.networks.kinds import HitOrMissConvLayer, Layer
from bimonn_jax.neurons.params import RankNeurons

# Windows of a step, steps for which footprints are kept, and how often this is done in a call.
_BATCH, _STEPS_PER_CHOICE, _CHOICES = 250, 20, 10
STEPS_PER_CALL = _STEPS_PER_CHOICE * _CHOICES
# For which share of a training its rate rises; if it goes by time, for so many steps at least.
_WARMUP, _LEAST_RISE = 0.05, 1000
_LEAST_VARIANCE = 1e-3
# How far targets are from 0 and 1 while the learning rate is highest; at its end they are not.
# Without it, windows of plain background, which are most and long since right, go on to push all
# neurons until none of them tells windows apart: Adam makes large steps of small gradients.
_SMOOTHING = 0.01
# Where so much of the training is done, one that is no better than a constant starts anew.
_LOOKED_AT = 0.15
# Windows over which the mean and spread of the finished network's counts are taken.
_MEASURED = 100_000

Latents = tuple[dict[str, jax.Array], ...]


@dataclass(frozen=True)
class WindowNetwork:
    """A network that `train_on_windows` found.

    Attributes:
      hidden: footprints over the bits that a layer reads and their complements, bool
        (2 inputs, neurons), and ranks, int32 (neurons,), of each layer.
      votes: int8 (n,), for the neurons of the last of these layers, 1 or -1: what speaks for the
        pixel.
      kernel_size: of the windows.
      steps: how many were made.
    """

    hidden: tuple[tuple[np.ndarray, np.ndarray], ...]
    votes: np.ndarray
    kernel_size: tuple[int, int]
    steps: int

    def counts(self, bits: np.ndarray) -> np.ndarray:
        """How many votes agree with each of windows, int32 (P,); bits is bool (P, kh * kw * C)."""
        counted = [self._counts(bits[i : i + _MEASURED]) for i in range(0, len(bits), _MEASURED)]
        return np.concatenate(counted) if counted else np.zeros(0, np.int32)

    def _counts(self, bits: np.ndarray) -> np.ndarray:
        x = bits
        for footprint, rank in self.hidden:
            literals = np.concatenate([x, ~x], axis=1).astype(np.float32)
            # Whole numbers below 2^24: exact.
            x = literals @ footprint.astype(np.float32) >= rank
        agree: np.ndarray = (x ^ (self.votes < 0)).sum(axis=1, dtype=np.int32)
        return agree

    def layers(self, rank: int) -> tuple[tuple[Layer, ...], dict[str, Any]]:
        """Layers of rank neurons, the last of which asks for so many votes, and parameters."""
        vote = np.concatenate([self.votes > 0, self.votes < 0])[:, None]
        layers: list[Layer] = []
        params: dict[str, Any] = {}
        for footprint, ranks in (*self.hidden, (vote, np.array([rank], np.int32))):
            window = (1, 1) if layers else self.kernel_size
            # (bits and their complements, kh, kw, C, neurons) -> (kh, kw, bits then complements,
            # neurons).
            split = footprint.reshape(2, *window, -1, len(ranks)).transpose(1, 2, 0, 3, 4)
            shaped = jnp.asarray(split.reshape(*window, -1, len(ranks)))
            name = f"ranks_{len(layers)}"
            layers.append(HitOrMissConvLayer(name))
            params[name] = {
                "lui": RankNeurons(shaped, jnp.asarray(ranks), jnp.zeros(len(ranks), bool))
            }
        return tuple(layers), params


def _bits_of(values: jax.Array) -> jax.Array:
    """1 and -1, with the derivative of a hard tanh."""
    near = jnp.clip(values, -1, 1)
    return near + jax.lax.stop_gradient(jnp.where(values > 0, 1.0, -1.0) - near)


def _choices(latents: Latents, inputs: tuple[int, ...]) -> list[jax.Array]:
    """Of each layer 1 where a neuron reads a literal, float32 (inputs, neurons)."""
    chosen = []
    for layer, count in zip(latents, inputs, strict=True):
        sizes = jnp.abs(layer["weight"]).T
        _, largest = jax.lax.top_k(sizes, min(count, sizes.shape[1]))
        rows = jnp.arange(len(sizes))[:, None]
        chosen.append(jnp.zeros_like(sizes).at[rows, largest].set(1.0).T)
    return chosen


def _ternary(weight: jax.Array, chosen: jax.Array) -> jax.Array:
    """1 and -1 where a literal is read, else 0."""
    return jnp.where(weight < 0, -chosen, chosen)


def _score(latents: Latents, chosen: Sequence[jax.Array], x: jax.Array) -> jax.Array:
    """How much speaks for the pixels of windows, float32 (B,); x is 1 and -1, (B, D)."""
    last = len(latents) - 1
    for index, (layer, choice) in enumerate(zip(latents, chosen, strict=True)):
        weight = layer["weight"]
        signs = weight + jax.lax.stop_gradient(_ternary(weight, choice) - weight)
        counts = x @ signs
        if index == last:
            score: jax.Array = counts[:, 0] / len(weight) ** 0.5 + layer["shift"][0]
            return score
        mean, variance = (f(counts, axis=0, keepdims=True) for f in (jnp.mean, jnp.var))
        scale = jax.lax.rsqrt(variance + _LEAST_VARIANCE)
        x = _bits_of((counts - mean) * scale + layer["shift"][None])
    raise AssertionError("a network has layers")


@partial(jax.jit, static_argnames="inputs")
def _steps(
    state: Any,
    keys: jax.Array,
    shares: jax.Array,
    learning_rate: jax.Array,
    bits: jax.Array,
    target: jax.Array,
    *,
    inputs: tuple[int, ...],
) -> tuple[Any, jax.Array]:
    """`STEPS_PER_CALL` steps of Adam, footprints chosen anew after every few of them."""
    adam = optax.scale_by_adam()

    def loss(
        latents: Latents, chosen: Any, x: jax.Array, y: jax.Array, smoothing: jax.Array
    ) -> jax.Array:
        scores = _score(latents, chosen, jnp.where(x, 1.0, -1.0))
        wanted = jnp.where(y, 1 - smoothing, smoothing)
        return jnp.mean(optax.sigmoid_binary_cross_entropy(scores, wanted))

    def with_choice(state: Any, of_choice: Any) -> tuple[Any, jax.Array]:
        key, share = of_choice
        rate = learning_rate * share
        chosen = _choices(state[0], inputs)

        def step(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            latents, moments = state
            drawn = jax.random.randint(key, (_BATCH,), 0, len(target))
            value, gradient = jax.value_and_grad(loss)(
                latents, chosen, bits[drawn], target[drawn], _SMOOTHING * share
            )
            with promoting():
                # optax relies on it.
                updates, moments = adam.update(gradient, moments)
            latents = jax.tree.map(lambda p, u: jnp.clip(p - rate * u, -4, 4), latents, updates)
            return (latents, moments), value

        return jax.lax.scan(step, state, jax.random.split(key, _STEPS_PER_CHOICE))

    state, losses = jax.lax.scan(with_choice, state, (keys, shares))
    return state, jnp.mean(losses)


def _rate(done: np.ndarray) -> np.ndarray:
    """The share of the learning rate where so much of the training is done: rise, then cosine."""
    falling: np.ndarray = (1 + np.cos(np.pi * np.minimum(done, 1))) / 2
    return falling * np.minimum(done / _WARMUP, 1)


def _start(key: jax.Array, sizes: Sequence[int]) -> tuple[Latents, Any]:
    """Latents at random, with the state of their optimizer."""
    latents: Latents = tuple(
        {
            "weight": uniform(jax.random.fold_in(key, i), pair, minval=-0.5, maxval=0.5),
            "shift": jnp.zeros(pair[1]),
        }
        for i, pair in enumerate(itertools.pairwise(sizes))
    )
    return latents, optax.scale_by_adam().init(latents)


def _loss_of_constant(target: np.ndarray, share: float) -> float:
    """The least loss of a score that is the same for all windows, at this share of the rate."""
    smoothing = _SMOOTHING * share
    mean = float(target.mean()) * (1 - 2 * smoothing) + smoothing
    return -sum(p * float(np.log(p)) for p in (mean, 1 - mean) if p > 0)


def _as_ranks(
    latents: Latents, inputs: tuple[int, ...], bits: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Footprints over literals, bool (2 inputs, neurons), and ranks of all layers but the last."""
    # From all images, in whose order they come.
    measured = bits[:: -(-len(bits) // _MEASURED)]
    x = np.asarray(measured, np.float32) * 2 - 1
    found = []
    for layer, chosen in zip(latents[:-1], _choices(latents, inputs)[:-1], strict=True):
        signs = np.asarray(_ternary(layer["weight"], chosen))
        size = np.abs(signs).sum(axis=0)
        # Whole numbers below 2^24: exact.
        counts = np.asarray(jnp.asarray(x) @ jnp.asarray(signs))
        spread = np.sqrt(counts.var(axis=0) + _LEAST_VARIANCE)
        least = counts.mean(axis=0) - np.asarray(layer["shift"]) * spread
        # Of ``size`` literals, (size + count) / 2 hold.
        rank = (np.floor((size + least) / 2) + 1).astype(np.int32)
        found.append((np.concatenate([signs > 0, signs < 0]), rank))
        x = np.where((size + counts) / 2 >= rank, np.float32(1), np.float32(-1))
    return found


def train_on_windows(
    bits: np.ndarray,
    target: np.ndarray,
    kernel_size: tuple[int, int],
    *,
    key: jax.Array,
    features: tuple[int, ...] = (256, 64),
    inputs: tuple[int, ...] = (16, 32),
    steps: int | None = None,
    seconds: float | None = None,
    learning_rate: float = 1e-2,
    callback: Callable[[dict[str, float]], None] | None = None,
) -> WindowNetwork:
    """Trains layers of rank neurons, and a vote of the last of them, on windows.

    Args:
      bits: bool (P, kh * kw * C), windows from `bimonn_jax.data.windows.draw_windows`.
      target: bool (P,).
      kernel_size: kh and kw.
      key: a JAX random key.
      features: neurons of each layer.
      inputs: how many literals a neuron of each layer reads (all, where there are fewer).
      steps: how many, or None for as many as ``seconds`` allow.
      seconds: how long to train, without compiling; the result depends on the machine then.
      learning_rate: of Adam, at its highest.
      callback: called after each 200 steps with step, loss, and done, the share of the training.

    Raises:
      ValueError: if not just one of steps and seconds is given, or shapes do not go together.
    """
    if (steps is None) == (seconds is None):
        raise ValueError(f"give steps or seconds, one of both; got {steps} and {seconds}")
    if not features or len(features) != len(inputs) or min(*features, *inputs) < 1:
        raise ValueError(
            f"features and inputs must be as many positive counts; got {features} and {inputs}"
        )
    if bits.shape[1] % (kernel_size[0] * kernel_size[1]) or target.shape != bits.shape[:1]:
        raise ValueError(
            f"windows {bits.shape} of {kernel_size} pixels and target {target.shape} do not go "
            "together: (P, kh * kw * C) and (P,) were expected"
        )
    sizes = (bits.shape[1], *features, 1)
    inputs = (*inputs, features[-1])
    start_key, step_key = jax.random.split(key)
    state = _start(start_key, sizes)
    on_device = jnp.asarray(bits), jnp.asarray(target)
    taken, done, starts = 0, 0.0, 1
    started = time.perf_counter()
    within = (np.arange(_CHOICES) + 0.5) / _CHOICES
    share = 0.0 if steps is None else STEPS_PER_CALL / steps
    while done < 1:
        keys = jax.random.split(jax.random.fold_in(step_key, taken), _CHOICES)
        # A machine that halts for a moment must not skip the rise.
        rise = 1.0 if seconds is None else min(1.0, taken / _LEAST_RISE)
        shares = jnp.asarray(rise * _rate(done + within * share), jnp.float32)
        rate = jnp.float32(learning_rate)
        state, loss = _steps(state, keys, shares, rate, *on_device, inputs=inputs)
        loss.block_until_ready()
        taken += STEPS_PER_CALL
        if steps is not None:
            done = taken / steps
        elif taken == STEPS_PER_CALL:
            # The first call compiles.
            started = time.perf_counter()
        else:
            assert seconds is not None
            share = (time.perf_counter() - started) / seconds - done
            done += share
        # The loss of the first call is mostly that of its beginning, which tells nothing.
        is_looked_at = taken > STEPS_PER_CALL and done - share < _LOOKED_AT <= done < 1
        if is_looked_at and loss > _loss_of_constant(target, float(shares[-1])):
            state = _start(jax.random.fold_in(start_key, starts), sizes)
            starts += 1
        if callback is not None:
            callback({"step": float(taken), "loss": float(loss), "done": min(done, 1.0)})
    hidden = tuple(_as_ranks(state[0], inputs, bits))
    votes = np.where(np.asarray(state[0][-1]["weight"])[:, 0] < 0, -1, 1).astype(np.int8)
    return WindowNetwork(hidden, votes, kernel_size, taken)

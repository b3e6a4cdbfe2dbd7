"""What learned filters are compared with: a random forest over windows, and a small float CNN."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from .filter_tasks import Picture

# Trees of the forest, and windows that it learns from.
_TREES, _PIXELS = 40, 60_000
# Layers of 3 x 3 pixels before the last one, and their channels: 11 x 11 pixels are seen.
_LAYERS, _CHANNELS = 4, 16
_CROPS, _SIDE, _RATE = 8, 64, 3e-3

FilterFunction = Callable[[np.ndarray], np.ndarray]


def _windows(image: np.ndarray, side: int) -> np.ndarray:
    """The windows around all pixels, (H W, side^2); zero beyond bits, edges of gray levels."""
    mode = "constant" if image.dtype == np.bool_ else "edge"
    padded = np.pad(image, side // 2, mode=mode)  # type: ignore[call-overload]
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side))
    return windows.reshape(-1, side * side)


def forest(pairs: Sequence[Picture], side: int, seed: int) -> FilterFunction:
    """A random forest of 40 trees over windows of side x side pixels, of 60,000 pixels."""
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(seed)
    x = np.concatenate([_windows(image, side) for image, _ in pairs])
    y = np.concatenate([target.reshape(-1) for _, target in pairs])
    drawn = rng.choice(len(y), min(_PIXELS, len(y)), replace=False)
    trees = RandomForestClassifier(_TREES, n_jobs=-1, random_state=seed).fit(x[drawn], y[drawn])

    def run(image: np.ndarray) -> np.ndarray:
        found: np.ndarray = trees.predict(_windows(image, side))
        return found.reshape(image.shape)

    return run


class _Network(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(_LAYERS):
            x = nn.relu(nn.Conv(_CHANNELS, (3, 3))(x))
        return nn.Conv(1, (3, 3))(x)[..., 0]


def _numbers(image: np.ndarray) -> np.ndarray:
    """Between -1 and 1, float32 (H, W, 1)."""
    most = 1 if image.dtype == np.bool_ else 255
    return (image.astype(np.float32) / most * 2 - 1)[..., None]


def convolutions(pairs: Sequence[Picture], seconds: float, seed: int) -> FilterFunction:
    """Five 3 x 3 convolutions in floats, trained for so long; pictures of one size."""
    x = jnp.asarray(np.stack([_numbers(image) for image, _ in pairs]))
    y = jnp.asarray(np.stack([target for _, target in pairs]))
    model = _Network()
    params = model.init(jax.random.key(seed), x[:1, :_SIDE, :_SIDE])
    adam = optax.scale_by_adam()

    def crops(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        keys = jax.random.split(key, 3)
        most = (len(x), x.shape[1] - _SIDE + 1, x.shape[2] - _SIDE + 1)
        at = [jax.random.randint(k, (_CROPS,), 0, m) for k, m in zip(keys, most, strict=True)]

        def crop(which: jax.Array, row: jax.Array, column: jax.Array) -> tuple[jax.Array, ...]:
            one = jax.lax.dynamic_slice(x, (which, row, column, 0), (1, _SIDE, _SIDE, 1))
            return one[0], jax.lax.dynamic_slice(y, (which, row, column), (1, _SIDE, _SIDE))[0]

        found_x, found_y = jax.vmap(crop)(*at)
        return found_x, found_y

    def loss(params: optax.Params, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
        scores = model.apply(params, batch[0])
        target = batch[1].astype(jnp.float32)
        return jnp.mean(optax.sigmoid_binary_cross_entropy(scores, target))

    # A step a call: XLA runs the convolutions of a loop on one core, several times as slowly.
    @jax.jit
    def step(state: Any, key: jax.Array, rate: jax.Array) -> Any:
        params, moments = state
        gradient = jax.grad(loss)(params, crops(key))
        updates, moments = adam.update(gradient, moments)
        return jax.tree.map(lambda p, u: p - rate * u, params, updates), moments

    state: Any = (params, adam.init(params))
    # Compiled before the time begins.
    jax.block_until_ready(step(state, jax.random.key(seed), jnp.float32(0)))
    started, steps = time.perf_counter(), 0
    while (done := (time.perf_counter() - started) / seconds) < 1:
        rate = _RATE * min(1.0, done * 50) * (1 + np.cos(np.pi * done)) / 2
        key = jax.random.fold_in(jax.random.key(seed), steps)
        state = jax.block_until_ready(step(state, key, jnp.float32(rate)))
        steps += 1

    @jax.jit
    def apply(x: jax.Array) -> jax.Array:
        scores: Any = model.apply(state[0], x)
        found: jax.Array = scores > 0
        return found

    return lambda image: np.asarray(apply(jnp.asarray(_numbers(image))[None]))[0]

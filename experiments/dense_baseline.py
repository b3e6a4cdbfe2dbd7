"""A plain network of the same size (dense, BatchNorm, ReLU) to compare a classifier with."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from bimonn_jax.training.compiled import compiled
from bimonn_jax.training.losses import cross_entropy


class DenseBaseline(nn.Module):
    """(..., n) -> dense (features), batch normalization, ReLU -> dense (classes)."""

    features: int
    classes: int

    @nn.compact
    def __call__(self, x: jax.Array, *, is_training: bool) -> jax.Array:
        """Applies the network."""
        hidden = nn.Dense(self.features, use_bias=False)(x.astype(jnp.float32))
        hidden = nn.relu(nn.BatchNorm(use_running_average=not is_training)(hidden))
        return nn.Dense(self.classes)(hidden)


def train_baseline(
    sample: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    features: int,
    classes: int,
    *,
    key: jax.Array,
    steps: int,
    learning_rate: float = 1e-3,
) -> Callable[[jax.Array], jax.Array]:
    """Trains it with Adam and a cosine schedule; returns (N, n) -> scores (N, classes)."""
    model, loss = DenseBaseline(features, classes), cross_entropy()
    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))
    variables = model.init(key, sample(key)[0], is_training=True)

    def step(carry: Any, step_key: jax.Array) -> tuple[Any, None]:
        params, statistics, opt_state = carry
        x, y = sample(step_key)

        def objective(params: Any) -> tuple[jax.Array, Any]:
            scores, updated = model.apply(
                {"params": params, "batch_stats": statistics},
                x,
                is_training=True,
                mutable=["batch_stats"],
            )
            return loss(scores, y), updated["batch_stats"]

        gradients, statistics = jax.grad(objective, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradients, opt_state)
        return (optax.apply_updates(params, updates), statistics, opt_state), None

    params = variables["params"]
    carry = params, variables["batch_stats"], optimizer.init(params)
    # Not `jax.jit`, for which the images of the sample would be a constant to fold.
    params, statistics, _ = compiled(_run, step)(carry, jax.random.split(key, steps))
    trained = {"params": params, "batch_stats": statistics}

    def scores(x: jax.Array) -> jax.Array:
        return jnp.asarray(model.apply(trained, x, is_training=False))

    return scores


def _run(step: Callable[..., Any], carry: Any, keys: jax.Array) -> Any:
    return jax.lax.scan(step, carry, keys)[0]

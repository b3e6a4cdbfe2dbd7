"""Many trainings in one compiled program: what a sweep varies is traced and vmapped.

Trials of one program share shapes and static choices (network, reparametrisation, loss,
regulariser); they differ in the numbers of a `Trials`.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from bimonn_jax.losses import Loss
from bimonn_jax.regularization import Regularizer
from bimonn_jax.training import Apply, Sample, init_state, make_step, optimizer_for

_LOG = logging.getLogger(__name__)


@struct.dataclass
class Trials:
    """What each of K trials trains with; arrays of shape (K,), or scalars for one trial.

    Attributes:
      seed: int; of its start and of its batches.
      learning_rate: float; Adam's.
      coefficient: float; of the regulariser.
      delay: int; the step from which the regulariser acts.
    """

    seed: jax.Array
    learning_rate: jax.Array
    coefficient: jax.Array
    delay: jax.Array

    def __len__(self) -> int:
        """How many trials there are."""
        return int(np.shape(self.seed)[0])


# What `train_trials` builds.
Run = Callable[[Trials], Mapping[str, jax.Array]]


def train_trials(
    apply: Apply,
    init: Callable[[jax.Array], Any],
    sample: Sample,
    evaluate: Callable[[Any], Mapping[str, jax.Array]],
    *,
    loss: Loss,
    steps: int,
    score: str,
    evaluations: int = 1,
    regularizer: Regularizer | None = None,
) -> Run:
    """Builds the training of many trials at once.

    Args:
      apply: (params, x) -> prediction.
      init: key -> params.
      sample: key -> (x, y), a batch.
      evaluate: params -> scalars by name.
      loss: (prediction, y) -> scalar.
      steps: of each trial.
      score: name of the metric by which a trial's best evaluation is chosen.
      evaluations: how many, evenly over the steps; the last one is at their end.
      regularizer: see `bimonn_jax.regularization.regularizer`.

    Returns:
      A jitted function of `Trials` (K,) -> the metrics of each trial at its best evaluation, (K,).
      It compiles once per K.

    Raises:
      ValueError: if the evaluations are not between 1 and the steps, or (when called) the score is
        no metric.
    """
    if not 1 <= evaluations <= steps:
        raise ValueError(f"evaluations must be between 1 and steps = {steps}; got {evaluations}")
    ends = jnp.asarray(np.linspace(0, steps, evaluations + 1).round()[1:], jnp.int32)

    def one(trial: Trials) -> Mapping[str, jax.Array]:
        optimizer = optimizer_for(real=optax.adam(trial.learning_rate))
        step = make_step(apply, optimizer, loss, regularizer)
        init_key, batch_key = jax.random.split(jax.random.key(trial.seed))
        state = init_state(init(init_key), optimizer)

        def train(state: Any) -> Any:
            batch = sample(jax.random.fold_in(batch_key, state.step))
            return step(state, batch, trial.coefficient, trial.delay)[0]

        def stage(carry: tuple[Any, Any], end: jax.Array) -> tuple[tuple[Any, Any], None]:
            state, best = carry
            state = jax.lax.while_loop(lambda s: s.step < end, train, state)
            metrics = dict(evaluate(state.params))
            is_better = metrics[score] >= best[score]
            best = {k: jnp.where(is_better, v, best[k]) for k, v in metrics.items()}
            return (state, best), None

        shapes = jax.eval_shape(evaluate, state.params)
        if score not in shapes:
            raise ValueError(f"score must be one of {sorted(shapes)}; got {score!r}")
        nothing = {k: jnp.full(v.shape, -jnp.inf, v.dtype) for k, v in shapes.items()}
        return jax.lax.scan(stage, (state, nothing), ends)[0][1]

    return jax.jit(jax.vmap(one))


def run_in_chunks(run: Run, trials: Trials, chunk: int) -> dict[str, np.ndarray]:
    """``run(trials)``, ``chunk`` at a time, the last ones repeated to fill up the last chunk.

    Where the device's memory does not suffice, the chunk is halved, with a warning in the log, and
    the run goes on.

    Args:
      run: see `train_trials`.
      trials: (K,).
      chunk: as many as fit into the device's memory.

    Returns:
      The metrics of each trial, (K,).

    Raises:
      ValueError: if there are no trials or ``chunk`` is not positive.
      jax.errors.JaxRuntimeError: if the memory does not suffice for one trial.
    """
    count = len(trials)
    if chunk < 1 or count < 1:
        raise ValueError(f"chunk and the number of trials must be >= 1; got {chunk} and {count}")
    parts: list[dict[str, np.ndarray]] = []
    start = 0
    while start < count:
        index = np.minimum(np.arange(start, start + chunk), count - 1)
        try:
            part = run(jax.tree.map(lambda v, index=index: jnp.asarray(v)[index], trials))
            parts.append({name: np.asarray(values) for name, values in part.items()})
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error) or chunk == 1:
                raise
            _LOG.warning("%d trials at once exceed the memory: going on with %d", chunk, chunk // 2)
            chunk //= 2
            continue
        start += chunk
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}


def stack(trials: list[dict[str, float]]) -> Trials:
    """Trials from one dictionary each."""
    kinds = {"seed": jnp.uint32, "delay": jnp.int32}
    return Trials(
        **{
            f.name: jnp.asarray([t[f.name] for t in trials], kinds.get(f.name, jnp.float32))
            for f in fields(Trials)
        }
    )

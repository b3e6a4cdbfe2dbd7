"""Training in one jitted step, relaxed or through the binarization; the network decides which.

``loss = data + coefficient * regularizer``, the second from step ``delay`` on; both numbers may be
traced, so a sweep compiles once. `fit` runs the steps in compiled chunks, evaluates between them,
keeps the best parameters, stops early, and resumes from checkpoints with the same numbers.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from bimonn_jax._support.promotion import promoting
from bimonn_jax._support.pytrees import Replaceable, pytree, static
from bimonn_jax.data.samples import Sample
from bimonn_jax.training.checkpoints import Checkpoints
from bimonn_jax.training.compiled import compiled
from bimonn_jax.training.distributed import naming_lost_processes, replicated, split_batches
from bimonn_jax.training.losses import Loss
from bimonn_jax.training.optimizers import optimizer_for
from bimonn_jax.training.regularization import Regularizer

Apply = Callable[[Any, jax.Array], jax.Array]
Evaluate = Callable[[Any], Mapping[str, jax.Array]]
Revise = Callable[[Any, jax.Array], Any]

# What a row of the history holds beside the metrics.
_OF_THE_HISTORY = {"step", "loss"}


# The same object each time, for which nothing is traced again.
_default_optimizer = lru_cache(optimizer_for)


@pytree
class TrainState(Replaceable):
    """All that a training run carries; a pytree.

    Attributes:
      step: int (), steps taken.
      params: the parameter tree.
      opt_state: the optimizer's state.
      best_params: the latest parameters with the best score so far.
      best_score: float (), that score.
      best_step: int (), when it was first reached.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    best_params: Any
    best_score: jax.Array
    best_step: jax.Array


def init_state(params: Any, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step."""
    with promoting():
        opt_state = optimizer.init(params)
    return TrainState(
        step=jnp.int32(0),
        params=params,
        opt_state=opt_state,
        best_params=params,
        best_score=jnp.full((), -jnp.inf, float),
        best_step=jnp.int32(0),
    )


def make_step(
    apply: Apply,
    optimizer: optax.GradientTransformation,
    loss: Loss,
    regularizer: Regularizer | None = None,
) -> Callable[..., tuple[TrainState, jax.Array]]:
    """Builds the training step, a pure function to be jitted, vmapped or scanned.

    Args:
      apply: (params, x) -> prediction.
      optimizer: see `optimizer_for`.
      loss: (prediction, y) -> scalar.
      regularizer: (params, step) -> scalar, see `bimonn_jax.regularizer`, or None.

    Returns:
      step(state, (x, y), coefficient, delay) -> (state, loss), all numbers traced. The coefficient
      may also be a schedule: a function of the step.
    """

    def step(
        state: TrainState,
        batch: tuple[jax.Array, jax.Array],
        coefficient: jax.Array | float | optax.Schedule = 0.0,
        delay: jax.Array | int = 0,
    ) -> tuple[TrainState, jax.Array]:
        x, y = batch

        def objective(params: Any) -> jax.Array:
            value = loss(apply(params, x), y)
            if regularizer is None:
                return value
            with promoting():
                strength = coefficient(state.step) if callable(coefficient) else coefficient
            strength = jnp.where(state.step >= delay, jnp.asarray(strength, value.dtype), 0.0)
            return value + strength * regularizer(params, state.step).astype(value.dtype)

        value, gradients = jax.value_and_grad(objective)(state.params)
        # optax relies on it.
        with promoting():
            updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
        return replace(state, step=state.step + 1, params=params, opt_state=opt_state), value

    return step


def _check_finite(
    row: Mapping[str, float],
    score: str,
    are_finite: bool,
    state: TrainState,
    checkpoints: Checkpoints | None,
) -> None:
    """Raises FloatingPointError if the loss, the score or the parameters are not finite."""
    step = int(state.step)
    if not math.isfinite(row["loss"]):
        what = f"the loss of step {step} is not finite; {_what_broke(state.params)}"
    elif not math.isfinite(row[score]):
        what = (
            f"the score {score!r} is {row[score]} after step {step}; parameters cannot be chosen "
            "by it. Look at the metric and the validation data"
        )
    elif not are_finite:
        what = (
            f"after step {step} these parameters are not finite, though the loss is: "
            f"{', '.join(_not_finite(state.params))}. Look at the gradient of the loss"
        )
    else:
        return
    last = None if checkpoints is None else checkpoints.newest_step()
    kept = "" if last is None else f" The last good checkpoint, of step {last}, is kept."
    raise FloatingPointError(f"{what}.{kept}")


def _what_broke(params: Any) -> str:
    """Says which parameters are not finite, and what to do."""
    if broken := _not_finite(params):
        where = f"after it these parameters are not either: {', '.join(broken)}"
    else:
        where = "all parameters still are: look at the loss and the data"
    return f"{where}. Lower the learning rate"


def _not_finite(params: Any) -> list[str]:
    """The paths of parameters with values that are not finite."""
    return [
        jax.tree_util.keystr(path, simple=True, separator="/") or "params"
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if not np.isfinite(np.asarray(leaf, np.float64)).all()
    ]


@pytree
class _Training:
    """The functions of a training, with the data that they hold; the arguments of `fit`."""

    apply: Apply
    sample: Sample
    evaluate: Evaluate
    loss: Loss
    optimizer: optax.GradientTransformation
    regularizer: Regularizer | None
    schedule: optax.Schedule | None
    after_evaluation: Revise | None
    score: str = static()


def _chunk(
    training: _Training,
    state: TrainState,
    end: jax.Array,
    key: jax.Array,
    coefficient: jax.Array,
    delay: jax.Array,
) -> tuple[TrainState, dict[str, jax.Array], jax.Array]:
    """Steps until ``end``, or the first loss that is not finite; then an evaluation.

    Returns:
      The state, the metrics and the mean loss, and whether all parameters are finite.
    """
    step = make_step(training.apply, training.optimizer, training.loss, training.regularizer)
    strength = coefficient if training.schedule is None else training.schedule

    def one(carry: tuple[TrainState, jax.Array]) -> tuple[TrainState, jax.Array]:
        state, mean = carry
        batch = training.sample(jax.random.fold_in(key, state.step))
        check_batch(batch)
        done = (state.step - start).astype(mean.dtype)
        state, value = step(state, batch, strength, delay)
        # Not by a sum, which may overflow where no loss does.
        value = value.astype(mean.dtype)
        return state, mean * (done / (done + 1)) + value / (done + 1)

    def goes_on(carry: tuple[TrainState, jax.Array]) -> jax.Array:
        return (carry[0].step < end) & jnp.isfinite(carry[1])

    start = state.step
    state, mean = jax.lax.while_loop(goes_on, one, (state, jnp.zeros_like(state.best_score)))
    metrics = training.evaluate(state.params)
    check_metrics(metrics, training.score)
    score = jnp.asarray(metrics[training.score], state.best_score.dtype)
    # Of equal scores the latest parameters are kept, which the regularizer has drawn furthest;
    # patience counts from the first.
    is_better, is_best = score > state.best_score, score >= state.best_score
    state = replace(
        state,
        best_params=jax.tree.map(
            lambda new, old: jnp.where(is_best, new, old), state.params, state.best_params
        ),
        best_score=jnp.where(is_better, score, state.best_score),
        best_step=jnp.where(is_better, state.step, state.best_step),
    )
    if training.after_evaluation is not None:
        state = replace(state, params=training.after_evaluation(state.params, state.step))
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(state.params)]
    return state, {"loss": mean, **metrics}, jnp.all(jnp.stack(leaves))


def check_metrics(names: Collection[str], score: str) -> None:
    """Raises ValueError unless the score is a metric, and none is called as what is beside them."""
    if score not in names:
        raise ValueError(f"score must be one of the metrics {sorted(names)}; got {score!r}")
    if taken := sorted(_OF_THE_HISTORY & set(names)):
        raise ValueError(
            f"metrics must not be called {' or '.join(taken)}: the history has these of its own; "
            "choose other names"
        )


def check_batch(batch: tuple[jax.Array, jax.Array]) -> None:
    """Raises ValueError if a batch, (x, y), holds nothing; its arrays may be traced."""
    shapes = [leaf.shape for leaf in jax.tree.leaves(batch)]
    if any(0 in shape for shape in shapes):
        raise ValueError(f"sample draws batches of nothing: x and y have the shapes {shapes}")


@dataclass(frozen=True)
class FitResult:
    """What `fit` returns.

    Attributes:
      params: the parameters with the best score.
      score: that score.
      state: the last state.
      history: one row per evaluation: step, loss (mean since the last one) and the metrics.
      stopped_early: whether patience ran out or the stop score was reached.
    """

    params: Any
    score: float
    state: TrainState
    history: list[dict[str, float]]
    stopped_early: bool


def fit(
    apply: Apply,
    params: Any,
    sample: Sample,
    evaluate: Evaluate,
    *,
    loss: Loss,
    key: jax.Array,
    steps: int,
    score: str,
    optimizer: optax.GradientTransformation | None = None,
    regularizer: Regularizer | None = None,
    coefficient: float | optax.Schedule = 0.0,
    delay: int = 0,
    after_evaluation: Revise | None = None,
    steps_per_evaluation: int = 50,
    patience: int | None = None,
    stop_score: float = math.inf,
    checkpoints: Checkpoints | None = None,
    callback: Callable[[dict[str, float]], None] | None = None,
    mesh: Mesh | None = None,
) -> FitResult:
    """Trains, evaluates, and keeps the best.

    All steps up to an evaluation are one compiled program. Another key, coefficient or delay, other
    data of the same shapes and other starting parameters compile nothing; nor do equal functions,
    see `bimonn_jax.training.compiled`. Data that functions close over are given to the program, and
    not compiled into it; the functions must be pure, as for `jax.jit`.

    Args:
      apply: (params, x) -> prediction, such as ``lambda p, x: model.apply({"params": p}, x)``.
      params: where to start.
      sample: key -> (x, y): a batch, drawn or generated inside the compiled step.
      evaluate: params -> scalars by name, none of them called "loss" or "step".
      loss: (prediction, y) -> scalar, see `bimonn_jax.training.LOSSES`.
      key: from which the key of every step is derived.
      steps: how many.
      score: name of the metric to maximize; it chooses the parameters that are returned. The other
        metrics choose nothing, and may be NaN: they stand in the history as they are.
      optimizer: see `optimizer_for`, the default.
      regularizer: see `bimonn_jax.regularizer`, or any function of (params, step).
      coefficient: of the regularizer; a number, or a schedule (function of the step).
      delay: the step from which it acts.
      after_evaluation: (params, step) -> params, applied after every evaluation, for example to
        start dead neurons again; what it returns counts from the next evaluation on.
      steps_per_evaluation: steps compiled into one chunk.
      patience: stop when the score has not improved for this many steps; None for never.
      stop_score: stop once the score has reached this.
      checkpoints: where to save after every evaluation, and from where to resume.
      callback: called with each row of the history (a progress bar, a log).
      mesh: devices to split batches over, also of several processes, see
        `bimonn_jax.training.distributed`; None for one device.

    Returns:
      A `FitResult`.

    Raises:
      ValueError: if a number of steps is not positive, batches are empty, the score is not among
        the metrics, a metric is called "loss" or "step", or checkpoints belong to another network.
      FloatingPointError: if a loss is not finite, naming the step, the parameters that are not
        finite after it, and the last checkpoint; if the score is not, naming it and the step.
      RuntimeError: if another process of the training is lost.
    """
    counts = {"steps": steps, "steps_per_evaluation": steps_per_evaluation, "patience": patience}
    for name, count in counts.items():
        if count is not None and (count < 1 or count != int(count)):
            raise ValueError(f"{name} must be a whole number >= 1; got {count}")
    optimizer = optimizer or _default_optimizer()
    state = init_state(params, optimizer)
    place: Callable[[Any], Any] = jax.device_put
    if mesh is not None:
        sample = split_batches(sample, mesh)
        place = partial(replicated, mesh=mesh)
        # Before a checkpoint is read, which comes back placed as the state it is read into.
        state = place(state)
    schedule = coefficient if callable(coefficient) else None
    training = _Training(
        apply, sample, evaluate, loss, optimizer, regularizer, schedule, after_evaluation, score
    )
    chunk = compiled(_chunk, training, place=place)
    key = place(key)
    numbers = (0.0 if callable(coefficient) else float(coefficient)), np.int32(delay)
    history: list[dict[str, float]] = []
    if checkpoints is not None:
        state, history = checkpoints.restore(state)

    def is_done() -> bool:
        waited = int(state.step - state.best_step)
        impatient = patience is not None and waited >= patience
        return impatient or float(state.best_score) >= stop_score

    while int(state.step) < steps and not is_done():
        end = min(int(state.step) + steps_per_evaluation, steps)
        with naming_lost_processes():
            state, metrics, are_finite = chunk(state, np.int32(end), key, *numbers)
            row = {"step": float(end), **{name: float(value) for name, value in metrics.items()}}
        _check_finite(row, score, bool(are_finite), state, checkpoints)
        history.append(row)
        if checkpoints is not None:
            checkpoints.save(state, history)
        if callback is not None:
            callback(row)
    return FitResult(
        state.best_params, float(state.best_score), state, history, int(state.step) < steps
    )

"""Trainings that work: a network, where to start it, and how to optimize it.

Boolean recipes train through the binarization, so the float network is the boolean one; they start
from patterns of the data, but for `rank_filter`, which starts at random. `relaxed` is the paper's
training. `learn` runs recipes, each from a few starts, and keeps what is best on validation data.
BUILD_NOTES.md has the figures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bimonn_jax._support.random_arrays import bernoulli
from bimonn_jax.data.samples import Sample
from bimonn_jax.morphology.levels import level_sets
from bimonn_jax.networks.architecture import apply_layers
from bimonn_jax.networks.models import BiMoNN, Sequential
from bimonn_jax.networks.modules import LUI, BiSEL, Complement, HitOrMissConv, LevelSets
from bimonn_jax.neurons.initializers import NeuronConfig, Operator
from bimonn_jax.training.annealing import grow_scales
from bimonn_jax.training.checkpoints import Checkpoints
from bimonn_jax.training.loop import FitResult, Revise, fit
from bimonn_jax.training.losses import Loss, mse
from bimonn_jax.training.metrics import compare
from bimonn_jax.training.optimizers import optimizer_for, rank_optimizer, warmup_cosine
from bimonn_jax.training.regularization import Regularizer
from bimonn_jax.training.starts import latents, patches_on_target

Start = Callable[[jax.Array, jax.Array, jax.Array], Any]


@dataclass(frozen=True)
class Recipe:
    """A network with its training.

    Attributes:
      name: for tables.
      model: the network.
      start: (key, x, y) -> parameters; x and y are example images, bool (N, H, W, C) and
        (N, H, W, 1), concrete (x may be gray levels where the network begins with level sets).
      optimizer: number of steps -> optimizer.
      is_boolean: whether it trains through the binarization.
      regularizer: added to the loss, or None.
      coefficient: of the regularizer.
      delay: share of the steps after which the regularizer acts.
      scale_growth: by how much the scales of relaxed neurons grow, from 0.3 to 0.9 of the steps on;
        1 for not at all.
    """

    name: str
    model: BiMoNN | Sequential
    start: Start
    optimizer: Callable[[int], optax.GradientTransformation]
    is_boolean: bool = True
    regularizer: Regularizer | None = None
    coefficient: float = 0.0
    delay: float = 0.0
    scale_growth: float = 1.0

    def after_evaluation(self, steps: int, every: int) -> Revise | None:
        """What `fit` does after evaluations, in a training of so many steps."""
        if self.scale_growth == 1:
            return None
        start, until = int(0.3 * steps), int(0.9 * steps)
        return grow_scales(self.scale_growth, start=start, until=until, every=every)


def _latent_optimizer(learning_rate: float) -> Callable[[int], optax.GradientTransformation]:
    # The same object for the same steps, for which `fit` traces nothing again.
    @lru_cache(maxsize=8)
    def optimizer(steps: int) -> optax.GradientTransformation:
        return optimizer_for(latent=optax.sgd(warmup_cosine(learning_rate, steps), momentum=0.9))

    return optimizer


def _init(model: BiMoNN | Sequential, key: jax.Array, x: jax.Array) -> Any:
    return jax.jit(model.init)(key, jnp.zeros((1, *x.shape[1:]), x.dtype))["params"]


def _set(params: Any, layer: str, part: str, weight: jax.Array | float) -> None:
    """Overwrites the latents of one set of neurons, broadcast to their shape."""
    neurons = params[layer][part]
    weight = jnp.broadcast_to(jnp.asarray(weight, jnp.float32), neurons.weight.shape)
    params[layer][part] = neurons.replace(weight=weight)


# Latents of unions and intersections start well above 1/2: all of their inputs take part.
_SELECTED = 0.9


def single(operator: Operator, kernel_size: int, *, learning_rate: float = 2.0) -> Recipe:
    """One dilation or erosion, from a random footprint."""
    model = BiMoNN(
        (1,),
        (kernel_size, kernel_size),
        NeuronConfig.boolean(operator),
        lui_config=NeuronConfig.boolean("dilation"),
    )

    def start(key: jax.Array, x: jax.Array, y: jax.Array) -> Any:
        params = _init(model, key, x)
        _set(params, "layers_0", "lui", _SELECTED)
        return params

    return Recipe(operator, model, start, _latent_optimizer(learning_rate))


def openings(
    channels: int,
    kernel_size: int,
    *,
    closing: bool = False,
    min_on: int = 2,
    max_on: int | None = None,
    keep: float = 1.0,
    learning_rate: float = 2.0,
) -> Recipe:
    """A union of openings, or an intersection of closings: two layers, 1 -> channels -> 1.

    The first layer starts from patches of the input around pixels of the target, the second from
    their reflections; for closings, from patches of the complements.

    Args:
      channels: of the first layer.
      kernel_size: of both layers.
      closing: closings in place of openings.
      min_on: fewest pixels of a starting patch.
      max_on: most pixels of a starting patch; None for no limit.
      keep: probability with which a pixel of a patch enters the footprint.
      learning_rate: of the latents.
    """
    dilation, erosion = NeuronConfig.boolean("dilation"), NeuronConfig.boolean("erosion")
    configs = (dilation, erosion) if closing else (erosion, dilation)
    model = BiMoNN((channels, 1), (kernel_size, kernel_size), configs, lui_config=configs[1])

    def start(key: jax.Array, x: jax.Array, y: jax.Array) -> Any:
        init_key, patch_key, keep_key, latent_key = jax.random.split(key, 4)
        params = _init(model, init_key, x)
        x, y = (~x, ~y) if closing else (x, y)
        patches = patches_on_target(
            patch_key, x, y, (kernel_size, kernel_size), channels, min_on=min_on, max_on=max_on
        )
        patches &= bernoulli(keep_key, keep, patches.shape)
        weight = latents(latent_key, patches)
        _set(params, "layers_0", "bise", weight)
        _set(params, "layers_1", "bise", jnp.swapaxes(weight[::-1, ::-1], 2, 3))
        _set(params, "layers_0", "lui", _SELECTED)
        _set(params, "layers_1", "lui", _SELECTED)
        return params

    return Recipe(
        "closing" if closing else "opening", model, start, _latent_optimizer(learning_rate)
    )


def tophat(
    channels: int, kernel_size: int, *, white: bool, keep: float = 0.5, learning_rate: float = 2.0
) -> Recipe:
    """An intersection of the image (or its complement) with closings of the other.

    White: x and closings of the complement of x, that is, complements of openings. Black: the
    complement of x and closings of x. Half of the channels start as copies.
    """
    first, second = NeuronConfig.boolean("dilation"), NeuronConfig.boolean("erosion")
    # A flat surrogate: unions and intersections learn slowly, or they drop closings whose
    # footprints are not found yet.
    slow_first, slow_second = replace(first, temperature=16.0), replace(second, temperature=16.0)
    shape = (kernel_size, kernel_size)
    model = Sequential(
        modules=(
            Complement(),
            BiSEL(channels, shape, config=first, lui_config=slow_first),
            BiSEL(1, shape, config=second, lui_config=slow_second),
        )
    )
    copied, closed = (0, 1) if white else (1, 0)
    copies = channels // 2

    def start(key: jax.Array, x: jax.Array, y: jax.Array) -> Any:
        init_key, patch_key, keep_key, latent_key = jax.random.split(key, 4)
        params = _init(model, init_key, x)
        background = x if white else ~x
        patches = patches_on_target(patch_key, background, background, shape, channels, min_on=2)
        patches &= bernoulli(keep_key, keep, patches.shape)
        center = jnp.zeros(shape, bool).at[kernel_size // 2, kernel_size // 2].set(True)
        patches = patches.at[:, :, :, :copies].set(center[..., None, None])
        weight = latents(latent_key, patches)
        _set(params, "layers_1", "bise", weight)
        _set(params, "layers_2", "bise", jnp.swapaxes(weight[::-1, ::-1], 2, 3))
        selected = jnp.full((2, channels), 0.1)
        selected = selected.at[copied, :copies].set(_SELECTED).at[closed, copies:].set(_SELECTED)
        _set(params, "layers_1", "lui", selected)
        _set(params, "layers_2", "lui", _SELECTED)
        return params

    name = "white_tophat" if white else "black_tophat"
    return Recipe(name, model, start, _latent_optimizer(learning_rate))


def hit_or_miss(
    channels: int,
    kernel_size: int,
    *,
    thresholds: Sequence[float] | None = None,
    keep: float = 0.35,
    learning_rate: float = 0.3,
) -> Recipe:
    """A union of hit-or-miss transforms: any boolean function of the window, given the channels.

    Each channel intersects an erosion of the image and one of its complement; it starts from a
    patch around a pixel of the target, of which each pixel is required with probability ``keep``.

    Args:
      channels: how many transforms.
      kernel_size: of their windows.
      thresholds: for gray levels, the level sets that the network begins with; None for bits.
      keep: probability with which a pixel of a patch is required.
      learning_rate: of the latents.
    """
    erosion, union = (
        NeuronConfig.boolean(operator, temperature=1.0) for operator in ("erosion", "dilation")
    )
    shape = (kernel_size, kernel_size)
    leading = () if thresholds is None else (LevelSets(tuple(thresholds)),)
    model = Sequential(
        modules=(
            *leading,
            Complement(),
            BiSEL(channels, shape, config=erosion, lui_config=erosion),
            LUI(1, config=union),
        )
    )
    transforms, output = (f"layers_{len(leading) + i}" for i in (1, 2))

    def start(key: jax.Array, x: jax.Array, y: jax.Array) -> Any:
        init_key, patch_key, keep_key, latent_key = jax.random.split(key, 4)
        params = _init(model, init_key, x)
        bits = x if thresholds is None else level_sets(x, thresholds)
        patches = patches_on_target(patch_key, bits, y, shape, channels)
        required = bernoulli(keep_key, keep, patches.shape)
        templates = jnp.concatenate([required & patches, required & ~patches], axis=2)
        _set(params, transforms, "bise", latents(latent_key, templates))
        _set(params, transforms, "lui", _SELECTED)
        _set(params, output, "lui", _SELECTED)
        return params

    return Recipe("hit_or_miss", model, start, _latent_optimizer(learning_rate))


def rank_filter(
    channels: int,
    kernel_size: int,
    *,
    input_mean: float = 0.1,
    sparse: bool = False,
    learning_rate: float = 1e-2,
) -> Recipe:
    """Two layers of rank neurons over windows of all channels and their complements.

    Footprints and ranks start at random; nothing is taken from the data.

    Args:
      channels: of the first layer; the second has one.
      kernel_size: of both layers.
      input_mean: share of the pixels that are set.
      sparse: see `NeuronConfig.rank`.
      learning_rate: see `rank_optimizer`.
    """
    layers = (
        HitOrMissConv(
            count,
            kernel_size,
            padding="SAME",
            config=NeuronConfig.rank(input_mean=mean, sparse=sparse),
        )
        for count, mean in ((channels, input_mean), (1, 0.5))
    )
    model = Sequential(tuple(layers))
    return Recipe(
        "rank_filter",
        model,
        lambda key, x, y: _init(model, key, x),
        lru_cache(maxsize=8)(partial(rank_optimizer, learning_rate=learning_rate)),
    )


def relaxed(
    features: tuple[int, ...],
    kernel_size: int,
    *,
    config: NeuronConfig | None = None,
    learning_rate: float = 1e-2,
    regularizer: Regularizer | None = None,
    coefficient: float = 0.01,
    delay: float = 0.5,
    scale_growth: float = 1.0,
) -> Recipe:
    """The paper's training: smooth BiSE neurons and Adam, binarized afterwards.

    Args:
      features: output channels of each BiSEL layer.
      kernel_size: of all layers.
      config: reparametrizations; by default dual weights and projected biases.
      learning_rate: of Adam.
      regularizer: see `bimonn_jax.training.regularization`, or None.
      coefficient: of the regularizer.
      delay: share of the steps after which it acts.
      scale_growth: by how much the scales grow, see `Recipe`; with it and a regularizer, what is
        learned is close to its binarization, or equal to it.
    """
    config = config or NeuronConfig("dual", "projected")
    model = BiMoNN(features, (kernel_size, kernel_size), config)
    return Recipe(
        "paper",
        model,
        lambda key, x, y: _init(model, key, x),
        lru_cache(maxsize=8)(lambda steps: optimizer_for(real=optax.adam(learning_rate))),
        is_boolean=False,
        regularizer=regularizer,
        coefficient=coefficient,
        delay=delay,
        scale_growth=scale_growth,
    )


@dataclass(frozen=True)
class Learned:
    """What `learn` found: the winning recipe, its training, and the number of starts it took."""

    recipe: Recipe
    result: FitResult
    starts: int


def learn(
    recipes: Sequence[Recipe],
    sample: Sample,
    examples: tuple[jax.Array, jax.Array],
    validation: tuple[jax.Array, jax.Array],
    *,
    key: jax.Array,
    steps: int,
    starts: int = 1,
    loss: Loss = mse,
    stop_score: float = 1.0,
    patience: int | None = None,
    steps_per_evaluation: int = 50,
    checkpoints: Callable[[Recipe], Checkpoints] | None = None,
    callback: Callable[[dict[str, float]], None] | None = None,
) -> Learned:
    """Runs recipes, each from a few starts, until one reaches ``stop_score``; returns the best.

    Args:
      recipes: tried in order; all of them from the first start, then from the second, ...
      sample: key -> (x, y), bool (N, H, W, 1): a training batch.
      examples: images (x, y) to start from, bool (N, H, W, C) and (N, H, W, 1), concrete.
      validation: images (x, y), bool (N, H, W, 1), whose boolean DICE chooses.
      key: from which everything random is derived.
      steps: per start.
      starts: how often each recipe is tried.
      loss: see `bimonn_jax.training.LOSSES`.
      stop_score: validation DICE at which the search ends.
      patience: see `bimonn_jax.fit`.
      steps_per_evaluation: see `bimonn_jax.fit`.
      checkpoints: recipe -> where to save; only for a single recipe and start.
      callback: called with each row of the histories.

    Raises:
      ValueError: if checkpoints are asked for with several recipes or starts, or there are none.
    """
    if not recipes or starts < 1:
        raise ValueError(f"learn needs a recipe and a start; got {len(recipes)} and {starts}")
    if checkpoints is not None and len(recipes) * starts > 1:
        raise ValueError(
            f"checkpoints hold one training; got {len(recipes)} recipes and {starts} starts"
        )
    best: Learned | None = None
    tried = 0
    # The same objects for every start, for which nothing is traced again.
    optimizers = [recipe.optimizer(steps) for recipe in recipes]
    for attempt in range(starts):
        for index, recipe in enumerate(recipes):
            start_key, fit_key = jax.random.split(
                jax.random.fold_in(jax.random.fold_in(key, attempt), index)
            )
            result = fit(
                partial(apply_layers, recipe.model.architecture),
                recipe.start(start_key, *examples),
                sample,
                compare(recipe.model.architecture, *validation),
                loss=loss,
                key=fit_key,
                steps=steps,
                score="dice_boolean",
                optimizer=optimizers[index],
                regularizer=recipe.regularizer,
                coefficient=recipe.coefficient,
                delay=int(recipe.delay * steps),
                after_evaluation=recipe.after_evaluation(steps, steps_per_evaluation),
                steps_per_evaluation=steps_per_evaluation,
                patience=patience,
                stop_score=stop_score,
                checkpoints=checkpoints(recipe) if checkpoints else None,
                callback=callback,
            )
            tried += 1
            if best is None or result.score > best.result.score:
                best = Learned(recipe, result, tried)
            if best.result.score >= stop_score:
                return best
    assert best is not None
    return best

"""Classifiers of binarized images: the paper's relaxed one, and one that is boolean throughout."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

import jax
import optax

from bimonn_jax._support.pytrees import pytree, static
from bimonn_jax.data.classification import check_labeled
from bimonn_jax.data.samples import Sample
from bimonn_jax.morphology.levels import LevelThresholds
from bimonn_jax.networks.architecture import apply_layers
from bimonn_jax.networks.kinds import Architecture
from bimonn_jax.networks.models import Sequential
from bimonn_jax.networks.modules import (
    LUI,
    Flatten,
    HitOrMiss,
    HitOrMissConv,
    LevelSets,
    PopcountHead,
    RealHead,
    TernaryHead,
)
from bimonn_jax.neurons.heads import binarize_heads
from bimonn_jax.neurons.initializers import NeuronConfig
from bimonn_jax.training.loop import fit
from bimonn_jax.training.losses import Loss, cross_entropy
from bimonn_jax.training.metrics import error_percent, map_in_chunks

Head = Literal["real", "ternary", "popcount"]
HEADS: dict[str, Any] = {"real": RealHead, "ternary": TernaryHead, "popcount": PopcountHead}


@dataclass(frozen=True)
class Convolution:
    """One `HitOrMissConv` of a `boolean_classifier`.

    Attributes:
      kernel: side of the square windows, in pixels.
      features: output channels.
      pool: side of the windows of the union.
    """

    kernel: int
    features: int
    pool: int = 1


def boolean_classifier(
    thresholds: LevelThresholds,
    features: int,
    classes: int,
    *,
    convolutions: Sequence[Convolution] = (),
    head: Head = "ternary",
    temperature: float = 2.0,
) -> Sequential:
    """Level sets, convolutional hit-or-miss transforms, one layer of dense ones, a head.

    Takes images uint8 (..., H, W, C), gives scores (..., classes).

    Args:
      thresholds: of the level sets, see `bimonn_jax.data.classification.choose_thresholds`.
      features: how many transforms of all that the convolutions found (without convolutions, of the
        whole image); 0 for none.
      classes: how many.
      convolutions: in order; none by default.
      head: "ternary" and "popcount" stay boolean; "real" is a linear layer.
      temperature: of the surrogate gradients, in inputs that a transform misses by.
    """
    config = NeuronConfig.boolean("erosion", temperature=temperature)
    return Sequential(
        (
            LevelSets(thresholds),
            *(
                HitOrMissConv(c.features, c.kernel, pool=c.pool, config=config)
                for c in convolutions
            ),
            Flatten(),
            *((HitOrMiss(features, config=config),) if features else ()),
            HEADS[head](classes),
        )
    )


def rank_classifier(
    thresholds: LevelThresholds,
    features: Sequence[int],
    classes: int,
    *,
    input_mean: float = 0.5,
    sparse: bool = False,
) -> Sequential:
    """Level sets, dense layers of rank neurons, a ternary head: counts and comparisons throughout.

    Takes images uint8 (..., H, W, C), gives scores (..., classes). Starts at random; train it with
    `rank_optimizer` and `rank_loss`.

    Args:
      thresholds: of the level sets, see `bimonn_jax.data.classification.choose_thresholds`.
      features: neurons of each layer, in order.
      classes: how many.
      input_mean: share of the inputs of the first layer that are set.
      sparse: see `NeuronConfig.rank`.
    """
    means = (input_mean, *[0.5] * (len(features) - 1))
    layers = (
        HitOrMiss(count, config=NeuronConfig.rank(input_mean=mean, sparse=sparse))
        for count, mean in zip(features, means, strict=True)
    )
    return Sequential((LevelSets(thresholds), Flatten(), *layers, TernaryHead(classes)))


def rank_loss(features: int) -> Loss:
    """Cross entropy of the votes of so many features: their scores spread like the root of it."""
    return cross_entropy(features**0.5 / 4)


def to_bits(thresholds: LevelThresholds) -> Architecture:
    """The layers that turn images into the flat bits that both classifiers read."""
    return Sequential((LevelSets(thresholds), Flatten())).architecture


def relaxed_classifier(
    thresholds: LevelThresholds,
    features: int,
    classes: int,
    config: NeuronConfig,
    *,
    complements: bool = False,
) -> Sequential:
    """The paper's network (section 7): level sets, a dense LUI layer, a real head.

    With ``complements`` its neurons read the complements of the bits too, as `HitOrMiss` does.
    """
    kind = HitOrMiss if complements else LUI
    return Sequential(
        (LevelSets(thresholds), Flatten(), kind(features, config=config), RealHead(classes))
    )


def refit_head(
    architecture: Architecture,
    boolean: Any,
    head: Any,
    sample: Sample,
    validation: tuple[jax.Array, jax.Array],
    *,
    loss: Loss,
    key: jax.Array,
    steps: int,
    learning_rate: float = 5e-3,
) -> Any:
    """Trains the last layer of a binarized classifier on what its boolean layers find.

    Args:
      architecture: of the classifier.
      boolean: its boolean tree; nothing but the head changes.
      head: the head's parameters to start from, real-valued.
      sample: key -> (images, labels).
      validation: images and labels by whose error the head is chosen.
      loss: (scores, labels) -> scalar.
      key: from which the key of every step is derived.
      steps: how many.
      learning_rate: Adam's, decayed to 5 % of it by a cosine.

    Returns:
      The boolean tree with the refitted head, binarized if it is a ternary one.

    Raises:
      ValueError: if there are no validation images, or not as many labels; see also
        `bimonn_jax.fit`.
      FloatingPointError: see `bimonn_jax.fit`.
    """
    layers, last = architecture[:-1], architecture[-1]
    images, labels = validation
    check_labeled(images, labels)
    found = map_in_chunks(partial(apply_layers, layers, boolean), images)
    result = fit(
        partial(apply_layers, (last,)),
        {last.name: head},
        _Features(sample, boolean, layers),
        _Accuracy(found, labels, (last,)),
        loss=loss,
        key=key,
        steps=steps,
        steps_per_evaluation=-(-steps // 10),
        score="accuracy",
        optimizer=_decayed_adam(learning_rate, steps),
    )
    return {**boolean, last.name: binarize_heads(result.params[last.name])}


@lru_cache(maxsize=8)
def _decayed_adam(learning_rate: float, steps: int) -> optax.GradientTransformation:
    """The same object each time, for which `fit` traces nothing again."""
    return optax.adam(optax.cosine_decay_schedule(learning_rate, steps, alpha=0.05))


@pytree(eq=False)
class _Features:
    """A ``sample`` of what the boolean layers find."""

    sample: Sample
    boolean: Any
    layers: Architecture = static()

    def __call__(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        x, y = self.sample(key)
        return apply_layers(self.layers, self.boolean, x), y


@pytree(eq=False)
class _Accuracy:
    """An evaluation by `error_percent`."""

    x: jax.Array
    labels: jax.Array
    architecture: Architecture = static()

    def __call__(self, params: Any) -> dict[str, jax.Array]:
        error = error_percent(self.architecture, params, self.x, self.labels)
        return {"accuracy": 100 - error}

"""What the classification programs share: the images, their split, the paper's network."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax import NeuronConfig, Sequential, apply_layers
from bimonn_jax.data.classification import (
    ImageClassification,
    choose_thresholds,
    load_digits,
    load_idx,
    load_tfds,
)
from bimonn_jax.data.samples import batches
from bimonn_jax.morphology.levels import LevelThresholds
from bimonn_jax.networks.kinds import Architecture
from bimonn_jax.training.classifiers import refit_head, relaxed_classifier, to_bits
from bimonn_jax.training.losses import cross_entropy

from .output import say
from .program import Settings, option

Labeled = tuple[jax.Array, jax.Array]


@dataclass(frozen=True, kw_only=True)
class Classification(Settings):
    """Which images to classify."""

    dataset: str = option("Name of a TFDS set; mnist, or else the digits, by default.", "")
    data_dir: str = option("Folder of prepared sets; TFDS_DATA_DIR by default.", "")
    idx_dir: str = option("Folder of four IDX files, in place of --dataset.", "")
    seed: int = option("Seed of everything random.", 0)


def load(config: Classification) -> ImageClassification:
    """The data that the settings ask for."""
    say("Reading the images.")
    if config.idx_dir:
        return load_idx(config.idx_dir)
    if config.dataset:
        return load_tfds(config.dataset, data_dir=config.data_dir)
    try:
        return load_tfds("mnist", data_dir=config.data_dir)
    except (ImportError, OSError) as error:
        if config.data_dir:
            raise
        print(f"WARNING: MNIST cannot be had ({error})\nWARNING: training on 8 x 8 digits instead")
        return load_digits()


class Parts(NamedTuple):
    """Images and labels to learn from, to choose by and to be judged on, and their thresholds."""

    name: str
    classes: int
    thresholds: LevelThresholds
    train: Labeled
    validation: Labeled
    test: Labeled


def split(data: ImageClassification, levels: int = 1) -> Parts:
    """The data on the device: a sixth at most of the training images is held out.

    Raises:
      ValueError: if a sixth is less than an image.
    """
    order = np.random.default_rng(0).permutation(len(data.train_labels))
    held_out = min(10_000, len(order) // 6)
    if not held_out:
        raise ValueError(
            f"{data.name} has {len(order)} training images: at least 6 are needed, a sixth of "
            "which is held out for validation"
        )

    def take(part: np.ndarray) -> Labeled:
        return jnp.asarray(data.train_images[part]), jnp.asarray(data.train_labels[part])

    test = jnp.asarray(data.test_images), jnp.asarray(data.test_labels)
    thresholds = choose_thresholds(data.train_images, levels)
    parts = take(order[held_out:]), take(order[:held_out]), test
    return Parts(data.name, data.classes, thresholds, *parts)


def share_of_bits(parts: Parts) -> float:
    """How many of the bits that a network reads are set, of all."""
    return float(apply_layers(to_bits(parts.thresholds), {}, parts.train[0][:10_000]).mean())


def refitted(
    architecture: Architecture,
    binary: Any,
    params: Any,
    parts: Parts,
    *,
    batch: int,
    seed: int,
    steps: int,
) -> Any:
    """A binarized classifier with its real head, the last layer of ``params``, trained again."""
    return refit_head(
        architecture,
        binary,
        params[architecture[-1].name],
        batches(*parts.train, batch),
        parts.validation,
        loss=cross_entropy(),
        key=jax.random.key(seed + 2),
        steps=steps,
    )


def relaxed_model(
    parts: Parts, features: int, weights: str, *, complements: bool = False
) -> Sequential:
    """The paper's classifier with one of its weight reparametrizations, for these images."""
    bias = "identity" if weights == "identity" else "projected"
    # Of bits and their complements, half are set.
    mean = 0.5 if complements else share_of_bits(parts)
    config = NeuronConfig(weights, bias, input_mean=mean)
    return relaxed_classifier(
        parts.thresholds, features, parts.classes, config, complements=complements
    )

"""Which images the classification programs take, and how they are split."""

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from bimonn_jax.data.classification import ImageClassification, load_digits, load_idx, load_tfds

DATASET = flags.DEFINE_string("dataset", "", "TFDS set; mnist or else the digits by default.")
DATA_DIR = flags.DEFINE_string("data_dir", "", "Of prepared sets; TFDS_DATA_DIR by default.")
IDX_DIR = flags.DEFINE_string("idx_dir", "", "Folder of four IDX files, in place of --dataset.")
SEED = flags.DEFINE_integer("seed", 0, "Of everything random.")


def load() -> ImageClassification:
    """The data that the flags ask for."""
    if IDX_DIR.value:
        return load_idx(IDX_DIR.value)
    if DATASET.value:
        return load_tfds(DATASET.value, data_dir=DATA_DIR.value)
    try:
        return load_tfds("mnist", data_dir=DATA_DIR.value)
    except (ImportError, OSError) as error:
        print(f"WARNING: MNIST cannot be had ({error})\nWARNING: training on 8 x 8 digits instead")
        return load_digits()


def split(data: ImageClassification) -> tuple[tuple[jax.Array, jax.Array], ...]:
    """Training and validation images and labels, on the device: a sixth at most is held out."""
    order = np.random.default_rng(0).permutation(len(data.train_labels))
    held_out = min(10_000, len(order) // 6)
    parts = order[held_out:], order[:held_out]
    return tuple(
        (jnp.asarray(data.train_images[p]), jnp.asarray(data.train_labels[p])) for p in parts
    )

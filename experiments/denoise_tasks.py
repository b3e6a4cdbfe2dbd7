"""What `experiments.denoise` learns from: generated sticks, scanned pages, a user's own pairs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.data.classification import choose_thresholds
from bimonn_jax.data.image_files import Reading
from bimonn_jax.data.image_pairs import Pair, PairSplit, pair_crops, tiles
from bimonn_jax.data.page import degrade, degraded_crops, load_page
from bimonn_jax.data.samples import Sample
from bimonn_jax.data.sticks import noisy_sticks, target_operator
from bimonn_jax.training.baselines import best_handmade, median_3x3
from bimonn_jax.training.metrics import dice
from bimonn_jax.training.recipes import Recipe, hit_or_miss, openings

Images = tuple[jax.Array, jax.Array]

# Side of the crops to learn from, where the images are that large.
_CROP = 64
_KERNEL = 5
# Bad copies of each part of a scan.
_COPIES = 8


@dataclass(frozen=True)
class Task:
    """Images to learn from and to be judged on.

    Attributes:
      name: for tables.
      sample: key -> training batch (x, y), (N, H, W, 1).
      examples: (x, y) to start from, (N, H, W).
      searched: images x and y, each (H, W, 1), to search on: all but the test images.
      validation: (x, y) that choose and prune, (N, H, W, 1).
      test: (x, y) used once, at the end, (N, H, W, 1); several where the images differ in size.
      recipe: the boolean recipe.
      steps: of the boolean recipe.
      references: DICE of known filters on the test images.
      notes: other facts for metrics.json.
      reading: how image files become the network's input; None where there are none.
      thresholds: of the level sets that the network begins with; None where it reads bits.
      handmade: the best filter made by hand, of bool images (N, H, W), to compare with.
      handmade_title: what pictures call it.
      handmade_score: its name among the references.
      shown_bits: the first test image as filters made by hand read it, (1, H, W, 1), where the
        network reads gray levels.
    """

    name: str
    sample: Sample
    examples: Images
    searched: tuple[Sequence[Any] | jax.Array, Sequence[Any] | jax.Array]
    validation: Images
    test: tuple[Images, ...]
    recipe: Recipe
    steps: int
    references: dict[str, float | None]
    notes: dict[str, Any] = field(default_factory=dict)
    reading: Reading | None = None
    thresholds: Sequence[float] | None = None
    handmade: Callable[[jax.Array], jax.Array] | None = None
    handmade_title: str = "best made by hand"
    handmade_score: str = "dice_best_handmade"
    shown_bits: jax.Array | None = None


def sticks_task(key: jax.Array) -> Task:
    """Noisy sticks (see `bimonn_jax.data.sticks`)."""
    example_key, validation_key, test_key = jax.random.split(key, 3)
    x, y = noisy_sticks(example_key, 16)
    test = noisy_sticks(test_key, 256)
    known = dice(target_operator(test[0][..., 0]), test[1][..., 0])
    return Task(
        name="sticks",
        # Crops of 40 pixels at the density of the full images: more steps in the same time.
        sample=partial(noisy_sticks, batch=32, size=40, sticks=10),
        examples=(x, y),
        searched=(x, y),
        validation=noisy_sticks(validation_key, 64),
        test=(test,),
        recipe=openings(16, _KERNEL, min_on=5, max_on=6),
        steps=600,
        references={"dice_noisy": float(dice(*test)), "dice_target_operator": float(known)},
        handmade=target_operator,
        handmade_title="known solution: openings by sticks, and their union",
        handmade_score="dice_target_operator",
    )


def page_task(key: jax.Array, name: str) -> Task:
    """Bad copies of a real scan (see `bimonn_jax.data.page`)."""
    example_key, validation_key, test_key, search_key = jax.random.split(key, 4)
    page = load_page(name)

    def copies(key: jax.Array, image: jax.Array) -> Images:
        """Bad copies of an image, and as many good ones, (N, H, W, 1)."""
        keys = jax.random.split(key, _COPIES)
        bad = jax.vmap(degrade, (0, None))(keys, image)
        return bad[..., None], jnp.stack([image] * _COPIES)[..., None]

    # What needs no validation may learn from that part too.
    searched = copies(search_key, jnp.concatenate([page.training, page.validation], axis=1))
    validation = copies(validation_key, page.validation)
    test = degrade(test_key, page.test)
    handmade = best_handmade(*(images[..., 0] for images in searched))
    return Task(
        name=name,
        sample=partial(degraded_crops, image=page.training, batch=16),
        examples=copies(example_key, page.training),
        searched=searched,
        validation=validation,
        test=((test[None, ..., None], page.test[None, ..., None]),),
        recipe=hit_or_miss(64, _KERNEL),
        steps=600,
        references={
            "dice_noisy": float(dice(test, page.test)),
            "dice_target_operator": None,
            "dice_median_3x3": float(dice(median_3x3(test), page.test)),
            "dice_best_handmade": float(dice(handmade(test), page.test)),
            "dice_handmade_chosen_on_test": float(
                dice(best_handmade(test, page.test)(test), page.test)
            ),
        },
        notes={"best_handmade": handmade.name},
        reading=Reading("local"),
        handmade=handmade,
        handmade_title=f"best made by hand: {handmade.name}",
    )


def dice_of_all(predictions: Iterable[jax.Array], targets: Iterable[jax.Array]) -> float:
    """DICE over all pixels of images that may differ in size."""
    flat = (jnp.concatenate([image.reshape(-1) for image in i]) for i in (predictions, targets))
    return float(dice(*flat))


def _squares(pairs: Sequence[Pair], size: int) -> Images:
    """Squares of the images, (N, size, size, 1)."""
    x, y = tiles([p.x for p in pairs], size), tiles([p.y for p in pairs], size)
    return x[..., None], y[..., None]


def _size_of_squares(pairs: Sequence[Pair]) -> int:
    size: int = min(_CROP, *(side for pair in pairs for side in pair.x.shape))
    if size < _KERNEL:
        raise ValueError(
            f"the narrowest part of the images is {size} pixels wide; at least {_KERNEL} are "
            "needed: give larger images, or five or more pairs"
        )
    return size


def pairs_task(split: PairSplit, reading: Reading, levels: int) -> Task:
    """Pairs of image files (see `bimonn_jax.data.image_pairs`).

    Args:
      split: the pairs.
      reading: how gray levels became bits.
      levels: the number of level sets of the input where ``reading.gray``.
    """
    to_learn = (*split.training, *split.validation)
    size = _size_of_squares(to_learn)
    training, validation = _squares(split.training, size), _squares(split.validation, size)
    thresholds = None
    if reading.gray:
        ((*thresholds,),) = choose_thresholds(np.asarray(training[0]), levels)
    handmade = best_handmade(
        tiles([p.bits for p in to_learn], size), tiles([p.y for p in to_learn], size)
    )
    clean = [jnp.asarray(pair.y) for pair in split.test]
    noisy = [jnp.asarray(pair.bits) for pair in split.test]
    # Stacked only where a recipe trains.
    crops = cache(lambda: pair_crops(split.training, 16, size))
    return Task(
        name="own images",
        sample=lambda key: crops()(key),
        examples=training,
        validation=validation,
        test=tuple(
            (jnp.asarray(pair.x)[None, ..., None], jnp.asarray(pair.y)[None, ..., None])
            for pair in split.test
        ),
        searched=([p.x[..., None] for p in to_learn], [p.y[..., None] for p in to_learn]),
        recipe=hit_or_miss(64, _KERNEL, thresholds=thresholds),
        steps=600,
        references={
            "dice_noisy": dice_of_all(noisy, clean),
            "dice_target_operator": None,
            "dice_median_3x3": dice_of_all(map(median_3x3, noisy), clean),
            "dice_best_handmade": dice_of_all(map(handmade, noisy), clean),
        },
        notes={
            "best_handmade": handmade.name,
            "pairs": {f.name: [p.name for p in getattr(split, f.name)] for f in fields(split)},
        },
        reading=reading,
        thresholds=thresholds,
        handmade=handmade,
        handmade_title=f"best made by hand: {handmade.name}",
        shown_bits=noisy[0][None, ..., None] if reading.gray else None,
    )

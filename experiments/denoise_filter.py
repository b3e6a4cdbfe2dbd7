"""`bimonn_jax.filters.learn_filter` as a recipe of `experiments.denoise`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.data.image_files import Reading
from bimonn_jax.data.image_pairs import Pair
from bimonn_jax.filters import Filter
from bimonn_jax.filters.arrays import Output, is_bilevel
from bimonn_jax.filters.learning import LEVELS, learn_from_gray
from bimonn_jax.filters.pairs import GrayPair

from .denoise_tasks import Task
from .output import say, watch

if TYPE_CHECKING:
    from .denoise import Config

# What the progress bar counts: a training by time does not know its steps.
_PERCENT = 100


def as_bits_where_bilevel(
    pairs: tuple[Pair, ...], reading: Reading
) -> tuple[tuple[Pair, ...], Reading]:
    """Pairs that were read in gray, as bits where no image has more than two levels."""
    if not reading.gray or not is_bilevel([pair.x for pair in pairs]):
        return pairs, reading
    return tuple(replace(pair, x=pair.bits) for pair in pairs), replace(reading, gray=False)


def _gray(x: Any) -> np.ndarray:
    """An input of a task, (H, W, 1), as gray levels of a light foreground, float32 (H, W)."""
    image = np.asarray(x)[..., 0]
    return image.astype(np.float32) * (255 if image.dtype == np.bool_ else 1)


def _of_test(task: Task) -> list[GrayPair]:
    return [
        GrayPair(_gray(x), np.asarray(y)[..., 0])
        for xs, ys in task.test
        for x, y in zip(xs, ys, strict=True)
    ]


def learn(
    config: "Config", task: Task, folder: Path, *, with_test: bool = False
) -> tuple[Filter, list[dict[str, float]]]:
    """Learns a filter of a task's images, and says how it compares on the columns held out.

    Args:
      config: seconds or steps, window, gray levels and seed.
      task: what to learn from.
      folder: where events are written.
      with_test: whether it learns from the test images too, once they have judged.

    Returns:
      The filter, which reads a light foreground as all inputs of tasks have it, and the history.
    """
    pairs = [GrayPair(_gray(x), np.asarray(y)[..., 0]) for x, y in zip(*task.searched, strict=True)]
    if with_test:
        pairs += _of_test(task)
    is_gray = task.reading is not None and task.reading.gray
    history: list[dict[str, float]] = []
    title = f"{task.name}, {'all images' if with_test else 'filter'}"
    with watch(folder / "events", _PERCENT, title) as show:

        def callback(row: dict[str, float]) -> None:
            history.append({"step": row["step"], "loss": row["loss"]})
            show({"step": _PERCENT * row["done"], "loss": row["loss"]})

        found = learn_from_gray(
            pairs,
            "light",
            Output("bool", 0, 1),
            key=jax.random.key(config.seed),
            seconds=config.seconds,
            steps=config.steps,
            window=config.window,
            levels=(config.level_sets or LEVELS) if is_gray else 0,
            callback=callback,
        )
    scores = ", ".join(f"{name} {score:.3f}" for name, score in found.scores.items())
    say(f"F-measures on columns that were held out: {scores}. Taken: {found.name}.")
    return found, history


def reading_of(found: Filter, task: Task) -> Reading | None:
    """How image files are read for a filter."""
    if task.reading is None or not task.reading.gray:
        return task.reading
    return replace(found.reading, foreground=task.reading.foreground)


def as_filter_reads(task: Task, found: Filter) -> Task:
    """The task with test images as the filter's network takes them."""
    test = tuple(
        (jnp.asarray(found.reading.to_images(pair.x)), jnp.asarray(pair.y)[None, ..., None])
        for pair in _of_test(task)
    )
    return replace(task, test=test, reading=reading_of(found, task))


def verdict(metrics: dict[str, Any]) -> str:
    """Whether what was learned is worth it, on the test images, in words."""
    own = metrics["dice_boolean"]
    others = {
        "the input itself": metrics.get("dice_noisy"),
        "the 3 x 3 median": metrics.get("dice_median_3x3"),
        "the best filter made by hand": metrics.get("dice_best_handmade"),
    }
    better = [name for name, score in others.items() if score is not None and score > own]
    if better:
        return f"worse than {' and '.join(better)} on the test images: do not use it as it is"
    return "at least as good as the input and the filters made by hand on the test images"

"""Learning a filter from pairs of images, in one call."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import jax
import numpy as np

from bimonn_jax.binarization.simplification.passes import simplify
from bimonn_jax.data.image_files import Foreground, Reading
from bimonn_jax.data.windows import draw_windows, every_window
from bimonn_jax.filters.arrays import Output, gray_of, is_bilevel
from bimonn_jax.filters.filter import Filter
from bimonn_jax.filters.pairs import LEAST_WIDTH, GrayPair, Parts, f_measure
from bimonn_jax.filters.simple import reading_of_bits, simple_networks
from bimonn_jax.morphology.levels import level_sets
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.kinds import LevelSetsLayer
from bimonn_jax.training.window_networks import train_on_windows

# Sides of windows of bits and of gray levels, which have several bits a pixel.
_BITS_WINDOW, _GRAY_WINDOW = 11, 9
_GRAY_CHANNELS = ("gray", "mean", "contrast")
# Gray levels of each channel.
LEVELS = 4
_FEATURES, _INPUTS = (256, 64), {False: (16, 32), True: (32, 32)}
# Bits of all windows together.
_MOST_BITS = 2**28

_LEARNED = "rank network"

Progress = Callable[[dict[str, float]], None]


def balanced_thresholds(
    xs: Sequence[np.ndarray], ys: Sequence[np.ndarray], levels: int
) -> tuple[tuple[float, ...], ...]:
    """Thresholds between which foreground and background together are as frequent.

    Both count as one half, however rare the foreground is: plain quantiles would all lie in the
    paper of a page.

    Args:
      xs: numbers (H, W, C).
      ys: bool (H, W).
      levels: thresholds of each channel.

    Returns:
      For each channel its thresholds, increasing.
    """
    y = np.concatenate([image.reshape(-1) for image in ys])
    weight = np.where(y, 0.5 / max(1, y.sum()), 0.5 / max(1, (~y).sum()))
    shares = np.linspace(0, 1, levels + 2)[1:-1]
    rows = []
    for channel in range(xs[0].shape[-1]):
        values = np.concatenate([x[..., channel].reshape(-1) for x in xs])
        order = np.argsort(values, kind="stable")
        at = np.searchsorted(np.cumsum(weight[order]), shares)
        chosen = values[order][np.minimum(at, len(values) - 1)].astype(np.float32)
        # Thresholds increase strictly, also where many pixels have one level.
        for i in range(1, levels):
            chosen[i] = max(chosen[i], np.nextafter(chosen[i - 1], np.float32(np.inf)))
        rows.append(tuple(float(t) for t in chosen))
    return tuple(rows)


def _best_rank(counts: Sequence[np.ndarray], wanted: Sequence[np.ndarray], most: int) -> int:
    """The rank, from 1 to ``most``, at which ``counts >= rank`` has the best F-measure."""
    flat, y = (np.concatenate([i.reshape(-1) for i in images]) for images in (counts, wanted))
    # How many pixels are found, and rightly so, at each rank or above.
    found = np.bincount(flat, minlength=most + 1)[::-1].cumsum()[::-1]
    right = np.bincount(flat[y], minlength=most + 1)[::-1].cumsum()[::-1]
    total = found + y.sum()
    # As `f_measure` has it: where nothing is wanted, finding nothing is right.
    scores = np.where(total, 2 * right / np.maximum(1, total), 1)
    return 1 + int(scores[1 : most + 1].argmax())


def _bits(network: BooleanNetwork, x: np.ndarray) -> np.ndarray:
    """What a network gives for one image of bits, bool (H, W)."""
    return np.asarray(network(x[None, ..., None]))[0, ..., 0]


def learn_from_gray(
    pairs: Sequence[GrayPair],
    foreground: Foreground | None,
    output: Output,
    *,
    key: jax.Array,
    seconds: float | None = 60.0,
    steps: int | None = None,
    window: int | None = None,
    levels: int | None = None,
    callback: Progress | None = None,
) -> Filter:
    """`learn_filter` on gray levels and foregrounds that are there already.

    Args:
      pairs: the images.
      foreground: which pixels of an image are like True ones of a target; None to look.
      output: how the filter's bits become images.
      key: see `learn_filter`, as all that follow.
      seconds: to train.
      steps: in place of seconds.
      window: side of the windows.
      levels: gray levels that are read.
      callback: called with progress.
    """
    parts = Parts(pairs)
    targets = [p.y for p in pairs]
    learned_y, wanted = parts.learned(targets), parts.held_out(targets)
    to_bits = reading_of_bits([p.columns(0, parts.cut(p)) for p in pairs], foreground)
    bits = [to_bits.to_bits(p.x) for p in pairs]
    simple = simple_networks(parts.learned(bits), learned_y)
    scores = {
        name: f_measure([_bits(network, x) for x in parts.held_out(bits)], wanted)
        for name, network in simple.items()
    }

    if levels is None:
        levels = 0 if is_bilevel([p.x for p in pairs]) else LEVELS
    reads_gray = levels > 0
    reading = replace(to_bits, gray=True, channels=_GRAY_CHANNELS) if reads_gray else to_bits
    thresholds, in_bits = None, [b[..., None] for b in bits]
    if reads_gray:
        inputs = [reading.to_images(p.x)[0] for p in pairs]
        thresholds = balanced_thresholds(parts.learned(inputs), learned_y, levels)
        in_bits = [np.asarray(level_sets(x, thresholds)) for x in inputs]
    side = window or (_GRAY_WINDOW if reads_gray else _BITS_WINDOW)
    window_key, train_key = jax.random.split(key)
    windows, target = draw_windows(
        parts.learned(in_bits),
        learned_y,
        (side, side),
        _MOST_BITS // (side * side * in_bits[0].shape[-1]),
        np.random.default_rng(np.asarray(jax.random.key_data(window_key))),
    )
    found = train_on_windows(
        windows,
        target,
        (side, side),
        key=train_key,
        features=_FEATURES,
        inputs=_INPUTS[reads_gray],
        steps=steps,
        seconds=None if steps else seconds,
        callback=callback,
    )
    held_out = [found.counts(every_window(x, (side, side))) for x in parts.held_out(in_bits)]
    counts = [count.reshape(y.shape) for count, y in zip(held_out, wanted, strict=True)]
    rank = _best_rank(counts, wanted, len(found.votes))
    scores[_LEARNED] = f_measure([count >= rank for count in counts], wanted)
    best = max(scores, key=lambda name: scores[name])
    if best == _LEARNED:
        layers, params = found.layers(rank)
        if thresholds is not None:
            layers = (LevelSetsLayer(thresholds=thresholds), *layers)
        network = simplify(BooleanNetwork(layers, params, {"steps": found.steps}))
        return Filter(network, reading, output, best, scores)
    return Filter(simple[best], to_bits, output, best, scores)


def _foreground_of(targets: Sequence[np.ndarray], is_bool: bool) -> Foreground:
    """The rarer of dark and light, or what is True."""
    if is_bool:
        return "light"
    light = [Reading("otsu", "light").to_bits(y) for y in targets]
    share = sum(int(y.sum()) for y in light) / sum(y.size for y in light)
    return "light" if share <= 0.5 else "dark"


def _check(pairs: Sequence[tuple[Any, Any]]) -> list[tuple[np.ndarray, np.ndarray]]:
    checked = []
    for index, pair in enumerate(pairs):
        if len(pair) != 2:
            raise ValueError(f"pair {index} holds {len(pair)} images; (image, target) was expected")
        x, y = gray_of(pair[0], f"image {index}"), gray_of(pair[1], f"target {index}")
        if x.shape != y.shape:
            raise ValueError(f"image {index} is {x.shape} pixels, its target {y.shape}")
        if x.shape[1] < 2 * LEAST_WIDTH or x.shape[0] < LEAST_WIDTH:
            raise ValueError(
                f"image {index} is {x.shape} pixels; at least {LEAST_WIDTH} rows and "
                f"{2 * LEAST_WIDTH} columns were expected"
            )
        checked.append((x, y))
    if not checked:
        raise ValueError("pairs is empty; at least one (image, target) was expected")
    return checked


def learn_filter(
    pairs: Iterable[tuple[Any, Any]],
    *,
    seconds: float | None = 60.0,
    steps: int | None = None,
    window: int | None = None,
    levels: int | None = None,
    foreground: Literal["dark", "light"] | None = None,
    key: jax.Array | None = None,
    callback: Progress | None = None,
) -> Filter:
    """Learns a filter from images and what they should become.

    A network of rank neurons, 256 over windows, 64 over these, and a vote, is trained through the
    binarization on the left 85 % of every image; the rest, but at least 16 columns, chooses the
    rank of the vote. It is compared there with the input, the 3 x 3 median, and the best hand-made
    opening or closing; the best of them is what is returned, and ``scores`` tells all.

    Args:
      pairs: (image, target), each (H, W), or (H, W, 3) in red, green and blue: bool, uint8, uint16,
        or floats in [0, 1]. A target is foreground and background; gray ones are thresholded.
      seconds: how long to train; the result depends on the machine.
      steps: how many steps to train in place of ``seconds``, rounded up to a multiple of 200:
        the same result on the same machine, however busy. A few hundred a second on two CPU cores.
      window: side of the windows, odd; by default 11 for bits, 9 for gray levels.
      levels: how many gray levels are told apart in each channel (the image, its local means, its
        contrast); 0 for bits, by a threshold. By default 4 where images have gray levels.
      foreground: whether the dark or the light pixels of images and targets are the foreground, by
        which the F-measure goes; by default what is True in bool targets, else the rarer of both,
        and in images what is nearer to that.
      key: a JAX random key; by default ``jax.random.key(0)``.
      callback: called with progress: step, loss, done (the share of the training).

    Returns:
      A `Filter`.

    Raises:
      ValueError: if images do not go together, or an argument is out of its range.

    Examples:
      >>> rng = np.random.default_rng(0)
      >>> clean = np.zeros((40, 80), bool)
      >>> clean[8:30, 5:70:9] = True
      >>> noisy = clean ^ (rng.random(clean.shape) < 0.02)
      >>> found = learn_filter([(noisy, clean)], steps=50, window=5)
      >>> found(noisy).dtype, found(noisy).shape
      (dtype('bool'), (40, 80))
    """
    if window is not None and (window < 1 or window % 2 == 0):
        raise ValueError(f"window must be odd and positive; got {window}")
    if steps is None and not (seconds is not None and 0 < seconds < math.inf):
        raise ValueError(f"seconds must be positive and finite, or steps be given; got {seconds}")
    if steps is not None and not 1 <= steps < math.inf:
        raise ValueError(f"steps must be at least 1; got {steps}")
    if levels is not None and levels < 0:
        raise ValueError(f"levels must be at least 0; got {levels}")
    pairs = list(pairs)
    checked = _check(pairs)
    first = np.asarray(pairs[0][1])
    chosen = foreground or _foreground_of([y for _, y in checked], first.dtype == np.bool_)
    to_bits = Reading("otsu", chosen)
    return learn_from_gray(
        [GrayPair(x, to_bits.to_bits(y)) for x, y in checked],
        foreground,
        Output.like(first, chosen),
        key=jax.random.key(0) if key is None else key,
        seconds=seconds,
        steps=steps,
        window=window,
        levels=levels,
        callback=callback,
    )

"""Filters of binary images found by search, without gradients: unions of hit-or-miss transforms.

Every translation-invariant operator that looks through a window is a union of hit-or-miss
transforms (Banon and Barrera, "Minimal representations for translation-invariant set mappings by
mathematical morphology", SIAM J. Appl. Math. 51, 1991). A transform asks some bits of the window to
be set and some to be clear. Which ones, is searched bit by bit: the change in the number of right
and wrong pixels is known exactly for all bits at once, from two sums over the pixels where a
transform alone decides. Transforms start as parts of windows that occur at pixels of the target.

Wrong pixels cost much at first, so that the first transforms are precise, and less from round to
round. In each round every transform is searched again, given the others, and new ones are added.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.data.windows import draw_windows
from bimonn_jax.morphology.levels import level_sets
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.kinds import HitOrMissConvLayer, Layer, LevelSetsLayer, LUILayer
from bimonn_jax.neurons.params import BooleanNeurons

# A pixel that is set by mistake counts as so many that are missed, from round to round.
_PENALTIES = (6.0, 4.0, 2.0, 1.5, 1.0)
ROUNDS = len(_PENALTIES)
# Shares of the bits of a window with which a transform may start.
_KEPT = (0.06, 0.1, 0.15, 0.25)
_STARTS, _SEARCHED, _PIXELS_PER_START = 200, 3, 30_000


@dataclass(frozen=True)
class SearchResult:
    """What `search_hit_or_miss` found.

    Attributes:
      network: level sets, if any, hit-or-miss transforms, and their union.
      history: a row for each round: step, penalty, transforms, and dice_training on the pixels that
        were searched on.
    """

    network: BooleanNetwork
    history: list[dict[str, float]]


class _Examples:
    """Windows with the pixel that each should give.

    Attributes:
      is_false: float32 (P, B); 1 where a literal (a bit of the window, then the complements) is 0.
      target: bool (P,).
    """

    def __init__(self, literals: np.ndarray, target: np.ndarray) -> None:
        self.is_false = (~literals).astype(np.float32)
        self.target = target

    def __len__(self) -> int:
        return len(self.target)

    def unmet(self, chosen: np.ndarray) -> np.ndarray:
        """How many of the chosen literals, bool (B,), are 0 in each window: (P,)."""
        counts: np.ndarray = self.is_false[:, chosen].sum(axis=1)
        return counts


def _improve(
    chosen: np.ndarray, examples: _Examples, worth: np.ndarray
) -> tuple[np.ndarray, float]:
    """Changes literals one by one, the best first, until no change adds to the worth.

    Args:
      chosen: bool (B,), the literals of a transform.
      examples: the windows.
      worth: float (P,); what it is worth to fire there.

    Returns:
      The literals, and the worth of the windows where all of them hold.
    """
    chosen = chosen.copy()
    unmet = examples.unmet(chosen)
    total = float(worth[unmet == 0].sum())
    while True:
        firing, nearly = np.flatnonzero(unmet == 0), np.flatnonzero(unmet == 1)
        # One more literal silences where it is 0; one less fires where it alone was 0.
        gain = -(worth[firing] @ examples.is_false[firing])
        fewer = worth[nearly] @ examples.is_false[nearly]
        gain = np.where(chosen, fewer, gain)
        best = int(gain.argmax())
        if gain[best] <= 0.5:
            return chosen, total
        unmet += examples.is_false[:, best] * (-1 if chosen[best] else 1)
        chosen[best] ^= True
        total += float(gain[best])


class _Union:
    """Transforms, where each fires, and how many fire at each pixel."""

    def __init__(self, examples: _Examples, rng: np.random.Generator) -> None:
        self.examples, self.rng = examples, rng
        self.transforms: list[np.ndarray] = []
        self.fires: list[np.ndarray] = []
        self.count = np.zeros(len(examples), np.int32)

    def add(self, chosen: np.ndarray) -> None:
        fires = self.examples.unmet(chosen) == 0
        self.transforms.append(chosen)
        self.fires.append(fires)
        self.count += fires

    def remove(self, index: int) -> np.ndarray:
        self.count -= self.fires.pop(index)
        return self.transforms.pop(index)

    def search(self, worth: np.ndarray, *known: np.ndarray) -> tuple[np.ndarray | None, float]:
        """The best transform for the pixels that no other covers, and its gain.

        ``known`` transforms are tried beside new starts.
        """
        examples, rng = self.examples, self.rng
        worth = np.where(self.count == 0, worth, 0).astype(np.float32)
        wanted = np.flatnonzero(worth > 0)
        starts = list(known)
        if len(wanted):
            literals = examples.is_false[rng.choice(wanted, _STARTS)] == 0
            kept = rng.random(literals.shape) < rng.choice(_KEPT, (_STARTS, 1))
            drawn = literals & kept
            some = rng.choice(len(examples), min(len(examples), _PIXELS_PER_START), replace=False)
            fires = examples.is_false[some] @ drawn.T.astype(np.float32) == 0
            best = np.argsort(-(worth[some] @ fires), kind="stable")[:_SEARCHED]
            starts += list(drawn[best])
        found = [_improve(start, examples, worth) for start in starts]
        return max(found, key=lambda pair: pair[1], default=(None, 0.0))


def _round(union: _Union, worth: np.ndarray, max_transforms: int, min_gain: float) -> None:
    """Searches every transform again, drops those of little use, and adds new ones."""
    # The latest first: they are the ones that the others may have made useless.
    for index in range(len(union.transforms) - 1, -1, -1):
        chosen, gain = union.search(worth, union.remove(index))
        if chosen is not None and gain >= min_gain:
            union.add(chosen)
    while len(union.transforms) < max_transforms:
        chosen, gain = union.search(worth)
        if chosen is None or gain < min_gain:
            return
        union.add(chosen)


def _network(
    transforms: Sequence[np.ndarray],
    kernel_size: tuple[int, int],
    channels: int,
    thresholds: Sequence[float] | None,
) -> BooleanNetwork:
    # (transforms, x or complement, kh, kw, C) -> (kh, kw, x then complements, transforms).
    flat = np.array(transforms, bool).reshape(-1, 2, *kernel_size, channels)
    footprint = jnp.asarray(flat.transpose(2, 3, 1, 4, 0).reshape(*kernel_size, 2 * channels, -1))
    count = footprint.shape[-1]
    yes, no = jnp.ones(count, bool), jnp.zeros(count, bool)
    erosions = BooleanNeurons(footprint, yes, no)
    union = BooleanNeurons(yes[:, None], no[:1], no[:1])
    layers: list[Layer] = [
        HitOrMissConvLayer("transforms"),
        LUILayer("union"),
    ]
    if thresholds is not None:
        layers.insert(0, LevelSetsLayer(thresholds=tuple(float(t) for t in thresholds)))
    return BooleanNetwork(tuple(layers), {"transforms": {"lui": erosions}, "union": {"lui": union}})


def _check(xs: Sequence[np.ndarray], ys: Sequence[np.ndarray]) -> None:
    if not xs or len(xs) != len(ys):
        raise ValueError(f"x and y must be as many images, at least one; got {len(xs)}, {len(ys)}")
    for index, (x, y) in enumerate(zip(xs, ys, strict=True)):
        is_pair = x.ndim == 3 and y.shape == (*x.shape[:2], 1) and x.shape[2:] == xs[0].shape[2:]
        if not is_pair or y.dtype != np.bool_ or not x.size:
            raise ValueError(
                f"image {index}: x {x.shape} and y {y.shape}, {y.dtype}; (H, W, C) for all x, with "
                "pixels, and bool (H, W, 1) for y, were expected: add a channel axis with "
                "x[..., None]"
            )


def search_hit_or_miss(
    x: Sequence[np.ndarray] | np.ndarray,
    y: Sequence[np.ndarray] | np.ndarray,
    *,
    key: jax.Array,
    kernel_size: int = 5,
    max_transforms: int = 64,
    thresholds: Sequence[float] | None = None,
    min_gain: float = 20.0,
    pixels: int = 200_000,
    callback: Callable[[dict[str, float]], None] | None = None,
) -> SearchResult:
    """Finds a union of hit-or-miss transforms that turns images ``x`` into ``y``.

    Args:
      x: the degraded images, each (H, W, C): bool, or gray levels where ``thresholds`` are given.
      y: the clean ones, each bool (H, W, 1).
      key: a JAX random key.
      kernel_size: side of the windows, odd. Pixels outside of an image are False.
      max_transforms: transforms.
      thresholds: q increasing gray levels; the transforms then read q level sets of each channel.
      min_gain: the number of pixels, right ones less wrong ones, that a transform must add: a
        smaller one would be learned by heart.
      pixels: to search on, drawn from all images.
      callback: called with each row of the history.

    Returns:
      A `SearchResult`; its network reads (N, H, W, C) and gives bool (N, H, W, 1).

    Raises:
      ValueError: if images do not fit together, or an argument is out of its range; also if no
        transform gains enough: the target is empty, or far from what a window can tell.

    Examples:
      >>> rng = np.random.default_rng(0)
      >>> x = rng.random((4, 30, 30, 1)) < 0.6
      >>> y = x & np.roll(x, -1, axis=2) & ~np.roll(x, 1, axis=2)
      >>> found = search_hit_or_miss(x, y, key=jax.random.key(0), kernel_size=3)
      >>> found.network.params["transforms"]["lui"].footprint[1, :, :, 0].astype(int)
      Array([[0, 1],
             [1, 0],
             [1, 0]], dtype=int32)
    """
    if kernel_size < 1 or kernel_size % 2 == 0 or max_transforms < 1 or pixels < 1:
        raise ValueError(
            f"kernel_size must be odd, max_transforms and pixels at least 1; got {kernel_size}, "
            f"{max_transforms}, {pixels}"
        )
    xs, ys = [np.asarray(image) for image in x], [np.asarray(image) for image in y]
    _check(xs, ys)
    if thresholds is None:
        if any(image.dtype != np.bool_ for image in xs):
            raise ValueError("x must be bool: threshold it first, or give thresholds")
        bits = xs
    else:
        bits = [np.asarray(level_sets(image, thresholds)) for image in xs]
    size = kernel_size, kernel_size
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    windows, target = draw_windows(bits, [y[..., 0] for y in ys], size, pixels, rng)
    examples = _Examples(np.concatenate([windows, ~windows], axis=1), target)
    union = _Union(examples, rng)
    history = []
    for step, penalty in enumerate(_PENALTIES, start=1):
        _round(union, np.where(examples.target, 1.0, -penalty), max_transforms, min_gain)
        found = union.count > 0
        right = 2 * np.sum(found & examples.target)
        row = {
            "step": float(step),
            "penalty": penalty,
            "transforms": float(len(union.transforms)),
            "dice_training": float(right / max(1, found.sum() + examples.target.sum())),
        }
        history.append(row)
        if callback is not None:
            callback(row)
    if not union.transforms:
        raise ValueError(
            f"no transform of {kernel_size} x {kernel_size} pixels gains {min_gain} pixels: give "
            "more images, a larger window, or check that x and y belong together"
        )
    return SearchResult(_network(union.transforms, size, bits[0].shape[-1], thresholds), history)

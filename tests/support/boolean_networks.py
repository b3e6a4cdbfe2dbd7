"""Boolean networks with random footprints, together of every kind of layer and option."""

import functools
import math

import jax
import numpy as np

from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.models import Parallel, Sequential, Skip
from bimonn_jax.networks.modules import (
    LUI,
    BiSE,
    BiSEL,
    Complement,
    Flatten,
    HitOrMiss,
    HitOrMissConv,
    LevelSets,
    LUIConv,
    PopcountHead,
    RealHead,
    TernaryHead,
)
from bimonn_jax.neurons.heads import TernaryWeights
from bimonn_jax.neurons.params import BooleanNeurons, RankNeurons, map_neurons

SHAPE = (9, 7, 2)
EVEN = ((1, 2), (0, 1))

# name: (modules, shape of one input).
MODULES = {
    "one operator": ((BiSE(1, (3, 3)),), (9, 7, 1)),
    "wide": ((BiSEL(3, (3, 5)), BiSEL(2, (5, 3))), SHAPE),
    "complements": ((Complement(), BiSEL(2, (3, 3)), LUI(3)), SHAPE),
    "edge": ((BiSE(4, (3, 3), border="edge"),), SHAPE),
    "reflect": ((BiSEL(2, (5, 3), border="reflect"),), SHAPE),
    "wrap": ((BiSEL(2, (3, 3), border="wrap"), Complement()), SHAPE),
    "valid": (
        (BiSEL(2, (4, 3), padding="VALID"), Complement(), BiSE(4, (2, 2), padding=EVEN)),
        SHAPE,
    ),
    "pooled": ((HitOrMissConv(5, (3, 3), pool=2), HitOrMissConv(3, (3, 3), padding="SAME")), SHAPE),
    "pooled beyond": ((LevelSets((0.5,)), HitOrMissConv(4, (2, 2), pool=4)), SHAPE),
    "dense": ((LUI(9), HitOrMiss(5)), (11,)),
    "ternary": ((Flatten(), HitOrMiss(40), TernaryHead(5)), SHAPE),
    "popcount": ((LevelSets((60.5, 128.0)), Flatten(), HitOrMiss(33), PopcountHead(3)), SHAPE),
    "convolutional": (
        (LevelSets((127.0,)), HitOrMissConv(6, (3, 3), pool=2), Flatten(), TernaryHead(4)),
        SHAPE,
    ),
    "real head": ((Flatten(), LUI(20), RealHead(3)), SHAPE),
    # More literals than are sliced one by one, and gates of very different sizes.
    "large": ((LevelSets(((20.0,), (200.0,))), Flatten(), HitOrMiss(150), TernaryHead(10)), SHAPE),
    # Two branches; two and three scales with skips, of sides that pools do not divide.
    "branches": ((Parallel((BiSEL(2, 3), HitOrMissConv(3, 3, padding="SAME"))), LUI(3)), SHAPE),
    "joined": ((Parallel((BiSE(2, (3, 1)), Sequential((LUIConv(2, 3), Complement())))),), SHAPE),
    "u-shaped": (
        (
            Skip(Sequential((LUIConv(3, 3, pool=2), BiSEL(2, 3))), upsample=2),
            HitOrMissConv(2, 3, padding="SAME"),
        ),
        SHAPE,
    ),
    "three scales": (
        (
            LevelSets((90.5, 160.0)),
            Skip(
                Sequential(
                    (
                        HitOrMissConv(3, 3, padding="SAME", pool=2),
                        Skip(LUIConv(2, 3, pool=2), upsample=2),
                        LUIConv(3, 3, border="edge"),
                    )
                ),
                upsample=2,
            ),
            LUI(2),
        ),
        SHAPE,
    ),
    "branches to votes": (
        (
            Parallel((Sequential((LUIConv(2, 3), Flatten())), Sequential((Flatten(), LUI(30))))),
            HitOrMiss(20),
            TernaryHead(3),
        ),
        SHAPE,
    ),
    "joined features": (
        (Parallel((BiSEL(2, 3), LUI(2))), Flatten(), PopcountHead(4)),
        SHAPE,
    ),
    "large windows": (
        (HitOrMissConv(40, (5, 5), padding="SAME", pool=3), Flatten(), TernaryHead(3)),
        SHAPE,
    ),
}
NAMES = list(MODULES)
# The same modules, with neurons of any rank.
_RANKS = ", ranks"
RANK_NAMES = [f"{name}{_RANKS}" for name in NAMES]
MODULES |= {f"{name}{_RANKS}": MODULES[name] for name in NAMES}


def _ranks(footprint: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ranks at the edges as often as between them, constants beyond both ends seldom."""
    size = footprint.sum(axis=0)
    kinds = [size // 2, (size + 1) // 2, size // 3, 0 * size + 2, size - 1, 0 * size + 1, size]
    kinds += [0 * size, size + 1]
    kind = rng.choice(
        len(kinds), size.shape, p=[0.18, 0.18, 0.14, 0.2, 0.2, 0.03, 0.03, 0.02, 0.02]
    )
    return np.choose(kind, kinds).astype(np.int32)


def _random(name: str, rng: np.random.Generator) -> BooleanNetwork:
    modules, shape = MODULES[name]
    model = Sequential(modules)
    # Shapes only: nothing runs, nothing is compiled.
    x = jax.ShapeDtypeStruct((1, *shape), np.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), x)["params"]

    def neurons(old):
        bits, count = old.weight.shape, old.bias.shape
        # Gates of no, of few and, more seldom, of many literals.
        literals = rng.choice([0, 1, 2, 3, 12], count, p=[0.05, 0.3, 0.3, 0.3, 0.05])
        inputs = bits[: len(bits) - len(count)]
        if name.endswith(_RANKS):
            literals = rng.choice([1, 3, 5, 8, 20], count, p=[0.05, 0.25, 0.3, 0.3, 0.1])
            footprint = rng.random(bits) < literals / math.prod(inputs)
            ranks = _ranks(footprint.reshape(-1, *count), rng)
            return RankNeurons(footprint, ranks, rng.random(count) < 0.3)
        share = literals / math.prod(bits[:-1])
        return BooleanNeurons(
            rng.random(bits) < share, rng.random(count) < 0.5, rng.random(count) < 0.3
        )

    boolean = map_neurons(neurons, params)
    for own in boolean.values():
        if "head" in own:
            votes = rng.integers(-1, 2, own["head"].latent.shape)
            own["head"] = TernaryWeights(votes > 0, votes < 0)
    drawn = jax.tree.map(
        lambda leaf: (
            rng.normal(0, 0.3, leaf.shape).astype(np.float32)
            if isinstance(leaf, jax.ShapeDtypeStruct)
            else leaf
        ),
        boolean,
    )
    return BooleanNetwork(model.architecture, drawn)


@functools.cache
def _drawn(name: str, seed: int) -> tuple[BooleanNetwork, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = inputs(name, MODULES[name][1], 600)
    while True:
        candidate = _random(name, rng)
        y = np.asarray(candidate(x))
        if (y != y[:1]).any(axis=0).mean() > 1 / 3:
            return candidate, x, y


def network(name: str, seed: int = 0) -> tuple[BooleanNetwork, tuple[int, ...]]:
    """(The network of that name with random bits, the shape of its input).

    At least a third of its outputs depend on the input: random gates in a row soon give constants,
    and with those a wrong runtime could not be told from a right one.
    """
    return _drawn(name, seed)[0], MODULES[name][1]


def examples(name: str, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Up to 600 `inputs` and what `network` makes of them, which is computed once for all tests."""
    _, x, y = _drawn(name, seed)
    return x[:count], y[:count]


def inputs(name: str, shape: tuple[int, ...], count: int, seed: int = 0) -> np.ndarray:
    """Random inputs (count, *shape): uint8 where the network begins with level sets, else bool.

    Nearly empty ones, nearly full ones and all between.
    """
    rng = np.random.default_rng(seed)
    density = rng.random((count, *(1 for _ in shape)))
    if isinstance(MODULES[name][0][0], LevelSets):
        return (256 * rng.random((count, *shape)) ** (1 / density - 1)).astype(np.uint8)
    return rng.random((count, *shape)) < density


def rounding(network: BooleanNetwork) -> float:
    """How far two float32 sums of a real head may lie apart, added up in any two orders."""
    if network.architecture[-1].kind != "real":
        return 0
    head = network.params[network.architecture[-1].name]
    terms = np.concatenate([head["kernel"], head["bias"][None]])
    return 2 * len(terms) * np.finfo(np.float32).eps * np.abs(terms).sum(axis=0).max()

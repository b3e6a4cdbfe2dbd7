"""Certificates against what runs: every claim of random neurons and networks, by enumeration.

    python -m tests.support.certificate_enumeration

prints, for 40,000 neurons and 300 networks of every kind of layer, in all dtypes and of magnitudes
from the smallest subnormal to the largest number: false claims, and how many equal networks are
not proven. `tests/binarization/test_certificate_enumeration.py` runs a part of it.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from bimonn_jax import (
    LUI,
    BiSE,
    BiSEL,
    Complement,
    Flatten,
    HitOrMiss,
    HitOrMissConv,
    LevelSets,
    LUIConv,
    Parallel,
    PopcountHead,
    RankNeurons,
    RealNeurons,
    Sequential,
    Skip,
    TernaryHead,
    apply_layers,
    as_real_neurons,
    binarize,
    certify,
    map_neurons,
)
from bimonn_jax.neurons.apply import apply_dense
from bimonn_jax.neurons.params import named_neurons
from tests.support.neuron_oracles import all_inputs

DTYPES = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
}
IMAGES = all_inputs(9).reshape(-1, 3, 3, 1)
# name: (modules, inputs).
NETWORKS = {
    "bise": ((BiSE(2, (3, 3)),), IMAGES),
    "bise, reflect": ((BiSE(2, (3, 3), border="reflect"),), IMAGES),
    "bisel": ((BiSEL(2, (3, 3)), BiSEL(1, (3, 3))), IMAGES),
    "lui": ((LUI(3), LUI(2)), all_inputs(5)),
    "dense_lui": ((Flatten(), LUI(3), LUI(2)), IMAGES),
    "complement": ((LUI(2), Complement(), LUI(2)), all_inputs(5)),
    "hit_or_miss": ((HitOrMiss(3), HitOrMiss(2)), all_inputs(5)),
    "hit_or_miss_conv": ((HitOrMissConv(2, (2, 2)), HitOrMissConv(2, (2, 2), pool=2)), IMAGES),
    "level_sets": ((LevelSets((0.5,)), LUI(3), LUI(2)), all_inputs(5)),
    "flatten": ((BiSE(2, (2, 2), padding="VALID"), Flatten(), Complement(), LUI(2)), IMAGES),
    "ternary": ((LUI(6), TernaryHead(3)), all_inputs(5)),
    "branches": ((Parallel((BiSE(2, (3, 3)), LUI(2), BiSEL(1, (3, 1)))),), IMAGES),
    "skip": ((Skip(LUIConv(2, 3, pool=2), upsample=2), Complement(), LUI(2)), IMAGES),
    "joined": ((Parallel((LUI(2), Sequential((Complement(), LUI(2))))), LUI(2)), all_inputs(5)),
    "popcount": ((HitOrMiss(6), PopcountHead(3)), all_inputs(5)),
}


def magnitude(rng, dtype, shape):
    """Powers of two, half of them of ordinary size, the others from anywhere in the dtype."""
    info = jnp.finfo(dtype)
    low, high = np.log2(float(info.smallest_subnormal)), np.log2(float(info.max))
    wide = rng.uniform(low, high, shape)
    return np.exp2(np.where(rng.random(shape) < 0.5, rng.uniform(-4, 4, shape), wide))


def cast(values, dtype):
    """Finite numbers of a dtype."""
    limit = float(jnp.finfo(dtype).max)
    return np.clip(np.asarray(values, np.float64), -limit, limit).astype(DTYPES[dtype])


def random_neurons(rng, dtype, n, count):
    """Neurons (n, count) with random operators in reach, ties among them, as NumPy arrays."""
    whole = rng.integers(-2, 4, (n, count)) * 1.0
    W = np.where(rng.random(count) < 0.5, whole, rng.normal(0.6, 0.6, (n, count)))
    # Weights that are nearly constant where they are not small: ranks between the ends.
    nearly = np.where(W > 0.5, 1, 0.1 * W) + 0.05 * rng.integers(-1, 2, (n, count))
    W = np.where(rng.random(count) < 0.3, nearly, W)
    W = W * np.where(rng.random((n, count)) < 0.1, 2.0 ** rng.integers(-30, 1, (n, count)), 1)
    chosen = rng.random((n, count)) < 0.5
    B = (W * chosen).sum(axis=0) + rng.choice([0, 0.5, 1e-3, -1e-3, 1e-7], count)
    size, scale = magnitude(rng, dtype, count), magnitude(rng, dtype, count)
    p = cast(scale * rng.choice([-1, 1], count), dtype)
    p[p == 0] = 1
    with np.errstate(over="ignore"):
        return RealNeurons(cast(W * size, dtype), cast(B * size, dtype), p)


def real_tables(W, B, p):
    """Outputs of each neuron on all inputs in rational arithmetic, bool (2^n, neurons)."""
    columns = []
    for w, b, scale in zip(W.T, B, p, strict=True):
        weights, bias = [Fraction(float(v)) for v in w], Fraction(float(b))
        sums = [
            sum((v for v, bit in zip(weights, x, strict=True) if bit), Fraction(0))
            for x in all_inputs(len(w))
        ]
        columns.append([total > bias if scale > 0 else total < bias for total in sums])
    return np.array(columns).T


@dataclass
class Claims:
    """How many cases there were, were equal, were proven, and were proven though not equal."""

    cases: int = 0
    equal: int = 0
    proven: int = 0
    false: int = 0
    between: int = 0

    def add(self, equal, proven, is_between=False):
        """Counts some cases, bool arrays; of the proven ones also ranks between the ends."""
        equal, proven = np.asarray(equal), np.asarray(proven)
        self.between += int((proven & is_between).sum())
        self.cases += equal.size
        self.equal += int(equal.sum())
        self.proven += int(proven.sum())
        self.false += int((proven & ~equal).sum())

    def join(self, other):
        """Counts what another has counted too."""
        for name, count in vars(other).items():
            setattr(self, name, getattr(self, name) + count)

    def __str__(self):
        """One row."""
        return (
            f"{self.cases:7,} cases, {self.equal:7,} equal, {self.proven:7,} proven, "
            f"{self.equal - self.proven + self.false:6,} refused though equal, {self.false} false; "
            f"{self.between:,} proven ones are ranks between the ends"
        )


def check_neurons(rng, dtype, n, count):
    """(Claims in real arithmetic, claims of what runs) on neurons of n inputs."""
    with jax.enable_x64(dtype == "float64"):
        given = random_neurons(rng, dtype, n, count)
        proof = certify({"lui": given}).layers[0]
        boolean = binarize(given)
        inputs = all_inputs(n)
        of_boolean = np.asarray(apply_dense(boolean, inputs))
        running = jax.tree.map(jnp.asarray, given)
        outputs = [np.asarray(run(running, inputs)) for run in (jax.jit(apply_dense), apply_dense)]
    table = real_tables(given.weight, given.bias, given.scale)
    real, runs = Claims(), Claims()
    is_between = (proof.rank > 1) & (proof.rank < proof.footprint_size)
    real.add((table == of_boolean).all(axis=0), proof.is_exact["real"], is_between)
    equal = np.all([(y > 0.5) == of_boolean for y in outputs], axis=(0, 1))
    runs.add(equal, proof.is_exact["float"], is_between)
    return real, runs


def random_network(rng, name, dtypes):
    """Modules of one kind with shaken boolean neurons, each set in one of the dtypes."""
    modules, x = NETWORKS[name]
    model = Sequential(modules)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.asarray(x, jnp.float32))["params"]
    noise = rng.choice([0.0, 0.02, 0.2])
    is_latent = rng.random() < 0.3

    def neurons(old):
        dtype = str(rng.choice(dtypes))
        bits = rng.random(old.weight.shape) < 0.4
        if is_latent:
            # As neurons that are trained through the binarization have them.
            fields = bits + 0.0, (rng.random(old.bias.shape) < 0.5) + 0.0, np.ones(old.bias.shape)
            free = (jnp.asarray(cast(field, dtype)) for field in fields)
            return RealNeurons(*free, "boolean", "boolean", "step")
        size = bits.reshape(-1, *old.bias.shape).sum(axis=0)
        # Ends and what lies between, constants too.
        rank = rng.choice([0, 1, 2, 3, 100], old.bias.shape)
        rank = np.where(rank == 100, size, np.minimum(rank, size + 1)).astype(np.int32)
        complement = rng.random(old.bias.shape) < 0.3
        sharp = float(rng.choice([3.0, 10.0, 40.0]))
        new = as_real_neurons(RankNeurons(*map(jnp.asarray, (bits, rank, complement))), scale=sharp)
        size = magnitude(rng, dtype, ()) if rng.random() < 0.3 else 1.0
        W = np.asarray(new.weight) + noise * rng.normal(size=old.weight.shape)
        B = np.asarray(new.bias) + noise * rng.normal(size=old.bias.shape)
        p = cast(np.asarray(new.scale) / size, dtype)
        p[p == 0] = 1
        fields = (cast(W * size, dtype), cast(B * size, dtype), p)
        return RealNeurons(*map(jnp.asarray, fields), threshold=str(rng.choice(["tanh", "arctan"])))

    params = map_neurons(neurons, shapes)
    for own in params.values():
        if "head" in own:
            latent = rng.choice([-1.0, 0.4, 0.0, 1e9], own["head"].latent.shape)
            own["head"] = replace(own["head"], latent=jnp.asarray(latent, jnp.float32))
    return model, params, jnp.asarray(x)


def check_network(rng, name, dtypes):
    """Whether a random network equals its binary one, whether that was proven, and of what it is.

    The last is whether neurons are ranks between the ends.
    """
    with jax.enable_x64("float64" in dtypes):
        model, params, x = random_network(rng, name, dtypes)
        smooth = np.asarray(apply_layers(model.architecture, params, x)).astype(np.float64)
        binary = binarize(params)
        boolean = np.asarray(apply_layers(model.architecture, binary, x))
        proof = certify(params, model.architecture)
    is_between = any(isinstance(n, RankNeurons) for n in named_neurons(binary).values())
    if boolean.dtype == bool:
        smooth = smooth > 0.5
    return np.array_equal(smooth, boolean), proof.exact_float, is_between


def main():
    """Prints the counts."""
    rng = np.random.default_rng(0)
    for dtype in DTYPES:
        real, runs = Claims(), Claims()
        for n in (1, 2, 3, 4, 5):
            for total, mine in zip((real, runs), check_neurons(rng, dtype, n, 2000), strict=True):
                total.join(mine)
        print(f"{dtype:10} real:    {real}\n{dtype:10} as runs: {runs}", flush=True)
    kinds: dict[str, Claims] = {name: Claims() for name in NETWORKS}
    for index in range(300):
        name = list(NETWORKS)[index % len(NETWORKS)]
        dtypes = list(DTYPES)[:3] if index % 3 else ["float32", "float64"]
        if index % 2:
            dtypes = ["float32"]
        kinds[name].add(*check_network(rng, name, dtypes))
    for name, claims in kinds.items():
        print(f"{name:17} {claims}", flush=True)


if __name__ == "__main__":
    main()

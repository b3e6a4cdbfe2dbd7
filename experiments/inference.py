"""How fast a boolean classifier runs, and how small it is, against a float network of its size.

    python -m experiments.inference --network=out/mnist/network.npz --out_dir=out/inference

Images are random bytes; every runtime is checked against the boolean network first. The float
network has one dense hidden layer with as many neurons as the boolean network's head reads. The
other tables have a dense layer of 1,000 rank neurons on 784 bits against a float layer of that
size, and, of large binary images, one dilation by an asymmetric 5 x 5 footprint, a chain of ten
dilations and erosions, and a 5 x 5 median. Writes ``inference.json``, rows of task, runtime,
per_second, bytes, ratio, and ``inference.png``.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from bimonn_jax.deployment.c.library import compile_c
from bimonn_jax.deployment.packed import (
    PackedNetwork,
    dilate_strips,
    erode_strips,
    pack_samples,
    pack_strips,
    rank_strips,
    unpack_strips,
)
from bimonn_jax.morphology.other_libraries import footprint_for
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.kinds import LUILayer
from bimonn_jax.networks.saving import load_network
from bimonn_jax.neurons.params import RankNeurons
from bimonn_jax.neurons.precision import matmul
from bimonn_jax.viz.figures import new_figure

from .origin import write_results
from .output import say
from .program import Program, Settings, option
from .report import write_report
from .timing import device_name, median_seconds

if TYPE_CHECKING:
    import onnxruntime
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """What is timed."""

    network: Path = option("File of a classifier.")
    input_shape: tuple[int, ...] = option("Shape of one image, if the file does not say.", ())
    images: int = option("Images in a batch.", 131_072, at_least=1)
    sizes: tuple[int, ...] = option("Sides of the images of the second table.", (512, 4096))
    runs: int = option("Timed runs, of which the median counts.", 7, at_least=1)


# The unpacked network and the float one run on the batch that suits them best.
_BATCH = 1024
_CHAIN = 10
# Inputs and neurons of the dense layer.
_FEATURES, _NEURONS = 784, 1000
# Side of the median's window.
_MEDIAN = 5
Row = dict[str, Any]
# Times per second, and bytes of what runs, by runtime.
Timed = dict[str, tuple[float, int | None]]


def rows_of(task: str, timed: Timed, reference: str) -> list[Row]:
    """Rows of (per second, bytes) by runtime, with ratios to one of them."""
    return [
        {
            "task": task,
            "runtime": runtime,
            "per_second": per_second,
            "bytes": size,
            "ratio": per_second / timed[reference][0],
        }
        for runtime, (per_second, size) in timed.items()
    ]


def onnx_session(params: Any) -> "onnxruntime.InferenceSession":
    """The float network of two dense layers in ONNX Runtime, on as many threads as there are cores.

    Args:
      params: of its Flax module.
    """
    import onnx
    import onnxruntime

    arrays = {
        f"{kind}_{index}": np.asarray(params["params"][f"layers_{layer}"][kind])
        for index, layer in enumerate((0, 2))
        for kind in ("kernel", "bias")
    }
    node = onnx.helper.make_node
    info, floats = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [
            node("Gemm", ["x", "kernel_0", "bias_0"], ["sums"]),
            node("Relu", ["sums"], ["features"]),
            node("Gemm", ["features", "kernel_1", "bias_1"], ["scores"]),
        ],
        "float_network",
        [info("x", floats, ["N", arrays["kernel_0"].shape[0]])],
        [info("scores", floats, ["N", arrays["kernel_1"].shape[1]])],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8  # What opset 17 came with: older runtimes read it, too.
    return onnxruntime.InferenceSession(model.SerializeToString())


def load(config: Config) -> tuple[BooleanNetwork, tuple[int, ...]]:
    """The network, and the shape of its input."""
    network = load_network(config.network)
    shape = tuple(map(int, config.input_shape or network.metadata.get("input_shape", ())))
    if not shape:
        raise ValueError(
            f"{config.network} does not say its input's shape: give it, --input_shape=H,W,C"
        )
    return network, shape


def float_times(features: int, classes: int, x: np.ndarray, runs: int) -> Timed:
    """Images per second of a float network with a hidden layer, on images x, and its bytes."""
    model = nn.Sequential([nn.Dense(features), nn.relu, nn.Dense(classes)])
    flat = jnp.asarray(x.reshape(len(x), -1) / 255.0, jnp.float32)
    params = model.init(jax.random.key(0), flat)
    session, given = onnx_session(params), {"x": np.asarray(flat)}
    expected = np.asarray(model.apply(params, flat))
    if not np.allclose(session.run(None, given)[0], expected, atol=1e-4):
        raise RuntimeError("ONNX Runtime differs from Flax on the float network")
    size = sum(4 * leaf.size for leaf in jax.tree.leaves(params))
    by_flax = median_seconds(jax.jit(model.apply), params, flat, runs=runs)
    by_onnx = median_seconds(lambda: session.run(None, given), runs=runs)
    return {
        "float, Flax, jitted": (len(flat) / by_flax, size),
        "float, ONNX Runtime": (len(flat) / by_onnx, size),
    }


def boolean_times(
    config: Config, network: BooleanNetwork, packed: PackedNetwork, x: np.ndarray, folder: Path
) -> Timed:
    """Images per second of a boolean network by every runtime, and the bytes of its file."""
    library = compile_c(network, folder, x.shape[1:], overwrite=True)
    small, on_device = jnp.asarray(x[:_BATCH]), jnp.asarray(x)
    unpacked, scores = jax.jit(network.__call__), np.asarray(packed(on_device))
    # Scores of a real head are added up in another order; others are whole numbers, and equal.
    rounding = 1e-5 if np.issubdtype(scores.dtype, np.floating) else 0
    for name, found in (("C", library(x)), ("unpacked", np.asarray(unpacked(small)))):
        if not np.allclose(found, scores[: len(found)], rtol=rounding, atol=rounding):
            raise RuntimeError(f"{name} differs from the packed network")
    runs, threads, size = config.runs, os.cpu_count() or 1, config.network.stat().st_size
    parts = np.array_split(x, threads)
    with ThreadPoolExecutor(threads) as pool:
        by_c = median_seconds(lambda: list(pool.map(library.classify, parts)), runs=runs)
    c_size = (folder / "network.so").stat().st_size
    return {
        "boolean, unpacked": (len(small) / median_seconds(unpacked, small, runs=runs), size),
        "boolean, packed, JAX": (len(x) / median_seconds(packed, on_device, runs=runs), size),
        f"boolean, C, {threads} threads": (len(x) / by_c, c_size),
    }


def classifier_rows(
    config: Config, network: BooleanNetwork, shape: tuple[int, ...], folder: Path
) -> list[Row]:
    """Images per second of one network by every runtime."""
    packed = PackedNetwork(network, shape)
    numbers = np.random.default_rng(0).integers(0, 256, (config.images, *shape), dtype=np.uint8)
    x: np.ndarray = numbers if network.takes_numbers else np.asarray(numbers > 127)
    features, classes = packed.circuit.shapes[-2][2], packed.circuit.output_shape[-1]
    timed = float_times(features, classes, x[:_BATCH], config.runs)
    timed |= boolean_times(config, network, packed, x, folder)
    return rows_of(f"classifier, {features} features", timed, "float, Flax, jitted")


def random_footprint(rng: np.random.Generator) -> np.ndarray:
    """12 of 5 x 5 pixels, bool."""
    return np.isin(np.arange(25), rng.choice(25, 12, replace=False)).reshape(5, 5)


def in_opencv(footprint: np.ndarray, *, is_erosion: bool) -> Callable[[np.ndarray], np.ndarray]:
    """A dilation or erosion of uint8 images by OpenCV, zeros outside."""
    import cv2

    kernel = footprint_for("opencv", footprint, is_erosion=is_erosion).astype(np.uint8)
    operator = cv2.erode if is_erosion else cv2.dilate
    return lambda pixels: operator(pixels, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)


def timed_rows(task: str, runtimes: dict[str, Callable[[], Any]], runs: int) -> list[Row]:
    """Rows of how often per second each runtime does the task, with ratios to OpenCV."""
    timed: Timed = {
        name: (1 / median_seconds(runtime, runs=runs), None) for name, runtime in runtimes.items()
    }
    return rows_of(task, timed, "OpenCV")


def operator_rows(side: int, runs: int) -> list[Row]:
    """Dilations per second of a binary image by every library, checked against each other."""
    import skimage.morphology

    rng = np.random.default_rng(side)
    footprint = random_footprint(rng)
    image = rng.random((side, side)) < 0.3
    as_bytes = image.astype(np.uint8)
    kernels = {
        library: footprint_for(library, footprint, is_erosion=False)
        for library in ("scipy", "skimage")
    }
    by_opencv = in_opencv(footprint, is_erosion=False)
    device_image = jnp.asarray(image)[None, ..., None]
    dilate = jax.jit(lambda words: dilate_strips(words, footprint, side))
    unpack = partial(unpack_strips, height=side)
    words = pack_strips(device_image)
    runtimes: dict[str, Callable[[], Any]] = {
        "OpenCV": lambda: by_opencv(as_bytes),
        "SciPy": lambda: ndimage.binary_dilation(image, kernels["scipy"]),
        "scikit-image": lambda: skimage.morphology.dilation(
            image, kernels["skimage"], mode="ignore"
        ),
        "packed, JAX": lambda: dilate(words),
        "packed, JAX, with packing": lambda: unpack(dilate(pack_strips(device_image))),
    }
    expected = runtimes["SciPy"]()
    for name in ("OpenCV", "scikit-image", "packed, JAX, with packing"):
        if not (np.asarray(runtimes[name]()).reshape(side, side) == expected).all():
            raise RuntimeError(f"{name} differs from SciPy")
    return timed_rows(f"dilation, {side} x {side}", runtimes, runs)


def chain_rows(side: int, runs: int) -> list[Row]:
    """Chains of dilations and erosions by other footprints each, per second."""
    rng = np.random.default_rng(side)
    footprints = [random_footprint(rng) for _ in range(_CHAIN)]
    image = rng.random((side, side)) < 0.3
    device_image = jnp.asarray(image)[None, ..., None]

    def on_words(words: jax.Array) -> jax.Array:
        for index, footprint in enumerate(footprints):
            operator = erode_strips if index % 2 else dilate_strips
            words = operator(words, footprint, side)
        return words

    operators = [in_opencv(f, is_erosion=i % 2 == 1) for i, f in enumerate(footprints)]
    as_bytes = image.astype(np.uint8)

    def by_opencv() -> np.ndarray:
        pixels: np.ndarray = as_bytes
        for operator in operators:
            pixels = operator(pixels)
        return pixels

    chain = jax.jit(on_words)
    unpack = partial(unpack_strips, height=side)
    words = pack_strips(device_image)
    if not (np.asarray(unpack(chain(words))).reshape(side, side) == by_opencv()).all():
        raise RuntimeError("the packed chain differs from OpenCV")
    runtimes: dict[str, Callable[[], Any]] = {
        "OpenCV": by_opencv,
        "packed, JAX": lambda: chain(words),
        "packed, JAX, with packing": lambda: unpack(chain(pack_strips(device_image))),
    }
    return timed_rows(f"{_CHAIN} operators, {side} x {side}", runtimes, runs)


def median_rows(side: int, runs: int) -> list[Row]:
    """Medians of a binary image per second by every library, checked but at the border.

    Of scikit-image it is ``filters.rank.median``, three times as fast as ``filters.median``.
    """
    import cv2
    import skimage.filters

    image = np.random.default_rng(side).random((side, side)) < 0.5
    as_bytes = np.where(image, np.uint8(255), np.uint8(0))
    footprint = np.ones((_MEDIAN, _MEDIAN), bool)
    device_image = jnp.asarray(image)[None, ..., None]
    middle = (footprint.size + 1) // 2
    filtered = jax.jit(lambda words: rank_strips(words, footprint, middle, side))
    unpack = partial(unpack_strips, height=side)
    words = pack_strips(device_image)
    runtimes: dict[str, Callable[[], Any]] = {
        "OpenCV": lambda: cv2.medianBlur(as_bytes, _MEDIAN),
        "scikit-image": lambda: skimage.filters.rank.median(as_bytes, footprint),
        "packed, JAX": lambda: filtered(words),
        "packed, JAX, with packing": lambda: unpack(filtered(pack_strips(device_image))),
    }
    # Outside of the image OpenCV repeats it, scikit-image has nothing, and we have zeros.
    inner = slice(_MEDIAN // 2, -(_MEDIAN // 2))
    expected = runtimes["OpenCV"]()[inner, inner] > 0
    for name in ("scikit-image", "packed, JAX, with packing"):
        found = np.asarray(runtimes[name]()).reshape(side, side)[inner, inner] > 0
        if not (found == expected).all():
            raise RuntimeError(f"{name} differs from OpenCV")
    return timed_rows(f"median of {_MEDIAN} x {_MEDIAN}, {side} x {side}", runtimes, runs)


def dense_rows(images: int, runs: int, folder: Path) -> list[Row]:
    """Inputs per second of a dense layer of rank neurons, and of a float one of its size."""
    rng = np.random.default_rng(0)
    footprint = rng.random((_FEATURES, _NEURONS)) < 0.5
    rank = (footprint.sum(axis=0) // 2).astype(np.int32)
    neurons = RankNeurons(*map(jnp.asarray, (footprint, rank, rng.random(_NEURONS) < 0.5)))
    network = BooleanNetwork((LUILayer("dense"),), {"dense": {"lui": neurons}})
    x = rng.random((images, _FEATURES)) < 0.5
    library = compile_c(network, folder, (_FEATURES,), name="dense", overwrite=True)
    packed, on_device = PackedNetwork(network, (_FEATURES,)), jnp.asarray(x)
    found = np.asarray(packed(on_device))
    for name, other in (("C", library(x)), ("unpacked", network(on_device[:_BATCH]))):
        if not (np.asarray(other) == found[: len(other)]).all():
            raise RuntimeError(f"{name} differs from the packed layer")
    words = pack_samples(on_device[:, None, None])
    run_words = jax.jit(packed.run_words)
    threads = os.cpu_count() or 1
    parts = np.array_split(x, threads)
    floats = on_device[:_BATCH].astype(jnp.float32)
    weight = jnp.asarray(rng.normal(size=footprint.shape), jnp.float32)
    bias = jnp.asarray(rng.normal(size=_NEURONS), jnp.float32)
    layer = jax.jit(lambda inputs: nn.relu(matmul(inputs, weight) + bias))
    with ThreadPoolExecutor(threads) as pool:
        runtimes: dict[str, tuple[int, Callable[[], Any]]] = {
            "float, JAX": (len(floats), lambda: layer(floats)),
            "packed, JAX": (images, lambda: packed(on_device)),
            "packed, JAX, without packing": (images, lambda: run_words(words)),
            f"C, {threads} threads": (images, lambda: list(pool.map(library, parts))),
        }
        timed: Timed = {
            name: (count / median_seconds(runtime, runs=runs), None)
            for name, (count, runtime) in runtimes.items()
        }
    return rows_of(f"{_NEURONS} neurons on {_FEATURES} bits", timed, "float, JAX")


def plot(rows: list[Row]) -> "Figure":
    """What each runtime does per second, a panel for each task."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    figure = new_figure(7.5, 1.9 * len(tasks))
    axes = figure.subplots(len(tasks), 1, squeeze=False)
    for axis, task in zip(axes[:, 0], tasks, strict=True):
        of_task = [row for row in rows if row["task"] == task]
        rates, names = [row["per_second"] for row in of_task], [row["runtime"] for row in of_task]
        # Points, not bars: a logarithmic axis has no zero to start from.
        axis.plot(rates, names, "o", color="black")
        for row in of_task:
            axis.annotate(
                f"{row['ratio']:.3g} x",
                (row["per_second"], row["runtime"]),
                xytext=(8, -4),
                textcoords="offset points",
            )
        axis.set(xscale="log", title=task, xlabel="per second")
        axis.set_xlim(min(rates) / 3, max(rates) * 6)
        axis.margins(y=0.2)
        axis.invert_yaxis()
        axis.grid(axis="y", color="0.85")
    return figure


def run(
    config: Config, data: tuple[BooleanNetwork, tuple[int, ...]], folder: Path
) -> dict[str, Any]:
    """Times everything; returns the rows."""
    folder.mkdir(parents=True, exist_ok=True)
    say("Timing the classifier.")
    rows = classifier_rows(config, *data, folder)
    say("Timing a dense layer.")
    rows += dense_rows(config.images, config.runs, folder)
    for side in config.sizes:
        say(f"Timing operators on images of {side} x {side}.")
        rows += operator_rows(side, config.runs) + chain_rows(side, config.runs)
        rows += median_rows(side, config.runs)
    caption = "Per second; the ratio is to the first runtime of each task."
    write_report(
        folder,
        f"Runtimes of {config.network}, {os.cpu_count()} cores",
        config,
        table=rows,
        figures={"inference": (caption, plot(rows))},
    )
    found = {"device": device_name(), "cores": os.cpu_count(), "rows": rows}
    write_results(folder / "inference.json", config, found)
    return found


main = Program(Config, run, load=load, result="inference.json", extra="benchmark")

if __name__ == "__main__":
    main()

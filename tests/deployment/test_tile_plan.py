"""A tile's margins hold all that it depends on, and hardly more."""

import itertools

import numpy as np
import pytest

from bimonn_jax.deployment.circuit import Gates, Upsample, circuit_of
from bimonn_jax.deployment.tile_plan import tile_plan
from bimonn_jax.morphology.windows import PAD_MODES
from bimonn_jax.networks.kinds import BiSELayer, ConcatenateLayer, LUIConvLayer, UpsampleLayer
from bimonn_jax.neurons.params import BooleanNeurons


def circuit(layers, windows, height):
    """A chain or graph of layers of one neuron, which read one column of the image."""
    params = {}
    for layer, window in zip(layers, windows, strict=True):
        part = "bise" if isinstance(layer, BiSELayer) else "lui"
        shape = (1, 1) if part == "bise" else (1,)
        if window:
            bits = np.ones((window, 1, 1, 1), bool)
            no = np.zeros(shape, bool)
            params[layer.name] = {part: BooleanNeurons(bits, no, no)}
    return circuit_of(tuple(layers), params, (height, 1, 1))


def rows_read(found):
    """For each row of the output the rows of the input it depends on, by NumPy's padding."""
    values = [[{row} for row in range(found.shapes[0][0])]]
    for stage, sources in zip(found.stages, found.sources, strict=True):
        read = [set.union(*rows) for rows in zip(*(values[v] for v in sources), strict=True)]
        match stage:
            case Gates():
                mode = {"constant_values": -1} if stage.border == "zero" else {}
                padded = np.pad(
                    np.arange(len(read)), stage.padding[0], PAD_MODES[stage.border], **mode
                )
                side = stage.window[0]
                at = [padded[i : i + side] for i in range(len(padded) - side + 1)]
                rows = [set().union(*(read[i] for i in window if i >= 0)) for window in at]
                starts = range(0, len(rows), stage.pool)
                values.append([set.union(*rows[i : i + stage.pool]) for i in starts])
            case Upsample():
                repeated = [rows for rows in read for _ in range(stage.factor)]
                values.append(repeated[: stage.height])
    return values[-1]


def distances(found, plan, tile):
    """How far before and after the tiles of the output the rows lie that they depend on."""
    side = int(tile * plan.scales[-1])
    before = after = 0
    for row, read in enumerate(rows_read(found)):
        start = row // side * tile
        before = max([before, *(start - i for i in read)])
        after = max([after, *(i - (start + tile - 1) for i in read)])
    return before, after


@pytest.mark.parametrize("border", ["zero", "edge", "reflect"])
def test_every_window_and_padding(border):
    """Also where an image is padded by more than the window reads; every size up to 12."""
    for window, *padding in itertools.product(range(1, 5), range(5), range(5)):
        layer = BiSELayer("a", padding=(tuple(padding), (0, 0)), border=border)
        for height in range(1, 13):
            try:
                found = circuit([layer], [window], height)
            except ValueError:
                continue  # Too small for the border.
            plan = tile_plan(found)
            ((before, after), _) = plan.margins
            needed = distances(found, plan, 1)
            assert needed[0] <= before
            assert needed[1] <= after
        if border == "zero":
            assert (before, after) == (padding[0], max(0, window - 1 - padding[0]))


GRAPHS = {
    "chain": ([BiSELayer("a"), BiSELayer("b"), BiSELayer("c", padding="VALID")], [4, 3, 2]),
    "pool, then windows": (
        [LUIConvLayer("a", pool=2), LUIConvLayer("b"), LUIConvLayer("c", pool=3), BiSELayer("d")],
        [3, 5, 2, 3],
    ),
    "coarse branch of a skip": (
        [
            LUIConvLayer("a", pool=4),
            BiSELayer("b"),
            UpsampleLayer("c", factor=4, inputs=("b", "input")),
            ConcatenateLayer("d", inputs=("c", "input")),
        ],
        [3, 5, 0, 0],
    ),
    "windows between upsamplings": (
        [
            LUIConvLayer("a", pool=2),
            LUIConvLayer("b", pool=2),
            BiSELayer("c"),
            UpsampleLayer("d", factor=2, inputs=("c", "a")),
            BiSELayer("e"),
            UpsampleLayer("f", factor=2, inputs=("e", "input")),
            BiSELayer("g"),
        ],
        [3, 3, 4, 0, 5, 0, 3],
    ),
    "longer branch": (
        [
            BiSELayer("a"),
            BiSELayer("b"),
            ConcatenateLayer("c", inputs=("input", "b", "a")),
            BiSELayer("d", inputs=("a",)),
            ConcatenateLayer("e", inputs=("d", "c")),
        ],
        [7, 3, 0, 3, 0],
    ),
    "finer than the input": ([UpsampleLayer("a", factor=3), BiSELayer("b")], [0, 5]),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs(name):
    layers, windows = GRAPHS[name]
    found = circuit(layers, windows, 150)
    plan = tile_plan(found)
    ((before, after), _) = plan.margins
    tiles = [plan.tile_of(pixels) for pixels in (1, plan.step + 1, 3 * plan.step)]
    needed = [distances(found, plan, tile) for tile in tiles]
    for one in needed:
        assert before - plan.step < one[0] <= before
        assert after - plan.step < one[1] <= after


def test_scales_that_differ_are_refused():
    layers = [
        LUIConvLayer("a", pool=2),
        UpsampleLayer("b", factor=1, inputs=("a",)),
        ConcatenateLayer("c", inputs=("b", "input")),
    ]
    # Of one pixel, both have one size.
    found = circuit(layers, [1, 0, 0], 1)
    with pytest.raises(ValueError, match="pixels are not of one size"):
        tile_plan(found)

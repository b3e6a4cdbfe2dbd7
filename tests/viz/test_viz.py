"""Pictures are checked by what is drawn: pixels, titles, lines and marks."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.transforms import Bbox

from bimonn_jax import BiMoNN, BooleanNeurons, NeuronConfig, RankNeurons, RealNeurons, binarize
from bimonn_jax._support.random_arrays import bernoulli
from bimonn_jax.deployment.describe import title
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.kinds import BiSELayer, HitOrMissConvLayer, HitOrMissLayer, LUILayer
from bimonn_jax.networks.models import Sequential
from bimonn_jax.networks.modules import HitOrMissConv, LevelSets
from bimonn_jax.viz import (
    plot_footprints,
    plot_history,
    plot_images,
    plot_layer,
    plot_network,
    plot_stages,
    plot_sweep,
)
from bimonn_jax.viz.tiles import CLEAR, COLORS, NOT_READ, SET
from tests.support.boolean_networks import MODULES, inputs, network as random_network


def pixels(axis):
    return np.asarray(axis.images[0].get_array())


def assert_nothing_is_cut_off(figure):
    """What is drawn, text included, lies on the figure, and texts do not lie on one another."""
    figure.canvas.draw()
    renderer, tolerance = figure.canvas.get_renderer(), 0.01
    drawn, size = figure.get_tightbbox(renderer), figure.get_size_inches()
    assert (drawn.min >= -tolerance).all(), drawn
    assert (drawn.max <= size + tolerance).all(), (drawn, size)
    legends = [*figure.legends, *(axis.legend_ for axis in figure.axes if axis.legend_)]
    written = [
        text.get_window_extent(renderer)
        for text in (
            *figure.texts,
            *(text for axis in figure.axes for text in (*axis.texts, axis.title, axis.xaxis.label)),
            *(text for legend in legends for text in legend.get_texts()),
        )
        if text.get_text()
    ]
    for one, other in itertools.combinations(written, 2):
        both = Bbox.intersection(one, other)
        assert both is None or min(both.size) < 1


def labeled(axis, label):
    """The lines of a kind."""
    return [line for line in axis.lines if line.get_label() == label]


def legend_of(figure):
    """What stands in the legend, before what it means."""
    (legend,) = figure.legends
    return legend.legend_handles


def texts(figure):
    return [t.get_text() for axis in figure.axes for t in axis.texts]


def test_footprints_are_drawn_pixel_by_pixel_in_titled_rows():
    rows = {"first": [np.eye(3, dtype=bool), np.ones((3, 5), bool)], "second": [np.eye(5) > 0]}
    figure = plot_footprints(rows)
    drawn = [axis for axis in figure.axes if axis.images]
    arrays = [pixels(axis) == SET for axis in drawn]
    for array, footprint in zip(arrays, [*rows["first"], *rows["second"]], strict=True):
        np.testing.assert_array_equal(array, footprint)
    assert [a.get_title(loc="left") for a in drawn] == ["first", "", "second"]
    # The middle pixel of 3 x 5, within a tile as wide as the axis.
    np.testing.assert_allclose(labeled(drawn[1], "center")[0].get_xydata(), [[0.5, 0.5]])


def test_images_stand_side_by_side_under_their_titles():
    images = {"a": np.eye(4) > 0, "b": np.ones((4, 4), bool)}
    axes = plot_images(images).axes
    assert [axis.get_title() for axis in axes] == ["a", "b"]
    np.testing.assert_array_equal(pixels(axes[0]), images["a"])


def test_nothing_to_draw_is_named():
    with pytest.raises(ValueError, match="at least one footprint"):
        plot_footprints({"empty": []})
    with pytest.raises(ValueError, match="at least one image"):
        plot_images({})
    with pytest.raises(ValueError, match="at least one row"):
        plot_history([])
    with pytest.raises(ValueError, match="needs rows and hyperparameters"):
        plot_sweep([], ["a"], "b")
    with pytest.raises(ValueError, match=r"no row has \['c'\]"):
        plot_sweep([{"a": 1, "b": 2}], ["a"], "c")


def neurons():
    """A dilation by two pixels, an erosion, a copy, a complement, and one that is no operator."""
    weight = jnp.array(
        [[3.0, 1.0, 0.2, 3.0, 0.5], [2.0, 1.0, 3.0, 0.2, 1.0], [0.4, 0.1, 0.1, 0.1, -0.5]]
    )
    return RealNeurons(
        weight.reshape(1, 3, 1, 5),
        jnp.array([[1.0, 1.5, 1.0, 1.0, 0.4]]),
        jnp.array([[1.0, 1.0, 1.0, -1.0, 1.0]]),
    )


def test_a_layer_shows_weights_beside_footprints_operators_and_what_is_approximated():
    params = neurons()
    figure = plot_layer(params, columns=5)
    left, right = figure.axes[0::2], figure.axes[1::2]
    boolean = binarize(params)
    for m in range(5):
        np.testing.assert_array_equal(pixels(left[m]), params.weight[:, :, 0, m])
        np.testing.assert_array_equal(pixels(right[m]) == SET, boolean.footprint[:, :, 0, m])
    assert [axis.get_title() for axis in right[:4]] == ["0: ⊕", "1: ⊖", "2: =", "3: ¬"]
    assert left[0].get_title() == "0: weights"
    frames = [labeled(axis, "frame")[0].get_linestyle() for axis in right]
    assert [style == "-" for style in frames] == [True] * 4 + [False]
    # Zero has the color of what is not read.
    zero = left[0].images[0]
    np.testing.assert_allclose(zero.cmap(zero.norm(0.0)), to_rgba(COLORS[NOT_READ]), atol=0.01)


def test_boolean_neurons_are_drawn_without_weights_and_the_rest_is_counted():
    figure = plot_layer(binarize(neurons()), max_neurons=3)
    assert len([axis for axis in figure.axes if axis.images]) == 3
    assert figure.get_suptitle() == "3 of 5 neurons"


def test_dense_neurons_are_drawn_on_their_image_and_complements_as_light():
    footprint = jnp.zeros((8, 1), bool).at[jnp.array([0, 7]), 0].set(True)
    dense = BooleanNeurons(footprint, jnp.array([True]), jnp.array([False]))
    figure = plot_layer(dense, shape=(2, 2), complements=True)
    np.testing.assert_array_equal(pixels(figure.axes[0]), [[SET, NOT_READ], [NOT_READ, CLEAR]])
    assert pixels(plot_layer(dense).axes[0]).shape == (1, 8)
    assert pixels(plot_layer(dense, complements=True).axes[0]).shape == (1, 4)
    assert pixels(plot_layer(dense, shape=(4, 2)).axes[0]).shape == (4, 2)
    # Two channels of 2 x 2 pixels, of each of which one is read.
    first, second = plot_layer(dense, shape=(2, 2)).axes[0].images
    np.testing.assert_array_equal(first.get_array(), [[SET, NOT_READ], [NOT_READ, NOT_READ]])
    np.testing.assert_array_equal(second.get_array(), [[NOT_READ, NOT_READ], [NOT_READ, SET]])
    with pytest.raises(ValueError, match=r"shape \(3, 3\) has 9 pixels; these neurons have 8"):
        plot_layer(dense, shape=(3, 3))
    with pytest.raises(ValueError, match=r"even number of channels.*; these neurons read 7"):
        plot_layer(dense.replace(footprint=footprint[:7]), complements=True)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_of_windows_are_tiles_of_their_own_and_no_complements(channels):
    """Channel c reads the pixel (0, c) of its window, which slides over all channels."""
    footprint = np.zeros((2, 4, channels, 1), bool)
    for c in range(channels):
        footprint[0, c, c, 0] = True
    neurons = BooleanNeurons(jnp.asarray(footprint), jnp.array([True]), jnp.array([False]))
    axis = plot_layer(neurons).axes[0]
    tiles = [np.asarray(image.get_array()) for image in axis.images]
    assert len(tiles) == min(channels, 3)
    for c, tile in enumerate(tiles):
        np.testing.assert_array_equal(tile, np.where(footprint[:, :, c, 0], SET, NOT_READ))
    names = [text.get_text() for text in axis.texts]
    assert names == ([f"channel {c}" for c in range(min(channels, 3))] if channels > 1 else [])
    if channels % 2:
        return
    axis = plot_layer(neurons, complements=True).axes[0]
    half = channels // 2
    for c, image in enumerate(axis.images):
        expected = np.where(footprint[:, :, c, 0], SET, NOT_READ)
        expected[footprint[:, :, half + c, 0]] = CLEAR
        np.testing.assert_array_equal(image.get_array(), expected)
    assert len(axis.images) == half


def test_one_complemented_bit_of_a_hit_or_miss_transform_is_a_complement():
    footprint = jnp.zeros((8, 1), bool).at[6, 0].set(True)
    dense = BooleanNeurons(footprint, jnp.array([True]), jnp.array([False]))
    figure = plot_layer(dense, shape=(2, 2), complements=True)
    assert figure.axes[0].get_title() == "0: ¬"


def union_of_erosions():
    """The union of erosions by a row and by a column; a third erosion is not read."""
    footprints = np.zeros((3, 3, 1, 3), bool)
    footprints[1, :, 0, 0] = footprints[:, 1, 0, 1] = footprints[0, 0, 0, 2] = True
    erosions = BooleanNeurons(jnp.asarray(footprints), *jnp.ones((2, 1, 3), bool))
    erosions = erosions.replace(complement=jnp.zeros((1, 3), bool))
    union = BooleanNeurons(jnp.array([[1], [1], [0]]) > 0, *jnp.zeros((2, 1), bool))
    layers = BiSELayer("a", padding="SAME", border="zero"), LUILayer("b")
    return BooleanNetwork(layers, {"a": {"bise": erosions}, "b": {"lui": union}})


def test_a_network_is_drawn_as_its_operators_and_what_reads_them():
    network = union_of_erosions()
    (axis,) = plot_network(network, (5, 5, 1)).axes
    drawn = [np.asarray(image.get_array()) for image in axis.images]
    footprint = network.params["a"]["bise"].footprint
    np.testing.assert_array_equal(drawn[0] == SET, footprint[:, :, 0, 0])
    np.testing.assert_array_equal(drawn[1] == SET, footprint[:, :, 0, 1])
    # The erosion that nothing reads is left out, and its absence said.
    assert len(drawn) == 2
    labels = [text.get_text() for text in axis.texts]
    assert {"x", "⊖ 0", "⊖ 1", "∪ 0"} <= set(labels)
    # The third is a copy.
    assert "erosions of 3 x 3 pixels\na/bise\n2 of 3 are shown" in labels
    assert "union\nb/lui" in labels
    edges = labeled(axis, "edge")
    assert len(edges) == 2 + 2
    assert {line.get_linestyle() for line in edges} == {"-"}


def ranks_of_windows():
    """A median and its complement, a dilation; two of these three; a hit-or-miss of rank 2."""
    full = jnp.ones((3, 3, 1, 3), bool)
    windows = RankNeurons(full, jnp.array([[5, 5, 1]]), jnp.array([[False, True, False]]))
    channels = RankNeurons(jnp.ones((3, 2), bool), jnp.array([2, 0]), jnp.zeros(2, bool))
    literals = jnp.zeros((1, 3, 4, 1), bool).at[0, 0, 0, 0].set(True).at[0, 1:, 2, 0].set(True)
    transform = RankNeurons(literals, jnp.array([2]), jnp.zeros(1, bool))
    layers = (
        BiSELayer("a", padding="SAME", border="zero"),
        LUILayer("b"),
        HitOrMissConvLayer("c", padding="SAME", border="zero", pool=1),
    )
    tree = {"a": {"bise": windows}, "b": {"lui": channels}, "c": {"lui": transform}}
    return BooleanNetwork(layers, tree)


def test_ranks_are_shown_with_the_size_of_their_footprints():
    network = ranks_of_windows()
    figure = plot_network(network, (5, 5, 1))
    labels = [text.get_text() for text in figure.axes[0].texts]
    expected = {"5 / 9, no. 0", "¬5 / 9, no. 1", "⊕ 2", "2 / 3, no. 0", "⊛ 2 / 3, no. 0"}
    assert expected <= set(labels)
    signs = [mark.get_text() for mark in legend_of(figure) if hasattr(mark, "get_text")]
    assert signs == ["⊕", "⊛", "¬", "k / n", "0"]
    titles = [axis.get_title() for axis in plot_stages(network, np.zeros((5, 5, 1), bool)).axes]
    assert {"¬5 / 9, no. 1", "⊕ 2", "⊛ 2 / 3, no. 0"} <= set(titles)
    titles = [axis.get_title() for axis in plot_layer(network.params["a"]["bise"]).axes]
    assert titles[:3] == ["0: 5 / 9", "1: ¬5 / 9", "2: ⊕"]
    transforms = plot_layer(network.params["c"]["lui"], complements=True)
    assert transforms.axes[0].get_title() == "0: ⊛ 2 / 3"


def test_before_a_rank_sources_decide_between_being_set_and_being_clear():
    def widths(rank):
        tree = {"lui": RankNeurons(jnp.ones((3, 1), bool), jnp.array([rank]), jnp.zeros(1, bool))}
        # Set in 3, 2 and 0 of 4 examples.
        x = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
        (axis,) = plot_network(BooleanNetwork((LUILayer("b"),), {"b": tree}), (3,), x=x).axes
        return [(line.get_linewidth() - 0.6) / 2.2 for line in labeled(axis, "edge")]

    np.testing.assert_allclose(widths(1), np.array([3, 2, 0]) / 3)
    np.testing.assert_allclose(widths(2), [1, 1, 1])
    np.testing.assert_allclose(widths(3), np.array([1, 2, 4]) / 4)


def test_lines_are_thicker_where_a_source_decides_more_often():
    x = np.zeros((1, 9, 9, 1), bool)
    x[0, 4, :, 0] = True
    x[0, 0:3, 8, 0] = True

    def widths(**options):
        (axis,) = plot_network(union_of_erosions(), (9, 9, 1), **options).axes
        return [line.get_linewidth() for line in labeled(axis, "edge")][-2:]

    row, column = widths(x=x)
    assert row > 2 * column
    assert len(set(widths())) == 1


def test_lines_are_dashed_where_the_complement_is_read():
    network = BooleanNetwork(
        (HitOrMissLayer("a"),),
        {
            "a": {
                "lui": BooleanNeurons(
                    jnp.array([[1], [0], [1], [1]]) > 0, jnp.array([True]), jnp.array([False])
                )
            }
        },
    )
    figure = plot_network(network, (2,))
    (axis,) = figure.axes
    assert [line.get_linestyle() for line in labeled(axis, "edge")] == ["-.", "--"]
    meanings = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"is read inverted", "is read both ways"} <= set(meanings)
    assert "is read as it is" not in meanings


@pytest.mark.parametrize("name", MODULES)
def test_every_kind_of_network_can_be_drawn(name):
    network, shape = random_network(name)
    x = inputs(name, shape, 3)
    figure = plot_network(network, shape, x=x, max_neurons=5)
    assert_nothing_is_cut_off(figure)
    if name == "large":
        assert any("5 of 150 are shown" in text for text in texts(figure))
        # Gates over flattened pixels are drawn on the image, two channels side by side.
        assert all(i.get_array().shape[0] == shape[0] for i in figure.axes[0].images)
    if not name.startswith("dense"):
        stages = plot_stages(network, x[0], max_neurons=3)
        assert [axis for axis in stages.axes if axis.images or axis.patches]
        assert_nothing_is_cut_off(stages)


LONG = "a name that is much longer than what it stands over/" + 5 * "without_spaces"


def of_windows(size, channels=1):
    """One operator over windows of that size, in a layer of a long name."""
    footprint = np.zeros((*size, channels, 1), bool)
    footprint[0, 0] = footprint[-1, -1] = True
    neurons = BooleanNeurons(jnp.asarray(footprint), *jnp.zeros((2, channels, 1), bool))
    layer = BiSELayer(LONG, padding="SAME", border="zero")
    return BooleanNetwork((layer,), {LONG: {"bise": neurons}})


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (1, 41), (41, 1), (31, 31)])
def test_diagrams_of_narrow_networks_are_whole(size):
    network = of_windows(size)
    assert_nothing_is_cut_off(plot_network(network, (50, 50, 1)))
    assert_nothing_is_cut_off(plot_stages(network, np.eye(50)[..., None] > 0))


@pytest.mark.parametrize("count", [1, 3, 12])
def test_diagrams_of_many_level_sets_are_whole(count):
    """Two transforms over all level sets, with complements, of which three are drawn."""
    thresholds = tuple(100 + np.arange(count) / 7)
    model = Sequential((LevelSets(thresholds), HitOrMissConv(2, (3, 3), padding="SAME")))
    footprints = np.zeros((3, 3, 2 * count, 2), bool)
    footprints[0, 1, :count] = footprints[2, 2, count:] = True
    transforms = BooleanNeurons(jnp.asarray(footprints), jnp.ones(2, bool), jnp.zeros(2, bool))
    network = BooleanNetwork(model.architecture, {"layers_1": {"lui": transforms}})
    figure = plot_network(network, (9, 9, 1))
    assert_nothing_is_cut_off(figure)
    drawn = min(count, 3)
    tile = [[0, SET, 0], [0, 0, 0], [0, 0, CLEAR]]
    assert [image.get_array().tolist() for image in figure.axes[0].images] == [tile] * 2 * drawn
    # Each in a frame of its own, over its name, which the column of the inputs has too.
    assert texts(figure).count("x ≥ 100.1") == (0 if count == 1 else 3)
    whole = plot_network(network, (9, 9, 1), max_neurons=None)
    assert_nothing_is_cut_off(whole)
    assert len(whole.axes[0].images) == 2 * count


def test_long_titles_are_whole():
    half = np.eye(4) > 0
    rows = [{"step": 1.0, "loss": 0.5, "share" + LONG: 0.1}, {"step": 2.0, "loss": 0.0}]
    trials = [{LONG: 1.0, "b": 2.0, LONG + "c": 1}, {LONG: 3.0, "b": 3.0, LONG + "c": LONG}]
    for figure in (
        plot_images({LONG: half}),
        plot_images({LONG: half, "b": half, LONG + "c": half}),
        plot_footprints({LONG: [half], "b": [half]}),
        plot_footprints({LONG: [half] * 5}),
        plot_history(rows, title=LONG),
        plot_sweep(trials, [LONG, "b"], LONG, group=LONG + "c"),
        plot_layer(binarize(neurons()), max_neurons=1),
        plot_layer(neurons(), max_neurons=1),
    ):
        assert_nothing_is_cut_off(figure)


def test_stages_show_input_intermediate_images_and_output():
    network, shape = random_network("wide")
    x = inputs("wide", shape, 1)[0]
    figure = plot_stages(network, x)
    drawn = [axis for axis in figure.axes if axis.images]
    np.testing.assert_array_equal(pixels(drawn[0]), x[..., 0])
    output = np.asarray(network(x[None]))[0]
    np.testing.assert_array_equal(pixels(drawn[-1]), output[..., -1])
    # Those that are not read are left out, as in the diagram.
    diagram = {text.split(", ")[0] for text in texts(plot_network(network, shape, x=x[None]))}
    titles = [axis.get_title() for axis in drawn if axis.get_title()]
    assert set(titles) - {"channel 0", "channel 1"} <= diagram


def test_flat_features_are_not_drawn():
    network, shape = random_network("dense")
    with pytest.raises(ValueError, match="neither images nor scores"):
        plot_stages(network, inputs("dense", shape, 1)[0])


def test_a_real_head_is_drawn_by_the_signs_of_its_weights():
    network, shape = random_network("real head")
    (axis,) = plot_network(network, shape, max_neurons=3).axes
    kernel = np.asarray(network.params["layers_2"]["kernel"])
    to_head = labeled(axis, "edge")[-9:]
    chosen = sorted(np.argsort(-np.abs(kernel).sum(axis=1))[:3])
    expected = ["-" if kernel[f, c] > 0 else "--" for c in range(3) for f in chosen]
    assert [line.get_linestyle() for line in to_head] == expected


def test_scores_of_a_classifier_are_bars():
    network, shape = random_network("ternary")
    x = inputs("ternary", shape, 1)[0]
    (bars,) = (axis.patches for axis in plot_stages(network, x).axes if axis.patches)
    np.testing.assert_array_equal([bar.get_width() for bar in bars], network(x[None])[0])


HISTORY = [
    {"step": 10.0, "loss": 0.5, "dice_float": 0.6, "live_share": 1.0, "activated_share/a": 0.2},
    {"step": 20.0, "loss": 0.25, "dice_float": 0.7, "live_share": 0.9, "activated_share/a": 0.4},
]


def test_a_history_becomes_three_panels_of_curves():
    loss, scores, shares = plot_history(HISTORY, title="a run").axes
    np.testing.assert_array_equal(loss.lines[0].get_xydata(), [[10, 0.5], [20, 0.25]])
    assert scores.get_ylabel() == "F-measure (DICE)"
    assert [line.get_label() for line in scores.lines] == ["network before binarization"]
    assert [line.get_label() for line in shares.lines] == [
        "neurons that are not constant",
        "neurons that are exactly an operator: a",
    ]
    np.testing.assert_array_equal(shares.lines[1].get_ydata(), [0.2, 0.4])
    # Told apart without colors.
    assert len({line.get_linestyle() for line in shares.lines}) == 2
    assert loss.get_yscale() == "log"


def test_only_what_there_is_is_drawn():
    (scores,) = plot_history([{"step": 1.0, "dice_training": 0.9}]).axes
    assert scores.get_ylabel() == "F-measure (DICE)"


def test_a_loss_of_zero_is_drawn_on_a_linear_axis():
    assert plot_history([{"step": 1.0, "loss": 0.0}]).axes[0].get_yscale() == "linear"


def test_the_history_of_a_training_can_be_drawn():
    from bimonn_jax.training.metrics import compare

    model = BiMoNN((2, 1), (3, 3), NeuronConfig("dual", "projected"))
    x = bernoulli(jax.random.key(0), 0.5, (2, 8, 8, 1))
    params = model.init(jax.random.key(1), x)["params"]
    metrics = compare(model.architecture, x, x)(params)
    row = {"step": 1.0, "loss": 0.1} | {name: float(value) for name, value in metrics.items()}
    shares = plot_history([row]).axes[2].lines
    assert {line.get_label() for line in shares} >= {
        f"neurons that are exactly an operator: layers_{i}/{part}"
        for i in (0, 1)
        for part in ("bise", "lui")
    }


def test_a_sweep_is_drawn_against_each_hyperparameter_by_group():
    rows = [
        {"rate": 1e-3, "delay": 0.0, "error": 5.0, "kind": "a"},
        {"rate": 1e-1, "delay": 1.0, "error": 3.0, "kind": "a"},
        {"rate": 1e-2, "error": 4.0, "kind": "b"},
    ]
    rate, delay = plot_sweep(rows, ["rate", "delay"], "error", group="kind").axes
    assert (rate.get_xscale(), delay.get_xscale()) == ("log", "linear")
    a, b = rate.collections
    np.testing.assert_allclose(a.get_offsets(), [[1e-3, 5.0], [1e-1, 3.0]])
    np.testing.assert_allclose(b.get_offsets(), [[1e-2, 4.0]])
    # Marks differ, not only colors.
    assert len(a.get_paths()[0].vertices) != len(b.get_paths()[0].vertices)
    assert [len(c.get_offsets()) for c in delay.collections] == [2, 0]


def test_titles_of_single_bits_say_whether_they_are_complemented():
    network, shape = random_network("complements")
    from bimonn_jax.deployment.circuit import circuit_of

    gates = circuit_of(network.architecture, network.params, shape).stages[0]
    assert [title(gates, g) for g in range(4)] == ["copy", "copy", "complement", "complement"]

"""Whatever is drawn is explained beside it, and nothing else: colors, lines, marks and signs."""

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.kinds import LUIConvLayer
from bimonn_jax.neurons.params import BooleanNeurons, RankNeurons, RealNeurons
from bimonn_jax.viz import (
    plot_comparison,
    plot_footprints,
    plot_images,
    plot_layer,
    plot_network,
    plot_stages,
)
from bimonn_jax.viz.figures import SYMBOLS, new_figure, parts_of
from bimonn_jax.viz.legends import add_legend, line, operator_marks, sign, swatch
from bimonn_jax.viz.tiles import BOTH, CENTER, COLORS, tile_of
from tests.support.boolean_networks import MODULES, inputs, network as random_network
from tests.viz.test_viz import assert_nothing_is_cut_off, of_windows


def explained(figure):
    """Colors of swatches, styles of lines, colors of dots, and signs in the legend."""
    handles = [handle for legend in figure.legends for handle in legend.legend_handles]
    lines = [h for h in handles if isinstance(h, Line2D)]
    return (
        {to_hex(h.get_facecolor()) for h in handles if isinstance(h, Patch)},
        {h.get_linestyle() for h in lines if h.get_linestyle() != "None"},
        {to_hex(h.get_color()) for h in lines if h.get_linestyle() == "None"},
        {h.get_text() for h in handles if isinstance(h, Text)},
    )


def tile_colors(figure):
    """The colors of all pixels of tiles, as they are drawn."""
    found = set()
    for axis in figure.axes:
        for image in axis.images:
            shown = image.cmap(image.norm(np.asarray(image.get_array()))).reshape(-1, 4)
            found |= {to_hex(color) for color in np.unique(shown, axis=0)}
    return found


def lines_of(figure, kind):
    return [line for axis in figure.axes for line in axis.lines if line.get_label() == kind]


def signs_in(figure):
    """The signs of operators in texts of axes: before the first digit of the number."""
    written = [t.get_text() for a in figure.axes for t in (*a.texts, a.title)]
    labels = [text for text in written if text and text[0] in set("¬=⊕⊖⊛∪∩")]
    return {sign for text in labels for sign in set("¬=⊕⊖⊛∪∩") if sign in text}


# Few neurons, for what is left out has no place in the legend; all of some.
DIAGRAMS = [(name, 2) for name in MODULES] + [("wide", None), ("pooled, ranks", None)]


@pytest.mark.parametrize(("name", "max_neurons"), DIAGRAMS)
def test_all_that_a_diagram_shows_is_explained_and_nothing_else(name, max_neurons):
    network, shape = random_network(name)
    figure = plot_network(network, shape, max_neurons=max_neurons)
    colors, styles, dots, signs = explained(figure)
    assert colors == tile_colors(figure)
    assert styles == {edge.get_linestyle() for edge in lines_of(figure, "edge")}
    assert dots == {to_hex(dot.get_color()) for dot in lines_of(figure, "center")}
    assert signs_in(figure) == signs & set("¬=⊕⊖⊛∪∩")
    is_ranked = any(
        "/" in text.get_text().split(",")[0] and text.get_text()[0] in "¬⊛123456789"
        for text in figure.axes[0].texts
    )
    assert ("k / n" in signs) == is_ranked
    assert ("x ≥ t" in signs) == any("≥" in t.get_text() for t in figure.axes[0].texts)


@pytest.mark.parametrize(
    "name", ["wide", "pooled, ranks", "popcount", "complements", "three scales"]
)
def test_all_that_stages_show_is_explained(name):
    network, shape = random_network(name)
    x = inputs(name, shape, 1)[0]
    figure = plot_stages(network, x, max_neurons=3)
    colors, _, _, signs = explained(figure)
    assert signs_in(figure) == signs & set("¬=⊕⊖⊛∪∩")
    bars = {to_hex(bar.get_facecolor()) for axis in figure.axes for bar in axis.patches}
    images = [np.asarray(image.get_array()) for axis in figure.axes for image in axis.images]
    is_bits = any(image.dtype == bool for image in images)
    assert bars <= colors
    assert ({"#000000", "#ffffff"} <= colors) == is_bits
    assert ("#808080" in colors) == any(image.dtype != bool for image in images)


@pytest.mark.parametrize("name", ["wide", "branches", "three scales"])
def test_stages_and_diagram_of_an_example_choose_the_same_neurons(name):
    network, shape = random_network(name)
    x = inputs(name, shape, 1)
    diagram = plot_network(network, shape, x=x, max_neurons=2)
    stages = plot_stages(network, x[0], max_neurons=2)
    titles = {axis.get_title() for axis in stages.axes}
    signs = set("¬=⊕⊖⊛∪∩")
    drawn = {t.get_text().split(", ")[0] for t in diagram.axes[0].texts}
    assert {t.split(", ")[0] for t in titles if t and t[0] in signs} == {
        text for text in drawn if text and text[0] in signs
    }


def test_colors_of_tiles_differ_also_in_gray_and_none_is_that_of_the_page():
    gray = [
        np.dot([0.299, 0.587, 0.114], [int(c[i : i + 2], 16) for i in (1, 3, 5)]) for c in COLORS
    ]
    assert min(abs(a - b) for i, a in enumerate(gray[:3]) for b in gray[:i]) > 50
    assert len({*COLORS, CENTER, "#ffffff"}) == len(COLORS) + 2


def test_a_pixel_that_is_read_both_ways_is_no_pixel_that_is_not_read():
    footprint = np.zeros((1, 3, 2, 1), bool)
    footprint[0, 0] = footprint[0, 1, 1] = True
    transform = RankNeurons(jnp.asarray(footprint), jnp.array([2]), jnp.array([False]))
    figure = plot_layer(transform, complements=True)
    assert COLORS[BOTH] in tile_colors(figure) & explained(figure)[0]


@pytest.mark.parametrize("scale", [1.0, -1.0])
def test_weights_are_explained_at_their_ends(scale):
    weight = jnp.array([[0.0, scale, 3.0]]).reshape(1, 3, 1, 1)
    neurons = RealNeurons(weight, jnp.array([[0.5]]), jnp.array([[1.0]]))
    figure = plot_layer(neurons)
    meanings = [t.get_text().replace("\n", " ") for t in figure.legends[0].get_texts()]
    assert ("as much below 0" in meanings) == (scale < 0)
    assert {"weight of 0", "weight: the largest of its neuron"} <= set(meanings)
    frames = {frame.get_linestyle() for frame in lines_of(figure, "frame")}
    assert len(frames - {"-"}) == ("frame: approximates the neuron" in meanings)


def test_footprints_are_explained():
    figure = plot_footprints({"a": [np.eye(3) > 0], "b": [np.ones((40, 40), bool)]})
    colors, _, dots, _ = explained(figure)
    assert colors == tile_colors(figure)
    assert dots == {CENTER}
    assert not explained(plot_footprints({"b": [np.ones((40, 40), bool)]}))[2]


def test_differences_have_a_color_for_each_case_in_the_legend():
    image, target = np.array([[0, 0], [1, 1]], bool), np.array([[0, 1], [0, 1]], bool)
    figure = plot_comparison({"a": image, "gray": np.full((2, 2), 7.0)}, target)
    shown = [axis.images[0] for axis in figure.axes]
    # Each image over its differences, the target last; gray levels have none.
    assert [axis.get_title() for axis in figure.axes] == ["a", "", "gray", "target"]
    drawn = [to_hex(c) for c in shown[1].cmap(shown[1].norm(shown[1].get_array())).reshape(-1, 4)]
    assert len(set(drawn)) == 4
    handles = figure.legends[0].legend_handles
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    meaning = {to_hex(h.get_facecolor()): t for h, t in zip(handles, texts, strict=True)}
    assert [meaning[color] for color in drawn] == [
        "clear, as in the target",
        "clear, but set in the target",
        "set, but clear in the target",
        "set, as in the target",
    ]
    assert not set(drawn[1:3]) & {*COLORS, CENTER}


def test_images_that_do_not_belong_to_a_target_are_named():
    with pytest.raises(ValueError, match=r"'a' has shape \(2, 3\); its target \(2, 2\)"):
        plot_comparison({"a": np.ones((2, 3), bool)}, np.ones((2, 2), bool))
    with pytest.raises(ValueError, match="at least one image"):
        plot_comparison({}, np.ones((2, 2), bool))


@pytest.mark.parametrize("shape", [(5, 5), (50, 10), (10, 50)])
@pytest.mark.parametrize("count", [1, 6])
def test_comparisons_are_whole(shape, count):
    images = {f"a filter of a long name {i}": np.ones(shape, bool) for i in range(count)}
    notes = dict.fromkeys(images, "F-measure of all test images 0.123")
    assert_nothing_is_cut_off(plot_comparison(images, np.zeros(shape, bool), notes=notes))


@pytest.mark.parametrize("width", [1.2, 2.0, 4.0, 12.0, 25.0])
def test_legends_are_no_wider_than_their_figure(width):
    figure = new_figure(width, 8, layout=None)
    marks = [swatch("red", "long words " * 9), line("a line", "--"), sign("⊛", "x" * 90)] * 3
    height = add_legend(figure, marks)
    figure.canvas.draw()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= width * figure.dpi
    assert box.height <= height * figure.dpi + 1


def test_no_marks_need_no_legend_and_no_room():
    figure = new_figure(3, 3)
    assert add_legend(figure, []) == 0
    assert not figure.legends


def test_every_operator_has_a_sign_with_a_meaning():
    marks = operator_marks([*SYMBOLS, "complement of the median of 5"])
    assert {mark.get_text() for mark in marks} == {*SYMBOLS.values(), "k / n"}
    assert len({mark.get_label() for mark in marks}) == len(SYMBOLS) + 1
    assert parts_of("¬⊛ 5 / 10") == {"¬", "⊛", "k / n"}
    assert parts_of("¬1") == {"¬", "1"}
    assert parts_of("10 / 11") == {"k / n"}


@pytest.mark.parametrize("channels", [1, 4, 11])
def test_all_channels_and_neurons_are_drawn_when_asked_for(channels):
    footprint = jnp.ones((3, 3, channels, 12), bool)
    neurons = BooleanNeurons(footprint, jnp.ones(12, bool), jnp.zeros(12, bool))
    layer = LUIConvLayer("a", padding="SAME", border="zero", pool=1)
    network = BooleanNetwork((layer,), {"a": {"lui": neurons}})
    some = plot_network(network, (9, 9, channels))
    assert len(some.axes[0].images) == 8 * min(channels, 3)
    whole = plot_network(network, (9, 9, channels), max_neurons=None)
    assert len(whole.axes[0].images) == 12 * channels
    assert_nothing_is_cut_off(whole)
    with pytest.raises(ValueError, match="max_neurons must be at least 1, or None for all; got 0"):
        plot_network(network, (9, 9, channels), max_neurons=0)


def test_names_below_tiles_say_which_channel_they_are_of():
    figure = plot_network(of_windows((3, 3), channels=2), (9, 9, 2))
    assert {"x 0", "x 1"} <= {text.get_text() for text in figure.axes[0].texts}


def test_plain_images_need_no_legend():
    assert not plot_images({"a": np.eye(3) > 0}).legends


def test_masks_of_a_tile():
    tile = tile_of(np.array([[1, 0, 1, 0]], bool), np.array([[0, 1, 1, 0]], bool))
    assert tile.pixels.tolist() == [[1, 2, 3, 0]]

import numpy as np
import pytest

from bimonn_jax.viz import plot_footprints, plot_images


def test_footprints_are_drawn_pixel_by_pixel_in_titled_rows():
    rows = {"first": [np.eye(3, dtype=bool), np.ones((3, 5), bool)], "second": [np.eye(5) > 0]}
    figure = plot_footprints(rows)
    drawn = [axis for axis in figure.axes if axis.images]
    arrays = [np.asarray(axis.images[0].get_array()) for axis in drawn]
    for array, footprint in zip(arrays, [*rows["first"], *rows["second"]], strict=True):
        np.testing.assert_array_equal(array, footprint)
    assert [a.get_title(loc="left") for a in drawn] == ["first", "", "second"]
    centre = drawn[1].lines[0].get_xydata()
    np.testing.assert_array_equal(centre, [[2, 1]])


def test_images_stand_side_by_side_under_their_titles():
    images = {"a": np.eye(4) > 0, "b": np.ones((4, 4), bool)}
    axes = plot_images(images).axes
    assert [axis.get_title() for axis in axes] == ["a", "b"]
    np.testing.assert_array_equal(np.asarray(axes[0].images[0].get_array()), images["a"])


def test_nothing_to_draw_is_named():
    with pytest.raises(ValueError, match="at least one footprint"):
        plot_footprints({"empty": []})
    with pytest.raises(ValueError, match="at least one image"):
        plot_images({})

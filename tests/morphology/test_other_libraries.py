"""Our operators beside those of the other libraries, pinned: SciPy, scikit-image and OpenCV."""

import warnings

import cv2
import numpy as np
import pytest
import skimage
from scipy import ndimage

from bimonn_jax import morphology
from bimonn_jax.morphology.other_libraries import footprint_for

NUMPY_MODES = {"zero": "constant", "edge": "edge", "reflect": "reflect", "wrap": "wrap"}
NAMES = ("dilation", "erosion")

rng = np.random.default_rng(0)
FOOTPRINTS = {
    "3x3 cross": ndimage.generate_binary_structure(2, 1),
    "3x3 full": np.ones((3, 3), bool),
    "3x3 asymmetric": np.array([[0, 0, 0], [0, 1, 1], [1, 0, 0]], bool),
    "2x2": np.ones((2, 2), bool),
    "2x2 asymmetric": np.array([[0, 1], [0, 0]], bool),
    "2x3": np.array([[1, 0, 0], [0, 1, 1]], bool),
    "4x5": rng.random((4, 5)) < 0.4,
    "5x5 asymmetric": rng.random((5, 5)) < 0.3,
    "5x3 without center": np.array([[1, 0, 0]] + 4 * [[0, 0, 0]], bool),
    "1x4": np.array([[1, 0, 1, 1]], bool),
}
ASYMMETRIC = FOOTPRINTS["3x3 asymmetric"]
IMAGES = np.concatenate([rng.random((2, 9, 11)) < density for density in (0.2, 0.5, 0.8)])


def by_hand(operator):
    """Pads as `numpy.pad` does, far enough for the footprint, and crops the library's answer."""

    def padded_operator(image, footprint, border):
        reach = max(footprint.shape)
        padded = np.pad(image, reach, mode=NUMPY_MODES[border])
        return operator(padded, footprint)[reach:-reach, reach:-reach]

    return padded_operator


def scipy_binary(name):
    return by_hand(lambda x, S: getattr(ndimage, f"binary_{name}")(x, structure=S))


def scipy_binary_zero(name):
    operator = getattr(ndimage, f"binary_{name}")
    return lambda x, S, border: operator(x, structure=S, border_value=0)


def scipy_grey(name):
    modes = {"zero": "constant", "edge": "nearest", "reflect": "mirror", "wrap": "wrap"}
    operator = getattr(ndimage, f"grey_{name}")
    return lambda x, S, border: operator(
        x.astype(np.uint8), footprint=S, mode=modes[border], cval=0
    )


def skimage_gray(name):
    modes = {"zero": "constant", "edge": "nearest", "reflect": "mirror", "wrap": "wrap"}
    operator = getattr(skimage.morphology, name)
    return lambda x, S, border: operator(x, S, mode=modes[border], cval=0)


def skimage_binary(name):
    def operator(x, S):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return getattr(skimage.morphology, f"binary_{name}")(x, S)

    return by_hand(operator)


def _opencv(name, x, S, **border):
    operator = {"dilation": cv2.dilate, "erosion": cv2.erode}[name]
    return operator(x.astype(np.uint8), S.astype(np.uint8), **border)


def opencv(name):
    modes = {
        "zero": cv2.BORDER_CONSTANT,
        "edge": cv2.BORDER_REPLICATE,
        "reflect": cv2.BORDER_REFLECT_101,
    }
    return lambda x, S, border: _opencv(name, x, S, borderType=modes[border], borderValue=0)


def opencv_by_hand(name):
    return by_hand(lambda x, S: _opencv(name, x, S, borderType=cv2.BORDER_CONSTANT, borderValue=0))


EVERY_BORDER = tuple(NUMPY_MODES)
# name: (the footprint's convention, the operator by name, the borders it has)
LIBRARIES = {
    "scipy binary": ("scipy", scipy_binary_zero, ("zero",)),
    "scipy binary, padded": ("scipy", scipy_binary, EVERY_BORDER),
    "scipy grey": ("scipy", scipy_grey, EVERY_BORDER),
    "skimage": ("skimage", skimage_gray, EVERY_BORDER),
    "opencv": ("opencv", opencv, ("zero", "edge", "reflect")),
    "opencv, padded": ("opencv", opencv_by_hand, EVERY_BORDER),
}
if hasattr(skimage.morphology, "binary_dilation"):
    LIBRARIES["skimage binary, padded"] = ("skimage_binary", skimage_binary, EVERY_BORDER)

operators = pytest.mark.parametrize("name", NAMES)
footprints = pytest.mark.parametrize("S", FOOTPRINTS.values(), ids=FOOTPRINTS.keys())


@operators
@footprints
@pytest.mark.parametrize(
    ("library", "border"),
    [(library, border) for library, (_, _, borders) in LIBRARIES.items() for border in borders],
)
def test_ours_equals_the_library_by_the_converted_footprint(library, border, name, S):
    convention, operator, _ = LIBRARIES[library]
    theirs = footprint_for(convention, S, is_erosion=name == "erosion")
    ours = getattr(morphology, name)(IMAGES, S, border=border)
    expected = [operator(name)(image, theirs, border).astype(bool) for image in IMAGES]
    np.testing.assert_array_equal(ours, expected)


@footprints
@pytest.mark.parametrize("name", ["opening", "closing"])
def test_openings_and_closings_equal_those_of_scipy(name, S):
    ours = getattr(morphology, name)(IMAGES, S)
    theirs = footprint_for("scipy", S, is_erosion=True)
    operator = {"opening": ndimage.binary_opening, "closing": ndimage.binary_closing}[name]
    if name == "closing":
        # SciPy dilates by -S and erodes by S; we dilate by S and erode by -S.
        theirs = theirs[::-1, ::-1]
    np.testing.assert_array_equal(ours, [operator(image, structure=theirs) for image in IMAGES])


@pytest.mark.parametrize("library", ["scipy binary", "scipy grey", "skimage binary, padded"])
def test_without_conversion_a_dilation_by_an_asymmetric_footprint_differs(library):
    if library not in LIBRARIES:
        pytest.skip("this scikit-image has no binary_dilation")
    ours = np.asarray(morphology.dilation(IMAGES, ASYMMETRIC))
    operator = LIBRARIES[library][1]("dilation")
    unconverted = [operator(image, ASYMMETRIC, "zero").astype(bool) for image in IMAGES]
    assert np.any(ours != unconverted)


@operators
@pytest.mark.parametrize("library", ["scipy binary", "skimage", "opencv"])
def test_without_conversion_some_operator_by_an_even_footprint_differs(library, name):
    operator = LIBRARIES[library][1](name)
    unconverted = np.array([operator(image, np.ones((2, 2), bool), "zero") for image in IMAGES])
    differs = np.any(morphology.__dict__[name](IMAGES, np.ones((2, 2), bool)) != unconverted)
    # Ours reads {0, 1}^2 for both; SciPy's erosion and both of OpenCV's read {-1, 0}^2.
    assert differs == (
        (library, name)
        not in {("scipy binary", "dilation"), ("skimage", "dilation"), ("skimage", "erosion")}
    )


@operators
def test_an_asymmetric_footprint_reads_the_pixels_it_points_to(name):
    x = np.zeros((5, 5), bool) if name == "dilation" else np.ones((5, 5), bool)
    x[2, 2] ^= True
    pointing_right = np.array([[False, False, True]])
    changed = np.argwhere(
        np.asarray(getattr(morphology, name)(x, pointing_right, border="edge")) != x[0, 0]
    )
    np.testing.assert_array_equal(changed, [[2, 1]])


@pytest.mark.parametrize("library", ["scipy", "skimage", "skimage_binary", "opencv"])
def test_the_empty_footprint_stays_empty_with_odd_sizes(library):
    for is_erosion in (False, True):
        converted = footprint_for(library, np.zeros((2, 3), bool), is_erosion=is_erosion)
        assert converted.shape == (3, 3)
        assert converted.dtype == bool
        assert not converted.any()


@operators
def test_the_empty_footprint_follows_the_definition_as_binary_scipy_does(name):
    empty = np.zeros((3, 3), bool)
    ours = getattr(morphology, name)(IMAGES, empty)
    theirs = scipy_binary_zero(name)
    np.testing.assert_array_equal(ours, [theirs(image, empty, "zero") for image in IMAGES])
    assert np.all(np.asarray(ours) == (name == "erosion"))


@footprints
@pytest.mark.parametrize("library", ["scipy", "skimage", "skimage_binary", "opencv"])
def test_only_dilations_are_mirrored_and_only_by_some_libraries(library, S):
    embedded = np.asarray(morphology.embed_in_odd(S))
    np.testing.assert_array_equal(footprint_for(library, S, is_erosion=True), embedded)
    mirrors = library in ("scipy", "skimage_binary")
    np.testing.assert_array_equal(
        footprint_for(library, S, is_erosion=False), embedded[::-1, ::-1] if mirrors else embedded
    )


def test_an_unknown_library_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"library must be one of .*'opencv'.*'kornia'"):
        footprint_for("kornia", ASYMMETRIC, is_erosion=True)

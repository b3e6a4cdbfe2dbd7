"""Our footprints in the terms of scikit-image, SciPy and OpenCV: the conversion, in one place.

The libraries disagree on whether a dilation mirrors its footprint and on the center of even sizes.
Odd sizes leave only the mirroring, so `footprint_for` first embeds the footprint in an odd size.
Their borders differ too: pad the image yourself (``numpy.pad``) and crop, as
`tests/morphology/test_other_libraries.py` does for every border mode.
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np

from bimonn_jax.morphology.operators import embed_in_odd, reflect

# Whether a library's dilation reads the mirrored footprint; erosions read it as it is everywhere.
_MIRRORS_DILATION = {
    "scipy": True,
    "skimage": False,
    "skimage_binary": True,
    "opencv": False,
}

Library = Literal["scipy", "skimage", "skimage_binary", "opencv"]


def footprint_for(library: Library, footprint: np.ndarray, *, is_erosion: bool) -> np.ndarray:
    """The footprint to hand to another library for the same operator.

    Args:
      library: "scipy" (``ndimage.binary_*`` and ``grey_*``), "skimage" (``morphology.erosion`` and
        ``dilation``), "skimage_binary" (``morphology.binary_*``, as of 0.26) or "opencv".
      footprint: bool (kh, kw), read by cross-correlation, as everywhere in bimonn_jax.
      is_erosion: whether it is for an erosion rather than a dilation.

    Returns:
      bool (kh', kw') with odd sizes.

    Raises:
      ValueError: for an unknown library.

    Examples:
      >>> footprint_for("scipy", np.array([[True, True]]), is_erosion=False).astype(int)
      array([[1, 1, 0]])
    """
    if library not in _MIRRORS_DILATION:
        raise ValueError(f"library must be one of {sorted(_MIRRORS_DILATION)}; got {library!r}")
    mirrored = _MIRRORS_DILATION[library] and not is_erosion
    ours = jnp.asarray(footprint)
    return np.asarray(reflect(ours) if mirrored else embed_in_odd(ours))

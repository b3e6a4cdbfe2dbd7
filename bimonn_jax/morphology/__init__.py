"""Operators of mathematical morphology on images, their footprints, windows and level sets."""

from bimonn_jax.morphology.operators import (
    as_numbers,
    black_tophat,
    closing,
    dilation,
    embed_in_odd,
    erosion,
    from_level_sets,
    intersection,
    level_sets,
    on_level_sets,
    opening,
    read_thresholds,
    reflect,
    same_up_to_translation,
    union,
    white_tophat,
)

__all__ = [
    "as_numbers",
    "black_tophat",
    "closing",
    "dilation",
    "embed_in_odd",
    "erosion",
    "from_level_sets",
    "intersection",
    "level_sets",
    "on_level_sets",
    "opening",
    "read_thresholds",
    "reflect",
    "same_up_to_translation",
    "union",
    "white_tophat",
]

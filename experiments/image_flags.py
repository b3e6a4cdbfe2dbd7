"""Flags of the programs that read image files."""

from typing import cast

from absl import flags

from bimonn_jax.data.image_files import Foreground, Reading

THRESHOLD = flags.DEFINE_string(
    "threshold", None, "Of image files: otsu, local, or a gray level of 0 to 255; otsu by default."
)
FOREGROUND = flags.DEFINE_enum(
    "foreground", None, ["dark", "light"], "What counts as set; by default dark, as ink on paper."
)
ON_ERROR = flags.DEFINE_enum(
    "on_error", "stop", ["stop", "skip"], "At image files that are unreadable or do not fit."
)


def reading_of_flags(default: Reading) -> Reading:
    """How images are read: as the flags say, else as ``default``."""
    threshold: float | str = default.threshold
    if THRESHOLD.value is not None:
        try:
            threshold = float(THRESHOLD.value)
        except ValueError:
            threshold = THRESHOLD.value
    foreground = cast(Foreground, FOREGROUND.value or default.foreground)
    return Reading(threshold, foreground, default.gray)

"""The flag that allows results to be replaced."""

from absl import flags

OVERWRITE = flags.DEFINE_bool("overwrite", False, "Whether results that are there may be replaced.")

"""Flags that do not go together."""

from collections.abc import Mapping

from absl import app, flags


def refuse_unused(unused: Mapping[str, str]) -> None:
    """Raises UsageError for a flag that was given and has no effect.

    Args:
      unused: why not, such as "with --recipe=paper", by the flag's name.
    """
    for name, why in unused.items():
        if flags.FLAGS[name].present:
            raise app.UsageError(f"--{name} has no effect {why}: leave it out")

"""Writing exported files."""

import re
from pathlib import Path

from bimonn_jax.saving import free_path


def check_identifier(name: str) -> None:
    """Raises ValueError unless ``name`` can be a name in C, Verilog and Python."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(
            f"name must be letters, digits and underscores, a letter first; got {name!r}"
        )


def write_text(path: str | Path, text: str, *, overwrite: bool) -> Path:
    """Writes a file, and refuses to replace one unless told to."""
    path = free_path(path, overwrite=overwrite)
    path.write_text(text)
    return path

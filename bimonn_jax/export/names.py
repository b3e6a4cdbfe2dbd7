"""Names that exported files use."""

import re


def check_identifier(name: str) -> None:
    """Raises ValueError unless ``name`` can be a name in C, Verilog and Python."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(
            f"name must be letters, digits and underscores, a letter first; got {name!r}"
        )

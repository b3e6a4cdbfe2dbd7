"""What the programs print."""

import io
import sys


def allow_any_name() -> None:
    """Lets ``print`` show names that the console's encoding lacks, escaped, as errors are."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")

"""What an exported Verilog module needs on an FPGA, by the synthesis tool Yosys."""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from bimonn_jax._support.files import user_path
from bimonn_jax._support.pytrees import pytree
from bimonn_jax.deployment.names import check_identifier


@pytree
class Resources:
    """What a module needs after synthesis.

    Attributes:
      luts: lookup tables.
      registers: flip-flops.
      depth: lookup tables on the longest path from an input or register to the next.
      lut_inputs: inputs of each table.
    """

    luts: int
    registers: int
    depth: int
    lut_inputs: int


def estimate_resources(
    path: str | Path, *, name: str = "network", lut_inputs: int = 6, yosys: str = "yosys"
) -> Resources:
    """Synthesizes a Verilog module to lookup tables and counts them.

    The estimate is of any FPGA with such tables: no vendor's carry chains, no placement and no
    routing.

    Args:
      path: of the file that `export_verilog` wrote.
      name: of the module.
      lut_inputs: inputs of a lookup table: 4 on small FPGAs, 6 on large ones.
      yosys: the program.

    Raises:
      FileNotFoundError: if Yosys or the file is missing.
      RuntimeError: if Yosys fails, with its messages.
      ValueError: for a name that Verilog does not take, or less than 2 or more than 8 inputs.
    """
    check_identifier(name, "Verilog")
    if not 2 <= lut_inputs <= 8:
        raise ValueError(f"lut_inputs must be 2 to 8, got {lut_inputs}")
    if shutil.which(yosys) is None:
        raise FileNotFoundError(f"{yosys!r} is not installed: install Yosys, or name its program")
    path = user_path(path).resolve(strict=True)
    with tempfile.TemporaryDirectory() as folder:
        # Paths of the temporary folder are relative, so none needs quoting in Yosys's language.
        script = (
            f"synth -flatten -top {name} -lut {lut_inputs}; "
            "tee -o statistics.json stat -json; tee -o depth.txt ltp -noff"
        )
        command = [yosys, "-q", "-f", "verilog", "-p", script, str(path)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
        statistics, depth = (
            (Path(folder) / name).read_text(encoding="utf-8")
            for name in ("statistics.json", "depth.txt")
        )
        cells = json.loads(statistics)["design"]
        (length,) = re.findall(r"\(length=(\d+)\)", depth)
    by_type = cells["num_cells_by_type"]
    return Resources(
        luts=by_type.pop("$lut", 0),
        registers=sum(count for kind, count in by_type.items() if "DFF" in kind),
        depth=int(length),
        lut_inputs=lut_inputs,
    )

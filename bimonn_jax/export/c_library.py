"""Compiles an exported C file and calls it."""

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bimonn_jax.circuit import Circuit, Linear, Votes, circuit_of
from bimonn_jax.export.c import Mode, write_c
from bimonn_jax.saving import BooleanNetwork

_FLAGS = ("-std=c99", "-O3", "-march=native", "-Wall", "-Wextra", "-Werror")


class CLibrary:
    """An exported network, compiled and loaded; called on batches as the network itself.

    Calls release the interpreter's lock, so threads may each run a part of a batch.

    Attributes:
      circuit: the network's gates.
    """

    def __init__(self, library: Path, circuit: Circuit, name: str) -> None:
        """Loads the shared library that `compile_c` made."""
        self.circuit = circuit
        self._library = ctypes.CDLL(str(library))
        self._name = name
        bytes_needed = getattr(self._library, f"{name}_workspace_bytes")
        bytes_needed.restype = ctypes.c_size_t
        self._workspace_bytes = bytes_needed()

    def _call(self, function: str, x: np.ndarray, out: np.ndarray) -> np.ndarray:
        self.circuit.check_batch(x)
        if x.dtype not in (np.bool_, np.uint8):
            raise ValueError(f"x must be bool or uint8, got {x.dtype}")
        x = np.ascontiguousarray(x)
        workspace = np.zeros(self._workspace_bytes + 64, np.uint8)
        aligned = workspace.ctypes.data + -workspace.ctypes.data % 64
        getattr(self._library, f"{self._name}_{function}")(
            ctypes.c_void_p(x.ctypes.data),
            ctypes.c_size_t(len(x)),
            ctypes.c_void_p(out.ctypes.data),
            ctypes.c_void_p(aligned),
        )
        return out

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Runs the network: bool or uint8 (N, *input_shape) -> bool (N, ...), or scores."""
        types = {Votes: np.int32, Linear: np.float32}
        dtype = types.get(type(self.circuit.head), np.bool_)
        return self._call("run", x, np.empty((len(x), *self.circuit.output_shape), dtype))

    def classify(self, x: np.ndarray) -> np.ndarray:
        """The class of each input, uint16 (N,).

        Raises:
          ValueError: if the network is not a classifier, or for another shape or dtype.
        """
        if self.circuit.head is None:
            raise ValueError("this network has no head: its outputs are bits, not classes")
        return self._call("classify", x, np.empty(len(x), np.uint16))


def compile_c(
    network: BooleanNetwork,
    folder: str | Path,
    input_shape: Sequence[int],
    *,
    name: str = "network",
    mode: Mode = "batch",
    compiler: str = "gcc",
    overwrite: bool = False,
) -> CLibrary:
    """Exports a network to C, compiles it and loads it.

    Args:
      network: architecture and boolean parameters.
      folder: where NAME.c and NAME.so are written.
      input_shape: of one input.
      name: prefix of the public names, and of the files.
      mode: see `export_c`.
      compiler: a C compiler that takes gcc's options.
      overwrite: whether existing files may be replaced.

    Raises:
      FileNotFoundError: if the compiler is not installed.
      RuntimeError: if the compiler fails, with its messages.
    """
    if shutil.which(compiler) is None:
        raise FileNotFoundError(
            f"the C compiler {compiler!r} is not installed: install it, or name another"
        )
    folder = Path(folder)
    circuit = circuit_of(network.architecture, network.params, tuple(input_shape))
    source = folder / f"{name}.c"
    write_c(circuit, source, name=name, mode=mode, pixel="uint8", overwrite=overwrite)
    library = folder / f"{name}.so"
    command = [compiler, *_FLAGS, "-shared", "-fPIC", "-o", str(library), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return CLibrary(library.resolve(), circuit, name)

"""Compiles an exported C file and calls it."""

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bimonn_jax._support.files import refuse_existing, replacing, user_path
from bimonn_jax.deployment.c.writer import Mode, write_c
from bimonn_jax.deployment.circuit import Circuit, Linear, Votes, circuit_of
from bimonn_jax.networks.boolean import BooleanNetwork

_FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")


class CLibrary:
    """An exported network, compiled and loaded; called on batches as the network itself.

    Calls release the interpreter's lock, so threads may each run a part of a batch.

    Attributes:
      circuit: the network's gates.
    """

    def __init__(self, library: Path, circuit: Circuit, name: str) -> None:
        """Loads the shared library that `compile_c` made."""
        self.circuit = circuit
        self._name = name
        # A process keeps what it has loaded, and gives it again for the same path or file: so each
        # library is loaded from a copy of its own, which is not needed any more then. It lies
        # beside the original, as there are temporary folders that nothing may be loaded from.
        with tempfile.TemporaryDirectory(dir=library.parent, ignore_cleanup_errors=True) as folder:
            copy = shutil.copy(library, folder)
            self._library = ctypes.CDLL(copy, ctypes.RTLD_LOCAL)
        bytes_needed = getattr(self._library, f"{name}_workspace_bytes")
        bytes_needed.restype = ctypes.c_size_t
        self._workspace_bytes = bytes_needed()

    def _numbers(self, x: np.ndarray) -> np.ndarray:
        """The inputs as the C code reads them, contiguous; raises ValueError for other ones."""
        x = np.asarray(x)
        self.circuit.check_batch(x)
        if x.dtype not in (np.bool_, np.uint8):
            raise ValueError(f"x must be bool or uint8, got {x.dtype}")
        x = np.ascontiguousarray(x)
        if x.dtype == np.bool_:
            # NumPy takes any byte but 0 for True, as views of other arrays have them.
            return np.not_equal(x.view(np.uint8), 0)
        if self.circuit.thresholds is None and x.max(initial=0) > 1:
            raise ValueError(
                f"x must be binary, but holds values up to {x.max()}: threshold it first, for "
                "example x > 127"
            )
        return x

    def _call(self, function: str, x: np.ndarray, width: Sequence[int], dtype: type) -> np.ndarray:
        x = self._numbers(x)
        out: np.ndarray = np.empty((len(x), *width), dtype)
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
        """Runs the network.

        Args:
          x: bool or uint8 (N, *input_shape), in any layout; of a network on bits, 0 and 1.

        Returns:
          Bool (N, ...), or the scores of a head: int32, or float32 of a real one.

        Raises:
          ValueError: for another shape or dtype, or numbers other than 0 and 1 for bits.
        """
        types = {Votes: np.int32, Linear: np.float32}
        dtype = types.get(type(self.circuit.head), np.bool_)
        return self._call("run", x, self.circuit.output_shape, dtype)

    def classify(self, x: np.ndarray) -> np.ndarray:
        """The class of each input, uint16 (N,): the first one with the largest score.

        Raises:
          ValueError: if the network is not a classifier, or as calling it does.
        """
        if self.circuit.head is None:
            raise ValueError("this network has no head: its outputs are bits, not classes")
        return self._call("classify", x, (), np.uint16)


def compile_c(
    network: BooleanNetwork,
    folder: str | Path,
    input_shape: Sequence[int],
    *,
    name: str = "network",
    mode: Mode = "batch",
    compiler: str = "gcc",
    flags: Sequence[str] = ("-O3", "-march=native"),
    overwrite: bool = False,
) -> CLibrary:
    """Exports a network to C, compiles it and loads it.

    Every call loads a library of its own, also under a name that was used before. A process keeps
    what it has loaded until it ends.

    Args:
      network: architecture and boolean parameters.
      folder: where NAME.c, NAME.h and NAME.so are written; made if there is none.
      input_shape: of one input.
      name: prefix of the public names, and of the files.
      mode: see `export_c`.
      compiler: a C compiler that takes gcc's options.
      flags: its further options. As they are the code is fast, and for processors like this one;
        with ``["-O1"]`` compiling takes half the time or less.
      overwrite: whether existing files may be replaced.

    Raises:
      FileExistsError: if a file exists and ``overwrite`` is False.
      FileNotFoundError: if the compiler is not installed.
      RuntimeError: if the compiler fails, with its messages.
      ValueError: see `export_c`.
    """
    if shutil.which(compiler) is None:
        raise FileNotFoundError(
            f"the C compiler {compiler!r} is not installed: install it, or name another"
        )
    folder = user_path(folder)
    circuit = circuit_of(network.architecture, network.params, tuple(input_shape))
    library = refuse_existing(folder / f"{name}.so", overwrite=overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{name}.c"
    write_c(circuit, source, name=name, mode=mode, pixel="uint8", overwrite=overwrite)
    with replacing(library, overwrite=overwrite) as part:
        command = [compiler, *_FLAGS, *flags, "-o", str(part), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return CLibrary(library.resolve(), circuit, name)

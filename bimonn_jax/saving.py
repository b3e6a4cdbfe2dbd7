"""A boolean network as one file: architecture and arrays, versioned, nothing executable.

The file is a NumPy .npz archive, read without pickle. Its entry "header" is JSON (UTF-8 bytes):
format, version, architecture, free metadata, and for every array its shape, dtype and encoding.
Boolean arrays are "bits", packed little-endian in each byte, or, where few are set, "gaps": the
distances between the indices of the set ones, in C order, the first from -1. A real head is
"plain". Version 1 had no gaps and did not name the encoding.
"""

import json
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.architecture import Architecture, apply_layers, from_json, to_json
from bimonn_jax.consistency import check_consistency
from bimonn_jax.files import free_path, replacing
from bimonn_jax.heads import TernaryLatents, TernaryWeights
from bimonn_jax.morphology import as_numbers
from bimonn_jax.params import BiSEParams, BooleanBiSE

FORMAT = "bimonn_jax boolean network"
VERSION = 2
# What a file may hold, so that a hostile one cannot fill the memory.
_MOST_ELEMENTS = 2**31
_MOST_BYTES = 2**30
# The nodes of a boolean tree that are not dictionaries, by their fields.
_NODES: dict[tuple[str, ...], type] = {
    ("complement", "footprint", "is_erosion"): BooleanBiSE,
    ("negative", "positive"): TernaryWeights,
}


@dataclass(frozen=True)
class BooleanNetwork:
    """A boolean network that runs by itself.

    Attributes:
      architecture: the layers, in order.
      params: the boolean parameter tree (nested dicts).
      metadata: JSON values: data set, metric, seed, whatever the writer found worth keeping.
    """

    architecture: Architecture
    params: Any
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def takes_numbers(self) -> bool:
        """Whether the input is grayscale or colour, for level sets, rather than bits."""
        return bool(self.architecture) and self.architecture[0].kind == "level_sets"

    def __call__(self, x: jax.Array | np.ndarray) -> jax.Array:
        """Runs the network, compiled once for each shape of ``x``.

        Args:
          x: bool, or numbers that are all 0 or 1; numbers of any value if the first layer takes
            level sets.

        Returns:
          Bool, or float logits from a real head.

        Raises:
          ValueError: for other values, or a shape that the network does not take.
        """
        x = as_numbers(x)
        if x.dtype != jnp.bool_ and not self.takes_numbers:
            other = x[(x != 0) & (x != 1)]
            if other.size:
                raise ValueError(
                    f"x must be binary, but holds {other.size} values other than 0 and 1, the "
                    f"first {other[0]}: threshold it first, for example x > 0.5"
                )
            x = x.astype(jnp.bool_)
        y: jax.Array = apply_layers(self.architecture, self.params, x)
        return y


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Arrays by path, "layers_0/bise/footprint"."""
    if isinstance(tree, BiSEParams | TernaryLatents):
        raise TypeError(f"{prefix} is real-valued: binarize the parameters before saving them")
    for fields, node in _NODES.items():
        if isinstance(tree, node):
            tree = {name: getattr(tree, name) for name in fields}
    if not isinstance(tree, Mapping):
        return {prefix: np.asarray(tree)}
    flat: dict[str, Any] = {}
    for name, child in tree.items():
        flat.update(_flatten(child, f"{prefix}/{name}" if prefix else str(name)))
    return flat


def _unflatten(arrays: Mapping[str, np.ndarray]) -> Any:
    tree: dict[str, Any] = {}
    for path, array in arrays.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = jnp.asarray(array)

    def rebuild(node: Any) -> Any:
        if not isinstance(node, dict):
            return node
        kind = _NODES.get(tuple(sorted(node)))
        if kind is not None:
            return kind(**node)
        return {name: rebuild(child) for name, child in node.items()}

    return rebuild(tree)


def save_network(
    path: str | Path,
    architecture: Architecture,
    boolean: Any,
    *,
    metadata: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a boolean network to one file, atomically.

    Args:
      path: of the file; ".npz" is the customary ending.
      architecture: ``model.architecture``.
      boolean: what `bimonn_jax.binarize` returned.
      metadata: JSON values to keep with it.
      overwrite: whether an existing file may be replaced.

    Raises:
      FileExistsError: if the file exists and ``overwrite`` is False.
      TypeError: if the tree still holds real-valued neurons, or metadata is not JSON.
      ValueError: if the layers cannot run the tree.
    """
    free_path(path, overwrite=overwrite)
    arrays = _flatten(boolean)
    check_consistency(architecture, boolean)
    header: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": to_json(architecture),
        "metadata": dict(metadata or {}),
        "arrays": {},
    }
    stored = {}
    for array_name, array in arrays.items():
        encoding, stored[array_name] = _encode(array)
        header["arrays"][array_name] = {
            "shape": list(array.shape),
            "dtype": array.dtype.name,
            "encoding": encoding,
        }
    stored["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with replacing(path, overwrite=overwrite) as part, open(part, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **stored)


def _encode(array: np.ndarray) -> tuple[str, np.ndarray]:
    """(Encoding, what is stored) of an array, whichever takes less."""
    if array.dtype != np.bool_:
        return "plain", array
    gaps = np.diff(np.flatnonzero(array), prepend=-1)
    dtype = np.uint16 if gaps.max(initial=0) < 2**16 else np.uint32
    if gaps.size * dtype().itemsize < array.size / 8:
        return "gaps", gaps.astype(dtype)
    return "bits", np.packbits(array.reshape(-1), bitorder="little")


def _read_array(name: str, stored: np.ndarray, description: Mapping[str, Any]) -> np.ndarray:
    shape, dtype = tuple(description["shape"]), description["dtype"]
    encoding = description.get("encoding", "bits" if dtype == "bool" else "plain")
    if not all(isinstance(side, int) and side >= 0 for side in shape):
        raise ValueError(f"array {name!r} has the shape {shape}")
    count = math.prod(shape)
    if count > _MOST_ELEMENTS:
        raise ValueError(f"array {name!r} has {count} elements, more than {_MOST_ELEMENTS}")
    if encoding == "plain":
        is_real = stored.dtype.kind in "fiu"
        if stored.shape != shape or stored.dtype.name != dtype or not is_real:
            raise ValueError(f"array {name!r} is not what the header says: {shape} of {dtype}")
        if not np.isfinite(stored).all():
            raise ValueError(f"array {name!r} holds values that are not finite")
        return stored
    if dtype != "bool":
        raise ValueError(f"array {name!r} is {dtype}, but its encoding is {encoding!r}")
    if encoding == "bits":
        if stored.dtype != np.uint8 or stored.shape != (-(-count // 8),):
            raise ValueError(f"array {name!r} does not hold the {count} bits that the header says")
        bits = np.unpackbits(stored, count=count, bitorder="little")
        return bits.astype(bool).reshape(shape)
    if encoding != "gaps":
        raise ValueError(f"array {name!r} has the unknown encoding {encoding!r}")
    if stored.dtype not in (np.uint16, np.uint32) or stored.ndim != 1 or (stored == 0).any():
        raise ValueError(f"array {name!r} does not hold gaps between indices")
    index = np.cumsum(stored, dtype=np.int64) - 1
    if index.size and index[-1] >= count:
        raise ValueError(f"array {name!r} sets element {index[-1]} of {count}")
    array = np.zeros(count, bool)
    array[index] = True
    return array.reshape(shape)


def _read(archive: np.lib.npyio.NpzFile) -> BooleanNetwork:
    stored = archive["header"]
    if not isinstance(stored, np.ndarray) or stored.dtype != np.uint8:
        raise ValueError("its header is not an array of bytes")
    header = json.loads(stored.tobytes().decode())
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}")
    if header.get("version") not in range(1, VERSION + 1):
        raise ValueError(
            f"its version is {header.get('version')!r}, this library reads 1 to {VERSION}"
        )
    descriptions = header["arrays"]
    if set(descriptions) != set(archive.files) - {"header"}:
        raise ValueError("its arrays are not those that its header lists")
    arrays = {n: _read_array(n, archive[n], d) for n, d in descriptions.items()}
    network = BooleanNetwork(
        from_json(header["architecture"]), _unflatten(arrays), header["metadata"]
    )
    check_consistency(network.architecture, network.params)
    return network


def load_network(path: str | Path) -> BooleanNetwork:
    """Reads a network that `save_network` wrote; needs neither Flax modules nor training code.

    Raises:
      ValueError: if the file is not such a network, is damaged, or has an unknown version.
      FileNotFoundError: if there is no such file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no network file at {path}")
    try:
        # Opened here, so that it is closed also where NumPy gives up half-way.
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive_file:
            unpacked = sum(member.file_size for member in archive_file.infolist())
            if unpacked > _MOST_BYTES:
                raise ValueError(f"it unpacks to {unpacked} bytes, more than {_MOST_BYTES}")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                return _read(archive)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        EOFError,
        MemoryError,
        OSError,
        RuntimeError,  # What zipfile raises for encrypted members and unknown compressions.
        struct.error,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(f"{path} is not a readable boolean network: {error}") from error

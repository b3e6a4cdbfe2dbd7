"""A boolean network as one file: architecture and arrays, versioned, nothing executable.

The file is a NumPy .npz archive, read without pickle. Its entry "header" is JSON (UTF-8 bytes):
format, version, architecture, free metadata, and for every array its shape, dtype and encoding.
Boolean arrays are "bits", packed little-endian in each byte, or, where few are set, "gaps": the
distances between the indices of the set ones, in C order, the first from -1. A real head is
"plain", in bfloat16 its bits as "uint16". Arrays are named by their paths, each part of which is
percent-encoded: "layers_0/bise/footprint". "nodes" has the types of what is no dictionary there.
Version 4 has rank neurons, whose ranks are "plain" in int32; a network without them is written as
version 3, which older libraries read. Version 2 told the types by the names of their fields, and
its paths were not encoded; version 1 had no gaps and did not name the encoding.
"""

from __future__ import annotations

import json
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax._support.files import refuse_existing, replacing, user_path
from bimonn_jax.networks.architecture import from_json, to_json
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.consistency import check_consistency
from bimonn_jax.networks.kinds import Architecture
from bimonn_jax.neurons.heads import TernaryLatents, TernaryWeights
from bimonn_jax.neurons.params import BooleanNeurons, RankNeurons, RealNeurons

FORMAT = "bimonn_jax boolean network"
VERSION = 4
_WITHOUT_RANKS = 3
# What a file may hold altogether, so that a hostile one cannot fill the memory: bytes that it
# unpacks to, and elements of its arrays, of which bits take a byte each.
_MOST_BYTES = 2**30
_MOST_HEADER_BYTES = 2**26
_MOST_ELEMENTS = 2**31
# The nodes of a boolean tree that are not dictionaries, by their names in files, with their fields.
_NODES: dict[str, type] = {
    "boolean_neurons": BooleanNeurons,
    "rank_neurons": RankNeurons,
    "ternary_votes": TernaryWeights,
}
_FIELDS = {
    "boolean_neurons": ("complement", "footprint", "is_erosion"),
    "rank_neurons": ("complement", "footprint", "rank"),
    "ternary_votes": ("negative", "positive"),
}
_REAL = ("float16", "float32", "float64")
_RANK = "int32"
# What ZIP, which .npz is, has room for.
_MOST_NAME_BYTES = 2**16 - 1
# Where buffers start that JAX takes as they are, without a copy.
_ALIGNMENT = 64


def _quoted(path: tuple[str, ...]) -> str:
    """A path as one name: without "/" in its parts, and never ".."."""
    parts = [quote(part, safe="", errors="surrogatepass") for part in path]
    return "/".join(part.replace(".", "%2E") if not part.strip(".") else part for part in parts)


def _unquoted(name: str) -> tuple[str, ...]:
    return tuple(unquote(part, errors="surrogatepass") for part in name.split("/"))


def _flatten(
    tree: Any, path: tuple[str, ...], arrays: dict[str, np.ndarray], nodes: dict[str, str]
) -> None:
    """Puts the arrays of a tree and the types of its nodes under their names."""
    name = _quoted(path)
    if isinstance(tree, RealNeurons | TernaryLatents):
        raise TypeError(f"{name} is real-valued: binarize the parameters before saving them")
    for kind, node in _NODES.items():
        if isinstance(tree, node):
            nodes[name] = kind
            tree = {field: getattr(tree, field) for field in _FIELDS[kind]}
    if not isinstance(tree, Mapping):
        # As JAX takes it, which is how it runs.
        arrays[name] = np.asarray(jnp.asarray(tree))
        if len(f"{name}.npy".encode()) > _MOST_NAME_BYTES:
            raise ValueError(f"the name {name[:40]!r}... of parameters is too long for a file")
        return
    for key, child in tree.items():
        if not isinstance(key, str):
            raise ValueError(f"names of parameters must be text; got {key!r} in {name!r}")
        _flatten(child, (*path, key), arrays, nodes)


def _unflatten(arrays: Mapping[str, np.ndarray], nodes: Mapping[str, str] | None) -> Any:
    """The tree of the arrays; without ``nodes`` the fields tell the types, as in version 2."""
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *parents, last = name.split("/") if nodes is None else _unquoted(name)
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = _as_jax(name, array)
    used = set()

    def rebuild(node: Any, path: tuple[str, ...]) -> Any:
        if not isinstance(node, dict):
            return node
        name, fields = _quoted(path), tuple(sorted(node))
        kind = nodes.get(name) if nodes is not None else _kind_of_fields(fields)
        if kind is None:
            return {key: rebuild(child, (*path, key)) for key, child in node.items()}
        used.add(name)
        if kind not in _NODES or fields != _FIELDS[kind]:
            raise ValueError(f"{name!r} is called {kind!r} and holds {fields}")
        return _NODES[kind](**node)

    rebuilt = rebuild(tree, ())
    if nodes is not None and (unused := set(nodes) - used):
        raise ValueError(f"there are no parameters {sorted(unused)}")
    return rebuilt


def _kind_of_fields(fields: tuple[str, ...]) -> str | None:
    return next((kind for kind, own in _FIELDS.items() if own == fields), None)


def _as_jax(name: str, array: np.ndarray) -> jax.Array:
    if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        raise ValueError(f"array {name!r} is {array.dtype}: set jax_enable_x64 to run this network")
    # Aliased, not copied: the memory of arrays that are mostly 0 stays unused.
    placed: jax.Array = jax.device_put(array, may_alias=True)
    return placed


def _check_metadata(value: Any) -> None:
    """Raises TypeError where JSON would make text of keys, ValueError for numbers that it lacks."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"metadata must be JSON, which has no {value}: take None")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"keys of metadata must be text; got {key!r}")
            _check_metadata(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_metadata(item)


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
      metadata: JSON values to keep with it; tuples come back as lists.
      overwrite: whether an existing file may be replaced.

    Raises:
      FileExistsError: if the file exists and ``overwrite`` is False.
      TypeError: if the tree still holds real-valued neurons, or metadata is not JSON.
      ValueError: if the layers cannot run the tree, or `load_network` could not read the file:
        values that are not finite, another dtype of a head, more elements than a file may hold.
    """
    refuse_existing(path, overwrite=overwrite)
    _check_metadata(metadata or {})
    arrays: dict[str, np.ndarray] = {}
    nodes: dict[str, str] = {}
    _flatten(boolean, (), arrays, nodes)
    check_consistency(architecture, boolean)
    header: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION if "rank_neurons" in nodes.values() else _WITHOUT_RANKS,
        "architecture": to_json(architecture),
        "metadata": dict(metadata or {}),
        "nodes": nodes,
        "arrays": {},
    }
    stored = {}
    for array_name, array in arrays.items():
        encoding, stored[array_name] = _encode(array_name, array)
        header["arrays"][array_name] = {
            "shape": list(array.shape),
            "dtype": array.dtype.name,
            "encoding": encoding,
        }
    _check_shapes(header["arrays"])
    stored["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    _check_bytes(sum(array.nbytes for array in stored.values()), stored["header"].size)
    with replacing(path, overwrite=overwrite) as part, open(part, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **stored)


def _encode(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    """(Encoding, what is stored) of an array, whichever takes less."""
    if array.dtype != np.bool_:
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds values that are not finite")
        if array.dtype.name == "bfloat16":
            return "uint16", array.view(np.uint16)
        if array.dtype.name not in (*_REAL, _RANK):
            raise ValueError(
                f"{name} is {array.dtype}; one of {_REAL}, {_RANK} or bfloat16 was expected"
            )
        return "plain", array
    gaps = np.diff(np.flatnonzero(array), prepend=-1)
    dtype = np.uint16 if gaps.max(initial=0) < 2**16 else np.uint32
    if gaps.size * dtype().itemsize < array.size / 8:
        return "gaps", gaps.astype(dtype)
    return "bits", np.packbits(array.reshape(-1), bitorder="little")


def _zeros(count: int) -> np.ndarray:
    """Bools in memory that is not used before something is written there."""
    buffer = np.zeros(count + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + count].view(np.bool_)


def _read_array(name: str, stored: np.ndarray, description: Mapping[str, Any]) -> np.ndarray:
    shape, dtype = tuple(description["shape"]), description["dtype"]
    encoding = description.get("encoding", "bits" if dtype == "bool" else "plain")
    count = math.prod(shape)
    if encoding == "uint16" and dtype == "bfloat16" and stored.dtype == np.uint16:
        encoding, stored = "plain", stored.view(jnp.bfloat16)
    if encoding == "plain":
        is_plain = stored.dtype.name in (*_REAL, _RANK, "bfloat16")
        if stored.shape != shape or stored.dtype.name != dtype or not is_plain:
            raise ValueError(f"array {name!r} is not what the header says: {shape} of {dtype}")
        if not np.isfinite(stored).all():
            raise ValueError(f"array {name!r} holds values that are not finite")
        return stored
    array = _zeros(count)
    if dtype != "bool":
        raise ValueError(f"array {name!r} is {dtype}, but its encoding is {encoding!r}")
    if encoding == "bits":
        if stored.dtype != np.uint8 or stored.shape != (-(-count // 8),):
            raise ValueError(f"array {name!r} does not hold the {count} bits that the header says")
        array[:] = np.unpackbits(stored, count=count, bitorder="little")
        return array.reshape(shape)
    if encoding != "gaps":
        raise ValueError(f"array {name!r} has the unknown encoding {encoding!r}")
    if 8 * stored.nbytes >= count > 0:
        # Written as bits, which take less: sums of so many gaps could fill the memory.
        raise ValueError(f"array {name!r} holds {stored.size} gaps for {count} elements")
    if stored.dtype not in (np.uint16, np.uint32) or stored.ndim != 1 or (stored == 0).any():
        raise ValueError(f"array {name!r} does not hold gaps between indices")
    index = np.cumsum(stored, dtype=np.int64) - 1
    if index.size and index[-1] >= count:
        raise ValueError(f"array {name!r} sets element {index[-1]} of {count}")
    array[index] = True
    return array.reshape(shape)


def _check_shapes(descriptions: Mapping[str, Any]) -> None:
    """Raises ValueError where the arrays of a file have no shapes, or would fill the memory."""
    total = 0
    for name, description in descriptions.items():
        shape = description["shape"]
        if not all(isinstance(side, int) and side >= 0 for side in shape):
            raise ValueError(f"array {name!r} has the shape {tuple(shape)}")
        total += math.prod(shape)
    if total > _MOST_ELEMENTS:
        raise ValueError(f"its arrays have {total} elements, more than {_MOST_ELEMENTS}")


def _check_bytes(unpacked: int, header: int) -> None:
    """Raises ValueError where a file would unpack to more than is read."""
    if unpacked > _MOST_BYTES:
        raise ValueError(f"it unpacks to {unpacked} bytes, more than {_MOST_BYTES}")
    if header > _MOST_HEADER_BYTES:
        raise ValueError(f"its header has {header} bytes, more than {_MOST_HEADER_BYTES}")


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
    _check_shapes(descriptions)
    arrays = {n: _read_array(n, archive[n], d) for n, d in descriptions.items()}
    nodes = header["nodes"] if header["version"] > 2 else None
    if header["version"] <= _WITHOUT_RANKS and any(
        d["dtype"] == _RANK for d in descriptions.values()
    ):
        raise ValueError(f"it holds ranks, which version {header['version']} does not know")
    network = BooleanNetwork(
        from_json(header["architecture"]), _unflatten(arrays, nodes), header["metadata"]
    )
    check_consistency(network.architecture, network.params)
    return network


def load_network(path: str | Path) -> BooleanNetwork:
    """Reads a network that `save_network` wrote; needs neither Flax modules nor training code.

    Raises:
      ValueError: if the file is not such a network, is damaged, or has an unknown version.
      FileNotFoundError: if there is no such file.
    """
    path = user_path(path)
    if not path.exists():
        raise FileNotFoundError(f"no network file at {path}")
    try:
        # Opened here, so that it is closed also where NumPy gives up half-way.
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive_file:
            members = archive_file.infolist()
            header = sum(m.file_size for m in members if m.filename == "header.npy")
            _check_bytes(sum(m.file_size for m in members), header)
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

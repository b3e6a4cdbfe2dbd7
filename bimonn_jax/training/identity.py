"""What a function depends on beside its arguments: whether it may take another's place.

A program that was traced from a function is right for it as long as everything that the function
reads from outside is what it was. `identity` collects that: captured variables, globals, defaults,
functions that it calls, attributes of a user's own modules, classes and objects, NumPy's arrays,
down into containers. Of objects of other libraries it knows only which they are: what is changed
inside of these is not seen, as by `jax.jit`.
"""

import dataclasses
import dis
import hashlib
import sys
import sysconfig
from collections.abc import Hashable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

_SCALARS = (bool, int, float, complex, str, bytes, type(None))
# Where code lies that nobody changes while it runs: Python's, other packages' and our own.
_SETTLED = (
    *(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")),
    str(Path(__file__).parents[1]),
)


class Same:
    """An object, equal to itself only; kept, so that no other takes its place in memory."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.held is other.held

    def __hash__(self) -> int:
        return id(self.held)


def identity(value: Any) -> Hashable:
    """Equal for two functions, or arguments of such, only if one may take the other's place."""
    return _identity(value, set())


def _identity(value: Any, seen: set[int]) -> Hashable:
    if isinstance(value, _SCALARS):
        # By its text: 1, 1.0 and True are equal, and so are 0.0 and -0.0.
        return type(value), repr(value)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        digest = hashlib.blake2b(np.ascontiguousarray(value).data).digest()
        return value.shape, str(value.dtype), digest
    if id(value) in seen:
        return Same(value)
    seen = seen | {id(value)}

    def of(part: Any) -> Hashable:
        return _identity(part, seen)

    if isinstance(value, tuple | list):
        return type(value), tuple(map(of, value))
    if isinstance(value, dict):
        return dict, tuple((of(key), of(item)) for key, item in value.items())
    if isinstance(value, set | frozenset):
        return type(value), frozenset(map(of, value))
    if isinstance(value, partial):
        return type(value), of(value.func), of(value.args), of(value.keywords)
    if isinstance(value, MethodType):
        return of(value.__self__), of(value.__func__)
    if isinstance(value, FunctionType):
        parts = (value.__code__, value.__defaults__, value.__kwdefaults__)
        return Same(value), *map(of, parts), *map(of, _read_from_outside(value))
    if _is_frozen_dataclass(value):
        fields = (getattr(value, field.name) for field in dataclasses.fields(value))
        return of(type(value)), *map(of, fields)
    return Same(value), *map(of, _parts_of_object(value))


def _is_frozen_dataclass(value: Any) -> bool:
    settings = getattr(type(value), "__dataclass_params__", None)
    return settings is not None and bool(settings.frozen)


def _parts_of_object(value: Any) -> Iterator[Any]:
    """What an object is seen to hold: the function that it wraps, or all of a user's own object."""
    wrapped = getattr(value, "__wrapped__", None)
    if callable(wrapped):
        yield wrapped
    kind = value if isinstance(value, type) else type(value)
    module = sys.modules.get(kind.__module__)
    if kind.__module__ == "builtins" or _is_settled(getattr(module, "__file__", None)):
        return
    for holder in (kind,) if value is kind else (kind, value):
        held = getattr(holder, "__dict__", {})
        names = (n for n in held if not n.startswith("__") or n == "__call__")
        yield from (held[name] for name in sorted(names))


def _is_settled(filename: str | None) -> bool:
    return filename is not None and filename.startswith(_SETTLED)


def _read_from_outside(function: FunctionType) -> Iterator[Any]:
    """The values of variables that a function reads, and does not write, around it.

    Of settled code only what it captures: its globals stay what they are.
    """
    code = function.__code__
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
    written = set(_written_cells(code, set(code.co_freevars)))
    for name in sorted(set(cells) - written):
        try:
            yield cells[name].cell_contents
        except ValueError:  # Not set yet.
            yield None
    if not _is_settled(code.co_filename):
        yield from _globals_read(function.__globals__, code)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and those of the functions within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _written_cells(code: CodeType, visible: set[str]) -> Iterator[str]:
    """Which of the visible variables around a function it writes, or a function within it does."""
    visible = visible & set(code.co_freevars)
    for instruction in dis.get_instructions(code):
        if instruction.opname == "STORE_DEREF" and instruction.argval in visible:
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _written_cells(constant, visible)


def _globals_read(variables: Mapping[str, Any], code: CodeType) -> Iterator[Any]:
    """The globals that code reads and never writes, and the attributes that it reads of modules."""
    instructions = [ins for mine in _codes(code) for ins in dis.get_instructions(mine)]
    written = {ins.argval for ins in instructions if ins.opname == "STORE_GLOBAL"}
    last: Any = None
    for ins in instructions:
        if ins.opname in ("LOAD_GLOBAL", "LOAD_NAME") and ins.argval not in written:
            last = variables.get(ins.argval)
            yield last
        elif ins.opname in ("LOAD_ATTR", "LOAD_METHOD") and isinstance(last, ModuleType):
            if _is_settled(getattr(last, "__file__", None)):
                last = None
            else:
                last = getattr(last, ins.argval, None)
                yield last
        else:
            last = None

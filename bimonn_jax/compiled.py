"""Programs compiled once for many calls, whatever functions and data they are built from.

`jax.jit` compiles anew for each new function object, and what a function closes over becomes a
constant of the program: a second copy of the data, which XLA spends minutes on folding. Here arrays
are arguments of the program wherever they come from, and programs of the same text are one.
"""

import dis
import hashlib
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from types import CodeType, FunctionType
from typing import Any

import jax

# Enough for a few networks in turns; what is dropped is traced, or compiled, again.
_MOST_TRACED, _MOST_COMPILED = 8, 32


def compiled(
    fn: Callable[..., Any], parts: Any, *, place: Callable[[Any], Any] = jax.device_put
) -> Callable[..., Any]:
    """``fn(parts, *arrays)`` compiled, as a function of the arrays.

    Nothing is traced again for the same ``fn``, functions and shapes. Functions are the same where
    they are equal, or `functools.partial` of the same with equal arguments, and read the same
    objects from the variables around them. Whatever is traced again, such as a new lambda, is
    compiled only if its program differs from all of the last ones.

    Args:
      fn: a pure function of arrays and of functions, itself of a module.
      parts: a tree of functions and arrays; a function that is a tree, such as
        `jax.tree_util.Partial`, counts as its parts. Arrays of the tree, and those that its
        functions close over, become arguments of the program. (Within another `jax.jit` they stay
        constants.)
      place: puts these arrays onto devices.

    Returns:
      A function (arrays...) -> what ``fn`` returns.
    """
    leaves, structure = jax.tree.flatten(parts)
    data = place([leaf for leaf in leaves if not callable(leaf)])
    functions = tuple(_Same.of(leaf) if callable(leaf) else None for leaf in leaves)
    traceable = _traceable(fn, structure, functions)
    constants: dict[_Object, Any] = {}

    def run(*arrays: Any) -> Any:
        traced = traceable.trace(data, *arrays)
        jaxpr = _Object(traced.jaxpr)
        if jaxpr not in constants:
            constants[jaxpr] = place(traced.jaxpr.consts)
        results = _program(jaxpr)(constants[jaxpr], jax.tree.leaves((data, arrays)))
        return jax.tree.unflatten(jax.tree.structure(traced.out_info), results)

    return run


@lru_cache(maxsize=_MOST_TRACED)
def _traceable(
    fn: Callable[..., Any], structure: Any, functions: tuple["_Same | None", ...]
) -> Any:
    """``fn(parts, *arrays)`` as a jitted function (data, *arrays), to be traced and never run."""

    def call(data: list[Any], *arrays: Any) -> Any:
        rest = iter(data)
        leaves = [next(rest) if same is None else same.function for same in functions]
        return fn(jax.tree.unflatten(structure, leaves), *arrays)

    return jax.jit(call)


@lru_cache(maxsize=_MOST_TRACED)
def _program(closed: "_Object") -> Callable[..., Any]:
    """The compiled function (constants, arguments) -> results of a jaxpr; one of the same text."""
    program = jax.jit(partial(_evaluate, closed.held.jaxpr))
    arguments = [
        jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)
        for aval in closed.held.in_avals
    ]
    text = program.lower(closed.held.consts, arguments).as_text()
    # Which function of Python is called back is not part of the text.
    if "callback" in text:
        return program
    return _first_of(_Text(hashlib.sha256(text.encode()).digest(), program))


def _evaluate(jaxpr: Any, constants: list[Any], arguments: list[Any]) -> list[Any]:
    return list(jax.core.eval_jaxpr(jaxpr, constants, *arguments))


@dataclass(frozen=True)
class _Text:
    digest: bytes
    program: Callable[..., Any] = field(compare=False)


@lru_cache(maxsize=_MOST_COMPILED)
def _first_of(text: _Text) -> Callable[..., Any]:
    return text.program


@dataclass(frozen=True)
class _Same:
    """A function, equal to those that may take its place.

    Attributes:
      identity: what must be equal.
      function: the function.
    """

    identity: Hashable
    function: Callable[..., Any] = field(compare=False)

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "_Same":
        return cls(_identity(function), function)


class _Object:
    """An object, equal to itself only; kept, so that no other takes its place in memory."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Object) and self.held is other.held

    def __hash__(self) -> int:
        return id(self.held)


def _identity(function: Any) -> Hashable:
    if isinstance(function, partial):
        arguments = (*function.args, *function.keywords.values())
        names = tuple(function.keywords)
        return _identity(function.func), names, tuple(map(_value, arguments))
    if isinstance(function, FunctionType):
        return _Object(function), tuple(_read_from_outside(function, set()))
    return _value(function)


def _value(value: Any) -> Hashable:
    """What tells an argument from others: 1, 1.0 and True are equal, and yet not the same."""
    try:
        hash(value)
    except TypeError:
        return _Object(value)
    return type(value), value


def _read_from_outside(function: FunctionType, seen: set[FunctionType]) -> Iterator[_Object]:
    """The objects that a function reads from variables around it, also through its module's others.

    A variable that a function itself writes, such as a counter, is none of its inputs.
    """
    seen.add(function)
    codes = list(_codes(function.__code__))
    names = {name for code in codes for name in (*code.co_freevars, *code.co_names)}
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    for name in sorted(names - {name for code in codes for name in _written(code)}):
        if name in cells:
            value = _content(cells[name])
        elif name in function.__globals__:
            value = function.__globals__[name]
        else:
            continue
        yield _Object(value)
        is_near = isinstance(value, FunctionType) and value.__module__ == function.__module__
        if is_near and value not in seen:
            yield from _read_from_outside(value, seen)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and those of the functions within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _written(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("STORE_DEREF", "STORE_GLOBAL"):
            yield instruction.argval


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # Not set yet.
        return None

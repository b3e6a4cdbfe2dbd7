"""Programs compiled once for many calls, whatever functions and data they are built from.

`jax.jit` compiles anew for each new function object, and what a function closes over becomes a
constant of the program: a second copy of the data, which XLA spends minutes on folding. Here arrays
are arguments of the program wherever they come from, and programs of the same text are one.
"""

import hashlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import jax

from bimonn_jax.training.identity import Same, identity

# Enough for a few networks in turns; what is dropped is traced, or compiled, again.
_MOST_TRACED, _MOST_COMPILED = 8, 32


def compiled(
    fn: Callable[..., Any], parts: Any, *, place: Callable[[Any], Any] = jax.device_put
) -> Callable[..., Any]:
    """``fn(parts, *arrays)`` compiled, as a function of the arrays.

    Nothing is traced again for the same ``fn``, functions and shapes.
    `bimonn_jax.training.identity` tells functions apart, by all that they read. Whatever is traced
    again, such as a new lambda, is compiled only if its program differs from all of the last ones.

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
    functions = tuple(_Function.of(leaf) if callable(leaf) else None for leaf in leaves)
    # The functions of these are part of the structure, where they count by being equal.
    trees = jax.tree.leaves(parts, is_leaf=lambda node: isinstance(node, jax.tree_util.Partial))
    within = tuple(identity(t.func) for t in trees if isinstance(t, jax.tree_util.Partial))
    traceable = _traceable(fn, structure, functions, within)
    constants: dict[Same, Any] = {}

    def run(*arrays: Any) -> Any:
        traced = traceable.trace(data, *arrays)
        jaxpr = Same(traced.jaxpr)
        if jaxpr not in constants:
            constants[jaxpr] = place(traced.jaxpr.consts)
        results = _program(jaxpr)(constants[jaxpr], jax.tree.leaves((data, arrays)))
        return jax.tree.unflatten(jax.tree.structure(traced.out_info), results)

    return run


@lru_cache(maxsize=_MOST_TRACED)
def _traceable(
    fn: Callable[..., Any],
    structure: Any,
    functions: tuple["_Function | None", ...],
    within: tuple[Hashable, ...],
) -> Any:
    """``fn(parts, *arrays)`` as a jitted function (data, *arrays), to be traced and never run."""

    def call(data: list[Any], *arrays: Any) -> Any:
        rest = iter(data)
        leaves = [next(rest) if same is None else same.function for same in functions]
        return fn(jax.tree.unflatten(structure, leaves), *arrays)

    return jax.jit(call)


@lru_cache(maxsize=_MOST_TRACED)
def _program(closed: "Same") -> Callable[..., Any]:
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
class _Function:
    """A function, equal to those that may take its place."""

    identity: Hashable
    function: Callable[..., Any] = field(compare=False)

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "_Function":
        return cls(identity(function), function)

"""Dataclasses that are trees to JAX, without Flax, which takes longer to import than to run."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Self, TypeVar, dataclass_transform, overload

import jax

Class = TypeVar("Class")


def static(**options: Any) -> Any:
    """A field that is no array: part of the structure of the tree."""
    return dataclasses.field(metadata={"static": True}, **options)


@overload
def pytree(cls: type[Class]) -> type[Class]: ...


@overload
def pytree(*, eq: bool) -> Callable[[type[Class]], type[Class]]: ...


@dataclass_transform(frozen_default=True, field_specifiers=(static, dataclasses.field))
def pytree(cls: type[Class] | None = None, *, eq: bool = True) -> Any:
    """Makes a class a frozen dataclass, a tree of its fields but for the `static` ones.

    With ``eq=False`` an object equals only itself: comparing arrays gives no truth value.
    """
    if cls is None:
        return partial(pytree, eq=eq)
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True, eq=eq)(cls))


class Replaceable:
    """A dataclass with ``replace``, as those of Flax have it."""

    def replace(self, **changes: Any) -> Self:
        """The same with other values of some fields."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]

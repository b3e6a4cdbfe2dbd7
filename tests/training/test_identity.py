"""Functions that may take each other's place, and those that may not."""

import functools
import sys
import types
from dataclasses import dataclass, field

import jax
import numpy as np
import pytest

from bimonn_jax.networks.kinds import FlattenLayer
from bimonn_jax.training.identity import identity

SCALE = 1.0
MODULE = types.ModuleType("of_a_user")
exec("SCALE = 1.0\ndef scaled(x):\n    return x * SCALE\n", MODULE.__dict__)
sys.modules["of_a_user"] = MODULE


def scaled(x, by=1.0):
    return x * SCALE * by


def hidden(x):
    def inner():
        SCALE = 1.0
        return (lambda: SCALE)()

    return inner() * SCALE * x


def by_module(x):
    return MODULE.scaled(x) * MODULE.SCALE


@dataclass
class Scaled:
    by: list = field(default_factory=lambda: [1.0])

    def __call__(self, x):
        return x * self.by[0] * SCALE


SCALED = Scaled()
ARRAY, NUMBERS = np.ones(3), {"a": [1.0]}
WAYS = {
    "function": scaled,
    "a local of the same name": hidden,
    "partial": functools.partial(scaled, by=2.0),
    "instance": SCALED,
    "method": SCALED.__call__,
    "wrapped": jax.custom_jvp(scaled),
    "in a list": [scaled],
    "default": lambda x, fn=scaled: fn(x),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_global_that_is_set_anew_makes_another_function(name, monkeypatch):
    before = identity(WAYS[name])
    assert identity(WAYS[name]) == before
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)
    assert identity(WAYS[name]) != before
    monkeypatch.undo()
    assert identity(WAYS[name]) == before


@pytest.mark.parametrize(
    ("function", "holder", "attribute"),
    [(by_module, MODULE, "SCALE"), (MODULE.scaled, MODULE, "SCALE"), (by_module, MODULE, "scaled"),
     (SCALED, SCALED, "by"), (SCALED, Scaled, "__call__"), (scaled, scaled, "__defaults__"),
     (scaled, scaled, "__code__")],
)  # fmt: skip
def test_what_is_changed_in_modules_objects_classes_and_functions_is_seen(
    function, holder, attribute, monkeypatch
):
    new = {"__code__": by_module.__code__, "__defaults__": (2.0,)}.get(attribute, [2.0])
    before = identity(function)
    monkeypatch.setattr(holder, attribute, new)
    assert identity(function) != before


def test_what_is_changed_in_place_is_seen():
    for function, change in (
        (lambda x: x * ARRAY, lambda: ARRAY.__setitem__(0, 2.0)),
        (lambda x: x * NUMBERS["a"][0], lambda: NUMBERS["a"].append(2.0)),
        (functools.partial(scaled, by=NUMBERS), lambda: NUMBERS.clear()),
        (SCALED, lambda: SCALED.by.append(1.0)),
    ):
        before = identity(function)
        change()
        assert identity(function) != before


@pytest.mark.parametrize(
    ("one", "other"), [(1, 1.0), (1, True), (0.0, -0.0), ((1, 2), (1.0, 2.0)), ([1], (1,))]
)
def test_equal_arguments_that_compute_otherwise_are_told_apart(one, other):
    first, second = (functools.partial(scaled, by=value) for value in (one, other))
    assert identity(first) == identity(functools.partial(scaled, by=one))
    assert identity(first) != identity(second)


def test_layers_count_by_what_they_say():
    one, same = (FlattenLayer(rank=3) for _ in range(2))
    assert identity((one,)) == identity((same,))
    assert identity((one,)) != identity((FlattenLayer(rank=2),))


def test_functions_that_hold_each_other_are_no_circle():
    def ping(x):
        return pong(x)

    def pong(x):
        return ping(x)

    assert identity(ping) == identity(ping)
    assert identity(ping) != identity(pong)

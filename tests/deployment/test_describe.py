"""What operators are called, and their signs in pictures."""

import pytest

from bimonn_jax.deployment.describe import operator_name
from bimonn_jax.viz.figures import symbol

# (rank, size, inverted, of a window): name and sign.
NAMES = {
    (1, 9, 0, True): ("dilation", "⊕"),
    (9, 9, 0, True): ("erosion", "⊖"),
    (5, 9, 0, True): ("median of 9", "5 / 9"),
    (4, 9, 0, True): ("rank 4 of 9", "4 / 9"),
    (2, 3, 0, True): ("median of 3", "2 / 3"),
    (2, 4, 0, True): ("rank 2 of 4", "2 / 4"),
    (2, 2, 0, True): ("erosion", "⊖"),
    (1, 2, 0, True): ("dilation", "⊕"),
    (9, 9, 2, True): ("hit-or-miss transform", "⊛"),
    (5, 9, 2, True): ("hit-or-miss transform, 5 of 9", "⊛ 5 / 9"),
    (1, 9, 2, True): ("dilation", "⊕"),
    (1, 9, 0, False): ("union", "∪"),
    (9, 9, 0, False): ("intersection", "∩"),
    (9, 9, 4, False): ("intersection", "∩"),
    (5, 9, 4, False): ("median of 9", "5 / 9"),
    (6, 9, 0, False): ("rank 6 of 9", "6 / 9"),
}


@pytest.mark.parametrize("operator", NAMES)
def test_names_and_signs_of_operators_and_of_their_complements(operator):
    (rank, size, inverted, slides), (name, sign) = operator, NAMES[operator]
    found = [
        operator_name(rank, size, complement=complement, inverted=inverted, slides=slides)
        for complement in (False, True)
    ]
    assert found == [name, f"complement of the {name}"]
    assert list(map(symbol, found)) == [sign, f"¬{sign}"]


@pytest.mark.parametrize("slides", [False, True])
def test_single_bits_and_constants(slides):
    def name(rank, size, complement, inverted=0):
        return operator_name(rank, size, complement=complement, inverted=inverted, slides=slides)

    assert name(1, 1, False) == name(1, 1, True, 1) == "copy"
    assert name(1, 1, True) == name(1, 1, False, 1) == "complement"
    for size in (0, 1, 5):
        for rank in (-1, 0):
            assert [name(rank, size, c) for c in (False, True)] == ["all set", "all clear"]
        for rank in (size + 1, size + 2):
            assert [name(rank, size, c) for c in (False, True)] == ["all clear", "all set"]

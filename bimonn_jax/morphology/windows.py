"""Borders and sliding windows of images: the one place that fixes our geometry.

Everything is a **cross-correlation**, as in ``lax.conv_general_dilated``: output pixel ``i`` reads
``x[i + k - center]`` for ``k`` in the kernel, and kernels are never flipped. The center of a kernel
of size ``k`` is ``(k - 1) // 2``, so a "SAME" window of even size reaches one pixel further to the
bottom and to the right.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import jax
import jax.numpy as jnp

Border = Literal["zero", "edge", "reflect", "wrap"]
Padding = str | int | Sequence[int | Sequence[int]]

# What NumPy calls each border in ``pad``; ONNX calls them the same.
PAD_MODES = {"zero": "constant", "edge": "edge", "reflect": "reflect", "wrap": "wrap"}


def pad_widths(kernel_size: Sequence[int], padding: Padding) -> tuple[tuple[int, int], ...]:
    """Returns (before, after) for each spatial axis.

    Args:
      kernel_size: the kernel's height and width.
      padding: "SAME", "VALID", one int for all sides, or for each axis an int or a (before, after)
        pair, as Flax takes them.

    Raises:
      ValueError: for any other padding, or a negative one.

    Examples:
      >>> pad_widths((5, 2), "SAME")
      ((2, 2), (0, 1))
    """
    if padding == "SAME":
        return tuple(((k - 1) // 2, k // 2) for k in kernel_size)
    if padding == "VALID":
        return tuple((0, 0) for _ in kernel_size)
    sides = [padding] * len(kernel_size) if isinstance(padding, int) else padding
    widths = [_before_and_after(side) for side in sides] if isinstance(sides, tuple | list) else []
    valid = tuple(width for width in widths if width is not None)
    if len(valid) != len(kernel_size) or len(widths) != len(kernel_size):
        raise ValueError(
            f"padding must be 'SAME', 'VALID', an int >= 0 or {len(kernel_size)} ints or pairs of "
            f"ints >= 0; got {padding!r}"
        )
    return valid


def _before_and_after(side: object) -> tuple[int, int] | None:
    """One axis' entry of a padding as a pair; None if it is not one."""
    if isinstance(side, int):
        side = (side, side)
    if not isinstance(side, tuple | list) or len(side) != 2:
        return None
    before, after = side
    if not isinstance(before, int) or not isinstance(after, int) or min(before, after) < 0:
        return None
    return before, after


def check_padding(
    sizes: Sequence[int],
    kernel_size: Sequence[int],
    widths: Sequence[tuple[int, int]],
    border: Border,
) -> None:
    """Raises ValueError unless an image can be padded so, and a kernel then fits.

    Args:
      sizes: the image's height and width.
      kernel_size: the kernel's height and width.
      widths: (before, after) for each axis, from `pad_widths`.
      border: see `pad_image`.
    """
    if border not in PAD_MODES:
        raise ValueError(f"border must be one of {sorted(PAD_MODES)}; got {border!r}")
    for size, k, width in zip(sizes, kernel_size, widths, strict=True):
        available = {"reflect": size - 1, "wrap": size}.get(border, max(width))
        if max(width) > available:
            raise ValueError(
                f"border {border!r} cannot pad an axis of {size} pixels by {max(width)}: use "
                "border='zero', a smaller kernel or a larger image"
            )
        if size + sum(width) < k:
            raise ValueError(
                f"the image has {size} + {sum(width)} padded pixels along an axis where the kernel "
                f"has {k}: use padding='SAME', a smaller kernel or a larger image"
            )


def pad_image(
    x: jax.Array,
    kernel_size: Sequence[int],
    *,
    padding: Padding = "SAME",
    border: Border = "zero",
    spatial_axes: tuple[int, int] = (-2, -1),
) -> jax.Array:
    """Pads the two spatial axes of ``x`` so that a VALID window then does what ``padding`` asks.

    Args:
      x: an array of any dtype; ``spatial_axes`` are its height and width.
      kernel_size: the kernel's height and width.
      padding: see `pad_widths`.
      border: what lies outside: "zero", "edge" (repeats the last pixel), "reflect" (mirrors, the
        edge not repeated, as in ``numpy.pad``) or "wrap".
      spatial_axes: the two axes to pad.

    Raises:
      ValueError: if the border is unknown, the padded image is smaller than the kernel, or a
        reflection or wrap would need more pixels than the image has.
    """
    widths = pad_widths(kernel_size, padding)
    sizes = [x.shape[axis] for axis in spatial_axes]
    check_padding(sizes, kernel_size, widths, border)
    all_widths = [(0, 0)] * x.ndim
    for axis, width in zip(spatial_axes, widths, strict=True):
        all_widths[axis] = width
    return jnp.pad(x, all_widths, mode=PAD_MODES[border])


def shifted_views(
    x: jax.Array, kernel_size: tuple[int, int]
) -> Iterator[tuple[tuple[int, int], jax.Array]]:
    """Yields ((row, column), view) for each kernel position over an image already padded.

    Args:
      x: (..., H, W), any dtype.
      kernel_size: (kh, kw).

    Yields:
      The kernel position and the (..., H - kh + 1, W - kw + 1) pixels that it reads.
    """
    kh, kw = kernel_size
    height, width = x.shape[-2] - kh + 1, x.shape[-1] - kw + 1
    for row in range(kh):
        for column in range(kw):
            yield (row, column), x[..., row : row + height, column : column + width]

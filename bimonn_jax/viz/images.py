"""Images: side by side, and on their way through a network."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bimonn_jax.deployment.circuit import Gates, circuit_of
from bimonn_jax.deployment.describe import title
from bimonn_jax.networks.architecture import stage_outputs
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.viz.figures import grid, line_height, lines_height, symbol, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_images(images: Mapping[str, np.ndarray], *, cell: float = 3.0) -> "Figure":
    """Draws bool images (H, W) side by side under their titles; True is dark.

    Args:
      images: by title.
      cell: inches per image.

    Returns:
      The figure.

    Raises:
      ValueError: if there is nothing to draw.
    """
    if not images:
        raise ValueError("images must hold at least one image")
    names = [wrapped(name, cell - 0.2, 9) for name in images]
    figure, axes = grid(1, len(images), cell, above=lines_height(names, 9))
    for axis, name, image in zip(axes[0], names, images.values(), strict=True):
        axis.set_title(name, fontsize=9)
        axis.imshow(image, cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
    return figure


def plot_stages(
    network: BooleanNetwork, x: np.ndarray, *, max_neurons: int = 8, cell: float = 1.5
) -> "Figure":
    """Draws one example on its way through a network: input, every intermediate image, output.

    A row for each stage, an image for each channel under its number and operator (the signs are
    those of `bimonn_jax.viz.plot_layer`, and ∪ union, ∩ intersection).
    Flat features have no picture; scores of classes are drawn as bars.

    Args:
      network: the network.
      x: one input, (H, W, C) or (n,), as the network takes it.
      max_neurons: channels to draw in a row, from the first.
      cell: inches per image.

    Returns:
      The figure.

    Raises:
      ValueError: if the network does not take the input, or has neither images nor scores.
    """
    x = np.asarray(x)
    circuit = circuit_of(network.architecture, network.params, x.shape)
    passed = stage_outputs(network.architecture, network.params, x[None])
    drawn: list[tuple[str, Gates | None, np.ndarray]] = []
    if x.ndim == 3:
        drawn.append(("input", None, x))
    for stage, (name, batch) in zip(circuit.stages, passed, strict=True):
        gates = stage if isinstance(stage, Gates) else None
        image = np.asarray(batch[0])
        # Flat features have no picture; scores do.
        if image.ndim == 3 or image.dtype != np.bool_:
            drawn.append((name, gates, image))
    if not drawn:
        raise ValueError("this network has neither images nor scores: there is nothing to draw")
    columns = max(min(max_neurons, i.shape[-1]) if i.ndim == 3 else 1 for _, _, i in drawn)
    names = [
        wrapped(_stage_name(name, image, max_neurons), cell - 0.1, 8) for name, _, image in drawn
    ]
    above = lines_height(names, 8) + line_height(8)
    figure, axes = grid(len(drawn), columns, cell, above=above)
    for row, name, (_, gates, image) in zip(axes, names, drawn, strict=True):
        if image.ndim == 1:
            row[0].set_axis_on()
            row[0].bar(np.arange(len(image)), image, color="0.3")
            row[0].set_title(name, fontsize=8)
            continue
        for channel, axis in enumerate(row[: min(max_neurons, image.shape[-1])]):
            # A frame: nothing but white is a picture too.
            axis.set_axis_on()
            axis.set(xticks=[], yticks=[])
            axis.imshow(image[..., channel], cmap="Greys", interpolation="nearest", vmin=0)
            label = f"{channel}" if gates is None else f"{channel}: {symbol(title(gates, channel))}"
            axis.set_title(label, fontsize=8)
        row[0].set_title(f"{name}\n{row[0].get_title()}", fontsize=8)
    return figure


def _stage_name(name: str, image: np.ndarray, max_neurons: int) -> str:
    if image.ndim == 1:
        return f"{name}: scores"
    channels = image.shape[-1]
    return f"{name} (of {channels})" if channels > max_neurons else name

"""Reading the architecture off a Flax module, also off one that users have written themselves."""

from typing import Any

import flax.linen as nn

from bimonn_jax.networks.kinds import INPUT, Architecture, ConcatenateLayer, Layer
from bimonn_jax.networks.modules import LayerModule

_WHAT_TO_DO = (
    "only what its layers compute becomes an architecture: join channels with "
    "bimonn_jax.Concatenate, flatten with Flatten, threshold numbers with LevelSets, and give "
    "float layers, such as nn.Dense, a module of their own around the boolean one"
)


class _Output:
    """Stands for what a layer gives, while a module is read: 0 is the input, i + 1 of layer i."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __getattr__(self, name: str) -> Any:
        raise TypeError(f"something else than a layer asks for .{name} of what a layer gives")


class _Reader:
    """Follows the calls of layers through a module."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []

    def intercept(self, call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        """Notes a layer in place of computing it; runs everything else."""
        module = context.module
        if not isinstance(module, LayerModule) or context.method_name != "__call__":
            return call(*args, **kwargs)
        read = [self._value(module, output) for output in (*args, *kwargs.values())]
        layer = module.layer("/".join(module.path), self._names(read))
        self.layers.append(layer)
        return _Output(len(self.layers))

    def _value(self, module: nn.Module, output: object) -> int:
        if not isinstance(output, _Output):
            raise TypeError(f"{'/'.join(module.path)} reads what is no output of a layer")
        return output.value

    def _names(self, read: list[int]) -> tuple[str, ...]:
        """How a layer that is next refers to what it reads: () for the layer before it."""
        if read == [len(self.layers)]:
            return ()
        return tuple(self.layers[value - 1].name if value else INPUT for value in read)

    def end(self, output: object) -> None:
        """Makes what the module returns the output of the last layer."""
        if not isinstance(output, _Output):
            raise TypeError(f"it returns {type(output).__name__}, not the output of one layer")
        names = self._names([output.value])
        if names:
            self.layers.append(ConcatenateLayer("output", inputs=names))


def architecture_of(module: nn.Module) -> Architecture:
    """The layers of a Flax module, and what each reads.

    The module is called with a stand-in for its input, and every layer in it with stand-ins for
    what layers before it give; nothing is computed and no shape is needed. Whatever is made of the
    layers of `bimonn_jax.networks` alone can be read, in whatever order they are called.

    Args:
      module: takes one input and returns one output.

    Returns:
      The layers in the order of their calls, named by their paths in the parameter tree.

    Raises:
      TypeError: if the module computes something between its layers that is no layer; says what to
        do instead.

    Examples:
      >>> from bimonn_jax import BiSEL, Concatenate
      >>> class TwoScales(nn.Module):
      ...     @nn.compact
      ...     def __call__(self, x):
      ...         return Concatenate()(BiSEL(2, 3)(x), BiSEL(2, 7)(x))
      >>> for layer in architecture_of(TwoScales()):
      ...     print(layer.kind, layer.name, layer.inputs)
      bisel BiSEL_0 ()
      bisel BiSEL_1 ('input',)
      concatenate Concatenate_0 ('BiSEL_0', 'BiSEL_1')
    """
    reader = _Reader()
    try:
        with nn.intercept_methods(reader.intercept):
            reader.end(module.clone(parent=None).apply({}, _Output(0)))
    except Exception as error:
        raise TypeError(
            f"{type(module).__name__} cannot be read: {error}; {_WHAT_TO_DO}"
        ) from error
    return tuple(reader.layers)

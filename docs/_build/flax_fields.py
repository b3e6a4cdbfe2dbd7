"""Shows Flax modules with their fields as arguments, as Python shows dataclasses.

An extension of Griffe, which reads the sources for the reference. Flax makes a dataclass of every
subclass of its Module, without a decorator that could be read; ``parent`` and ``name``, which each
of them also has, are left out.
"""

from griffe import Attribute, Class, Extension, Function, Module, Parameter, Parameters
from griffe import ParameterKind as Kind


def _is_flax_module(cls: Class) -> bool:
    bases = [*(str(base) for base in cls.bases), *(str(base) for c in cls.mro() for base in c.bases)]
    return any(base in ("nn.Module", "flax.linen.Module") for base in bases)


def _fields(cls: Class) -> dict[str, Parameter]:
    """The fields of a class and of those it inherits from, those of the base first."""
    found: dict[str, Parameter] = {}
    for owner in [*reversed(cls.mro()), cls]:
        kind = Kind.positional_or_keyword
        for member in owner.members.values():
            if not isinstance(member, Attribute) or member.annotation is None:
                continue
            annotation = str(member.annotation)
            if "KW_ONLY" in annotation:
                kind = Kind.keyword_only
            elif not annotation.startswith("ClassVar") and not member.name.startswith("_"):
                found[member.name] = Parameter(
                    member.name, annotation=member.annotation, kind=kind, default=member.value
                )
    return found


class FlaxFields(Extension):
    """Gives each Flax module an ``__init__`` that takes its fields."""

    def on_package(self, *, pkg: Module, **_: object) -> None:
        """After a package has been read."""
        self._visit(pkg)

    def _visit(self, module: Module) -> None:
        for member in list(module.members.values()):
            if member.is_alias:
                continue
            if isinstance(member, Module):
                self._visit(member)
            elif isinstance(member, Class) and _is_flax_module(member):
                fields = _fields(member).values()
                in_order = sorted(fields, key=lambda field: field.kind is Kind.keyword_only)
                if "__init__" not in member.members:
                    init = Function("__init__", parameters=Parameters(*in_order), parent=member)
                    member.set_member("__init__", init)

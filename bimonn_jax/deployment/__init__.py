"""Boolean networks packed into words, as circuits, and as files that other tools take."""

import lazy_loader

# The names are those of __init__.pyi, beside this file.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Operators of mathematical morphology on images, their footprints, windows and level sets."""

import lazy_loader

# The names are those of __init__.pyi, beside this file.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

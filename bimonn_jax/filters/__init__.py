"""Filters of images, learned from pairs and used in one call: arrays in, arrays out."""

import lazy_loader

# The names are those of __init__.pyi, beside this file.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

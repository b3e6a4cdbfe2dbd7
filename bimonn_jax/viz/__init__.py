"""Pictures: footprints, networks, images, curves. Each function returns a Matplotlib Figure.

Nothing is shown or saved. Needs Matplotlib (``pip install bimonn-jax[viz]``), imported when a
picture is drawn; works without a display. Dark is True; lines differ by dashes and marks, not by
color alone.
"""

import lazy_loader

# The names are those of __init__.pyi, beside this file.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

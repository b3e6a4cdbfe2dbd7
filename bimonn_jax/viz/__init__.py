"""Pictures: footprints, networks, images, curves. Each function returns a Matplotlib Figure.

Nothing is shown or saved. Needs Matplotlib (``pip install bimonn-jax[viz]``), imported when a
picture is drawn; works without a display. Dark is True; lines differ by dashes and marks, not by
colour alone.
"""

from bimonn_jax.viz.curves import plot_history, plot_sweep
from bimonn_jax.viz.diagram import plot_network
from bimonn_jax.viz.footprints import plot_footprints, plot_layer
from bimonn_jax.viz.images import plot_images, plot_stages

__all__ = [
    "plot_footprints",
    "plot_history",
    "plot_images",
    "plot_layer",
    "plot_network",
    "plot_stages",
    "plot_sweep",
]

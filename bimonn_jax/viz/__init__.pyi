from .curves import (
    plot_history as plot_history,
    plot_sweep as plot_sweep,
)
from .diagram import (
    plot_network as plot_network,
)
from .footprints import (
    plot_footprints as plot_footprints,
    plot_layer as plot_layer,
)
from .images import (
    plot_comparison as plot_comparison,
    plot_images as plot_images,
)
from .stages import (
    plot_stages as plot_stages,
)

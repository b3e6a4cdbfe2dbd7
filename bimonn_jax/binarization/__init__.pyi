from .certificate import (
    Certificate as Certificate,
)
from .certificate import (
    certify as certify,
)
from .conversion import (
    METHODS as METHODS,
)
from .conversion import (
    LayerReport as LayerReport,
)
from .conversion import (
    binarize as binarize,
)
from .layer_summary import (
    LayerSummary as LayerSummary,
)
from .layer_summary import (
    Summary as Summary,
)
from .layer_summary import (
    summary as summary,
)
from .neuron_proofs import (
    LayerCertificate as LayerCertificate,
)
from .projection.activable import (
    Projected as Projected,
)
from .projection.activable import (
    project as project,
)
from .projection.constant import (
    PROJECTIONS as PROJECTIONS,
)
from .projection.constant import (
    constant_set as constant_set,
)
from .projection.constant import (
    normal as normal,
)
from .projection.constant import (
    uniform as uniform,
)
from .projection.qp import (
    project_qp as project_qp,
)
from .pruning import (
    PruningReport as PruningReport,
)
from .pruning import (
    prune as prune,
)
from .simplification.passes import (
    simplify as simplify,
)
from .zones import (
    DeadZone as DeadZone,
)

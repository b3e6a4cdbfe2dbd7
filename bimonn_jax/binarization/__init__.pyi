from .approximation import (
    METHODS as METHODS,
)
from .certificate import (
    Certificate as Certificate,
    certify as certify,
)
from .conversion import (
    LayerReport as LayerReport,
    binarize as binarize,
)
from .fitted_ranks import (
    fit_ranks as fit_ranks,
)
from .input_means import (
    input_means as input_means,
)
from .layer_summary import (
    LayerSummary as LayerSummary,
    Summary as Summary,
    summary as summary,
)
from .neuron_proofs import (
    LayerCertificate as LayerCertificate,
)
from .projection.activable import (
    Projected as Projected,
    project as project,
)
from .projection.constant import (
    PROJECTIONS as PROJECTIONS,
    constant_set as constant_set,
    normal as normal,
    uniform as uniform,
)
from .projection.qp import (
    project_qp as project_qp,
)
from .projection.ranks import (
    RankProjected as RankProjected,
    project_ranks as project_ranks,
)
from .pruning import (
    PruningReport as PruningReport,
    prune as prune,
)
from .simplification.passes import (
    simplify as simplify,
)
from .zones import (
    DeadZone as DeadZone,
)

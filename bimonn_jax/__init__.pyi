from . import (
    binarization as binarization,
    data as data,
    deployment as deployment,
    filters as filters,
    morphology as morphology,
    networks as networks,
    neurons as neurons,
    training as training,
    viz as viz,
)
from .binarization.certificate import (
    certify as certify,
)
from .binarization.conversion import (
    binarize as binarize,
)
from .binarization.layer_summary import (
    summary as summary,
)
from .binarization.projection.activable import (
    project as project,
)
from .binarization.pruning import (
    prune as prune,
)
from .binarization.simplification.passes import (
    simplify as simplify,
)
from .deployment.packed import (
    PackedNetwork as PackedNetwork,
)
from .filters.filter import (
    Filter as Filter,
    load_filter as load_filter,
)
from .filters.learning import (
    learn_filter as learn_filter,
)
from .networks.architecture import (
    apply_layers as apply_layers,
)
from .networks.boolean import (
    BooleanNetwork as BooleanNetwork,
)
from .networks.models import (
    BiMoNN as BiMoNN,
    DenseBiMoNN as DenseBiMoNN,
    Parallel as Parallel,
    Sequential as Sequential,
    Skip as Skip,
)
from .networks.modules import (
    LUI as LUI,
    BiSE as BiSE,
    BiSEL as BiSEL,
    Complement as Complement,
    Concatenate as Concatenate,
    Flatten as Flatten,
    HitOrMiss as HitOrMiss,
    HitOrMissConv as HitOrMissConv,
    LevelSets as LevelSets,
    LUIConv as LUIConv,
    PopcountHead as PopcountHead,
    RealHead as RealHead,
    TernaryHead as TernaryHead,
    Upsample as Upsample,
)
from .networks.reading import (
    architecture_of as architecture_of,
)
from .networks.saving import (
    load_network as load_network,
    save_network as save_network,
)
from .neurons.initializers import (
    NeuronConfig as NeuronConfig,
)
from .neurons.params import (
    BooleanNeurons as BooleanNeurons,
    RankNeurons as RankNeurons,
    RealNeurons as RealNeurons,
    as_real_neurons as as_real_neurons,
    map_neurons as map_neurons,
)
from .training.loop import (
    fit as fit,
)
from .training.recipes import (
    learn as learn,
)
from .training.regularization import (
    regularizer as regularizer,
)
from .training.search import (
    search_hit_or_miss as search_hit_or_miss,
)

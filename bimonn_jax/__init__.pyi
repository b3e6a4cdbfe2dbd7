from . import (
    binarization as binarization,
)
from . import (
    data as data,
)
from . import (
    deployment as deployment,
)
from . import (
    morphology as morphology,
)
from . import (
    networks as networks,
)
from . import (
    neurons as neurons,
)
from . import (
    training as training,
)
from . import (
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
from .networks.architecture import (
    apply_layers as apply_layers,
)
from .networks.boolean import (
    BooleanNetwork as BooleanNetwork,
)
from .networks.models import (
    BiMoNN as BiMoNN,
)
from .networks.models import (
    DenseBiMoNN as DenseBiMoNN,
)
from .networks.models import (
    Parallel as Parallel,
)
from .networks.models import (
    Sequential as Sequential,
)
from .networks.models import (
    Skip as Skip,
)
from .networks.modules import (
    LUI as LUI,
)
from .networks.modules import (
    BiSE as BiSE,
)
from .networks.modules import (
    BiSEL as BiSEL,
)
from .networks.modules import (
    Complement as Complement,
)
from .networks.modules import (
    Concatenate as Concatenate,
)
from .networks.modules import (
    Flatten as Flatten,
)
from .networks.modules import (
    HitOrMiss as HitOrMiss,
)
from .networks.modules import (
    HitOrMissConv as HitOrMissConv,
)
from .networks.modules import (
    LevelSets as LevelSets,
)
from .networks.modules import (
    LUIConv as LUIConv,
)
from .networks.modules import (
    PopcountHead as PopcountHead,
)
from .networks.modules import (
    RealHead as RealHead,
)
from .networks.modules import (
    TernaryHead as TernaryHead,
)
from .networks.modules import (
    Upsample as Upsample,
)
from .networks.reading import (
    architecture_of as architecture_of,
)
from .networks.saving import (
    load_network as load_network,
)
from .networks.saving import (
    save_network as save_network,
)
from .neurons.initializers import (
    NeuronConfig as NeuronConfig,
)
from .neurons.params import (
    BooleanNeurons as BooleanNeurons,
)
from .neurons.params import (
    RealNeurons as RealNeurons,
)
from .neurons.params import (
    as_real_neurons as as_real_neurons,
)
from .neurons.params import (
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

from .apply import (
    apply_aligned as apply_aligned,
)
from .apply import (
    apply_conv as apply_conv,
)
from .apply import (
    apply_dense as apply_dense,
)
from .apply import (
    apply_windows as apply_windows,
)
from .heads import (
    TernaryLatents as TernaryLatents,
)
from .heads import (
    TernaryWeights as TernaryWeights,
)
from .heads import (
    popcount_scores as popcount_scores,
)
from .heads import (
    ternary_scores as ternary_scores,
)
from .heads import (
    ternary_weights as ternary_weights,
)
from .initializers import (
    NeuronConfig as NeuronConfig,
)
from .initializers import (
    init_neurons as init_neurons,
)
from .params import (
    BooleanNeurons as BooleanNeurons,
)
from .params import (
    Neurons as Neurons,
)
from .params import (
    RealNeurons as RealNeurons,
)
from .params import (
    as_real_neurons as as_real_neurons,
)
from .params import (
    is_neurons as is_neurons,
)
from .params import (
    map_named_neurons as map_named_neurons,
)
from .params import (
    map_neurons as map_neurons,
)
from .params import (
    named_neurons as named_neurons,
)
from .params import (
    real_parameters as real_parameters,
)
from .reparam import (
    BIASES as BIASES,
)
from .reparam import (
    WEIGHTS as WEIGHTS,
)
from .reparam import (
    BiasReparam as BiasReparam,
)
from .reparam import (
    WeightReparam as WeightReparam,
)
from .sets import (
    NeuronSet as NeuronSet,
)
from .sets import (
    Reads as Reads,
)
from .thresholds import (
    THRESHOLDS as THRESHOLDS,
)
from .thresholds import (
    Threshold as Threshold,
)
from .thresholds import (
    step as step,
)

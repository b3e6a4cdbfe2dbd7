from .apply import (
    apply_aligned as apply_aligned,
    apply_conv as apply_conv,
    apply_dense as apply_dense,
    apply_windows as apply_windows,
)
from .heads import (
    TernaryLatents as TernaryLatents,
    TernaryWeights as TernaryWeights,
    popcount_scores as popcount_scores,
    ternary_scores as ternary_scores,
    ternary_weights as ternary_weights,
)
from .initializers import (
    NeuronConfig as NeuronConfig,
    init_neurons as init_neurons,
)
from .params import (
    BinaryNeurons as BinaryNeurons,
    BooleanNeurons as BooleanNeurons,
    Neurons as Neurons,
    RankNeurons as RankNeurons,
    RealNeurons as RealNeurons,
    as_real_neurons as as_real_neurons,
    is_neurons as is_neurons,
    map_named_neurons as map_named_neurons,
    map_neurons as map_neurons,
    named_neurons as named_neurons,
    real_parameters as real_parameters,
    with_ranks as with_ranks,
    without_ranks as without_ranks,
)
from .reparam import (
    BIASES as BIASES,
    WEIGHTS as WEIGHTS,
    BiasReparam as BiasReparam,
    WeightReparam as WeightReparam,
)
from .sets import (
    NeuronSet as NeuronSet,
    Reads as Reads,
)
from .thresholds import (
    THRESHOLDS as THRESHOLDS,
    Threshold as Threshold,
    step as step,
)

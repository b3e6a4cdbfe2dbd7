from .architecture import (
    apply as apply,
    apply_layers as apply_layers,
    from_json as from_json,
    layer_outputs as layer_outputs,
    stage_outputs as stage_outputs,
    to_json as to_json,
)
from .boolean import (
    BooleanNetwork as BooleanNetwork,
)
from .consistency import (
    check_consistency as check_consistency,
)
from .kinds import (
    INPUT as INPUT,
    KINDS as KINDS,
    Architecture as Architecture,
    BiSELayer as BiSELayer,
    BiSELLayer as BiSELLayer,
    ComplementLayer as ComplementLayer,
    ConcatenateLayer as ConcatenateLayer,
    FlattenLayer as FlattenLayer,
    HitOrMissConvLayer as HitOrMissConvLayer,
    HitOrMissLayer as HitOrMissLayer,
    Layer as Layer,
    LevelSetsLayer as LevelSetsLayer,
    LUIConvLayer as LUIConvLayer,
    LUILayer as LUILayer,
    NeuronLayer as NeuronLayer,
    PooledLayer as PooledLayer,
    PopcountLayer as PopcountLayer,
    RealLayer as RealLayer,
    SlidingLayer as SlidingLayer,
    TernaryLayer as TernaryLayer,
    UpsampleLayer as UpsampleLayer,
    layer_of as layer_of,
)
from .models import (
    BiMoNN as BiMoNN,
    DenseBiMoNN as DenseBiMoNN,
    Network as Network,
    Parallel as Parallel,
    Sequential as Sequential,
    Skip as Skip,
)
from .modules import (
    LUI as LUI,
    BiSE as BiSE,
    BiSEL as BiSEL,
    Complement as Complement,
    Concatenate as Concatenate,
    Flatten as Flatten,
    HitOrMiss as HitOrMiss,
    HitOrMissConv as HitOrMissConv,
    LayerModule as LayerModule,
    LevelSets as LevelSets,
    LUIConv as LUIConv,
    NeuronModule as NeuronModule,
    PopcountHead as PopcountHead,
    RealHead as RealHead,
    TernaryHead as TernaryHead,
    Upsample as Upsample,
)
from .reading import (
    architecture_of as architecture_of,
)
from .saving import (
    load_network as load_network,
    save_network as save_network,
)

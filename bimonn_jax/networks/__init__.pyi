from .architecture import (
    apply as apply,
)
from .architecture import (
    apply_layers as apply_layers,
)
from .architecture import (
    from_json as from_json,
)
from .architecture import (
    layer_outputs as layer_outputs,
)
from .architecture import (
    stage_outputs as stage_outputs,
)
from .architecture import (
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
)
from .kinds import (
    KINDS as KINDS,
)
from .kinds import (
    Architecture as Architecture,
)
from .kinds import (
    BiSELayer as BiSELayer,
)
from .kinds import (
    BiSELLayer as BiSELLayer,
)
from .kinds import (
    ComplementLayer as ComplementLayer,
)
from .kinds import (
    ConcatenateLayer as ConcatenateLayer,
)
from .kinds import (
    FlattenLayer as FlattenLayer,
)
from .kinds import (
    HitOrMissConvLayer as HitOrMissConvLayer,
)
from .kinds import (
    HitOrMissLayer as HitOrMissLayer,
)
from .kinds import (
    Layer as Layer,
)
from .kinds import (
    LevelSetsLayer as LevelSetsLayer,
)
from .kinds import (
    LUIConvLayer as LUIConvLayer,
)
from .kinds import (
    LUILayer as LUILayer,
)
from .kinds import (
    NeuronLayer as NeuronLayer,
)
from .kinds import (
    PooledLayer as PooledLayer,
)
from .kinds import (
    PopcountLayer as PopcountLayer,
)
from .kinds import (
    RealLayer as RealLayer,
)
from .kinds import (
    SlidingLayer as SlidingLayer,
)
from .kinds import (
    TernaryLayer as TernaryLayer,
)
from .kinds import (
    UpsampleLayer as UpsampleLayer,
)
from .kinds import (
    layer_of as layer_of,
)
from .models import (
    BiMoNN as BiMoNN,
)
from .models import (
    DenseBiMoNN as DenseBiMoNN,
)
from .models import (
    Network as Network,
)
from .models import (
    Parallel as Parallel,
)
from .models import (
    Sequential as Sequential,
)
from .models import (
    Skip as Skip,
)
from .modules import (
    LUI as LUI,
)
from .modules import (
    BiSE as BiSE,
)
from .modules import (
    BiSEL as BiSEL,
)
from .modules import (
    Complement as Complement,
)
from .modules import (
    Concatenate as Concatenate,
)
from .modules import (
    Flatten as Flatten,
)
from .modules import (
    HitOrMiss as HitOrMiss,
)
from .modules import (
    HitOrMissConv as HitOrMissConv,
)
from .modules import (
    LayerModule as LayerModule,
)
from .modules import (
    LevelSets as LevelSets,
)
from .modules import (
    LUIConv as LUIConv,
)
from .modules import (
    NeuronModule as NeuronModule,
)
from .modules import (
    PopcountHead as PopcountHead,
)
from .modules import (
    RealHead as RealHead,
)
from .modules import (
    TernaryHead as TernaryHead,
)
from .modules import (
    Upsample as Upsample,
)
from .reading import (
    architecture_of as architecture_of,
)
from .saving import (
    load_network as load_network,
)
from .saving import (
    save_network as save_network,
)

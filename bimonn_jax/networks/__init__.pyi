from .architecture import (
    Architecture as Architecture,
)
from .architecture import (
    Layer as Layer,
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
from .models import (
    BiMoNN as BiMoNN,
)
from .models import (
    DenseBiMoNN as DenseBiMoNN,
)
from .models import (
    Sequential as Sequential,
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
    DenseLUI as DenseLUI,
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
    LevelSets as LevelSets,
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
from .saving import (
    load_network as load_network,
)
from .saving import (
    save_network as save_network,
)

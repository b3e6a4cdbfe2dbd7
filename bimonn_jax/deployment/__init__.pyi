from .c.library import (
    CLibrary as CLibrary,
    compile_c as compile_c,
)
from .c.writer import (
    export_c as export_c,
)
from .circuit import (
    Circuit as Circuit,
    circuit_of as circuit_of,
)
from .onnx import (
    export_onnx as export_onnx,
)
from .packed import (
    PackedNetwork as PackedNetwork,
    dilate_strips as dilate_strips,
    erode_strips as erode_strips,
    pack_strips as pack_strips,
    packed_by_shape as packed_by_shape,
    rank_strips as rank_strips,
    unpack_strips as unpack_strips,
)
from .python import (
    export_python as export_python,
)
from .stablehlo import (
    export_stablehlo as export_stablehlo,
    run_stablehlo as run_stablehlo,
)
from .tiles import (
    TiledNetwork as TiledNetwork,
)
from .verilog import (
    export_verilog as export_verilog,
)
from .yosys import (
    Resources as Resources,
    estimate_resources as estimate_resources,
)

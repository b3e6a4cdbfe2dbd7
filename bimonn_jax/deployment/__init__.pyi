from .c.library import (
    CLibrary as CLibrary,
)
from .c.library import (
    compile_c as compile_c,
)
from .c.writer import (
    export_c as export_c,
)
from .circuit import (
    Circuit as Circuit,
)
from .circuit import (
    circuit_of as circuit_of,
)
from .onnx import (
    export_onnx as export_onnx,
)
from .packed import (
    PackedNetwork as PackedNetwork,
)
from .packed import (
    dilate_strips as dilate_strips,
)
from .packed import (
    erode_strips as erode_strips,
)
from .packed import (
    pack_strips as pack_strips,
)
from .packed import (
    packed_by_shape as packed_by_shape,
)
from .packed import (
    unpack_strips as unpack_strips,
)
from .python import (
    export_python as export_python,
)
from .stablehlo import (
    export_stablehlo as export_stablehlo,
)
from .stablehlo import (
    run_stablehlo as run_stablehlo,
)
from .verilog import (
    export_verilog as export_verilog,
)
from .yosys import (
    Resources as Resources,
)
from .yosys import (
    estimate_resources as estimate_resources,
)

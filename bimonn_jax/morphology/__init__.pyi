from .footprints import (
    FOOTPRINTS as FOOTPRINTS,
)
from .footprints import (
    OPERATORS as OPERATORS,
)
from .footprints import (
    corner as corner,
)
from .footprints import (
    cross as cross,
)
from .footprints import (
    diagonal_cross as diagonal_cross,
)
from .footprints import (
    disk as disk,
)
from .footprints import (
    footprint as footprint,
)
from .footprints import (
    half_disk as half_disk,
)
from .footprints import (
    horizontal_stick as horizontal_stick,
)
from .footprints import (
    operator as operator,
)
from .footprints import (
    same_up_to_translation as same_up_to_translation,
)
from .footprints import (
    square as square,
)
from .footprints import (
    stick_footprints as stick_footprints,
)
from .footprints import (
    vertical_stick as vertical_stick,
)
from .levels import (
    complement_channels as complement_channels,
)
from .levels import (
    from_level_sets as from_level_sets,
)
from .levels import (
    level_sets as level_sets,
)
from .levels import (
    on_level_sets as on_level_sets,
)
from .levels import (
    read_thresholds as read_thresholds,
)
from .operators import (
    black_tophat as black_tophat,
)
from .operators import (
    closing as closing,
)
from .operators import (
    dilation as dilation,
)
from .operators import (
    embed_in_odd as embed_in_odd,
)
from .operators import (
    erosion as erosion,
)
from .operators import (
    intersection as intersection,
)
from .operators import (
    opening as opening,
)
from .operators import (
    reflect as reflect,
)
from .operators import (
    union as union,
)
from .operators import (
    white_tophat as white_tophat,
)
from .other_libraries import (
    footprint_for as footprint_for,
)
from .windows import (
    Border as Border,
)
from .windows import (
    Padding as Padding,
)
from .windows import (
    pad_image as pad_image,
)

from .footprints import (
    FOOTPRINTS as FOOTPRINTS,
    OPERATORS as OPERATORS,
    corner as corner,
    cross as cross,
    diagonal_cross as diagonal_cross,
    disk as disk,
    footprint as footprint,
    half_disk as half_disk,
    horizontal_stick as horizontal_stick,
    operator as operator,
    same_up_to_translation as same_up_to_translation,
    square as square,
    stick_footprints as stick_footprints,
    vertical_stick as vertical_stick,
)
from .levels import (
    complement_channels as complement_channels,
    from_level_sets as from_level_sets,
    level_sets as level_sets,
    on_level_sets as on_level_sets,
    read_thresholds as read_thresholds,
)
from .operators import (
    black_tophat as black_tophat,
    closing as closing,
    dilation as dilation,
    embed_in_odd as embed_in_odd,
    erosion as erosion,
    intersection as intersection,
    opening as opening,
    reflect as reflect,
    union as union,
    white_tophat as white_tophat,
)
from .other_libraries import (
    footprint_for as footprint_for,
)
from .windows import (
    Border as Border,
    Padding as Padding,
    pad_image as pad_image,
)

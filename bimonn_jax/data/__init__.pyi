from .classification import (
    ImageClassification as ImageClassification,
)
from .classification import (
    choose_thresholds as choose_thresholds,
)
from .classification import (
    data_folder as data_folder,
)
from .classification import (
    load_digits as load_digits,
)
from .classification import (
    load_idx as load_idx,
)
from .classification import (
    load_tfds as load_tfds,
)
from .gray_levels import (
    gray_levels as gray_levels,
)
from .gray_levels import (
    open_picture as open_picture,
)
from .image_files import (
    Reading as Reading,
)
from .image_files import (
    image_files as image_files,
)
from .image_files import (
    read_gray as read_gray,
)
from .image_files import (
    read_resolution as read_resolution,
)
from .image_files import (
    write_image as write_image,
)
from .image_pairs import (
    Pair as Pair,
)
from .image_pairs import (
    PairSplit as PairSplit,
)
from .image_pairs import (
    load_pairs as load_pairs,
)
from .image_pairs import (
    pair_crops as pair_crops,
)
from .image_pairs import (
    split_pairs as split_pairs,
)
from .image_pairs import (
    tiles as tiles,
)
from .page import (
    Page as Page,
)
from .page import (
    degrade as degrade,
)
from .page import (
    degraded_crops as degraded_crops,
)
from .page import (
    load_page as load_page,
)
from .page import (
    salt_and_pepper as salt_and_pepper,
)
from .random_shapes import (
    diskorect as diskorect,
)
from .samples import (
    Sample as Sample,
)
from .samples import (
    batches as batches,
)
from .sticks import (
    noisy_sticks as noisy_sticks,
)
from .sticks import (
    target_operator as target_operator,
)
from .tones import (
    local as local,
)
from .tones import (
    otsu as otsu,
)

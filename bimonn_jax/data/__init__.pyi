from .classification import (
    ImageClassification as ImageClassification,
    choose_thresholds as choose_thresholds,
    data_folder as data_folder,
    load_digits as load_digits,
    load_idx as load_idx,
    load_tfds as load_tfds,
)
from .gray_levels import (
    gray_levels as gray_levels,
    open_page as open_page,
    pages_of as pages_of,
)
from .image_files import (
    Picture as Picture,
    Reading as Reading,
    read_gray as read_gray,
    read_pages as read_pages,
    read_resolution as read_resolution,
    write_image as write_image,
    writing_pages as writing_pages,
)
from .image_folders import (
    image_files as image_files,
)
from .image_pairs import (
    Pair as Pair,
    PairSplit as PairSplit,
    load_pairs as load_pairs,
    pair_crops as pair_crops,
    split_pairs as split_pairs,
    tiles as tiles,
)
from .page import (
    Page as Page,
    degrade as degrade,
    degraded_crops as degraded_crops,
    load_page as load_page,
    salt_and_pepper as salt_and_pepper,
)
from .random_shapes import (
    diskorect as diskorect,
)
from .samples import (
    Sample as Sample,
    batches as batches,
)
from .sticks import (
    noisy_sticks as noisy_sticks,
    target_operator as target_operator,
)
from .tones import (
    local as local,
    otsu as otsu,
)

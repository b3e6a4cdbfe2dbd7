from .filter import (
    Filter as Filter,
    load_filter as load_filter,
)
from .learner import (
    FilterLearner as FilterLearner,
)
from .learning import (
    learn_filter as learn_filter,
)

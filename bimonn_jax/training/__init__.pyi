from .baselines import (
    Handmade as Handmade,
)
from .baselines import (
    best_handmade as best_handmade,
)
from .baselines import (
    handmade_filters as handmade_filters,
)
from .baselines import (
    median_3x3 as median_3x3,
)
from .checkpoints import (
    Checkpoints as Checkpoints,
)
from .classifiers import (
    HEADS as HEADS,
)
from .classifiers import (
    Convolution as Convolution,
)
from .classifiers import (
    boolean_classifier as boolean_classifier,
)
from .classifiers import (
    refit_head as refit_head,
)
from .classifiers import (
    relaxed_classifier as relaxed_classifier,
)
from .distributed import (
    batch_mesh as batch_mesh,
)
from .distributed import (
    replicated as replicated,
)
from .distributed import (
    split_batches as split_batches,
)
from .loop import (
    FitResult as FitResult,
)
from .loop import (
    TrainState as TrainState,
)
from .loop import (
    fit as fit,
)
from .loop import (
    init_state as init_state,
)
from .loop import (
    make_step as make_step,
)
from .losses import (
    LOSSES as LOSSES,
)
from .losses import (
    bce as bce,
)
from .losses import (
    cross_entropy as cross_entropy,
)
from .losses import (
    dice_loss as dice_loss,
)
from .losses import (
    mse as mse,
)
from .metrics import (
    activated_share as activated_share,
)
from .metrics import (
    activated_shares as activated_shares,
)
from .metrics import (
    compare as compare,
)
from .metrics import (
    dice as dice,
)
from .metrics import (
    error_percent as error_percent,
)
from .metrics import (
    live_neurons as live_neurons,
)
from .metrics import (
    map_in_chunks as map_in_chunks,
)
from .optimizers import (
    mean_over_positions as mean_over_positions,
)
from .optimizers import (
    optimizer_for as optimizer_for,
)
from .optimizers import (
    warmup_cosine as warmup_cosine,
)
from .recipes import (
    Learned as Learned,
)
from .recipes import (
    Recipe as Recipe,
)
from .recipes import (
    hit_or_miss as hit_or_miss,
)
from .recipes import (
    learn as learn,
)
from .recipes import (
    openings as openings,
)
from .recipes import (
    relaxed as relaxed,
)
from .recipes import (
    single as single,
)
from .recipes import (
    tophat as tophat,
)
from .regularization import (
    Regularizer as Regularizer,
)
from .regularization import (
    regularizer as regularizer,
)
from .search import (
    SearchResult as SearchResult,
)
from .search import (
    search_hit_or_miss as search_hit_or_miss,
)
from .starts import (
    latents as latents,
)
from .starts import (
    patches_on_target as patches_on_target,
)
from .starts import (
    restart_dead as restart_dead,
)
from .starts import (
    start_from_images as start_from_images,
)
from .sweep import (
    Trials as Trials,
)
from .sweep import (
    run_in_chunks as run_in_chunks,
)
from .sweep import (
    stack_trials as stack_trials,
)
from .sweep import (
    train_trials as train_trials,
)

from .annealing import (
    grow_scales as grow_scales,
)
from .baselines import (
    Handmade as Handmade,
    best_handmade as best_handmade,
    handmade_filters as handmade_filters,
    median_3x3 as median_3x3,
)
from .checkpoints import (
    Checkpoints as Checkpoints,
)
from .classifiers import (
    HEADS as HEADS,
    Convolution as Convolution,
    boolean_classifier as boolean_classifier,
    rank_classifier as rank_classifier,
    rank_loss as rank_loss,
    refit_head as refit_head,
    relaxed_classifier as relaxed_classifier,
)
from .distributed import (
    batch_mesh as batch_mesh,
    replicated as replicated,
    split_batches as split_batches,
)
from .loop import (
    FitResult as FitResult,
    TrainState as TrainState,
    fit as fit,
    init_state as init_state,
    make_step as make_step,
)
from .losses import (
    LOSSES as LOSSES,
    bce as bce,
    cross_entropy as cross_entropy,
    dice_loss as dice_loss,
    mse as mse,
)
from .metrics import (
    activated_share as activated_share,
    activated_shares as activated_shares,
    compare as compare,
    dice as dice,
    error_percent as error_percent,
    live_neurons as live_neurons,
    map_in_chunks as map_in_chunks,
)
from .optimizers import (
    mean_over_positions as mean_over_positions,
    optimizer_for as optimizer_for,
    rank_optimizer as rank_optimizer,
    warmup_cosine as warmup_cosine,
)
from .ranks import (
    rank_shares as rank_shares,
)
from .recipes import (
    Learned as Learned,
    Recipe as Recipe,
    hit_or_miss as hit_or_miss,
    learn as learn,
    openings as openings,
    rank_filter as rank_filter,
    relaxed as relaxed,
    single as single,
    tophat as tophat,
)
from .regularization import (
    Regularizer as Regularizer,
    regularizer as regularizer,
)
from .search import (
    SearchResult as SearchResult,
    search_hit_or_miss as search_hit_or_miss,
)
from .starts import (
    latents as latents,
    patches_on_target as patches_on_target,
    restart_dead as restart_dead,
    start_from_images as start_from_images,
)
from .sweep import (
    Trials as Trials,
    run_in_chunks as run_in_chunks,
    stack_trials as stack_trials,
    train_trials as train_trials,
)

"""Matrix products that round as little as the certificate assumes."""

from functools import partial

import jax.numpy as jnp

# By default GPUs round float32 operands to 11 significant bits (TF32) and TPUs to 8 (bfloat16):
# too few for weights whose sums are compared with a bias.
matmul = partial(jnp.matmul, precision="highest")

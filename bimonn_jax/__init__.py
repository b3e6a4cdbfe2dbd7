"""bimonn_jax: binary morphological neural networks that become exact boolean networks.

Train a network of BiSE neurons, ``binarize`` its parameters, ``certify`` that nothing was lost, and
run it as booleans. After Aouad and Talbot, "A foundation for exact binarized morphological neural
networks", arXiv 2401.03830. Everything else is in the wings, each imported when it
is first used: `morphology`, `neurons`, `networks`, `binarization`, `deployment`, `training`,
`filters`, `data` and `viz`.
"""

import lazy_loader

# The names are those of __init__.pyi, beside this file.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

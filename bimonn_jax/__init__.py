"""bimonn_jax: binary morphological neural networks that become exact boolean networks.

Train a network of BiSE neurons, ``binarize`` its parameters, ``certify`` that nothing was lost, and
run it as booleans. After Aouad and Talbot, "A foundation for exact binarized morphological neural
networks", arXiv 2401.03830. Training, data and pictures are separate imports
(`bimonn_jax.training.loop`, `bimonn_jax.data`, `bimonn_jax.viz`).
"""

from bimonn_jax.binarization.certificate import Certificate, LayerCertificate, certify
from bimonn_jax.binarization.conversion import LayerReport, binarize, binarize_with_report
from bimonn_jax.binarization.layer_summary import LayerSummary, Summary, summary
from bimonn_jax.networks.architecture import Architecture, Layer, apply_layers
from bimonn_jax.networks.models import BiMoNN, DenseBiMoNN, Sequential
from bimonn_jax.networks.modules import (
    LUI,
    BiSE,
    BiSEL,
    Complement,
    DenseLUI,
    Flatten,
    HitOrMiss,
    HitOrMissConv,
    LevelSets,
    PopcountHead,
    RealHead,
    TernaryHead,
)
from bimonn_jax.neurons.initializers import NeuronConfig
from bimonn_jax.neurons.params import BiSEParams, BooleanBiSE, embed, map_neurons

__all__ = [
    "LUI",
    "Architecture",
    "BiMoNN",
    "BiSE",
    "BiSEL",
    "BiSEParams",
    "BooleanBiSE",
    "Certificate",
    "Complement",
    "DenseBiMoNN",
    "DenseLUI",
    "Flatten",
    "HitOrMiss",
    "HitOrMissConv",
    "Layer",
    "LayerCertificate",
    "LayerReport",
    "LayerSummary",
    "LevelSets",
    "NeuronConfig",
    "PopcountHead",
    "RealHead",
    "Sequential",
    "Summary",
    "TernaryHead",
    "apply_layers",
    "binarize",
    "binarize_with_report",
    "certify",
    "embed",
    "map_neurons",
    "summary",
]

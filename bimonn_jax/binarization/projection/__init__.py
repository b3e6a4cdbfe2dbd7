"""Projections of BiSE neurons onto morphological operators."""

from bimonn_jax.binarization.projection.activable import Projected, project
from bimonn_jax.binarization.projection.constant import PROJECTIONS, constant_set, normal, uniform

__all__ = ["PROJECTIONS", "Projected", "constant_set", "normal", "project", "uniform"]

"""Projections of BiSE neurons onto morphological operators."""

from bimonn_jax.projection.activable import Projected, project
from bimonn_jax.projection.constant import PROJECTIONS, constant_set, normal, uniform

__all__ = ["PROJECTIONS", "Projected", "constant_set", "normal", "project", "uniform"]

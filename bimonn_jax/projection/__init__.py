"""Projections of BiSE neurons onto morphological operators."""

from bimonn_jax.projection.constant import PROJECTIONS, constant_set, normal, uniform

__all__ = ["PROJECTIONS", "constant_set", "normal", "uniform"]

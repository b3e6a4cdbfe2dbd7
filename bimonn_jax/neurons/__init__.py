"""Neurons: their parameters, their thresholds, what they compute and which operator they are."""

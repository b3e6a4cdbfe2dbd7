"""Simplifying boolean networks without changing what they compute."""

"""Training: the loop, losses, regularization, starts, recipes, searches and sweeps."""

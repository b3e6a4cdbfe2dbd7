"""Programs to run with ``python -m experiments.NAME``; the logic is in `bimonn_jax`."""

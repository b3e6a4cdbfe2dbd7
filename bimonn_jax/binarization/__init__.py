"""From real parameters to boolean ones: projection, certificates, pruning, simplification."""

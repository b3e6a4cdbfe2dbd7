"""Networks: layers as data, as Flax modules, as boolean functions, and as files."""

"""Boolean networks as C: the writer, the engine that it includes, and compiled libraries."""

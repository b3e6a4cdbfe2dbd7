"""Boolean networks packed into words, as circuits, and as files that other tools take."""

"""Data: generated images with known answers, and real ones."""

"""Measurements of speed and memory; see ``scripts/benchmark``."""

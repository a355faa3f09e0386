"""Mixtures: their components, EM, and where to begin."""

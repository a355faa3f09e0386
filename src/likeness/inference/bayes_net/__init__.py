"""Directed graphs: variable elimination, trees by Chow and Liu, linear-Gaussian networks."""

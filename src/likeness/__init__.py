"""Likeness learns a law from your data and answers questions about it, saying how exact each answer is."""

__version__ = "0.1.0"

"""Chains of codes or of hidden states: forward and backward recursions, tables, n-grams, features of steps."""

"""Families of models, one file each; they never import each other and are found by name through the registry."""

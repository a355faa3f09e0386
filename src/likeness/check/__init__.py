"""The contract suite: what every family promises, checked on twelve Spaces under five conditions."""

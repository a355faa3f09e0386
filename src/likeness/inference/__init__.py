"""Exact inference, one folder for each kind of model: sums and optima over what is latent, and the steps of EM."""

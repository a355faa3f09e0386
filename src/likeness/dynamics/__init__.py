"""Paths between data and noise, denoisers, solvers and likelihoods; and the same for discrete chains.

Four parts that know nothing of each other's insides: a `Path` gives alpha, sigma and posteriors, a
`Denoiser` the mean of the data given a noisy point, solvers and likelihoods are functions of
(denoiser, path, grid, noise).
"""

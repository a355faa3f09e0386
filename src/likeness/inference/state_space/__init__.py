"""Linear-Gaussian chains: Kalman filters and smoothers, the moments that EM asks for, vector autoregression."""

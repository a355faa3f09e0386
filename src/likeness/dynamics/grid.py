"""Times on a path: grids for solvers, from noise to data, and the densities over time that training draws from.

A grid is a tensor that the caller owns; a "scheduler" with a state does not exist here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from likeness.dynamics.path import Path

NOISIEST = -2 * math.log(
    1e3
)  # where the log-SNR has no lower end, the noise is a thousand times the data here
BEND = 3.0
SIGNAL_LOST = 0.1


def log_snr_range(path: Path) -> tuple[float, float]:
    """The log-SNR at `t_max`, or `NOISIEST` where that is lower, and at `t_min`."""
    noisy, clean = path.log_snr(
        torch.tensor([path.t_max, path.t_min], dtype=torch.float64)
    ).tolist()
    return max(noisy, NOISIEST), clean


def _ends(path: Path, stop: float | None) -> tuple[float, float]:
    """The log-SNR at both ends of a grid."""
    noisy, clean = log_snr_range(path)
    return noisy, clean if stop is None else float(
        path.log_snr(torch.tensor(stop, dtype=torch.float64))
    )


def _ended(path: Path, times: Tensor, stop: float | None) -> Tensor:
    """Put both ends of a grid exactly where they belong; without `stop` a last step leads to t = 0."""
    # The start goes last: of one step to t = 0 it is the only time that is left.
    times[-1] = path.t_min if stop is None else stop
    times[0] = path.t_max
    if stop is None:
        return torch.cat([times, times.new_zeros(1)])
    return times


def uniform_grid(path: Path, steps: int, *, stop: float | None = None) -> Tensor:
    """Times at equal distances from `t_max` to `stop`, (steps + 1,) float64; without `stop` to 0.

    The whole chain of a `DDPM` is `uniform_grid(path, path.steps)`.
    """
    return torch.linspace(1, 0, steps + 1, dtype=torch.float64) * (path.t_max - (stop or 0)) + (
        stop or 0
    )


def karras_grid(
    path: Path, steps: int, *, rho: float = 7.0, bend: float = math.inf, stop: float | None = None
) -> Tensor:
    """Times whose r^(1 / rho), r = sigma / alpha, lie at equal distances, (steps + 1,) float64.

    Karras et al. 2022, arXiv:2206.00364, eq. 5: without `stop` the last step leads from `t_min` to
    0. With `bend` it is r / (1 + r / bend) that takes the place of r: where the path ends in noise
    alone, at a finite time, the stretch on which nothing of the data is left takes few steps.
    """
    # Equal steps in the rho-th root of the (bent) noise ratio r, then back to times.
    ratios = (math.exp(-end / 2) for end in _ends(path, stop))
    noisy, clean = ((r / (1 + r / bend)) ** (1 / rho) for r in ratios)
    bent = torch.linspace(noisy, clean, steps + (stop is not None), dtype=torch.float64) ** rho
    return _ended(path, path.time(-2 * (bent / (1 - bent / bend)).log()), stop)


def bent_grid(path: Path, steps: int, *, stop: float | None = None) -> Tensor:
    """`karras_grid`, bent at three times the data's spread where the path ends in noise alone, (steps + 1,) float64.

    Measured on mixtures: at equal steps a tenth of the error of the other grids, in samples and in
        log p.
    """
    alone = float(path.alpha(torch.tensor(path.t_max, dtype=torch.float64))) < SIGNAL_LOST
    return karras_grid(path, steps, bend=BEND if alone else math.inf, stop=stop)


def log_snr_grid(path: Path, steps: int, *, stop: float | None = None) -> Tensor:
    """Times whose log-SNR lie at equal distances, (steps + 1,) float64; without `stop` the last step leads to 0."""
    log_snr = torch.linspace(*_ends(path, stop), steps + (stop is not None), dtype=torch.float64)
    return _ended(path, path.time(log_snr), stop)


def uniform_times(path: Path, uniforms: Tensor) -> Tensor:
    """Times (B,) uniform between `t_min` and `t_max`, from uniforms (B,)."""
    return path.t_min + (path.t_max - path.t_min) * uniforms


def log_snr_times(path: Path, uniforms: Tensor) -> Tensor:
    """Times (B,) whose log-SNR is uniform over the path's range, from uniforms (B,)."""
    noisy, clean = log_snr_range(path)
    return path.time(clean + (noisy - clean) * uniforms).clamp(path.t_min, path.t_max)


def log_normal_times(
    path: Path, normals: Tensor, *, mean: float = -1.2, std: float = 1.2
) -> Tensor:
    """Times (B,) at which log(sigma / alpha) is normal, from standard normals (B,).

    Karras et al. 2022, arXiv:2206.00364, table 1: the density over noise that training uses.
    """
    return path.time(-2 * (mean + std * normals)).clamp(path.t_min, path.t_max)

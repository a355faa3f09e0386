"""Filter and smoother against the textbook's, one series after the other and one step after the other."""

import pytest
import torch
from torch import Tensor

from likeness.inference.state_space.kalman import Track
from likeness.inference.state_space.observations import System


def textbook(s: System, x: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
    """Filtered means, smoothed means and covariances, log p(x) of one series (Särkkä 2013, theorems 4.2 and 8.2)."""
    m, p = s.first_mean, s.first_cov
    noise = torch.diag(s.noise) if s.diagonal else s.noise
    ahead, filtered, log_p = [], [], 0.0
    for t in range(len(x)):
        if t:
            m, p = s.step @ m + s.drift, s.step @ p @ s.step.T + s.step_cov
        ahead.append((m, p))
        c, o = s.load[known[t]], known[t]
        if o.any():
            spread = c @ p @ c.T + noise[o][:, o]
            law = torch.distributions.MultivariateNormal(c @ m + s.offset[o], spread)
            log_p += float(law.log_prob(x[t][o]))
            gain = p @ c.T @ torch.linalg.inv(spread)
            m, p = m + gain @ (x[t][o] - law.mean), p - gain @ spread @ gain.T
        filtered.append((m, p))
    smoothed = [filtered[-1]]
    for t in range(len(x) - 2, -1, -1):
        (m, p), (m_ahead, p_ahead), (m_next, p_next) = filtered[t], ahead[t + 1], smoothed[0]
        back = p @ s.step.T @ torch.linalg.inv(p_ahead)
        m, p = m + back @ (m_next - m_ahead), p + back @ (p_next - p_ahead) @ back.T
        smoothed.insert(0, (m, p))
    means = torch.stack([m for m, _ in smoothed])
    return (
        torch.stack([m for m, _ in filtered]),
        means,
        torch.stack([p for _, p in smoothed]),
        log_p,
    )


def system(q: int, c: int, noise: str) -> System:
    g = torch.Generator().manual_seed(q + 10 * c)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    def cov(n: int) -> Tensor:
        root = normal(n, n)
        return root @ root.T + 0.1 * torch.eye(n, dtype=torch.float64)

    step = normal(q, q)
    step = 0.9 * step / torch.linalg.eigvals(step).abs().max()
    own = cov(c) if noise == "full" else normal(c).square() + 0.1
    return System(normal(q), cov(q), step, normal(q), cov(q), normal(c, q), normal(c), own)


@pytest.mark.parametrize("steps", [1, 2, 150])
@pytest.mark.parametrize("share", [1.0, 0.7, 0.0])
@pytest.mark.parametrize(("rows", "noise"), [(2, "diagonal"), (2, "full"), (10, "diagonal")])
def test_filter_and_smoother_are_the_textbooks(
    steps: int, share: float, rows: int, noise: str
) -> None:
    s, g = system(3, 2, noise), torch.Generator().manual_seed(5)
    known = torch.rand(rows, steps, 2, generator=g) < share
    x = torch.randn(rows, steps, 2, generator=g, dtype=torch.float64) * known
    track = Track(s, x, known)
    for i in range(rows):
        filtered, mean, cov, log_p = textbook(s, x[i], known[i])
        own = track.smoothed.cov[track.smoothed.place, track.group[i]]
        assert torch.allclose(track.filtered_mean[i], filtered, rtol=0, atol=1e-9)
        assert torch.allclose(track.mean[i], mean, rtol=0, atol=1e-9)
        assert torch.allclose(own, cov, rtol=0, atol=1e-9)
        assert float(track.log_z[i]) == pytest.approx(log_p, abs=1e-8)

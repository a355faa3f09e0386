"""Affine recurrences: both ways of taking many steps, in either direction, are the same walk."""

import pytest
import torch

from likeness.numerics.scan import LONG, affine_scan


def walked(start, gain, drive, *, backward=False):
    out, z = torch.empty_like(drive), start
    for t in reversed(range(len(drive))) if backward else range(len(drive)):
        z = z @ gain + drive[t]
        out[t] = z
    return out, z


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("steps", [1, 5, LONG, 3 * LONG + 1])
@pytest.mark.parametrize("shape", [(2, 3), (2, 4, 3)])
def test_a_scan_is_a_walk(shape, steps, backward):
    g = torch.Generator().manual_seed(0)
    gain = 0.5 * torch.randn(*shape[:-2], 3, 3, generator=g, dtype=torch.float64)
    start = torch.randn(*shape, generator=g, dtype=torch.float64)
    drive = torch.randn(steps, *shape, generator=g, dtype=torch.float64)
    out = torch.empty_like(drive)
    last = affine_scan(start, gain, drive, out, backward=backward)
    expected, end = walked(start, gain, drive, backward=backward)
    scale = expected.abs().max()
    assert torch.allclose(out / scale, expected / scale, rtol=0, atol=1e-12)
    assert torch.allclose(last / scale, end / scale, rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [3, 2 * LONG])
def test_rows_begin_anew_where_they_are_told_to(steps):
    drive = torch.ones(steps, 2, 1, dtype=torch.float64)
    out = torch.empty_like(drive)

    def restart(t, z):
        return torch.zeros_like(z) if t == 1 else z

    start = torch.zeros(2, 1, dtype=torch.float64)
    affine_scan(start, torch.eye(1, dtype=torch.float64), drive, out, restart=restart)
    assert out[:, 0, 0].tolist() == [1.0, 0.0, *range(1, steps - 1)]

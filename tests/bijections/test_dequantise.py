"""Learned dequantisation: it takes rows of either precision."""

import torch

from likeness.bijections.dequantise import LearnedReals
from likeness.core.batch import Batch
from likeness.core.space import binary, vector
from likeness.data.source import Table


def test_scales_are_learned_alike_from_rows_of_either_precision() -> None:
    bits = (torch.arange(6000).reshape(2000, 3) % 7 < 3).float()
    found = []
    for dtype in (torch.float32, torch.float64):
        reals = LearnedReals(vector(3, binary()))
        reals.fit(Table(vector(3, binary()), Batch(bits.to(dtype))))
        found.append(reals)
    # a new net spreads values evenly, so that the two differ by their random places in a cell only
    assert torch.allclose(found[0].scale, found[1].scale, rtol=0.1)
    assert all(r.scale.dtype == torch.float32 for r in found)

"""Dequantisation: rows of either precision, cells of single precision, learned or not."""

import torch

from likeness.bijections.dequantise import LearnedReals
from likeness.bijections.preprocess import Reals
from likeness.core.batch import Batch
from likeness.core.noise import Noise
from likeness.core.space import binary, image, vector
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


def test_the_darkest_and_the_brightest_level_stay_finite_in_single_precision() -> None:
    """Beside an end of its cell, a code of 256 levels lies nearer to a bound than single precision tells from it."""
    space = image(1, 1, 2)
    preprocessor = Reals(space)
    codes = torch.tensor([0.0, 1.0, 254.0, 255.0]).reshape(4, 1, 1, 1).expand(4, 1, 1, 2)
    ends = torch.tensor([0.0, 1e-7, 0.5, 1 - 6e-8])

    class Ends(Noise):
        def uniform(self, use: str, *shape: int) -> torch.Tensor:
            return ends[int(self.draw)].expand(self.rows, *shape)

    found = []
    for k in range(len(ends)):
        inside, correction, _ = preprocessor(
            Batch(codes), Ends(0, torch.arange(4), draw=k, dtype=torch.float32)
        )
        assert torch.isfinite(inside.x).all()
        assert torch.isfinite(correction).all()
        assert torch.equal(preprocessor.inverse(inside.x), codes)
        found.append(inside.x[:, 0, 0, 0])
    assert (torch.stack(found).diff(dim=0) >= 0).all()
    assert (torch.stack(found)[-1, :-1] <= torch.stack(found)[0, 1:]).all()

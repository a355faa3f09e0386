"""Numbers over seeds against closed forms."""

import math

import pytest
import torch

from likeness.evaluate.columns import over_seeds, typical
from likeness.evaluate.markup import decimals, shown
from likeness.metrics.intervals import Interval, normal_interval


def test_over_seeds_adds_the_spread_of_the_mean_to_the_items_own_error():
    parts = [normal_interval(v, 0.3) for v in (1.0, 2.0, 3.0)]
    cell = over_seeds(parts, 0.95)
    assert cell.value == 2.0
    assert cell.stderr == pytest.approx(math.sqrt(1 / 3 + 0.09))


def test_one_seed_keeps_its_own_interval():
    part = Interval(0.5, 0.1, 0.2, 0.9)
    cell = over_seeds([part], 0.95)
    assert (cell.value, cell.low, cell.high) == (0.5, 0.2, 0.9)


def test_over_seeds_covers_at_least_as_it_says():
    """Held-out items are shared by all seeds, draws and learning are a seed's own; intervals know the first two."""
    g = torch.Generator().manual_seed(0)
    noise = torch.randn(1000, 7, generator=g).tolist()
    hits = 0
    for shared, *own in noise:
        values = [0.2 * shared + 0.2 * a + 0.1 * b for a, b in zip(own[:3], own[3:], strict=True)]
        cell = over_seeds([normal_interval(v, math.hypot(0.2, 0.2)) for v in values], 0.95)
        hits += cell.low <= 0 <= cell.high
    assert hits >= 950


def test_a_share_stays_between_0_and_1():
    cell = over_seeds(
        [Interval(0.99, 0.02, 0.9, 1.0), Interval(0.97, 0.02, 0.9, 1.0)], 0.95, within=(0.0, 1.0)
    )
    assert 0 <= cell.low <= cell.high == 1.0


def test_timings_are_averaged_on_the_log_scale():
    cell = typical([1.0, 100.0], 0.95)
    assert cell.value == pytest.approx(10.0)
    assert cell.low > 0
    assert cell.low * cell.high == pytest.approx(100.0)


def test_numbers_show_two_figures_of_their_error():
    cell = {"value": -1.23456, "stderr": 0.0123, "low": -1.259, "high": -1.2103}
    assert decimals(cell) == 3
    assert shown(cell) == ("\u22121.235", "\u22121.259 to \u22121.210")
    assert shown({"value": 1234.0, "stderr": 0.0, "low": 1234.0, "high": 1234.0}) == ("1,234", "")
    assert shown({"why": "none"})[0] == "\u2013"

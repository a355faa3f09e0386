"""Tiles of strict answers."""

import torch

from likeness.numerics.tree import aligned


def test_tiles_hold_rows_of_one_kind_each_in_its_slot():
    """Every row is found where `where` says, in slot place % 8, among rows of its own kind only."""
    g = torch.Generator().manual_seed(0)
    place, kind = (
        torch.randint(0, 100, (200,), generator=g),
        torch.randint(0, 7, (200,), generator=g),
    )
    tiles, where = aligned(place, 8, kind)
    table = torch.stack(tiles)
    assert torch.equal(table.flatten()[where], torch.arange(200))
    assert torch.equal(where % 8, place % 8)
    assert bool((kind[table] == kind[table][:, :1]).all())
    assert len(where.unique()) == 200


def test_one_kind_needs_no_more_tiles_than_its_fullest_slot():
    tiles, where = aligned(torch.arange(20), 8)
    assert len(tiles) == 3
    assert torch.equal(torch.stack(tiles).flatten()[where], torch.arange(20))

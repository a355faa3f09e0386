"""One seed, one model: fits replay each other, and an item's answer knows neither batch nor threads beside it."""

import copy
import random
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from likeness.check.cell import Cell, fitted, unfitted
from likeness.check.checks_items import ITEMS, ROUNDING, _largest, askable, gap
from likeness.check.spaces import cell as world_of
from likeness.learn.budget import Budget
from likeness.learn.place import CHECKPOINT, METRICS
from likeness.learn.run import Run
from tests.contract.families import ANSWERS, FAMILIES

STEPS, STOP, SECONDS, MANY = 12, 5, 0.3, 512
# Holes, a condition, every type of variable; the slow part asks on all Spaces, and where answers take long.
LONG = {
    ("flow", "reals2"),
    ("flow", "table"),
    ("diffusion", "reals2"),
    ("diffusion", "table"),
    ("autoregressive", "table"),
    ("autoregressive", "reals2"),
    ("vae", "table"),
    ("linear_dynamical", "series"),
    ("topic", "symbols"),
}
USUAL = (("reals2", "label"), ("table", "none"))
OTHERS = (("series", "none"), ("symbols", "label"), ("symbols", "none"))


def usual(family):
    """A condition and every type of variable, or a series where a family takes none of these."""
    found = [pair for pair in USUAL if ANSWERS[(family, *pair)]]
    return found or [pair for pair in OTHERS if ANSWERS[(family, *pair)]][:1]


FITTED = [f for f in FAMILIES if usual(f)]  # all but those that learn from no rows
CELLS = [(f, s, g) for f in FAMILIES for s, g in usual(f) if (f, s) not in LONG]
ALL = [
    (f, s, g)
    for (f, s, g), answer in ANSWERS.items()
    if answer and g in ("none", "label") and (f, s, g) not in CELLS
]


@contextmanager
def threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_of(family, budget, **options):
    """A short run with holes where the family takes them, and a part held out to choose the best state by."""
    world = copy.copy(world_of(*usual(family)[0]))  # others ask the same world, without holes
    world.hidden = 0.2
    source = world.source(500, 0)
    train, held = source.split(0.2, 0)
    return Run(unfitted(family, world, seed=4), train, budget, 3, holdout=held, **options)


def poison(seed):
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("family", FITTED)
def test_two_fits_of_one_seed_have_equal_bits(family):
    states = []
    for ambient in (1, 2):
        poison(ambient)
        states.append(run_of(family, STEPS).fit().state_dict())
    assert equal(*states)


@pytest.mark.parametrize("family", FITTED)
def test_a_replay_of_what_a_clock_decided_has_equal_bits(family):
    first = run_of(family, Budget(seconds=SECONDS))
    state = first.fit().state_dict()
    replay = run_of(family, Budget(seconds=SECONDS), decisions=first.decisions)
    assert equal(state, replay.fit().state_dict())
    assert replay.decisions == first.decisions
    assert [e.validation for e in replay.events] == [e.validation for e in first.events]


@pytest.mark.parametrize("family", FITTED)
def test_a_run_that_was_stopped_goes_on_with_the_same_bits(tmp_path, family):
    whole = run_of(family, STEPS).fit().state_dict()
    first = run_of(family, STEPS, out=tmp_path)
    for _ in range(STOP):
        if not first.done:
            first.step()
    first.save()
    second = run_of(family, STEPS, out=tmp_path, resume=True)
    assert second.iteration == first.iteration
    while not second.done:
        second.step()
    assert equal(whole, second.finish().state_dict())


def test_a_run_that_starts_anew_leaves_nothing_of_an_earlier_one(tmp_path):
    for name in (f".{CHECKPOINT}.123.partial", CHECKPOINT, METRICS):
        (tmp_path / name).write_text("of another run")
    run = run_of("gaussian", STEPS, out=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]
    run.fit()
    assert {p.name for p in tmp_path.iterdir()} == {
        "config.json",
        "model.safetensors",
        "card.md",
        METRICS,
    }
    assert len((tmp_path / METRICS).read_text().splitlines()) == run.iteration


def shared(cells, *marks):
    """Each cell on the worker that has fitted it for the contract."""
    return [
        pytest.param(c, id="-".join(c), marks=[*marks, pytest.mark.xdist_group("-".join(c))])
        for c in cells
    ]


@pytest.mark.parametrize("cell", shared([*CELLS, *ALL], pytest.mark.slow))
def test_an_item_knows_no_batch_by_two_threads(cell):
    """n, `first` and batch, as by one thread, which the contract asks."""
    law = fitted(*cell)
    with threads(2):
        assert _largest(law, law.held(ITEMS), strict=False) <= ROUNDING


@pytest.mark.parametrize("cell", shared([*CELLS, *ALL], pytest.mark.slow))
def test_an_items_bits_know_no_batch_under_strict_by_two_threads(cell):
    law = fitted(*cell)
    with threads(2):
        assert _largest(law, law.held(ITEMS), strict=True) == 0


@pytest.mark.parametrize("cell", [*shared(CELLS), *shared(ALL, pytest.mark.slow)])
def test_two_threads_answer_as_one_does(cell):
    """To rounding, of so many rows that kernels do share them out."""
    law = fitted(*cell)
    wide = wider(law)
    for verb, ask in askable(law):
        answers = []
        for count in (1, 2):
            with threads(count):
                answers.append(ask(law, wide, law.asked()))
        assert gap(*answers) <= ROUNDING, verb


@pytest.mark.parametrize("cell", [*shared(CELLS), *shared(ALL, pytest.mark.slow)])
def test_answers_leave_their_rows_as_they_were(cell):
    """Tiles are slices of what was asked about: to write into one would be to write into the caller's rows."""
    law = fitted(*cell)
    for batch in (law.held(ITEMS), law.holed(law.held(ITEMS), 1)):
        before = batch.to(dtype=law.law.dtype)
        asked, kept = before.repeat(1), before.repeat(1)
        for _, ask in askable(law):
            ask(law, asked, law.asked())
        assert torch.equal(asked.x, kept.x)
        assert torch.equal(asked.present, kept.present)
        if asked.given is not None:
            assert torch.equal(asked.given.x, kept.given.x)


def wider(cell: Cell):
    """As many rows as a check can afford, with their holes."""
    return cell.held(max(64, MANY // max(1, cell.law.space.dims // 4)))

"""Whether an answer is as exact as it says: kinds are neither claimed too high nor given away."""

from __future__ import annotations

import torch

from likeness.check.cell import TRUTH, Cell
from likeness.check.contract import Result, check, demand
from likeness.core.answers import Kind
from likeness.core.errors import Unsupported

LETTERS = {"E": Kind.EXACT, "B": Kind.LOWER_BOUND, "S": Kind.ESTIMATE}
ORDER = (
    "reals2",
    "reals10",
    "binary8",
    "nominal4",
    "counts4",
    "table",
    "rounded",
    "image_binary",
    "image_8bit",
    "symbols",
    "series",
    "audio",
)
# The kind of log p by family and Space in this order; "-" samples only, "x" refused, more letters: either.
KNOWN = {
    TRUTH: "E E E E E E E E E E E E",
    "independent": "E E E E E E E E E E E E",
    "gaussian": "E E x x x x B x B x E E",
    "mixture": "E E E E E E EB E E E E E",
    "autoregressive": "E E E E E EB E E E E E E",
    "vae": "B B B B B B B B B B B B",
    "gan": "- - - - - - - - - - - -",
    "flow": "E E B B B B B B B B E E",
    "diffusion": "SB SB B E B B B B B B SB SB",
}
COMPLETES_EXACTLY = {TRUTH, "independent", "gaussian", "mixture"}


@check(20, "kinds", of_laws=True)
def kinds(cell: Cell) -> Result:
    """Every verb's kind is the one that is known of the family, and follows from the kinds that it rests on."""
    _known(cell)
    for verb in (_value, _evidence, _completion, _classes, _codes):
        verb(cell)
    return Result(0, 0, f"log p is {cell.kind if cell.kind is not None else 'absent'}")


def _known(cell: Cell) -> None:
    """log p against the table of families whose truth is known."""
    if cell.family not in KNOWN:
        return
    letters = KNOWN[cell.family].split()[ORDER.index(cell.space_name)]
    demand(letters != "x", "the family accepts a Space that it is known to refuse")
    if letters == "-":
        demand(cell.kind is None, f"log p is {cell.kind} where there should be none")
        return
    wanted = {LETTERS[c] for c in letters}
    held = cell.law.log_prob(cell.held(8), seed=cell.seed, effort=2).kind
    demand(held in wanted, f"log p is {held} where {' or '.join(map(str, wanted))} is known")


def _value(cell: Cell) -> None:
    """An exact value draws nothing; one that draws says its error and its seed."""
    if cell.kind is None:
        return
    batch = cell.full(4)
    one, other = (cell.law.log_prob(batch, seed=s, effort=4) for s in (1, 2))
    if cell.exact:
        demand(torch.equal(one.value, other.value), "an exact value changes with the seed")
        demand(
            one.stderr is None and one.seed is None, "an exact value has a standard error or a seed"
        )
        return
    alone = cell.law.log_prob(batch, seed=1, effort=1)
    demand(alone.stderr is None, "one draw cannot tell its standard error")
    if not torch.equal(one.value, other.value):
        demand(
            one.stderr is not None and one.seed == 1,
            "a value that draws keeps its standard error or seed to itself",
        )


def _evidence(cell: Cell) -> None:
    """A conditional is a difference: exact where both are, and no bound where both are bounds."""
    batch = cell.full(2)
    if cell.kind is None or cell.law.space.dims < 2:
        return
    mask = torch.zeros(batch.x.shape[1:], dtype=torch.bool)
    mask.view(-1)[0] = True
    try:
        found = cell.law.log_prob(batch, evidence=mask, seed=1, effort=2)
        base = cell.law.log_prob(batch.hide(~mask.expand_as(batch.x)), seed=1, effort=2).kind
    except Unsupported:
        return
    both = cell.kind is Kind.EXACT and base is Kind.EXACT
    demand(
        (found.kind is Kind.EXACT) == both,
        f"a conditional of {cell.kind} and {base} is called {found.kind}",
    )
    if cell.kind is not Kind.EXACT and base is not Kind.EXACT:
        demand(found.kind is Kind.ESTIMATE, f"a bound minus a bound is called {found.kind}")


def _completion(cell: Cell) -> None:
    if not cell.law.support("complete"):
        return
    batch = cell.holed(cell.full(2), 1)
    try:
        draws = cell.law.complete(batch, n=8, seed=1, settings=cell.asked())
    except Unsupported:
        return
    if draws.kind is Kind.EXACT:
        demand(
            draws.ess is not None and bool((draws.ess == 8).all()),
            "exact draws count for less than they are",
        )
        demand(draws.log_weight is None, "exact draws carry weights")
        if cell.family in KNOWN and cell.kind is not None:
            demand(cell.exact, "draws are called exact where log p is not")
    else:
        demand(
            not (cell.family in COMPLETES_EXACTLY and cell.exact),
            f"completion is {draws.kind} where exact is known",
        )


def _classes(cell: Cell) -> None:
    """Bayes' rule is exact where log p of the same rows is."""
    if cell.law.support("classify"):
        rows = cell.held(2)
        found = cell.law.classify(rows, seed=1, effort=2).kind
        held = cell.law.log_prob(rows, given=rows.given, seed=1, effort=2).kind
        wanted = Kind.EXACT if held is Kind.EXACT else Kind.ESTIMATE
        demand(found is wanted, f"classes are {found} where log p is {held}")


def _codes(cell: Cell) -> None:
    """A posterior that approximates is an estimate: exact codes are the same under any seed."""
    if not cell.law.support("encode"):
        return
    batch = cell.full(2)
    one, other = (cell.law.encode(batch, seed=s, effort=2) for s in (1, 2))
    if one.kind is Kind.EXACT and not _drawn(cell):
        demand(torch.equal(one.mean, other.mean), "exact codes change with the seed")


def _drawn(cell: Cell) -> bool:
    """Whether a preprocessor draws before any code is found."""
    return cell.law.preprocessor is not None and cell.law.preprocessor.stochastic


__all__ = ["KNOWN", "ORDER", "kinds"]

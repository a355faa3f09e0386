"""The table of the docs: what each family says of log p on every Space under every condition, or why it refuses.

python -m likeness.check.table docs/table.md
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from likeness import registry
from likeness.check.cell import ROWS, cells_of, unfitted
from likeness.check.spaces import GIVENS, SPACES
from likeness.check.spaces import cell as world_of
from likeness.core.files import write_atomic
from likeness.core.model import Model

Cell = tuple[str, str, str]
SAMPLES = "samples only"
FEW = 64
HEAD = """# Who takes what

For every family, Space and condition: what kind of number `log_prob` answers with for a full row, or that the family
draws samples only, or the reason why it refuses the data before any fit. Written by
`python -m likeness.check.table docs/table.md`; the Spaces and conditions are those of
[the contract suite](design.md).
"""


def word(family: str, space: str, given: str) -> str:
    """The kind of log p on one accepted cell, asked of a model that has seen its data but learned nothing."""
    world = world_of(space, given)
    model = unfitted(family, world)
    model.prepare(world.source(min(FEW, ROWS), 0))
    if not model.support("log_prob"):
        return SAMPLES
    return str(model.log_prob(world.source(2, 0).batch, seed=0, effort=2).kind)


def words(families: Iterable[str], only: Iterable[Cell] | None = None) -> dict[Cell, str]:
    """What the table says of each cell: a kind, or a refusal's sentence."""
    wanted = None if only is None else set(only)
    found = {}
    for family in families:
        for space, given, answer in cells_of(registry.family(family)):
            if wanted is None or (family, space, given) in wanted:
                if answer:
                    found[family, space, given] = word(family, space, given)
                else:
                    found[family, space, given] = f"no: {answer.why}"
    return found


def markdown(said: dict[Cell, str]) -> str:
    """The page: a table a family, refusals as notes below it."""
    families = list(dict.fromkeys(family for family, _, _ in said))
    return HEAD + "".join(f"\n{_table(family, said)}" for family in families)


def _table(family: str, said: dict[Cell, str]) -> str:
    refusals = list(
        dict.fromkeys(s for (f, _, _), s in said.items() if f == family and s.startswith("no: "))
    )
    lines = [
        f"## {family}",
        "",
        f"| Space | {' | '.join(GIVENS)} |",
        "|---" * (1 + len(GIVENS)) + "|",
    ]
    for space in SPACES:
        answers = [said[family, space, given] for given in GIVENS]
        short = [f"no ({refusals.index(a) + 1})" if a in refusals else a for a in answers]
        lines.append(f"| {space} | {' | '.join(short)} |")
    notes = [f"({i}) {why.removeprefix('no: ')}" for i, why in enumerate(refusals, 1)]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def read(page: str) -> dict[Cell, str]:
    """What `markdown` wrote."""
    said = {}
    for part in page.split("\n## ")[1:]:
        family, _, body = part.partition("\n")
        notes = {number: why for number, why in re.findall(r"^\((\d+)\) (.*)$", body, re.MULTILINE)}
        for line in re.findall(r"^\| (.*) \|$", body, re.MULTILINE)[1:]:
            space, *answers = line.split(" | ")
            for given, answer in zip(GIVENS, answers, strict=True):
                refused = re.fullmatch(r"no \((\d+)\)", answer)
                if refused:
                    said[family, space, given] = f"no: {notes[refused[1]]}"
                else:
                    said[family, space, given] = answer
    return said


def shipped() -> list[str]:
    """The families of this package, by name."""
    return sorted(n for n, model in registry.load_all().items() if _own(model))


def _own(model: type[Model]) -> bool:
    return model.__module__.startswith("likeness.families.")


if __name__ == "__main__":
    write_atomic(Path(sys.argv[1]), markdown(words(shipped())).encode())

"""Any question of five variables: every subset known, under every verb, against brute force on the law's own joint.

    python -m bench.questions [WORLD/FAMILY ...] [--list] [--write docs/questions.md]

Each family is fitted to three worlds (a Gaussian, a mixture of three, a net of five bits) and asked through `query`:
log p of what is known and of the rest given it, draws of the rest, its most probable values, the class of a column or
of a label. The truth is asked the same questions and held to its closed form.
"""

from __future__ import annotations

import argparse
import itertools
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.brute import (
    FINE,
    ROUGH,
    Brute,
    Codes,
    D,
    Fineness,
    Joint,
    Lattice,
    Normals,
    States,
    of_codes,
    of_orders,
    own,
)
from bench.verbs import Case, Row, answers, tensor
from likeness.core.batch import Batch
from likeness.core.space import label
from likeness.data.source import Table
from likeness.data.synthetic import world
from likeness.learn.fit import start
from likeness.learn.run import Run
from likeness.query import query

HELD_FROM = 1_000_000


def gaussian() -> Normals:
    """Correlations .8^|i - j|."""
    place = torch.arange(D, dtype=torch.float64)
    cov = 0.8 ** (place[:, None] - place).abs()
    return Normals(
        torch.zeros(1, dtype=torch.float64), torch.zeros(1, D, dtype=torch.float64), cov[None]
    )


def mixture() -> Normals:
    """What the world of that name is made of."""
    made: Any = world("mixture5")
    return Normals(made.log_weights[0], made.mean, made.cov)


def envelope(name: str, family: str) -> Normals:
    """Where a lattice should lie: the world, or for one Gaussian its moments."""
    near = ENVELOPES[name]()
    if family != "gaussian":
        return near
    w = near.log_w.exp()
    mean = w @ near.mean
    apart = near.mean - mean
    cov = (w[:, None, None] * (near.cov + apart[:, :, None] * apart[:, None, :])).sum(0)
    return Normals(torch.zeros_like(w[:1]), mean[None], cov[None])


def drawn_moments(law: Any, y: float) -> Normals:
    """The Gaussian that a class's draws look like."""
    x = law.sample(20_000, seed=0, given=[y]).x.double().reshape(-1, D)
    return Normals(torch.zeros(1, dtype=x.dtype), x.mean(0)[None], x.T.cov()[None])


def net() -> Joint:
    """Rain, sprinkler, wet, slippery, dog in: the product of their chances."""

    def joint(x: Tensor) -> tuple[Tensor, Tensor | None]:
        rain, sprinkler, wet, slippery, dog = x.unbind(-1)
        soaked = tensor([0.05, 0.85, 0.8, 0.98])[(2 * rain + sprinkler).long()]
        stays = tensor([0.2, 0.45, 0.6, 0.9])[(2 * rain + wet).long()]
        chances = [0.3 + 0 * rain, 0.5 - 0.4 * rain, soaked, 0.1 + 0.6 * rain, stays]
        bits = zip((rain, sprinkler, wet, slippery, dog), chances, strict=True)
        return torch.stack([torch.where(bit == 1, p, 1 - p).log() for bit, p in bits]).sum(0), None

    return joint


ENVELOPES = {"gaussian": gaussian, "mixture5": mixture}
GRADIENT = {"hidden": [32], "batch": 256, "ema": 0.99, "lr": 5e-3}
# Family: what the table calls it, its options, its steps, Monte-Carlo draws of a value.
FAMILIES: dict[str, tuple[str, dict[str, Any], int, int | None]] = {
    "gaussian": ("gaussian", {}, 1, None),
    "mixture": ("mixture", {"components": 3, "restarts": 5}, 300, None),
    "autoregressive": ("autoregressive", {**GRADIENT, "components": 2}, 300, 2000),
    "any_order": ("autoregressive", {**GRADIENT, "components": 2, "net": "any_order"}, 500, 16),
    "flow": ("flow", {**GRADIENT, "layers": 2, "bins": 6}, 200, 2000),
    "vae": ("vae", {**GRADIENT, "latent": 2, "effort": 64}, 500, 2000),
    "diffusion": ("diffusion", {"width": 32, "depth": 1, "batch": 256, "ema": 0.99}, 300, 32),
}
# Reals: solver, ODE and particles follow the net in ways of their own, which agree where it is right.
OF_REALS: dict[str, tuple[str, dict[str, Any], int, int | None]] = {
    "diffusion": (
        "diffusion",
        {"width": 64, "depth": 2, "batch": 512, "ema": 0.995, "steps": 100},
        4000,
        512,
    ),
}
EXACT = ("gaussian", "mixture")
SYNTHETIC = ("gaussian", "mixture5", "bayes_net")


def recipe(name: str, family: str) -> tuple[str, dict[str, Any], int, int | None]:
    """What FAMILIES, or OF_REALS, say of a family on a world."""
    return FAMILIES[family] if name == "bayes_net" else OF_REALS.get(family, FAMILIES[family])


def fineness(family: str) -> Fineness:
    """Fine lattices where a family answers exactly: all subsets, the prefixes of its order, or none but the whole."""
    if family in EXACT:
        return lambda known: FINE
    if "flow" in family:
        return lambda known: ROUGH
    return lambda known: (
        (1, 801, 161, 51, 22, 15) if known == frozenset(range(len(known))) else ROUGH
    )


def source(name: str, rows: int, labelled: bool) -> Table:
    """Rows of a world, with a label that depends on them where one is asked for."""
    if name == "mixture5":
        return world(name, given="label" if labelled else None).source(rows, 0)
    made = world(name, n=D).source(rows, 0) if name == "gaussian" else world(name).source(rows, 0)
    if not labelled:
        return made
    eps = torch.randn(rows, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = (made.batch.x[:, 0] + made.batch.x[:, 3] + 0.5 * eps > 0).double()[:, None]
    return Table(made.space, replace(made.batch, given=Batch(y)), label(2), name)


def fitted(name: str, family: str, *, labelled: bool = False, rows: int = 4000) -> Any:
    """A family fitted to a world, in double precision."""
    chosen, options, steps, _ = recipe(name, family)
    table = source(name, rows, labelled)
    model = start(chosen, options, table, seed=0, dtype=torch.float64)
    return Run(model, table, steps, 0).fit()


def asked_rows(name: str, rows: int) -> Tensor:
    """Rows that no fit has seen."""
    made = world(name, n=D) if name == "gaussian" else world(name)
    return made.source(rows, 0, first=HELD_FROM).batch.x


def case_of(name: str, family: str, *, rows: int = 2, draws: int = 2000) -> Case:
    """A family on a world, with brute force on its own joint."""
    law = fitted(name, family)
    effort, most = recipe(name, family)[3], D
    if name == "bayes_net":
        joints = {
            "vae": of_codes,
            "diffusion": of_orders,
            "flow": lambda law: own(law, effort=10_000),
        }
        brute: Brute = States(joints.get(family, own)(law))
    elif family == "vae":
        brute = Codes(law)
    elif family == "diffusion":
        brute, most = Lattice(own(law), ENVELOPES[name](), lambda known: (1, 61, 15)), 2
    else:
        brute = Lattice(own(law), envelope(name, family), fineness(family))
    return Case(name, family, law, brute, asked_rows(name, rows), draws, effort, most)


def labelled_case(name: str, family: str, *, rows: int = 3) -> Case:
    """A family fitted under a label."""
    law = fitted(name, family, labelled=True)
    prior = law.class_prior().double()
    near, fine = (
        ENVELOPES[name](),
        fineness(family),
    )  # classes are as narrow as the world's own parts
    one = family == "gaussian"  # but for these, whose classes are Gaussians of several parts
    each: list[Brute] = [
        Lattice(own(law, float(y)), drawn_moments(law, float(y)) if one else near, fine)
        for y in range(len(prior))
    ]
    case = Case(
        name,
        f"{family}, under a label",
        law,
        each[0],
        asked_rows(name, rows),
        effort=recipe(name, family)[3],
    )
    return replace(case, classes=(prior, each))


def truth_case(name: str, *, rows: int = 2, draws: int = 2000) -> Case:
    """A world, held to its closed form."""
    if name == "bayes_net":
        return Case(name, "the truth", world(name), States(net()), asked_rows(name, rows), draws)
    law = world(name, n=D) if name == "gaussian" else world(name)
    closed = ENVELOPES[name]()
    brute = Lattice(lambda x: (closed.log_density(x, range(D)), None), closed)
    return Case(name, "the truth", law, brute, asked_rows(name, rows), draws)


def closed_form(case: Case, closed: Normals) -> Row:
    """log p of every subset of a world against its closed form, which no lattice is needed for."""
    row = Row("log_prob, closed form")
    for known in case.subsets[1:]:
        found: Any = query(case.law, "log_prob", evidence=case.told(known))
        row.asked.add(known)
        row.add(
            found.kind,
            found.value - closed.log_density(case.rows, sorted(known)),
            None,
            torch.zeros(len(case.rows)),
        )
    return row


def plan() -> dict[str, Callable[[], Case]]:
    """Every case, by the name that the command line takes."""
    made: dict[str, Callable[[], Case]] = {}
    for name in SYNTHETIC:
        made[f"{name}/truth"] = lambda name=name: truth_case(name)
        for family in FAMILIES:
            if name == "bayes_net" and family == "gaussian":
                continue  # a Gaussian has no density on named categories
            made[f"{name}/{family}"] = lambda name=name, family=family: case_of(name, family)
    for name, family in itertools.product(("gaussian", "mixture5"), (*EXACT, "autoregressive")):
        made[f"{name}/{family}/label"] = lambda name=name, family=family: labelled_case(
            name, family
        )
    return made


# ---- the table -------------------------------------------------------------------------------------------------------


def line(case: Case, row: Row) -> str:
    """A row of the page."""
    kinds = ", ".join(str(k) for k in sorted(row.kinds)) or "refused"
    exact = f"{max(row.exact):.1e}" if row.exact else ""
    if row.exact and max(row.known) > 1e-7:
        exact += f" (known to {max(row.known):.0e})"
    low, high = min(row.errors, default=0.0), max(row.errors, default=0.0)
    others = f"{low:+.1f} to {high:+.1f}; {row.beyond} of {len(row.errors)}" if row.errors else ""
    loose = f"{min(row.loose):+.1e} to {max(row.loose):+.1e}" if row.loose else ""
    ess = f"{min(row.ess):.0f}" if row.ess else ""
    cells = (case.world, case.name, row.verb, len(row.asked), kinds, exact, others, loose, ess)
    return f"| {' | '.join(map(str, cells))} |"


HEAD = """| world | law | verb | subsets | kind | worst, exact | standard errors, beyond 3 | no error given | ess |
|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", help="among those that --list prints; all unless told")
    parser.add_argument("--list", action="store_true", help="print the cases and stop")
    parser.add_argument("--write", type=Path, help="the page whose table is replaced")
    asked = parser.parse_args()
    made = plan()
    if asked.list:
        print("\n".join(made))
        return
    torch.set_num_threads(1)
    print(HEAD)
    for name in asked.cases or made:
        begun = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few particles: the table prints how few
            case = made[name]()
            rows = answers(case)
            if name in ("gaussian/truth", "mixture5/truth"):
                rows.insert(0, closed_form(case, ENVELOPES[case.world]()))
        lines = [line(case, row) for row in rows]
        print("\n".join(lines))
        for row in rows:
            for why in sorted(row.refused):
                print(f"    {row.verb}: {why}")
        print(f"    {name}: {time.process_time() - begun:.0f} s of processor", flush=True)
        if asked.write is not None:
            write(asked.write, lines)


def write(page: Path, lines: list[str]) -> None:
    """Put lines into the page's table, in the place of those of the same law."""
    text, _, table = page.read_text(encoding="utf-8").partition(HEAD)
    laws = {_law(new) for new in lines}
    kept = [old for old in table.strip().splitlines() if _law(old) not in laws]
    order = ["the truth", *FAMILIES]
    every = sorted(
        [*kept, *lines],
        key=lambda s: (SYNTHETIC.index(_law(s)[0]), order.index(_law(s)[1].split(",")[0])),
    )
    page.write_text("\n".join([text.rstrip(), "", HEAD, *every, ""]), encoding="utf-8")


def _law(row: str) -> tuple[str, str]:
    """The world and the law that a line speaks of."""
    name, law = (cell.strip() for cell in row.split("|")[1:3])
    return name, law


if __name__ == "__main__":
    main()

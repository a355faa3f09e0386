"""One table of a comparison's main columns for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from likeness.core.plain import plain
from likeness.evaluate.markup import NONE, Facts, decimals, fixed, shown

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

TERMINAL = {
    "log_prob": "log p",
    "precision": "prec.",
    "coverage": "cover",
    "c2st": "C2ST",
    "rate_many": "draws/s",
}


def terminal_table(facts: Facts) -> Table:
    """The main columns, a line a row; why a row failed is among the comparison's sentences."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    p = facts["protocol"]
    words = f"{seeds(p)}, {p['budget']} each; ± is one standard error; log p in nats an item"
    made = Table(
        title=Text(plain(p["data"]["name"]), style="table.title"),
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
        caption=words,
        title_justify="left",
    )
    made.add_column("", no_wrap=True)
    for words in TERMINAL.values():
        made.add_column(words, justify="right", no_wrap=True)
    made.add_column("kind", no_wrap=True)
    made.add_column("copies", no_wrap=True)
    for row in facts["rows"]:
        cells = [Text(plain(cell)) for cell in _terminal_row(row)]  # no cell is markup
        made.add_row(*cells, style="dim" if row["role"] != "family" else None)
    return made


def main_columns(facts: Facts) -> pd.DataFrame:
    """The same columns as a frame of words, for notebooks."""
    import pandas as pd

    rows = [_terminal_row(row) for row in facts["rows"]]
    head = ["", *TERMINAL.values(), "kind", "copies"]
    return pd.DataFrame(rows, columns=head).set_index("")


def _terminal_row(row: Facts) -> list[str]:
    if row["failure"]:
        return [row["name"], *[NONE] * len(TERMINAL), "failed", ""]
    copies = {True: "yes", False: "no", None: NONE}[row["copies"]]
    cells = [_terse(row["numbers"][k], error=k == "log_prob") for k in TERMINAL]
    return [row["name"], *cells, row["kind"] or "none", copies]


def _terse(cell: Facts, *, error: bool) -> str:
    if cell.get("value") is None:
        return NONE
    if error and cell["stderr"]:
        return f"{shown(cell)[0]} ±{fixed(cell['stderr'], decimals(cell))}"
    value = cell["value"]
    size = next(((v, u) for v, u in ((1e6, "M"), (1e3, "k")) if value >= v), (1.0, ""))
    return f"{value / size[0]:.3g}{size[1]}"


def seeds(protocol: Facts) -> str:
    """How many seeds, in words."""
    n = len(protocol["seeds"])
    return f"{n} seed{'s' if n > 1 else ''}"

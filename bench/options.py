"""What every option moves: a small experiment for each, and docs/options.md from all of them.

    python -m bench.options [--family gan] ... [--option clip] ... [--missing] [--out docs/options.md]

Each row fits a base and the same with one option changed, from the same seeds, and reads one number off both. The
error is that of the paired difference over fits and rows, both random; a difference whose 95 % interval holds 0 is
marked as such. What is not measured anew (--family, --option; --missing: what the page lacks) stays on the page as
long as its experiment is the same.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import likeness.routes  # noqa: F401 - registers the ways of answering
from bench.options_measures import NUMBERS, Fitted, data, fitted
from bench.options_rows import ROWS, SHARED, SHARED_BY, Row, Setting
from likeness import registry
from likeness.metrics.intervals import Interval, crossed_mean, paired_difference

INTRODUCTION = """# Options

What every option of every family moves, measured by `python -m bench.options` (one thread; rows may be of different
runs): the number at the base and with that one option changed, each with its error, and their difference, paired over
seeds and fresh rows. Experiments are small, so that they show a direction, not the best that can be reached. *Noise*
marks a difference whose 95 % interval holds 0. Meanings are the families' own words (`likeness families NAME`)."""
HEAD = "| option | meaning | number | base | changed | difference | what it says | experiment |"


@dataclass(frozen=True)
class Line:
    """A row of the page."""

    option: str
    meaning: str
    number: str
    base: str
    changed: str
    difference: str
    says: str
    experiment: str

    @classmethod
    def parse(cls, text: str) -> Line:
        """What `str` wrote."""
        cells = re.split(r" (?<!\\)\| ", text.strip().removeprefix("| ").removesuffix(" |"))
        return cls(*(cell.replace("\\|", "|") for cell in cells))

    def __str__(self) -> str:
        return (
            "| " + " | ".join(str(cell).replace("|", "\\|") for cell in vars(self).values()) + " |"
        )

    def of(self, other: Line) -> bool:
        """Whether two lines are of one experiment, whatever it found and says."""
        return all(
            getattr(self, name).split(": ")[0] == getattr(other, name).split(": ")[0]
            for name in ("option", "number", "base", "changed", "experiment")
        )


# ---- measuring -----------------------------------------------------------------------------------------------------


def family_of(section: str) -> str:
    """The family that a section's rows are measured on."""
    return SHARED_BY if section == SHARED else section


@cache
def _fits(family: str, setting: str, options: str) -> list[Fitted]:
    """A model for each seed; texts of JSON, so that equal fits are found again."""
    s, chosen = Setting(**json.loads(setting)), json.loads(options)
    return [fitted(family, data(s.data), chosen, s.steps, seed, s.held) for seed in range(s.seeds)]


def values(family: str, row: Row, changed: dict[str, Any]) -> Tensor:
    """The row's number for every seed and every scored row, (S, B) or (S, 1)."""
    rest = json.dumps({**vars(row.setting), "options": {}})
    fits = _fits(family, rest, json.dumps(row.setting.options | changed, sort_keys=True))
    return torch.stack([NUMBERS[row.number].of(f).reshape(-1) for f in fits])


def measured(section: str, row: Row) -> Line:
    """The row's number on both sides, and the paired difference."""
    family, blank = family_of(section), unmeasured(section, row)
    base, other = values(family, row, {}), values(family, row, {row.option: row.other})
    change = paired_difference(other, base)
    noise = " *noise*" if change.low <= 0 <= change.high else ""
    return replace(
        blank, base=f"{blank.base}: {_number(crossed_mean(base))}",
        changed=f"{blank.changed}: {_number(crossed_mean(other))}", difference=_number(change) + noise,
    )  # fmt: skip


# ---- the page ------------------------------------------------------------------------------------------------------


def unmeasured(section: str, row: Row) -> Line:
    """The row's line before anything is found."""
    known = registry.family(family_of(section)).Config.model_fields[row.option]
    base = row.setting.options.get(row.option, known.default)
    return Line(
        f"`{row.option}`", str(known.description), NUMBERS[row.number].words, f"`{_shown(base)}`",
        f"`{_shown(row.other)}`", "", row.says, _words(row.setting),
    )  # fmt: skip


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{k}={_shown(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return "(" + ", ".join(map(_shown, value)) + ("," if len(value) == 1 else "") + ")"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _number(found: Interval) -> str:
    return (
        f"{found.value:.4g} ± {found.stderr:.1g}" if found.stderr > 1e-12 else f"{found.value:.4g}"
    )


def _words(setting: Setting) -> str:
    options = ", ".join(f"{k}={_shown(v)}" for k, v in setting.options.items()) or "defaults"
    budget = f"{setting.steps} steps" if isinstance(setting.steps, int) else setting.steps
    held = f", {setting.held:.0%} held out" if setting.held else ""
    return f"{data(setting.data).words}{held}; {options}; {budget}, {setting.seeds} seeds"


def lines_of(path: Path) -> dict[str, list[Line]]:
    """The lines of a page by the titles of their sections."""
    parts = re.split(
        r"^## ", path.read_text(encoding="utf-8") if path.exists() else "", flags=re.MULTILINE
    )[1:]
    return {
        p.split("\n", 1)[0]: [Line.parse(t) for t in p.splitlines() if t.startswith("| `")]
        for p in parts
    }


def write(path: Path, page: dict[str, list[Line]]) -> None:
    """The page."""
    tables = [
        "\n".join([f"## {name}", "", HEAD, "|" + "---|" * 8, *map(str, lines)])
        for name, lines in page.items()
    ]
    path.write_text("\n\n".join([INTRODUCTION, *tables]) + "\n", encoding="utf-8")


def made(section: str, row: Row, known: list[Line], *, anew: bool) -> Line | None:
    """The row's line as it stands on the page, or measured; None where neither is to be had."""
    if anew:
        return measured(section, row)
    blank = unmeasured(section, row)
    kept = next((line for line in known if line.of(blank)), None)
    return (
        None
        if kept is None
        else replace(blank, base=kept.base, changed=kept.changed, difference=kept.difference)
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--family", action="append", choices=[*ROWS], help="measure these sections only"
    )
    parser.add_argument("--option", action="append", help="measure the rows of these options only")
    parser.add_argument("--missing", action="store_true", help="measure only what the page lacks")
    parser.add_argument("--out", type=Path, default=Path("docs/options.md"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    registry.load_all()
    known = lines_of(args.out)
    page = {
        name: [made(name, r, known.get(name, []), anew=False) for r in rows]
        for name, rows in ROWS.items()
    }
    for name in args.family or ROWS:
        for i, row in enumerate(ROWS[name]):
            if (args.option and row.option not in args.option) or (
                args.missing and page[name][i] is not None
            ):
                continue
            page[name][i] = made(name, row, [], anew=True)
            print(name, page[name][i], flush=True)
            write(
                args.out,
                {n: [line for line in lines if line is not None] for n, lines in page.items()},
            )
        _fits.cache_clear()
    lacking = [
        f"{n}.{ROWS[n][i].option}"
        for n, lines in page.items()
        for i, line in enumerate(lines)
        if line is None
    ]
    print(f"not on the page: {', '.join(lacking) or 'nothing'}")


if __name__ == "__main__":
    main()

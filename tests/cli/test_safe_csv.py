"""--safe-csv: no cell of a table is a formula, numbers stay numbers, and without it nothing changes."""

import csv

import numpy as np
import pandas as pd
import pytest

import likeness as lk

FIRST = ("=", "+", "-", "@", "\t", "\r")
KINDS = ("=1+1", "@SUM(1)", "plain")


@pytest.fixture(scope="module")
def place(cli, tmp_path_factory):
    """Rows whose categories and names are formulas, and a model of them."""
    folder = tmp_path_factory.mktemp("formulas")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "-n()": np.round(rng.normal(size=120), 2),
            "=kind": rng.choice(KINDS, 120),
            "given": rng.choice(["+a", "b"], 120),
        }
    )
    frame.to_csv(folder / "rows.csv", index=False)
    frame.loc[3, "-n()"] = np.nan
    frame.head(9).to_csv(folder / "holes.csv", index=False)
    said = cli(
        f"fit {folder}/rows.csv mixture components=1 --given given --budget '3 steps' --out {folder}/model"
    )
    assert said.code == 0, said.err
    return folder


def cells(text: str) -> list[str]:
    return [cell for row in csv.reader(text.splitlines()) for cell in row]


def number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def formulas(text: str) -> list[str]:
    return [c for c in cells(text) if c.startswith(FIRST) and not number(c)]


COMMANDS = (
    "sample {at}/model -n 20 --seed 0",
    "score {at}/model {at}/rows.csv --keep",
    "classify {at}/model {at}/rows.csv --keep",
    "encode {at}/model {at}/rows.csv --keep",
    "complete {at}/model {at}/holes.csv --seed 0",
)


@pytest.mark.parametrize("line", COMMANDS, ids=[line.split()[0] for line in COMMANDS])
def test_no_cell_is_a_formula_where_that_is_asked_for(cli, place, line: str) -> None:
    plain = cli(line.format(at=place))
    safe = cli(f"{line.format(at=place)} --safe-csv")
    assert plain.code == safe.code == 0, safe.err
    assert {"=1+1", "=kind"} <= set(formulas(plain.out))
    assert formulas(safe.out) == []
    back = [c[1:] if c.startswith("'") else c for c in cells(safe.out)]
    assert back == cells(plain.out)
    assert any(number(c) and c.startswith("-") for c in cells(safe.out))
    assert cli(f"{line.format(at=place)} --out {place}/safe.csv --safe-csv").code == 0
    assert (place / "safe.csv").read_text(encoding="utf-8") == safe.out


def test_draws_are_written_so_in_python(place) -> None:
    draws = lk.open(place / "model").sample(20, seed=0)
    draws.save(place / "plain.csv")
    draws.save(place / "safe.csv", safe=True)
    assert "=1+1" in formulas((place / "plain.csv").read_text())
    assert formulas((place / "safe.csv").read_text()) == []


@pytest.mark.parametrize("verb", ["sample", "score", "classify", "encode", "complete", "forecast"])
def test_the_help_of_every_command_that_writes_a_table_says_so(cli, verb: str) -> None:
    said = " ".join(cli(f"{verb} --help").out.split())
    assert "--safe-csv" in said
    assert "apostrophe" in said

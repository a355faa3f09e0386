"""One small table with every kind of column and holes, one mixture fitted to it, and the command line in-process."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from likeness.cli import app

ROWS = 160


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def cli():
    def run(line: str) -> Said:
        found = CliRunner().invoke(app, shlex.split(line))
        return Said(found.exit_code, found.stdout, found.stderr)

    return run


def table(rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    city = rng.choice(["Bern", "Genève", "Zürich"], rows)
    days = pd.Timestamp("2021-01-01") + pd.to_timedelta(rng.integers(0, 900, rows), unit="D")
    frame = pd.DataFrame(
        {
            "id": np.arange(500, 500 + rows),
            "income": np.round(rng.normal(30000, 5000, rows) + 4000 * (city == "Bern"), 2),
            "city": city,
            "signup": days.strftime("%Y-%m-%d"),
            "kids": rng.poisson(1.2, rows),
            "smoker": rng.choice(["yes", "no"], rows),
        }
    )
    for name, share in (("income", 0.1), ("city", 0.1), ("signup", 0.05)):
        frame.loc[rng.random(rows) < share, name] = None
    return frame


@pytest.fixture(scope="session")
def people(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "people.csv"
    table().to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def fitted(cli, people) -> tuple[Path, Said]:
    """The folder of a mixture given `smoker`, and what fitting it said."""
    folder = people.parent / "mixture"
    said = cli(
        f"fit {people} mixture components=2 passes=10 --given smoker --budget '10 steps' --out {folder}"
    )
    assert said.code == 0, said.err
    return folder, said

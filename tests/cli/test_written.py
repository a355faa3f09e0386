"""Tables of truth values, dates and amounts as people write them: through a fit and out again in their own form."""

import numpy as np
import pandas as pd
import pytest

RNG = np.random.default_rng(0)
ROWS = 80


@pytest.fixture(scope="module")
def shop(cli, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    price = np.round(RNG.normal(500, 90, ROWS), 2)
    born = pd.Timestamp("1960-01-01") + pd.to_timedelta(RNG.integers(0, 9000, ROWS), unit="D")
    frame = pd.DataFrame({
        "price": [f"{p:.2f}".replace(".", ",") for p in price], "born": born.strftime("%d.%m.%Y"),
        "smoker": RNG.random(ROWS) < 0.5, "mood": RNG.choice(["None", "Mild"], ROWS),
    })  # fmt: skip
    frame.to_csv(folder / "shop.csv", sep=";", index=False)
    said = cli(
        f"fit {folder / 'shop.csv'} mixture components=2 --budget '20 steps' --out {folder / 'run'}"
    )
    assert said.code == 0, said.err
    return folder, frame, said


def test_the_fit_says_how_it_read_the_columns(shop):
    assert "'price' is written with decimal commas" in shop[2].out
    assert "'born' holds dates written day, month, year" in shop[2].out
    assert "mood    2 categories: Mild, None" in shop[2].out


def test_draws_look_like_the_data(cli, shop, tmp_path):
    said = cli(
        f"sample {shop[0] / 'run'} -n 20 --seed 0 --fix smoker=True --out {tmp_path / 's.csv'}"
    )
    assert said.code == 0, said.err
    drawn = pd.read_csv(tmp_path / "s.csv", dtype=str, keep_default_na=False)
    assert set(drawn["smoker"]) == {"True"}
    assert drawn["born"].str.fullmatch(r"\d{4}-\d\d-\d\d").all()
    assert drawn["price"].str.fullmatch(r"\d+\.\d{1,2}").all()
    assert set(drawn["mood"]) <= {"None", "Mild"}
    said = cli(f"score {shop[0] / 'run'} {tmp_path / 's.csv'}")
    assert said.code == 0, said.err


def test_filled_cells_are_written_as_their_column_is(cli, shop, tmp_path):
    folder, frame, _ = shop
    holed = frame.astype(str).mask(RNG.random(frame.shape) < 0.2, "")
    holed.to_csv(tmp_path / "holes.csv", sep=";", index=False)
    said = cli(
        f"complete {folder / 'run'} {tmp_path / 'holes.csv'} --seed 0 --out {tmp_path / 'full.csv'}"
    )
    assert said.code == 0, said.err
    full = pd.read_csv(tmp_path / "full.csv", dtype=str, keep_default_na=False)
    assert full["price"].str.fullmatch(r"\d+,\d\d").all()
    assert full["born"].str.fullmatch(r"\d\d\.\d\d\.\d{4}").all()
    assert set(full["smoker"]) == {"True", "False"}
    known = (holed != "").to_numpy()
    assert (full.to_numpy()[known] == holed.to_numpy()[known]).all()

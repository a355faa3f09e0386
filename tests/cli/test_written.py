"""Tables of truth values, dates and amounts as people write them: through a fit and out again in their own form."""

import numpy as np
import pandas as pd
import pytest

import likeness as lk

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
    assert drawn["born"].str.fullmatch(r"\d\d\.\d\d\.\d{4}").all()
    assert drawn["price"].str.fullmatch(r"\d+,\d\d").all()
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


OWN = pd.DataFrame({
    "zip": RNG.choice(["01067", "09111", "80331"], ROWS),
    "paid": [f"(${v:,.2f})" if k % 3 else f"${v:,.2f}" for k, v in enumerate(RNG.lognormal(7, 1, ROWS))],
    "share": [f"{v:.1f}%".replace(".", ",") for v in RNG.uniform(0, 99, ROWS)],
    "when": (pd.Timestamp("2020-01-05") + pd.to_timedelta(RNG.integers(0, 900, ROWS), unit="D")).strftime("%d-%b-%Y"),
    "at": [f"{h}:{m:02} PM" for h, m in zip(RNG.integers(1, 12, ROWS), RNG.integers(0, 60, ROWS), strict=True)],
    "ok": RNG.choice(["true", "false"], ROWS),
    "serial": RNG.integers(0, 900, ROWS) * 8 + 3,
    "lakh": [f"{v // 100000},{v // 1000 % 100:02},{v % 1000:03}" for v in RNG.integers(100000, 9999999, ROWS)],
})  # fmt: skip
SHAPES = {
    "zip": r"01067|09111|80331", "paid": r"\$[\d,]+\.\d\d|\(\$[\d,]+\.\d\d\)",
    "share": r"-?\d+,\d%", "when": r"\d\d-[A-Z][a-z][a-z]-\d{4}",
    "at": r"-?\d+:\d\d (AM|PM)", "ok": "true|false", "serial": r"-?\d+", "lakh": r"-?(\d{1,2},)?(\d\d,)*\d{1,3}",
}  # fmt: skip


def test_all_that_is_written_looks_as_the_file_does(cli, tmp_path):
    OWN.to_csv(tmp_path / "own.csv", index=False)
    said = cli(f"fit {tmp_path}/own.csv independent --budget '3 steps' --out {tmp_path}/run")
    assert said.code == 0, said.err
    drawn = tmp_path / "drawn.csv"
    assert cli(f"sample {tmp_path}/run -n 40 --seed 0 --out {drawn}").code == 0
    holes = OWN.astype(str).mask(RNG.random(OWN.shape) < 0.3, "")
    holes.to_csv(tmp_path / "holes.csv", index=False)
    said = cli(f"complete {tmp_path}/run {tmp_path}/holes.csv --seed 0 --out {tmp_path}/full.csv")
    assert said.code == 0, said.err
    for name in ("drawn", "full"):
        frame = pd.read_csv(tmp_path / f"{name}.csv", dtype=str, keep_default_na=False)
        for column, shape in SHAPES.items():
            assert frame[column].str.fullmatch(shape).all(), (column, frame[column].tolist()[:5])
    model = lk.open(tmp_path / "run")
    model.sample(40, seed=0).save(tmp_path / "python.csv")
    assert (tmp_path / "python.csv").read_text() == drawn.read_text()
    assert cli(f"score {tmp_path}/run {drawn} --out {tmp_path}/scores.csv").code == 0

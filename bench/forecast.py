"""Rolling forecasts of real series: how often values fall inside the 90 % interval, and CRPS beside a seasonal draw.

    LIKENESS_DATA=... python -m bench.forecast [--series ett] [--family hmm] [--set latents=24] ... [--steps 24]

ETTh1 (hourly, 7 columns; ett/ETTh1.csv) and daily exchange rates (8 columns; exchange_rate/exchange_rate.txt.gz), each
column over its deviation in the training part, the first 65 %. A law is fitted to windows of that part and asked, from
many origins in the rest, what follows the window before each: `forecast`, n draws. Rates are logarithms.
`--of changes` fits to changes from a season before (a day of 24 hours; for rates the day before), whose draws are added
to what was there a season before.

CRPS is the mean over columns, origins and steps, in deviations of the training part. The draws to compare with are
`seasonal`: the value a season before (a day; for rates the last one) plus what that missed in the training part.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import likeness as lk
from bench.arguments import assignment
from likeness.metrics.calibration import crps

GROUPS = ((0, 1), (1, 6), (6, 12), (12, 24))
SHARE = 0.65


@dataclass(frozen=True)
class Series:
    """A series (T, C), how many steps a window has, and after how many things come again."""

    title: str
    path: str
    window: int
    season: int
    logs: bool
    stride: int  # between origins


SERIES = {
    "ett": Series("ETTh1", "ett/ETTh1.csv", 336, 24, logs=False, stride=25),
    "rates": Series(
        "exchange rates", "exchange_rate/exchange_rate.txt.gz", 250, 1, logs=True, stride=13
    ),
}
FITS: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "ett": [
        ("linear_dynamical", "levels", {"latents": 24, "passes": 300}),
        ("linear_dynamical", "changes", {"latents": 24, "passes": 300}),
        ("hmm", "levels", {"states": 24, "covariance": "full", "restarts": 1}),
        ("hmm", "changes", {"states": 24, "covariance": "full", "restarts": 1}),
    ],
    "rates": [
        ("linear_dynamical", "levels", {"latents": 8}),
        ("linear_dynamical", "changes", {"latents": 8}),
        ("hmm", "changes", {"states": 5, "covariance": "full"}),
    ],
}


def read(series: Series) -> np.ndarray:
    """Columns over the mean and deviation of their training part, (T, C)."""
    path = Path(os.environ["LIKENESS_DATA"]) / series.path
    dated = path.suffix == ".csv"
    with path.open() as lines:
        width = len(lines.readline().split(",")) if dated else 0
    columns = range(1, width) if dated else None
    x = np.loadtxt(path, delimiter=",", skiprows=int(dated), usecols=columns)
    x = np.log(x) if series.logs else x
    train = x[: int(SHARE * len(x))]
    return (x - train.mean(0)) / train.std(0)


def origins(series: Series, x: np.ndarray, steps: int) -> np.ndarray:
    """Where forecasts begin: all of what they look back on and ahead to lies behind the training part."""
    return np.arange(int(SHARE * len(x)) + series.window, len(x) - steps, series.stride)


def seasonal(series: Series, x: np.ndarray, start: np.ndarray, steps: int, n: int) -> np.ndarray:
    """Draws (n, B, steps, C): the last season again, plus whole paths of its errors in the training part."""
    ahead = np.arange(steps)
    back = series.season * (
        ahead // series.season + 1
    )  # whole seasons, to values that are known by then
    past = np.arange(series.season * (steps // series.season + 1), int(SHARE * len(x)) - steps)
    chosen = np.random.default_rng(0).choice(past, n)
    missed = x[chosen[:, None] + ahead] - x[chosen[:, None] + ahead - back]
    return x[start[:, None] + ahead - back] + missed[:, None]


def law(
    series: Series, x: np.ndarray, family: str, options: dict[str, Any], of: str
) -> tuple[Any, float]:
    """A family fitted to the windows of the training part, and the processor time it took."""
    train = x[: int(SHARE * len(x))]
    train = changed(series, train) if of == "changes" else train
    last = len(train) - series.window + 1
    windows = [
        train[i : i + series.window] for i in range(last % series.window, last, series.window)
    ]
    begun = time.process_time()
    model = lk.fit(family, windows, holdout=0.0, progress=False, seed=0, **options)
    return model, time.process_time() - begun


def changed(series: Series, x: np.ndarray) -> np.ndarray:
    """What changed since a season before."""
    return x[series.season :] - x[: -series.season]


def drawn(
    series: Series, x: np.ndarray, model: Any, start: np.ndarray, steps: int, n: int, of: str
) -> np.ndarray:
    """Draws of what comes, (n, B, steps, C)."""
    lag = series.season if of == "changes" else 0
    history = [x[o - series.window - lag : o] for o in start]
    history = [changed(series, h) for h in history] if lag else history
    y: np.ndarray = model.forecast(history, steps, n=n, seed=0).x.numpy().copy()
    for h in range(steps if lag else 0):
        y[:, :, h] += y[:, :, h - lag] if h >= lag else x[start + h - lag]
    return y


def judged(draws: np.ndarray, truth: np.ndarray) -> list[float]:
    """Share inside the 90 % interval by horizon and over all, and CRPS."""
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    inside = (truth >= low) & (truth <= high)
    groups = [float(inside[:, lo:hi].mean()) for lo, hi in GROUPS if lo < inside.shape[1]]
    return [
        *groups,
        float(inside.mean()),
        float(crps(torch.from_numpy(draws), torch.from_numpy(truth)).mean()),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", action="append", choices=[*SERIES])
    parser.add_argument("--family", action="append", choices=["linear_dynamical", "hmm"])
    parser.add_argument("--set", action="append", type=assignment, default=[], metavar="NAME=VALUE")
    parser.add_argument("--of", action="append", choices=["levels", "changes"])
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--draws", type=int, default=200)
    asked = parser.parse_args()
    names = " | ".join(f"{lo + 1} to {hi}" if hi - lo > 1 else str(hi) for lo, hi in GROUPS)
    print(f"| series | law | {names} | all | CRPS | fit |\n|---|---|{'---|' * (len(GROUPS) + 3)}")
    for name in asked.series or [*SERIES]:
        series = SERIES[name]
        x = read(series)
        start = origins(series, x, asked.steps)
        truth = x[start[:, None] + np.arange(asked.steps)]
        told = f"{series.title}, {len(start)} origins"
        show(
            told,
            "seasonal",
            judged(seasonal(series, x, start, asked.steps, asked.draws), truth),
            0.0,
        )
        for family, of, own in FITS[name]:
            if family not in (asked.family or [family]) or of not in (asked.of or [of]):
                continue
            options = own | dict(asked.set)
            model, seconds = law(series, x, family, options, of)
            found = judged(drawn(series, x, model, start, asked.steps, asked.draws, of), truth)
            show(told, f"{family} of {of}, {options}", found, seconds)


def show(series: str, law: str, found: list[float], seconds: float) -> None:
    shares = " | ".join(f"{value:.3f}" for value in found[:-1])
    print(f"| {series} | {law} | {shares} | {found[-1]:.4f} | {seconds:.0f} s |", flush=True)


if __name__ == "__main__":
    main()

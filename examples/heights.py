"""Maximum likelihood
==================

The heights of ten people, a coin whose bias is bounded, a die with tied faces.

argmin KL(data || p) = argmax mean log p: the two objectives differ by the data's entropy, so they share the place of
their optimum and not its value. The maximum-likelihood variance of the heights is 0.002921; 0.0015, which is sometimes
quoted for them, costs 1.4 nats. A narrow family keeps a floor however many data come; a wide one starts worse, because
it has more to learn, and ends better.
"""

import math
from pathlib import Path

import numpy as np
from _page import BLUE, GREY, ORANGE, RED, command, mark, page, write
from scipy.special import xlogy
from scipy.stats import binom, norm

import likeness as lk

HEIGHTS = np.array([1.6, 1.7, 1.65, 1.63, 1.75, 1.71, 1.68, 1.72, 1.77, 1.62])  # metres
FLIPS = (7, 3)  # heads, tails
ROLLS = np.array([14, 9, 19, 21, 16, 21])  # how often each face came
ALLOWED = np.linspace(0.2, 0.3, 1001)


def bernoulli_kl(p: float, q: np.ndarray) -> np.ndarray:
    """KL(Ber(p) || Ber(q)) in nats."""
    return xlogy(p, p / q) + xlogy(1 - p, (1 - p) / (1 - q))


def selection(truth: float, flips: np.ndarray) -> np.ndarray:
    """The mean of KL(truth || fit) over all outcomes of so many flips: all coins, and those from 0.2 to 0.3, (2, F)."""
    found = []
    for n in flips:
        heads = np.arange(n + 1)
        fits = (
            (heads + 1) / (n + 2),
            np.clip(heads / n, 0.2, 0.3),
        )  # the posterior mean, for heads / n may be 0 or 1
        found.append([binom.pmf(heads, n, truth) @ bernoulli_kl(truth, fit) for fit in fits])
    return np.array(found).T


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """Fit all three; quick changes nothing, for all is in closed form."""
    # Heights: one Gaussian. The density at its mode, 1 / sqrt(2 pi var), tells its variance in data units.
    model = lk.fit("gaussian", HEIGHTS[:, None], holdout=0.0, progress=False)
    mean = float(model.mode().x)
    variance = math.exp(-2 * float(model.log_prob([[mean]]).value)) / (2 * math.pi)
    fitted = float(model.log_prob(HEIGHTS[:, None]).value.sum())
    quoted = float(norm(mean, math.sqrt(0.0015)).logpdf(HEIGHTS).sum())
    assert math.isclose(mean, 1.683, abs_tol=1e-9)
    assert math.isclose(variance, 0.002921, abs_tol=1e-9)
    assert math.isclose(fitted, 14.98976, abs_tol=1e-5)
    assert math.isclose(quoted, 13.585, abs_tol=1e-3)

    # A fair coin seen through the laws Ber(theta) with 0.2 <= theta <= 0.3: the nearest is the edge, and a gap remains.
    theta = np.linspace(0.01, 0.99, 981)
    kl = bernoulli_kl(0.5, ALLOWED)
    best, gap = float(ALLOWED[kl.argmin()]), float(kl.min())
    assert best == 0.3
    assert math.isclose(gap, 0.0872, abs_tol=5e-5)
    likelihood = FLIPS[0] * np.log(theta) + FLIPS[1] * np.log(1 - theta)
    divergence = bernoulli_kl(FLIPS[0] / sum(FLIPS), theta)
    assert likelihood.argmax() == divergence.argmin() == abs(theta - 0.7).argmin()
    # A uniform prior over coins is one imagined flip of each side: the next flip is heads with the mean of Beta(8, 4).
    flips = np.repeat([1, 0], FLIPS)[:, None]
    coin = lk.fit("independent", flips, holdout=0.0, smoothing=1.0, progress=False)
    posterior = math.exp(float(coin.log_prob([[1]]).value))
    assert math.isclose(posterior, 8 / 12, abs_tol=1e-9)

    # A die: 5 free numbers; or its first three and its last three faces tied, one number, each face a third of a half.
    rolled = np.repeat(np.arange(6), ROLLS)[:, None]
    die = lk.fit("independent", rolled, holdout=0.0, smoothing=0.0, progress=False)
    free = die.log_prob(np.arange(6)[:, None]).value.exp().numpy()
    tied = np.repeat([ROLLS[:3].sum(), ROLLS[3:].sum()], 3) / (3 * ROLLS.sum())
    assert np.allclose(free, ROLLS / ROLLS.sum(), rtol=0, atol=1e-9)
    assert (
        math.isclose(tied.sum(), 1) and (ROLLS * np.log(free)).sum() > (ROLLS * np.log(tied)).sum()
    )

    # All coins against the bounded ones, when the truth is a little outside the bounds: the wide family needs flips.
    flips = np.unique(np.append(np.arange(2, 200), np.geomspace(200, 2000, 20).astype(int)))
    wide, narrow = selection(0.35, flips)
    floor = float(bernoulli_kl(0.35, np.array(0.3)))
    assert narrow[0] < wide[0] and narrow[-1] > wide[-1] and narrow.min() > 0.99 * floor
    enough = int(flips[(wide > narrow).nonzero()[0][-1] + 1])

    figure, (left, middle, right, few) = page(2, 2)
    x = np.linspace(1.5, 1.87, 300)
    left.plot(
        x,
        norm(mean, math.sqrt(variance)).pdf(x),
        color=BLUE,
        label=f"var 0.002921: log p = {fitted:.3f}",
    )
    left.plot(
        x,
        norm(mean, math.sqrt(0.0015)).pdf(x),
        color=RED,
        ls="--",
        label=f"var 0.0015: log p = {quoted:.3f}",
    )
    left.plot(HEIGHTS, 0 * HEIGHTS, "|", color="black", ms=14)
    left.set_ylim(0, 13.5)
    mark(left, "Heights and two Gaussians", "height, m", "density, 1/m")
    middle.plot(
        theta, likelihood / sum(FLIPS), color=BLUE, label="mean log-likelihood of 7 heads, 3 tails"
    )
    middle.plot(theta, -divergence, color=ORANGE, ls="--", label="-KL(data || coin)")
    middle.axvspan(
        0.2, 0.3, color=GREY, alpha=0.25, lw=0, label="0.2 to 0.3: best is the edge, 0.3"
    )
    middle.axvline(0.7, ymax=0.78, color="black", lw=0.8, ls=":")
    middle.set_ylim(-1.6, 0.45)
    mark(
        middle,
        "Coin: one optimum, values apart by the entropy",
        "probability of heads",
        "nats a flip",
    )
    right.bar(np.arange(1, 7) - 0.2, free, 0.4, color=BLUE, label="free faces: 5 numbers")
    right.bar(np.arange(1, 7) + 0.2, tied, 0.4, color=ORANGE, label="tied halves: 1 number")
    right.set_ylim(0, 0.28)
    mark(right, f"Die: {ROLLS.sum()} rolls", "face", "probability")
    few.plot(flips, wide, color=BLUE, label="all coins")
    few.plot(flips, narrow, color=ORANGE, label="coins from 0.2 to 0.3")
    few.axhline(floor, color=ORANGE, lw=0.8, ls=":", label=f"their floor, {floor:.4f}")
    few.axvline(enough, color=GREY, lw=0.8, ls=":")
    few.set(xscale="log", yscale="log", ylim=(1e-4, 1))
    mark(
        few,
        f"Coin of 0.35: all coins win from {enough} flips",
        "flips",
        "mean KL to the truth, nats",
    )
    write(figure, out, "heights")
    return {"mean": mean, "variance": variance, "log-likelihood": fitted, "log-likelihood at 0.0015": quoted,
            "bounded coin": best, "KL left": gap, "flips that all coins need": enough,
            "coin posterior mean": posterior, "free faces": len(free) - 1,
            "tied faces": len(set(tied)) - 1}  # fmt: skip


if __name__ == "__main__":
    command(main)

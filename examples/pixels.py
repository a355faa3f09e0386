"""Binary images
=============

Independent, first-order Markov, logistic and deep autoregressive pixels, and what each one costs.

A distribution over n binary pixels has 2^n - 1 free numbers, and so has the chain rule, 2^0 + ... + 2^(n-1).
Independent pixels need n, a first-order Markov chain 2n - 1, logistic conditionals n(n + 1)/2. A masked net gives all
n conditionals in one pass, so densities are parallel; only drawing goes pixel by pixel. Classes 1, 2, 3 are
categorical, not Bernoulli.
"""

import itertools
import math
import time
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from _page import BLUE, GREY, command, mark, page, write
from sklearn.datasets import load_digits

import likeness as lk
from likeness.core.model import Model
from likeness.core.space import image
from likeness.metrics.intervals import paired_difference
from likeness.nets.masked import MaskedNet, MaskedStepper

TRAIN = 1400
BITS = 64 * math.log(2)  # nats of one bit a pixel
KNOWN = {
    "independent": (25.26, 64),
    "Markov": (24.13, 127),
    "logistic": (18.44, 2080),
}  # nats, free numbers


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels above half, as rows to learn from and to test on, (N, 1, 8, 8)."""
    x = (load_digits().images >= 8).astype(np.uint8)[
        np.random.default_rng(0).permutation(1797), None
    ]
    return x[:TRAIN], x[TRAIN:]


def fitted(quick: bool, train: np.ndarray) -> dict[str, Model]:
    """The four laws, each a special case of the next."""
    data = lk.load(train, space=image(1, 8, 8, levels=2), test=0.0).train
    plain = {"holdout": 0.0, "progress": False}
    deep = {"hidden": (256, 256), "batch": 64, "weight_decay": 0.1, "ema": 0.99}
    return {
        "independent": lk.fit(
            "autoregressive", data, budget=300, hidden=(), window=0, l2=1 / TRAIN, **plain
        ),
        "Markov": lk.fit(
            "autoregressive", data, budget=300, hidden=(), window=1, l2=1 / TRAIN, **plain
        ),
        "logistic": lk.fit("autoregressive", data, budget=300, hidden=(), l2=40 / TRAIN, **plain),
        "deep": lk.fit(
            "autoregressive", data, budget=300 if quick else 600, progress=False, **deep
        ),
    }


def dice(draws: int) -> tuple[np.ndarray, float]:
    """Frequencies of draws from Cat(0.1, 0.7, 0.2), and the chance of four 2s and one 3 in five."""
    p = np.array([0.1, 0.7, 0.2])
    drawn = np.searchsorted(p.cumsum(), np.random.default_rng(0).random(draws))
    return np.bincount(drawn, minlength=3) / draws, math.comb(5, 1) * p[1] ** 4 * p[2]


def summed(train: np.ndarray) -> float:
    """The probabilities of all 2^9 images of 3 x 3 pixels under a net that learned the middle of the digits."""
    data = lk.load(train[:, :, 2:5, 3:6], space=image(1, 3, 3, levels=2), test=0.0).train
    model = lk.fit("autoregressive", data, budget=30, holdout=0.0, hidden=(32,), progress=False)
    table = np.array(list(itertools.product((0, 1), repeat=9)), dtype=np.uint8).reshape(-1, 1, 3, 3)
    return float(model.log_prob(table).value.double().exp().sum())


def passes(model: Model, images: np.ndarray) -> tuple[int, int, float]:
    """Calls of the net for all densities at once, its steps for a draw, and the time of as many draws over the first's.

    A draw's steps come one after the other, each with the pixels before it, though together they are the work of one
    pass.
    """
    with mock.patch.object(
        MaskedNet, "forward", autospec=True, side_effect=MaskedNet.forward
    ) as calls:
        model.log_prob(images)
    with mock.patch.object(
        MaskedStepper, "params", autospec=True, side_effect=MaskedStepper.params
    ) as steps:
        model.sample(1, seed=0)
    spent = []
    for asked in (lambda: model.log_prob(images), lambda: model.sample(len(images), seed=0)):
        times = []
        for _ in range(3):
            start = time.process_time()
            asked()
            times.append(time.process_time() - start)
        spent.append(min(times))
    return calls.call_count, steps.call_count, spent[1] / spent[0]


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """Fit, score on held-out digits, draw."""
    frequencies, chance = dice(1_000_000)
    assert abs(frequencies - [0.1, 0.7, 0.2]).max() < 0.0015 and math.isclose(
        chance, 0.2401, abs_tol=1e-12
    )
    table = 2**784 - 1  # free numbers of all laws over 28 x 28 binary pixels
    assert (
        len(str(table)) == 237
        and sum(2**i for i in range(784)) == table
        and 256**3 - 1 == 16_777_215
    )

    images = 2**64  # classes of a linear classifier that answers a 4 x 4 image with an 8 x 8 one
    assert (
        f"{16 * images:.3g} {17 * images:.3g}" == "2.95e+20 3.14e+20"
    )  # weights; with a bias for each class
    train, test = digits()
    mass = summed(train)
    assert math.isclose(mass, 1, abs_tol=1e-6)
    models = fitted(quick, train)
    scores = {name: model.log_prob(test) for name, model in models.items()}
    nll = {name: -score.mean().value for name, score in scores.items()}
    bits = {name: float(score.bits_per_dim.mean()) for name, score in scores.items()}
    for name, (nats, free) in KNOWN.items():
        assert abs(nll[name] - nats) < 0.02, (name, nll[name])
        assert models[name].count() == free
        assert math.isclose(bits[name], nll[name] / BITS, rel_tol=1e-5)
    gain = paired_difference(scores["deep"].value, scores["logistic"].value)
    assert gain.value > 3 * gain.stderr

    # All densities take one pass, a draw one step for each pixel.
    one, drawing, slower = passes(models["deep"], test)
    assert one == 1 and drawing == 64 and slower > 1

    figure, plots = page(3, 2)
    names = list(models)
    plots[0].bar(names, [nll[n] for n in names], color=[GREY, GREY, GREY, BLUE],
                 yerr=[2 * scores[n].mean().stderr for n in names])  # fmt: skip
    for i, n in enumerate(names):
        plots[0].text(i, nll[n] / 2, f"{nll[n]:.2f} nats\n{bits[n]:.3f} bits\na pixel\n{models[n].count():,}\nnumbers",
                      ha="center", va="center", fontsize=7.5, color="white")  # fmt: skip
    mark(plots[0], "Held-out digits: each law holds the one before", "", "-log p, nats")
    shown = {"digits": torch.as_tensor(test[:25, 0])} | {
        n: m.sample(25, seed=0).x[:, 0] for n, m in models.items()
    }
    for plot, (name, x) in zip(plots[1:], shown.items(), strict=True):
        tiles = torch.nn.functional.pad(x.reshape(5, 5, 8, 8).float(), (1, 1, 1, 1), value=0.4)
        plot.imshow(tiles.permute(0, 2, 1, 3).reshape(50, 50), cmap="gray_r", vmin=0, vmax=1)
        plot.set_axis_off()
        mark(plot, name if name == "digits" else f"drawn: {name}")
    write(figure, out, "pixels")
    return {**{f"{n}, nats": v for n, v in nll.items()}, **{f"{n}, bits a pixel": v for n, v in bits.items()},
            "deep over logistic": gain.value, "its s.e.": gain.stderr, "sum over 2^9 images": mass,
            "passes for densities": one, "steps for a draw": drawing, "time of a draw over a density's": slower,
            "linear 4 x 4 to 8 x 8": 17.0 * images,
            "four 2s and a 3": chance, "digits of 2^784 - 1": len(str(table))}  # fmt: skip


if __name__ == "__main__":
    command(main)

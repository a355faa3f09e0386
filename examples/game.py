"""The game of generator and critic
================================

Who moves what, which way, from what noise, and how its end is recognised.

The critic ascends V = E log D(x) + E log(1 - D(G(z))) with the generator still; the generator descends V, or ascends
E log D(G(z)), with the critic still. z follows any distribution p(z); p_g is the distribution of x = G(z), a
different thing. At the end neither player can gain by moving alone: p_g = p_data, V = -log 4, D = 1/2 where there are
data, and a judge trained from scratch on the frozen generator does no better than a coin. That D is 1/2 and stands
still proves nothing by itself: a critic too blunt to tell the two distributions apart says so too.
"""

import math
from pathlib import Path

import numpy as np
import torch
from _page import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, command, mark, page, write
from scipy.stats import norm
from torch import Tensor

import likeness as lk
from likeness.api import training_table
from likeness.core.model import Model
from likeness.core.noise import Noise
from likeness.data.source import Table
from likeness.learn.fit import start
from likeness.metrics.intervals import Interval
from likeness.metrics.two_sample import c2st

OPTIONS = {
    "hidden": (32, 32), "latent": 16, "batch": 256, "ema": 0.99, "lr": 5e-3, "r1": 0.02, "r2": 0.0,
    "fourier": 8, "fourier_high": 2.0,
}  # fmt: skip
BLUNT = {"fourier": 0, "r1": 0.1, "lr": 2e-3}  # a critic too smooth to see two bumps
NOISES = {"normal": BLUE, "uniform": ORANGE, "discrete": PURPLE}
COLOURS = {**NOISES, "blunt critic": RED}
SHIFTS = (
    0.0,
    -2.0,
    -4.0,
    -6.0,
    -8.0,
    -10.0,
)  # of the critic's score: how sure it is that samples are fake
WEIGHT, MEAN, STD = np.array([0.6, 0.4]), np.array([-1.5, 1.5]), np.array([0.5, 0.8])


def data(n: int, seed: int) -> np.ndarray:
    """Draws of a mixture of two Gaussians, (n, 1)."""
    rng = np.random.default_rng(seed)
    which = (rng.random(n) < WEIGHT[1]).astype(int)
    return rng.normal(MEAN[which], STD[which])[:, None]


def new(table: Table, steps: int = 100, **options: object) -> lk.Run:
    """A game that has not begun: so many moves of each player."""
    chosen = {**OPTIONS, "loss": "non_saturating", **options}
    return lk.Run(start("gan", chosen, table, seed=0), table, 2 * steps)


def believed(model: Model, x: Tensor) -> Tensor:
    """D(x), (B,)."""
    return torch.sigmoid(-model.anomaly_score(x, seed=0)).double()


def value(model: Model, table: Table) -> float:
    """V = E log D(x) + E log(1 - D(G(z)))."""
    real, fake = (
        believed(model, table.batch.x[:1000]),
        believed(model, model.sample(1000, seed=1).x),
    )
    return float(real.log().mean() + torch.log1p(-fake).mean())


def alone(table: Table, player: str, still: str) -> float:
    """What twenty moves of one player do to V; the other's numbers stay as they were, bit for bit."""
    run = new(table)
    before = {k: v.clone() for k, v in run.model.state_dict().items() if k.startswith(still)}
    first = value(run.model, table)
    for _ in range(20):
        run.step(player)
    assert all(torch.equal(v, run.model.state_dict()[k]) for k, v in before.items())
    return value(run.model, table) - first


def slopes(table: Table, loss: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean D(G(z)), and the norm of the generator's gradient, for critics ever surer of themselves."""
    model = new(table, loss=loss).model
    noise, found = Noise(0, torch.arange(256)), []
    inside, _ = model.inputs(table.batch[slice(256)], noise)
    for shift in SHIFTS:
        with torch.no_grad():
            model.critic.last.linear.bias.fill_(shift)
        cost = model(inside, noise, "generator")["fake"].mean()
        parts = torch.autograd.grad(cost, list(model.generator.parameters()))
        size = math.sqrt(sum(float(g.square().sum()) for g in parts))
        found.append((float(believed(model, model.sample(256, seed=0).x).mean()), size))
    return tuple(np.array(found).T)


def played(table: Table, steps: int, **options: object) -> tuple[Model, np.ndarray]:
    """A game move by move to its end, and V on the way by the critic's own terms."""
    run, values = new(table, steps, **options), []
    for _ in range(steps):
        terms = run.step("critic").terms
        values.append(-terms["real"] - terms["fake"])
        run.step("generator")
    return run.finish(), np.array(values)


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """Single moves, gradients where the critic wins, and three games with unlike noise."""
    table = training_table(data(2_000 if quick else 10_000, 0))
    rises, falls = alone(table, "critic", "generator."), alone(table, "generator", "critic.")
    assert rises > 0 > falls
    curves = {loss: slopes(table, loss) for loss in ("minimax", "non_saturating")}
    (sure, saturated), (_, lively) = curves.values()
    ratio = lively / saturated
    assert np.allclose(
        ratio[-3:], 1 / sure[-3:], rtol=0.2
    )  # (1 - D) / D for a critic that says D everywhere
    assert np.allclose(lively[-3:], lively[-1], rtol=0.05)

    steps = 200 if quick else 800
    games = {n: played(table, steps, noise=n) for n in (["normal"] if quick else NOISES)}
    games["blunt critic"] = played(table, steps, **BLUNT)
    fresh = torch.as_tensor(data(2_000, 1))
    drawn = {n: model.sample(len(fresh), seed=0).x.double() for n, (model, _) in games.items()}
    judged: dict[str, Interval] = {n: c2st(fresh, x, seed=0) for n, x in drawn.items()}
    model, values = games["normal"]
    half, blunt = (
        float((believed(games[n][0], fresh) - 0.5).abs().mean()) for n in ("normal", "blunt critic")
    )
    assert (
        blunt < 0.05 and judged["blunt critic"].low > 0.6
    )  # an undecided critic, and samples that are easily told
    tail = float(values[-len(values) // 5 :].mean())
    if not quick:
        assert abs(tail + math.log(4)) < 0.02
        assert half < 0.05
        assert all(judged[n].value < 0.54 for n in NOISES) and 0.5 in judged["normal"]

    figure, (sizes, trace, laws, judges) = page(2, 2)
    for (name, (d, size)), colour in zip(curves.items(), (RED, BLUE), strict=True):
        label = {"minimax": "descends log(1 - D(G(z)))", "non_saturating": "ascends log D(G(z))"}[
            name
        ]
        sizes.plot(d, size, color=colour, marker="o", ms=4, label=label)
    sizes.set(xscale="log", yscale="log", ylim=(saturated[-1] / 3, 60 * lively.max()))
    mark(sizes, f"Critic wins: {ratio[-1]:,.0f} times the gradient at D = {sure[-1]:.0e}", "D(G(z))",
         "norm of the generator's gradient")  # fmt: skip
    width = max(1, len(values) // 60)
    smooth = values[: len(values) // width * width].reshape(-1, width).mean(1)
    trace.plot(np.arange(len(smooth)) * width, smooth, color=BLUE, label="V as the critic sees it")
    trace.axhline(-math.log(4), color="black", lw=0.8, ls=":", label="-log 4")
    mark(trace, f"V ends at {tail:.3f}", "moves of each player", "nats")
    x = np.linspace(-4, 5, 300)
    laws.fill_between(
        x, norm(MEAN, STD).pdf(x[:, None]) @ WEIGHT, color=GREY, alpha=0.4, lw=0, label="data"
    )
    for name, draws in drawn.items():
        laws.hist(draws[:, 0], np.linspace(-4, 5, 61), density=True, histtype="step", color=COLOURS[name],
                  label=f"G of {name} noise" if name in NOISES else f"G of a {name}")  # fmt: skip
    laws.plot(
        x,
        believed(model, torch.as_tensor(x)[:, None]),
        color=GREEN,
        lw=1.5,
        label="its D, normal noise",
    )
    laws.axhline(0.5, color=GREEN, lw=0.6, ls=":")
    laws.set(xlim=(-4, 5), ylim=(0, 1.05))
    mark(laws, f"At the end D is {half:.3f} off 1/2 where data are", "x", "D, density")
    for i, (name, j) in enumerate(judged.items()):
        judges.errorbar(
            [i],
            [j.value],
            yerr=[[j.value - j.low], [j.high - j.value]],
            marker="o",
            color=COLOURS[name],
        )
    judges.axhline(0.5, color="black", lw=0.8, ls=":", label="a coin")
    judges.set_xticks(range(len(judged)), [f"{n}\n{j.value:.3f}" for n, j in judged.items()])
    judges.set(xlim=(-0.6, len(judged) - 0.4), ylim=(0.45, 0.8))
    mark(judges, "A new judge of the frozen generator", "", "its accuracy on unseen items")
    write(figure, out, "game")
    return {"V after 20 moves of the critic": rises, "V after 20 moves of the generator": falls,
            "gradient ratio": float(ratio[-1]), "at D(G(z))": float(sure[-1]), "V at the end": tail,
            "D off 1/2": half, "D off 1/2, blunt critic": blunt,
            **{f"judge, {n}": j.value for n, j in judged.items()}}  # fmt: skip


if __name__ == "__main__":
    command(main)

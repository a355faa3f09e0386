"""Change of variables step by step
================================

log p(x) = log N(z; 0, I) + sum over maps of log |det df_k|.

In n dimensions the factor is |det df^-1/dx|, a number that says how a volume grows, and neither the Jacobian nor its
norm. Each map is differentiated at its own input: log p_k(z_k) = log p_(k-1)(z_(k-1)) - log |det df_k/dz_(k-1)|.
"""

import math
from pathlib import Path

import numpy as np
import torch
from _page import BLUE, GREY, ORANGE, RED, command, mark, page, write
from scipy.optimize import brentq
from scipy.stats import norm
from torch import Tensor

import likeness as lk
from likeness.core.batch import Batch
from likeness.core.model import Model
from likeness.core.noise import Noise


def walk(model: Model, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Where rows x (B, D) stand before and after every map, and each map's log |det|: standardising is the first."""
    inside, ladj, _ = model.preprocessor(Batch(x), Noise(0, torch.arange(len(x)), dtype=x.dtype))
    stops, ladjs = [x, inside.x], [ladj]
    for step in model.maps.parts:
        z, ladj = step(stops[-1], None, None)
        stops, ladjs = [*stops, z], [*ladjs, ladj]
    return stops, ladjs


def jacobian(model: Model, x: Tensor) -> Tensor:
    """dz/dx of each row by automatic differentiation, (B, D, D)."""
    x = x.clone().requires_grad_()
    z = walk(model, x)[0][-1]
    return torch.stack(
        [torch.autograd.grad(z[:, i].sum(), x, retain_graph=True)[0] for i in range(z.shape[1])], 1
    )


def one_number() -> tuple[np.ndarray, np.ndarray, float]:
    """x = z + z^3 / 3 with z ~ N(0, 1): p(x) = N(z(x)) |dz/dx|, and what it integrates to."""
    x = np.linspace(-60, 60, 24_001)
    z = np.array([brentq(lambda v, at=at: v + v**3 / 3 - at, -8, 8) for at in x])
    p = norm.pdf(z) / (1 + z**2)
    return x, p, float(p.sum() * (x[1] - x[0]))


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """One number in closed form; then a flow on the moons, its maps taken one at a time."""
    line, p_line, whole = one_number()
    assert math.isclose(whole, 1.0, abs_tol=1e-6)

    world = lk.world("moons")
    options = {
        "layers": 3,
        "hidden": (48, 48),
        "budget": 250 if quick else 2500,
        "holdout": 0.0,
        "progress": False,
    }
    model = lk.fit(
        "flow", world.source(2_000 if quick else 10_000, seed=0), ema=0.99, **options
    ).double()
    x = world.source(500, seed=1).batch.x
    answer = model.log_prob(x)
    stops, ladjs = walk(model, x)
    base = torch.as_tensor(norm.logpdf(stops[-1].detach().numpy())).sum(-1)
    assert torch.allclose(answer.value, base + torch.stack(ladjs).sum(0), rtol=0, atol=1e-9)
    assert torch.allclose(
        answer.value, torch.stack(list(answer.terms.values())).sum(0), rtol=0, atol=1e-9
    )
    brute = torch.linalg.slogdet(jacobian(model, x))[1]
    assert torch.allclose(torch.stack(ladjs).sum(0), brute, rtol=0, atol=1e-8)
    far = torch.cat(
        [x, 20 * torch.randn(100, 2, generator=torch.Generator().manual_seed(0), dtype=x.dtype)]
    )
    returned = model.decode(model.encode(far).point).point
    there_and_back = float(((returned - far).abs() / (1 + far.abs())).max())
    assert there_and_back < 1e-10

    # Four dimensions, the determinant by brute force; and det(A^-1) = 1 / det(A).
    four = lk.fit(
        "flow", lk.world("gaussian", n=4).source(500, seed=0), **{**options, "budget": 30}
    ).double()
    rows = 3 * torch.randn(50, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    change = jacobian(four, rows)
    base4 = torch.as_tensor(norm.logpdf(four.encode(rows).point.numpy())).sum(-1)
    assert torch.allclose(
        four.log_prob(rows).value, base4 + torch.linalg.slogdet(change)[1], rtol=0, atol=1e-8
    )
    assert torch.allclose(
        torch.linalg.det(torch.linalg.inv(change)), 1 / torch.linalg.det(change), rtol=1e-6
    )

    # The density integrates to 1; with the Jacobian's norm in place of its determinant it does not.
    axes = [
        torch.linspace(-3.5, 4.5, 400, dtype=x.dtype),
        torch.linspace(-3, 3.5, 325, dtype=x.dtype),
    ]
    plane, cell = (
        torch.cartesian_prod(*axes),
        float((axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])),
    )
    density = model.log_prob(plane).value.exp()
    mass = float(density.sum()) * cell
    norms = torch.linalg.matrix_norm(jacobian(model, plane), 2)
    wrong = float((model.log_prob(plane).terms["base"].exp() * norms).sum()) * cell
    assert abs(mass - 1) < 0.005 and abs(wrong - 1) > 0.1

    figure, plots = page(3, 2)
    plots[0].plot(line, p_line, color=BLUE, label=f"N(z) |dz/dx|: mass {whole:.4f}")
    plots[0].plot(line, norm.pdf(line), color=GREY, ls="--", label="N(z)")
    plots[0].set_xlim(-7, 7)
    plots[0].set_ylim(0, 0.52)
    mark(plots[0], "One number: x = z + z³ / 3", "x", "density")
    grid = density.sqrt().reshape(len(axes[0]), -1).T
    plots[1].contourf(axes[0], axes[1], grid, levels=14, cmap="Blues")
    plots[1].plot(*x.T, ".", ms=2, color=RED, alpha=0.6)
    plots[1].set(xlim=(-2, 3), ylim=(-1.6, 2))
    mark(plots[1], f"Moons and the flow: mass {mass:.4f}; by norms {wrong:.2f}")
    shown = stops[1], stops[1 + len(model.maps.parts) // 3], stops[-1]
    titles = "standardised", "after a third of the maps", "after all: N(0, I)"
    for plot, z, title in zip(plots[2:5], shown, titles, strict=True):
        plot.scatter(*z.detach().T, s=5, c=x[:, 0], cmap="coolwarm")
        plot.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal")
        mark(plot, title)
    names, terms = list(answer.terms), torch.stack(list(answer.terms.values()))
    order = answer.value.argsort()
    for name, row, colour in zip(
        ("base", "maps", "standardising"), grouped(names, terms), (GREY, BLUE, ORANGE), strict=True
    ):
        plots[5].plot(row[order], ".", ms=2.5, color=colour, label=name)
    plots[5].plot(answer.value[order], color="black", lw=1.2, label="their sum, log p(x)")
    plots[5].set_ylim(-7, 7)
    mark(plots[5], "Every row's terms add up", "rows by log p", "nats")
    write(figure, out, "change_of_variables")
    return {"mass in one dimension": whole, "mass in two": mass, "mass by norms": wrong,
            "error there and back": there_and_back}  # fmt: skip


def grouped(names: list[str], terms: Tensor) -> list[Tensor]:
    """Terms of the base, of all maps together, and of standardising."""
    kinds = [[n.startswith(k) for n in names] for k in ("base", "map", "preprocessing")]
    return [terms[torch.tensor(k)].sum(0) for k in kinds]


if __name__ == "__main__":
    command(main)

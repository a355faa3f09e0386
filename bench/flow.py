"""Masked autoregressive flows beside zuko's of the same architecture: training and sampling, rows a second.

One thread, processor time, ours and the peer's in turns, medians; `python -m bench.flow 6 63` names the dimensions. The
peer trains in fp32, ours in each arithmetic that a Run chooses among: fp32, oneDNN's fp32 (whose accuracy is checked)
and bf16. `python -m bench.flow --held-out affine` trains each on the same batches of a 43-D mixture and prints held-out
means of log p with the standard error of their paired difference from the peer's.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch
import zuko

from likeness.bijections import AffineStep, Autoregressive, Chain, SplineStep, Step
from likeness.core.precision import arithmetic, exact, products
from likeness.data.synthetic.gaussian import mixture43
from likeness.nets.masked import MaskedNet

LAYERS, HIDDEN, ROWS, PEER_ROWS = 5, (512, 512), 512, 64
SIZES = {"transforms": LAYERS, "hidden_features": HIDDEN}
PRECISIONS = ("fp32", "onednn", "bf16")
CPU = torch.device("cpu")
STEPS, TRAIN, HELD_OUT, LR = 600, 50_000, 10_000, 5e-4
KINDS = {
    "affine": (AffineStep, zuko.flows.MAF, 7),
    "spline": (SplineStep, zuko.flows.NSF, 5),
}  # and rounds


def flow(dim: int, step: Callable[[], Step]) -> Chain:
    """As many layers as the peer has, the order reversed in every second one."""
    parts = []
    for k in range(LAYERS):
        order = range(dim) if k % 2 == 0 else range(dim)[::-1]
        net = MaskedNet([1] * dim, [step().size] * dim, order=order, hidden=HIDDEN, residual=False)
        parts.append(Autoregressive(net, step()))
    return Chain(parts)


def nll(model: Chain, x: torch.Tensor) -> torch.Tensor:
    """-log p of each row under a standard normal base, nats."""
    z, ladj = model(x)
    return 0.5 * z.square().sum(-1) - ladj + 0.5 * x.shape[-1] * math.log(2 * math.pi)


class Trainer:
    """Steps of Adam on a loss of rows, in one arithmetic."""

    def __init__(
        self,
        model: torch.nn.Module,
        loss: Callable[[torch.Tensor], torch.Tensor],
        precision: str,
        lr: float = 1e-4,
    ) -> None:
        self.loss, self.precision = loss, precision
        self.optimiser = torch.optim.Adam(model.parameters(), lr=lr, fused=True)

    def step(self, x: torch.Tensor) -> None:
        self.optimiser.zero_grad()
        with arithmetic(self.precision, CPU):
            loss = self.loss(x).mean()
        with products(self.precision):
            loss.backward()
        self.optimiser.step()


def contestants(
    dim: int, step: Callable[[], Step], peer: torch.nn.Module, lr: float = 1e-4
) -> dict[str, Trainer]:
    """Ours in each arithmetic, the same model anew, and the peer's."""
    found = {}
    for precision in PRECISIONS:
        torch.manual_seed(0)
        model = flow(dim, step)
        found[precision] = Trainer(model, lambda x, model=model: nll(model, x), precision, lr)
    return found | {"zuko": Trainer(peer, lambda x: -peer().log_prob(x), "fp32", lr)}


def seconds(work: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def in_turns(*works: Callable[[], object], rounds: int) -> list[float]:
    """The median processor time of each, called in turns after one call that does not count."""
    for work in works:
        work()
    return [
        statistics.median(times)
        for times in zip(*([seconds(w) for w in works] for _ in range(rounds)), strict=True)
    ]


def training(
    name: str, dim: int, step: Callable[[], Step], peer: torch.nn.Module, rounds: int
) -> str:
    """Rows a second of each, and ratios to the peer's."""
    x, trainers = torch.randn(ROWS, dim), contestants(dim, step, peer)
    times = in_turns(*(lambda t=t: t.step(x) for t in trainers.values()), rounds=rounds)
    cells = [
        f"{p} {ROWS / t:7.0f} {times[-1] / t:5.2f}x"
        for p, t in zip(PRECISIONS, times, strict=False)
    ]
    return f"{name:7} {dim:4} | train | zuko {ROWS / times[-1]:7.0f} | " + " | ".join(cells)


def sampling(name: str, dim: int, step: Callable[[], Step], peer: torch.nn.Module) -> str:
    """Rows a second of both, their ratio, and milliseconds for one row of ours."""
    ours, x = flow(dim, step), torch.randn(ROWS, dim)
    with torch.no_grad():
        many, one, peers = in_turns(
            lambda: ours.inverse(x),
            lambda: ours.inverse(x[:1]),
            lambda: peer().sample((PEER_ROWS,)),
            rounds=5,
        )
    mine, theirs = ROWS / many, PEER_ROWS / peers
    rates = f"zuko {theirs:7.0f} | ours {mine:7.0f} {mine / theirs:5.2f}x"
    return f"{name:7} {dim:4} | draw  | {rates} | one row {1e3 * one:.1f} ms"


def held_out(name: str, step: Callable[[], Step], build: Callable[..., torch.nn.Module]) -> None:
    """Held-out log p after the same batches in each arithmetic, and paired differences from the peer's."""
    world = mixture43()
    x = world.sample(TRAIN + HELD_OUT, seed=0).x.float()
    x, fresh = x[:TRAIN], x[TRAIN:]
    scores = {}
    torch.manual_seed(0)
    for who, trainer in contestants(x.shape[1], step, build(x.shape[1], **SIZES), LR).items():
        rows = torch.Generator().manual_seed(1)
        for _ in range(STEPS):
            trainer.step(x[torch.randint(TRAIN, (ROWS,), generator=rows)])
        with torch.no_grad():
            scores[who] = -torch.cat([trainer.loss(part) for part in fresh.split(1000)]).double()
    for who, score in scores.items():
        gap = score - scores["zuko"]
        error = float(gap.std()) / math.sqrt(len(gap))
        print(
            f"{name:7} {who:7} held-out {float(score.mean()):9.4f}, {float(gap.mean()):+.4f} ± {error:.4f} on zuko's"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dims", nargs="*", type=int, default=[6, 63])
    parser.add_argument(
        "--held-out", choices=KINDS, help="held-out log p by each arithmetic, not rates"
    )
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"oneDNN keeps fp32 accuracy here: {exact()}")
    if chosen.held_out:
        held_out(chosen.held_out, *KINDS[chosen.held_out][:2])
        return
    for dim in chosen.dims:
        for name, (step, build, rounds) in KINDS.items():
            peer = build(dim, **SIZES)
            print(training(name, dim, step, peer, rounds), flush=True)
            print(sampling(name, dim, step, peer), flush=True)


if __name__ == "__main__":
    main()

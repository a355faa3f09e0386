"""Masked autoregressive flows beside zuko's of the same architecture: training and sampling, rows a second.

One thread, processor time, ours and the peer's in turns, medians; `python bench/flow.py 6 63` names the dimensions.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
import zuko

from likeness.bijections import AffineStep, Autoregressive, Chain, SplineStep, Step
from likeness.nets.masked import MaskedNet

LAYERS, HIDDEN, ROWS, PEER_ROWS = 5, (512, 512), 512, 64


def flow(dim: int, step: Callable[[], Step]) -> Chain:
    """As many layers as the peer has, the order reversed in every second one."""
    parts = []
    for k in range(LAYERS):
        order = range(dim) if k % 2 == 0 else range(dim)[::-1]
        net = MaskedNet([1] * dim, [step().size] * dim, order=order, hidden=HIDDEN, residual=False)
        parts.append(Autoregressive(net, step()))
    return Chain(parts)


def trainer(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
    """One step of Adam on a loss."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()

    return step


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
        statistics.median(times) for times in zip(*([seconds(w) for w in works] for _ in range(rounds)), strict=True)
    ]


def row(name: str, dim: int, step: Callable[[], Step], peer: torch.nn.Module, rounds: int) -> str:
    """Both rates and their ratio, for training and for sampling."""
    ours, x = flow(dim, step), torch.randn(ROWS, dim)

    def loss() -> torch.Tensor:
        z, ladj = ours(x)
        return (0.5 * z.square().sum(-1) - ladj).mean()

    mine, theirs = in_turns(trainer(ours, loss), trainer(peer, lambda: -peer().log_prob(x).mean()), rounds=rounds)
    with torch.no_grad():
        many, one, peers = in_turns(
            lambda: ours.inverse(x), lambda: ours.inverse(x[:1]), lambda: peer().sample((PEER_ROWS,)), rounds=3
        )
    train, sample = (ROWS / mine, ROWS / theirs), (ROWS / many, PEER_ROWS / peers)
    cells = [f"{a:9.0f} {b:9.0f} {a / b:7.2f}" for a, b in (train, sample)]
    return f"{name:7} {dim:4} | {cells[0]} | {cells[1]} | {1e3 * one:8.1f}"


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("flow     dim | train: ours      zuko   ratio | sample: ours     zuko   ratio | one row, ms")
    for dim in [int(a) for a in sys.argv[1:]] or [6, 63]:
        sizes = {"transforms": LAYERS, "hidden_features": HIDDEN}
        print(row("affine", dim, AffineStep, zuko.flows.MAF(dim, **sizes), rounds=7))
        print(row("spline", dim, SplineStep, zuko.flows.NSF(dim, bins=8, **sizes), rounds=5), flush=True)


if __name__ == "__main__":
    main()

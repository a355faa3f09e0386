"""The arithmetic of a step or an answer: chosen, never left switched on behind the user's back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache

import torch

from likeness.core.errors import Unsupported
from likeness.core.switch import ONEDNN, PLAIN, under

TRIALS = 3
WORST_ERROR = 1e-5  # relative; a path named fp32 must be as exact as fp32


@contextmanager
def arithmetic(name: str, device: torch.device) -> Iterator[None]:
    """fp32: torch's default; onednn: oneDNN's fp32 matmul; bf16: autocast."""
    with products(name):
        if name == "bf16":
            with torch.autocast(device.type, dtype=torch.bfloat16):
                yield
        else:
            yield


def products(name: str) -> AbstractContextManager[None]:
    """What products are computed in, of gradients too. Autograd replays autocast by itself."""
    return under(ONEDNN if name == ONEDNN else PLAIN)


@contextmanager
def answering(name: str) -> Iterator[None]:
    """Of an answer: fp32 or onednn.

    Raises:
        Unsupported: Where oneDNN's products would lose digits.
    """
    if name == "onednn" and not exact():
        raise Unsupported(
            "oneDNN computes in half the digits on this processor",
            do="leave settings precision at fp32",
        )
    with products(name):
        yield


@cache
def exact() -> bool:
    """Whether oneDNN's path keeps fp32 accuracy here: on CPUs with AMX it may really compute in bf16."""
    source = torch.Generator().manual_seed(0)
    a = torch.randn(128, 256, generator=source)
    b = torch.randn(192, 256, generator=source)
    with under(ONEDNN):
        product = torch.nn.functional.linear(a, b).double()
    truth = a.double() @ b.double().T
    return bool((product - truth).abs().max() / truth.abs().max() < WORST_ERROR)


def fastest(step: Callable[[], None], device: torch.device) -> str:
    """The fastest of the arithmetics that keep fp32 accuracy, by interleaved trials of one step."""
    names = ["fp32"]
    if device.type == "cpu" and torch.backends.mkldnn.is_available() and exact():
        names.append("onednn")
    best = dict.fromkeys(names, float("inf"))
    for _ in range(TRIALS):
        for name in names:
            start = time.perf_counter()
            with arithmetic(name, device):
                step()
            best[name] = min(best[name], time.perf_counter() - start)
    return min(best, key=lambda n: best[n])

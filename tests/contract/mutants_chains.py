"""Bugs to plant into laws of chains: hidden Markov models, Markov chains, conditional random fields."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from likeness.inference.mixture.components import EStep, EStepFunction
from likeness.inference.mixture.gaussians import Gaussians
from likeness.inference.sequence.linear_chain import Paths
from likeness.inference.sequence.ngrams import Windows
from tests.contract.mutants import mutant

SERIES = ("hmm", "series", "none")
SYMBOLS = ("hmm", "symbols", "none")
TAGS = ("crf", "symbols", "none")
TABLES = ("markov", "nominal4", "none")


@mutant(15, "a hidden number of a series is taken for a zero", SERIES)
def _zeros() -> AbstractContextManager[Any]:
    original = Gaussians.e_step_at

    def wrong(self: Gaussians, params: dict[str, Tensor], *, draft: bool = False) -> EStepFunction:
        sight = original(self, params, draft=draft)

        def see(v: Tensor, known: Tensor) -> EStep:
            return sight(v, torch.ones_like(known))

        return see

    return patch.object(Gaussians, "e_step_at", wrong)


@mutant(5, "states are drawn without what came before them", SYMBOLS, also=(16,))
def _forgetful() -> AbstractContextManager[Any]:
    def wrong(self: Paths, u: Tensor) -> Tensor:
        return (u * self.unary.shape[-1]).long()

    return patch.object(Paths, "draw", wrong)


@mutant(4, "the sum over paths leaves out the first step", TAGS, also=(7, 15))
def _cut() -> AbstractContextManager[Any]:
    return patch.object(Paths, "log_z", property(lambda self: self.messages.log_c[1:].sum(0)))


@mutant(15, "codes are summed over as if they knew nothing of each other", TABLES, also=(16,))
def _loose() -> AbstractContextManager[Any]:
    original = Windows.steps

    def wrong(self: Windows, log_p: Tensor) -> Tensor:
        return original(self, log_p.mean(-2, keepdim=True).log_softmax(-1).expand_as(log_p))

    return patch.object(Windows, "steps", wrong)


@mutant(16, "codes drawn for one column are put into another", TABLES, also=(1, 13))
def _turned() -> AbstractContextManager[Any]:
    original = Paths.draw
    return patch.object(Paths, "draw", lambda self, u: original(self, u).flip(-1))

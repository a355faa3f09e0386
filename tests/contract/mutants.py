"""Bugs to plant: two for each check, patched into production code, that the check must not overlook."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor

from likeness.bijections.autoregressive import Autoregressive as MaskedFlow
from likeness.bijections.preprocess import Reals
from likeness.check import checks_learning
from likeness.check.cell import fit, fitted
from likeness.check.contract import Outcome, checks, outcome
from likeness.core import hooks, inputs, routes, scoring
from likeness.core.answers import Kind, Mode, Scored
from likeness.core.batch import Batch
from likeness.core.distribution import Distribution
from likeness.core.errors import Unsupported
from likeness.core.noise import Noise
from likeness.dynamics.denoiser import Denoiser, denoising_loss
from likeness.dynamics.path import Path
from likeness.heads.categorical import Categorical, CategoricalDistribution
from likeness.learn import gradient
from likeness.learn.gradient import GradientExecutor
from likeness.nets import masked
from likeness.numerics import gaussian
from likeness.registry import reading
from likeness.routes import enumerate_states

Plant = Callable[[], AbstractContextManager[Any]]

PLANE = ("gaussian", "reals2", "none")
LABELLED = ("gaussian", "reals2", "label")
WAVE = ("gaussian", "audio", "none")
WIDE = ("gaussian", "reals10", "none")
ROUNDED = ("gaussian", "rounded", "none")
CODES = ("independent", "nominal4", "none")
CHAIN = ("autoregressive", "nominal4", "none")
BITS8 = ("autoregressive", "binary8", "none")
CHAIN_PLANE = ("autoregressive", "reals2", "none")
FLOW = ("flow", "reals2", "none")
BOUND = ("flow", "nominal4", "none")
LATENT = ("vae", "reals2", "none")
NOISED = ("diffusion", "reals2", "none")
BITS = ("flow", "image_binary", "none")


@dataclass(frozen=True)
class Mutant:
    """A planted bug.

    Args:
        check: The number of the check that must fail.
        name: What is wrong.
        cell: Family, Space and `given` on which it shows.
        plant: Puts it in for the time of a `with`.
        refit: Whether it shows only in a model that was fitted with it.
        also: Other checks that rightly notice it too.
    """

    check: int
    name: str
    cell: tuple[str, str, str]
    plant: Plant
    refit: bool = False
    also: frozenset[int] = frozenset()

    def __str__(self) -> str:
        """Number and name."""
        return f"({self.check}) {self.name}"


MUTANTS: list[Mutant] = []


def mutant(
    check: int,
    name: str,
    cell: tuple[str, str, str],
    *,
    refit: bool = False,
    also: tuple[int, ...] = (),
) -> Callable[[Plant], Plant]:
    """Enter a function that plants a bug."""

    def keep(plant: Plant) -> Plant:
        MUTANTS.append(Mutant(check, name, cell, plant, refit, frozenset(also)))
        return plant

    return keep


def judged(bug: Mutant, numbers: list[int] | None = None) -> list[Outcome]:
    """Verdicts while the bug is planted, of its own check or of several."""
    wanted = [bug.check] if numbers is None else numbers
    sound = None if bug.refit else fitted(*bug.cell)
    with bug.plant():
        try:
            if sound is None:
                cell = fit(*bug.cell)
            else:
                cell = sound.again(sound.law)
        except Exception as error:  # a bug that stops learning is noticed by all who learn
            return [
                Outcome("-".join(bug.cell), n, "failed", f"{type(error).__name__}: {error}")
                for n in wanted
            ]
        return [outcome(c, cell) for c in checks() if c.number in wanted]


def _after(owner: Any, name: str, change: Callable[..., Any]) -> AbstractContextManager[Any]:
    """A function whose result is changed: change(result, *arguments)."""
    original = getattr(owner, name)

    def wrong(*arguments: Any, **options: Any) -> Any:
        return change(original(*arguments, **options), *arguments)

    return patch.object(owner, name, wrong)


# ---- 1: shapes -----------------------------------------------------------------------------------------------------


@mutant(1, "draws come in single precision", PLANE, also=(6, 9))
def _single() -> AbstractContextManager[Any]:
    return _after(Distribution, "sample", lambda draws, *_: replace(draws, x=draws.x.float()))


@mutant(1, "codes count from 1", CODES, also=(5, 13, 16))
def _from_one() -> AbstractContextManager[Any]:
    return _after(CategoricalDistribution, "draw", lambda x, *_: x + 1)


# ---- 2: items ------------------------------------------------------------------------------------------------------


@mutant(2, "noise goes by place in the batch", PLANE, also=(18,))
def _by_place() -> AbstractContextManager[Any]:
    original = Noise._tiles

    def wrong(self: Noise, *arguments: Any) -> Tensor:
        return original(replace(self, index=torch.arange(self.rows)), *arguments)

    return patch.object(Noise, "_tiles", wrong)


@mutant(2, "noise comes from the ambient generator", PLANE, also=(3, 6, 18))
def _ambient() -> AbstractContextManager[Any]:
    def wrong(self: Noise, use: str, *shape: int) -> Tensor:
        return torch.randn(self.rows, *shape, dtype=self.dtype)

    return patch.object(Noise, "normal", wrong)


# ---- 3: saved models -----------------------------------------------------------------------------------------------


@mutant(3, "opening forgets the weights", PLANE)
def _forgotten() -> AbstractContextManager[Any]:
    return patch.object(reading, "load_state", lambda model, state, where: None)


@mutant(3, "resuming forgets the optimiser's moments", FLOW)
def _moments() -> AbstractContextManager[Any]:
    original = GradientExecutor.load

    def wrong(self: GradientExecutor, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        original(self, {k: v for k, v in tensors.items() if not k.startswith("moments.")}, facts)

    return patch.object(GradientExecutor, "load", wrong)


# ---- 4: mass -------------------------------------------------------------------------------------------------------


@mutant(4, "the density lacks its log-determinant", LABELLED)
def _no_determinant() -> AbstractContextManager[Any]:
    def wrong(
        value: Tensor, x: Tensor, mean: Tensor, cov: Tensor, present: Tensor | None = None
    ) -> Tensor:
        whole = torch.linalg.slogdet(cov).logabsdet * 0.5
        return value + whole

    return _after(gaussian, "log_density", wrong)


@mutant(4, "the preprocessor's log-determinant has the wrong sign", PLANE, also=(6, 9, 15))
def _sign() -> AbstractContextManager[Any]:
    return _after(Reals, "forward", lambda out, *_: (out[0], -out[1], out[2]))


# ---- 5: draws ------------------------------------------------------------------------------------------------------


@mutant(5, "draws are spread by the covariance where its root belongs", WAVE, also=(16,))
def _variance() -> AbstractContextManager[Any]:
    original = gaussian.conditional_draw

    def wrong(x: Tensor, mean: Tensor, cov: Tensor, known: Tensor, normal: Tensor) -> Tensor:
        with patch.object(torch.linalg, "cholesky", lambda a: a):
            drawn = mean + (normal[:, None, :] * torch.linalg.cholesky(cov)).sum(-1)
        return original(
            x, drawn, 1e-6 * torch.eye(cov.shape[-1], dtype=cov.dtype).expand_as(cov), known, normal
        )

    return patch.object(gaussian, "conditional_draw", wrong)


@mutant(5, "codes are drawn at a temperature of 0.7", CHAIN)
def _cold() -> AbstractContextManager[Any]:
    original = CategoricalDistribution.draw

    def wrong(self: CategoricalDistribution, u: Tensor) -> Tensor:
        return original(CategoricalDistribution(self.params / 0.7, self.head), u)

    return patch.object(CategoricalDistribution, "draw", wrong)


# ---- 6: equivariance -----------------------------------------------------------------------------------------------


@mutant(6, "the preprocessor's log-determinant is forgotten", PLANE, also=(4, 9, 15))
def _no_correction() -> AbstractContextManager[Any]:
    return _after(Reals, "forward", lambda out, *_: (out[0], torch.zeros_like(out[1]), out[2]))


@mutant(6, "smoothing falls on the first category alone", CODES, refit=True)
def _first_category() -> AbstractContextManager[Any]:
    original = Categorical.estimate

    def wrong(self: Categorical, *arguments: Any, smoothing: float = 0.0, **options: Any) -> Tensor:
        logits = original(self, *arguments, smoothing=smoothing, **options).exp()
        return torch.cat([logits[..., :1] + 0.05, logits[..., 1:]], -1).log().log_softmax(-1)

    return patch.object(Categorical, "estimate", wrong)


# ---- 7: nobody beats the truth -------------------------------------------------------------------------------------


@mutant(7, "the density lacks its 2 pi", PLANE, also=(4, 15))
def _no_two_pi() -> AbstractContextManager[Any]:
    return patch.object(gaussian, "LOG_2PI", 0.0)


@mutant(7, "the first entry is not scored", CHAIN, also=(4, 5, 8))
def _unscored() -> AbstractContextManager[Any]:
    def wrong(value: Tensor, *_: object) -> Tensor:
        return torch.cat([torch.zeros_like(value[..., :1]), value[..., 1:]], -1)

    return _after(CategoricalDistribution, "log_prob", wrong)


# ---- 8: oracles ----------------------------------------------------------------------------------------------------


@mutant(8, "a row's noise is taken away towards its neighbour", NOISED)
def _neighbour() -> AbstractContextManager[Any]:
    from likeness.dynamics import noised

    def wrong(known: Denoiser, path: Path, x: Tensor, *arguments: Any, **options: Any) -> Tensor:
        def turned(x: Tensor, t: Tensor, context: Any, noise: Noise | None = None) -> Tensor:
            return known(x, t, context, noise).roll(1, 0)

        return denoising_loss(turned, path, x, *arguments, **options)

    return patch.object(noised, "denoising_loss", wrong)


@mutant(8, "the divergence from the prior lacks its half", LATENT)
def _half() -> AbstractContextManager[Any]:
    from likeness.inference.amortised import Code

    whole = property(
        lambda code: code.loc.square() + (2 * code.log_std).exp() - 1 - 2 * code.log_std
    )
    return patch.object(Code, "kl", whole)


# ---- 9: log-determinants and masks ---------------------------------------------------------------------------------


@mutant(9, "one column's scale is left out of the log-determinant", WIDE)
def _one_column() -> AbstractContextManager[Any]:
    original = Reals.forward

    def wrong(self: Reals, batch: Batch, noise: Noise) -> tuple[Batch, Tensor, Kind]:
        inside, correction, kind = original(self, batch, noise)
        return inside, correction + self.scale.log().flatten()[0] + 0.01, kind

    return patch.object(Reals, "forward", wrong)


@mutant(
    9, "a mask lets an output see its own variable", CHAIN_PLANE, refit=True, also=(4, 5, 7, 16)
)
def _leak() -> AbstractContextManager[Any]:
    return _after(
        masked,
        "_feeds",
        lambda mask, source, target: mask | (source[1][None] <= target[1][:, None] + 1),
    )


# ---- 10: bounds ----------------------------------------------------------------------------------------------------


@mutant(10, "the mean over draws is divided by their number twice", BOUND)
def _twice() -> AbstractContextManager[Any]:
    return _after(
        hooks, "log_mean_exp", lambda out, values: (out[0] - math.log(len(values)), out[1])
    )


@mutant(10, "the worst draw is taken for their mean", BOUND, also=(6,))
def _worst() -> AbstractContextManager[Any]:
    return _after(hooks, "log_mean_exp", lambda out, values: (values.min(0).values, out[1]))


# ---- 11: far out ---------------------------------------------------------------------------------------------------


@mutant(11, "log p is the logarithm of a density that underflows", PLANE)
def _underflow() -> AbstractContextManager[Any]:
    return _after(gaussian, "log_density", lambda value, *_: value.exp().log())


@mutant(11, "the way back from model units is off by a thousandth", PLANE)
def _off() -> AbstractContextManager[Any]:
    return _after(Reals, "inverse", lambda x, *_: x * 1.001)


# ---- 12: every parameter learns ------------------------------------------------------------------------------------


@mutant(12, "a conditioner's output is cut off from the gradient", FLOW)
def _detached() -> AbstractContextManager[Any]:
    return _after(MaskedFlow, "_params", lambda params, *_: params.detach())


@mutant(12, "a phase forgets its first parameter", FLOW)
def _unnamed() -> AbstractContextManager[Any]:
    original = checks_learning._phases

    def wrong(learner: Any) -> Iterator[Any]:
        yield from (
            (name, loss, list(parameters)[1:]) for name, loss, parameters in original(learner)
        )

    return patch.object(checks_learning, "_phases", wrong)


# ---- 13: what is observed stays ------------------------------------------------------------------------------------


@mutant(13, "completions pass through single precision", PLANE)
def _rounded_off() -> AbstractContextManager[Any]:
    return _after(
        Distribution, "complete", lambda draws, *_: replace(draws, x=draws.x.float().to(draws.x))
    )


@mutant(13, "what is observed comes back from model units", WIDE)
def _overwritten() -> AbstractContextManager[Any]:
    def again(mode: Mode, law: Distribution, *_: object) -> Mode:
        inside, _, _ = scoring.to_model_units(
            law, mode.batch, inputs.noise_of(law, 0, mode.batch.ids, "mode")
        )
        assert law.preprocessor is not None
        x = law.preprocessor.inverse(inside.x * 1.0000001)
        return replace(mode, batch=mode.batch.with_x(x))

    return _after(Distribution, "mode", again)


# ---- 14: absent verbs ----------------------------------------------------------------------------------------------


@mutant(14, "absent verbs are not refused", PLANE)
def _unrefused() -> AbstractContextManager[Any]:
    return patch.object(routes, "need", lambda dist, verb: None)


@mutant(14, "refusals keep the reason to themselves", PLANE)
def _mute() -> AbstractContextManager[Any]:
    def wrong(self: Distribution, verb: str) -> None:
        if not self.support(verb):
            raise Unsupported("not supported")

    return patch.object(routes, "need", wrong)


# ---- 15: holes -----------------------------------------------------------------------------------------------------


@mutant(15, "holes are scored as if 0 had been seen there", PLANE)
def _zeros() -> AbstractContextManager[Any]:
    original = gaussian.log_density

    def wrong(x: Tensor, mean: Tensor, cov: Tensor, present: Tensor | None = None) -> Tensor:
        return original(x, mean, cov)

    return patch.object(gaussian, "log_density", wrong)


@mutant(15, "the sum over a hole's states is their mean", BITS8)
def _mean_of_states() -> AbstractContextManager[Any]:
    original = enumerate_states.summed

    def wrong(of: Distribution, question: Any) -> Scored:
        found = original(of, question)
        count = question.batch.holes.flatten(1).sum(-1) * math.log(2)
        return replace(found, value=found.value - count)

    from likeness.families import autoregressive

    return patch.object(autoregressive, "summed", wrong)


# ---- 16: completion ------------------------------------------------------------------------------------------------


@mutant(16, "holes are drawn from the marginal law", WAVE)
def _marginally() -> AbstractContextManager[Any]:
    def wrong(x: Tensor, mean: Tensor, cov: Tensor, known: Tensor, normal: Tensor) -> Tensor:
        drawn = mean + (normal[:, None, :] * torch.linalg.cholesky(cov)).sum(-1)
        return torch.where(known, x, drawn)

    return patch.object(gaussian, "conditional_draw", wrong)


@mutant(16, "the states of holes are drawn with even chances", CHAIN, also=(15,))
def _evenly() -> AbstractContextManager[Any]:
    original = enumerate_states._table

    def wrong(of: Distribution, question: Any) -> Any:
        return [replace(p, value=torch.zeros_like(p.value)) for p in original(of, question)]

    return patch.object(enumerate_states, "_table", wrong)


# ---- 17: missing conditions ----------------------------------------------------------------------------------------


@mutant(17, "classes are summed without their prior", LABELLED, also=(4,))
def _no_prior() -> AbstractContextManager[Any]:
    original = scoring._summed

    def wrong(parts: list[Scored], log_prior: Tensor, given: Batch) -> Scored:
        return original(parts, torch.zeros_like(log_prior), given)

    return patch.object(scoring, "_summed", wrong)


@mutant(17, "a missing label is taken for the first", LABELLED, also=(5,))
def _guessed() -> AbstractContextManager[Any]:
    return patch.object(scoring, "_summed", lambda parts, log_prior, given: parts[0])


# ---- 18: order of rows ---------------------------------------------------------------------------------------------


@mutant(18, "values are centred on the batch at hand", PLANE, also=(2, 4, 9, 11, 15))
def _centred() -> AbstractContextManager[Any]:
    def wrong(out: tuple[Batch, Tensor, Kind], *_: object) -> tuple[Batch, Tensor, Kind]:
        return replace(out[0], x=out[0].x - 0.01 * out[0].x.mean(0)), out[1], out[2]

    return _after(Reals, "forward", wrong)


@mutant(18, "the row with most holes chooses the route of all", BITS)
def _one_route() -> AbstractContextManager[Any]:
    def wrong(self: Distribution, verb: str, wanted: str | None, batch: Batch) -> list[Any]:
        return [(routes.route_of(self, verb, wanted, batch), torch.arange(len(batch)))]

    return patch.object(routes, "ways", wrong)


# ---- 19: two processes ---------------------------------------------------------------------------------------------


@mutant(19, "both processes take the first half of the rows", FLOW)
def _same_half() -> AbstractContextManager[Any]:
    return patch.object(dist, "get_rank", lambda *_: 0)


@mutant(19, "gradients are not added up", FLOW)
def _apart() -> AbstractContextManager[Any]:
    return patch.object(gradient, "_sum_over_processes", lambda parameters: None)


# ---- 20: kinds -----------------------------------------------------------------------------------------------------


@mutant(20, "a dequantised value is called exact", ROUNDED, also=(10, 15))
def _overclaimed() -> AbstractContextManager[Any]:
    return _after(Reals, "forward", lambda out, *_: (out[0], out[1], Kind.EXACT))


@mutant(20, "a bound minus a bound is called a bound", BOUND)
def _bound_of_bounds() -> AbstractContextManager[Any]:
    return patch.object(scoring, "minus", max)


__all__ = ["MUTANTS", "Mutant", "judged", "mutant"]

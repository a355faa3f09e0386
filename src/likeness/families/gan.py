"""Generative adversarial nets: five losses, gradient penalties, packing, unrolling; samples only, no likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, relu, softplus
from torch.nn.utils import parametrizations

from likeness.bijections.preprocess import Reals
from likeness.core.batch import Batch, missing
from likeness.core.config import GradientConfig, option
from likeness.core.learner import Gradient, Phase
from likeness.core.model import Model
from likeness.core.noise import Noise
from likeness.core.preprocessor import Source
from likeness.core.registry import Card, register
from likeness.core.space import Space
from likeness.nets.context import ContextNet
from likeness.nets.conv import Decoder, Encoder
from likeness.nets.embed import Fourier
from likeness.nets.mlp import MLP

Pair = tuple[Tensor, Tensor]


class GANConfig(GradientConfig):
    """Options of `gan`."""

    loss: Literal["relativistic", "non_saturating", "minimax", "hinge", "wasserstein"] = option(
        "relativistic", "what critic and generator play for", "objective"
    )
    noise: Literal["normal", "uniform", "discrete"] = option("normal", "the law of the generator's continuous input")
    latent: int = option(16, "numbers in the generator's continuous input", ge=1)
    codes: int = option(0, "states of a discrete part of the generator's input, 0 for none", ge=0)
    hidden: tuple[int, ...] = option((128, 128, 128), "widths of both nets' hidden layers (vectors, tables, series)")
    width: int = option(32, "channels of the finest layer of both nets (images, audio)", ge=1)
    critic_steps: int = option(1, "moves of the critic for one of the generator", "objective", ge=1)
    r1: float = option(0.1, "penalty on the critic's gradient at data", "objective", ge=0)
    r2: float = option(0.1, "penalty on the critic's gradient at samples", "objective", ge=0)
    gradient_penalty: float = option(0.0, "penalty on a gradient norm other than 1 between the two", "objective", ge=0)
    anneal: int = option(
        0, "steps in which penalties and instance noise fall by a factor e, 0 for never", "objective", ge=0
    )
    instance_noise: float = option(
        0.0, "standard deviation of noise on what the critic sees, at first", "objective", ge=0
    )
    spectral: bool = option(False, "whether the critic's layers are held to spectral norm 1")
    fourier: int = option(0, "Fourier features of every entry that the critic sees, 0 for none", ge=0)
    packing: int = option(1, "rows that the critic judges together", "objective", ge=1)
    unroll: int = option(0, "critic moves that the generator looks ahead", "objective", ge=0)
    context: int = option(64, "numbers that stand for what is given", ge=1)
    lr: float = option(1e-3, "peak learning rate of Adam", "optimiser", gt=0)
    beta2: float = option(0.99, "decay of Adam's second moment; its first is 0", "optimiser", gt=0, lt=1)
    ema: float = option(
        0.995, "decay of the averaged weights that answer questions, 0 for none", "optimiser", ge=0, lt=1
    )
    clip: float = option(0.0, "largest gradient norm, 0 for none", "optimiser", ge=0)


def _minimax(real: Tensor, fake: Tensor) -> Pair:
    """log(1 - D(G(z))) itself: its gradient vanishes where the critic wins (Goodfellow et al. 2014, eq. 1)."""
    return torch.zeros_like(real), -softplus(fake)


def _non_saturating(real: Tensor, fake: Tensor) -> Pair:
    """-log D(G(z)) (Goodfellow et al. 2014, section 3)."""
    return torch.zeros_like(real), softplus(-fake)


def _relativistic(real: Tensor, fake: Tensor) -> Pair:
    """f(D(G(z)) - D(x)), rows paired (Jolicoeur-Martineau 2018; Huang et al. 2024, eq. 2)."""
    return torch.zeros_like(real), softplus(real - fake)


def _raise(real: Tensor, fake: Tensor) -> Pair:
    """-D(G(z)): hinge and Wasserstein games."""
    return torch.zeros_like(real), -fake


# What the critic minimises, term by term (real, fake), and what the generator does.
CRITICS: dict[str, Callable[[Tensor, Tensor], Pair]] = {
    "minimax": lambda real, fake: (softplus(-real), softplus(fake)),
    "non_saturating": lambda real, fake: (softplus(-real), softplus(fake)),
    "relativistic": lambda real, fake: (softplus(fake - real), torch.zeros_like(fake)),
    "hinge": lambda real, fake: (relu(1 - real), relu(1 + fake)),
    "wasserstein": lambda real, fake: (-real, fake),
}
GENERATORS: dict[str, Callable[[Tensor, Tensor], Pair]] = {
    "minimax": _minimax,
    "non_saturating": _non_saturating,
    "relativistic": _relativistic,
    "hinge": _raise,
    "wasserstein": _raise,
}


@register(
    Card(
        "gan", "Generative adversarial net", "implicit", "Goodfellow et al., Generative Adversarial Nets", 2014,
        "A generator and a critic play against each other: sharp samples in one pass, and no likelihood.",
    )
)  # fmt: skip
class GAN(Model):
    """x = G(z), trained against a critic that tells data from samples.

    Discrete and counted values are relaxed to reals with an even spread within their cell (nominal ones to K reals of
    which they are the argmax), for data and samples alike. Where a row has holes the critic sees (x times mask, mask)
    of it and of a sample. Its score is offered as what it is: a score, not a log-probability.
    """

    Config = GANConfig

    def __init__(self, config: GANConfig, space: Space, given_space: Space | None = None) -> None:
        super().__init__(config, space, given_space)
        self.preprocessor = Reals(space, squash=False)
        self.out = self.preprocessor.out
        self.context = ContextNet(given_space, config.context) if given_space is not None else None
        self.judge = ContextNet(given_space, config.context) if given_space is not None else None
        side = (config.context if self.context is not None else 0) + int(space.ragged)
        entry = config.latent + config.codes
        grid = not space.ragged and len(self.out.layout) in {2, 3}
        if grid:
            shape = (2 * config.packing * self.out.layout[0], *self.out.layout[1:])
            self.generator: nn.Module = Decoder(entry, self.out.layout, width=config.width, context=side)
            self.critic: nn.Module = Encoder(shape, 1, width=config.width, context=side * config.packing)
        else:
            hidden = config.hidden
            self.generator = MLP(entry, self.out.dims, hidden=hidden, activation="silu", context=side)
            per = self.out.dims * (2 + config.fourier)
            self.critic = MLP(per * config.packing, 1, hidden=hidden, context=side * config.packing)
        self.grid = grid
        self.features = Fourier(config.fourier, low=0.25, high=2.0) if config.fourier and not grid else None
        if config.spectral:
            _constrain(self.critic)
        self.register_buffer("code_prior", torch.full((max(config.codes, 1),), 1.0 / max(config.codes, 1)))

    code_prior: Tensor

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """A quick GAN for checks."""
        return {"hidden": (32, 32), "width": 8, "latent": 8, "context": 16, "batch": 64, "ema": 0.99}

    def _why_not(self, verb: str) -> str | None:
        reasons = {
            "log_prob": "a GAN has no likelihood: its critic is a score, not a log-probability",
            "complete": "a GAN has no likelihood to weigh completions by",
            "classify": "a GAN has no likelihood to compare classes by",
        }
        return reasons.get(verb)

    def _prepare(self, source: Source) -> None:
        for net in (self.context, self.judge):
            if net is not None:
                net.fit(source)

    # ---- the game --------------------------------------------------------------------------------------------------

    def learner(self) -> Gradient:
        """Critic and generator in turn."""
        c: GANConfig = self.config
        critic = [*self.critic.parameters(), *(self.judge.parameters() if self.judge is not None else ())]
        generator = [*self.generator.parameters(), *(self.context.parameters() if self.context is not None else ())]
        betas = (0.0, c.beta2)
        return Gradient(
            (
                Phase("critic", partial(self.__call__, phase="critic"), critic, repeat=c.critic_steps, betas=betas),
                Phase("generator", partial(self.__call__, phase="generator"), generator, betas=betas),
            )
        )

    def forward(self, batch: Batch, noise: Noise, phase: str) -> dict[str, Tensor]:
        """The critic's terms (real, fake, penalty) or the generator's, each (B,)."""
        with torch.set_grad_enabled(phase == "generator"):
            fake = self._generate(noise, batch.given, batch.length)
        return (
            self._critic_terms(batch, fake, noise) if phase == "critic" else self._generator_terms(batch, fake, noise)
        )

    def _critic_terms(self, batch: Batch, fake: Tensor, noise: Noise) -> dict[str, Tensor]:
        c: GANConfig = self.config
        x, y = self._seen(batch, batch.x, noise, "real"), self._seen(batch, fake, noise, "fake")
        side, fade = self._packed_side(batch), self._fade(noise)
        x, y = x.requires_grad_(c.r1 > 0), y.requires_grad_(c.r2 > 0)
        real, fake_score = self._judge(x, side), self._judge(y, side)
        first, second = CRITICS[c.loss](real, fake_score)
        terms = {"real": first, "fake": second}
        if c.r1 > 0:
            terms["r1"] = 0.5 * c.r1 * fade * _slope(real, x)
        if c.r2 > 0:
            terms["r2"] = 0.5 * c.r2 * fade * _slope(fake_score, y)
        if c.gradient_penalty > 0:
            mixed = torch.lerp(x, y, noise.uniform("between", *[1] * (x.dim() - 1))[: len(x)]).detach().requires_grad_()
            norm = (_slope(self._judge(mixed, side), mixed) + 1e-12).sqrt()
            terms["penalty"] = c.gradient_penalty * (norm - 1).square()
        return {k: v.repeat_interleave(c.packing) for k, v in terms.items()}

    def _generator_terms(self, batch: Batch, fake: Tensor, noise: Noise) -> dict[str, Tensor]:
        c: GANConfig = self.config
        x, y = self._seen(batch, batch.x, noise, "real"), self._seen(batch, fake, noise, "fake")
        side = self._packed_side(batch)
        ahead = self._unrolled(x, y, side) if c.unroll else dict(self.critic.named_parameters())
        real, fake_score = self._judge(x, side, ahead), self._judge(y, side, ahead)
        return {"fake": GENERATORS[c.loss](real, fake_score)[1].repeat_interleave(c.packing)}

    def _unrolled(self, x: Tensor, y: Tensor, side: Tensor | None) -> dict[str, Tensor]:
        """The critic after a few steps of gradient descent that the generator sees through (Metz et al. 2017, eq. 8)."""
        c: GANConfig = self.config
        weights: dict[str, Tensor] = dict(self.critic.named_parameters())
        for _ in range(c.unroll):
            first, second = CRITICS[c.loss](self._judge(x, side, weights), self._judge(y, side, weights))
            slopes = torch.autograd.grad((first + second).mean(), list(weights.values()), create_graph=True)
            weights = {k: w - 100 * c.lr * g for (k, w), g in zip(weights.items(), slopes, strict=True)}
        return weights

    def _judge(self, seen: Tensor, side: Tensor | None, weights: dict[str, Tensor] | None = None) -> Tensor:
        """One score for each pack of rows, (B / packing,)."""
        if weights is None:
            return self.critic(seen, side).squeeze(-1)
        return torch.func.functional_call(self.critic, weights, (seen, side)).squeeze(-1)

    def _seen(self, batch: Batch, x: Tensor, noise: Noise, who: str) -> Tensor:
        """What the critic sees: (x times mask, mask), with fading noise, packed."""
        c: GANConfig = self.config
        mask = batch.present.to(x.dtype)
        if c.instance_noise > 0:
            x = x + c.instance_noise * self._fade(noise) * noise.normal(f"instance {who}", *x.shape[1:])
        parts = torch.cat([x * mask, mask], 1) if self.grid else torch.cat([(x * mask).flatten(1), mask.flatten(1)], -1)
        if self.features is not None:
            waves = self.features(x.flatten(1)) * mask.flatten(1)[..., None]
            parts = torch.cat([parts, waves.flatten(1)], -1)
        return self._packed(parts)

    def _packed(self, rows: Tensor) -> Tensor:
        """Rows side by side, `packing` at a time (Lin et al. 2018, section 3)."""
        m = self.config.packing
        return rows.reshape(len(rows) // m, m * rows.shape[1], *rows.shape[2:])

    def _packed_side(self, batch: Batch) -> Tensor | None:
        side = self._side(batch.given, batch.length, len(batch), self.judge)
        return None if side is None else self._packed(side)

    def _fade(self, noise: Noise) -> float:
        c: GANConfig = self.config
        return math.exp(-noise.step / c.anneal) if c.anneal else 1.0

    # ---- the generator ---------------------------------------------------------------------------------------------

    def _side(self, given: Batch | None, length: Tensor | None, rows: int, net: ContextNet | None) -> Tensor | None:
        parts = []
        if net is not None:
            assert self.given_space is not None
            parts.append(net(given if given is not None else missing(self.given_space, rows, self._anchor)))
        if self.space.ragged:
            assert length is not None
            parts.append((length / self.space.layout[0]).to(self.dtype)[:, None])
        return torch.cat(parts, -1) if parts else None

    def _generate(self, noise: Noise, given: Batch | None, length: Tensor | None) -> Tensor:
        """Samples in model units, (B, *F)."""
        side = self._side(given, length, noise.rows, self.context)
        return self.generator(self._entry(noise), side).reshape(noise.rows, *self.out.layout)

    def _entry(self, noise: Noise) -> Tensor:
        """The generator's input: continuous numbers and, if asked, a one-hot code."""
        c: GANConfig = self.config
        if c.noise == "normal":
            z = noise.normal("z", c.latent)
        else:
            z = 2 * noise.uniform("z", c.latent) - 1
            z = z.sign() if c.noise == "discrete" else z * math.sqrt(3.0)
        if not c.codes:
            return z
        cdf = self.code_prior.cumsum(0)
        code = (cdf[:-1] <= noise.uniform("code", 1) * cdf[-1]).sum(-1)
        return torch.cat([z, one_hot(code, c.codes).to(z)], -1)

    def _sample(self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any) -> Tensor:
        return self._generate(noise, given, length)

    def _critic_score(self, batch: Batch, noise: Noise) -> Tensor:
        """-D(x): how far from data the critic holds a row, in the critic's own units, (B,)."""
        many = batch.repeat(self.config.packing)
        rows = torch.arange(len(batch)).repeat_interleave(self.config.packing)
        packs = replace(many, index=many.ids)[rows]
        quiet = replace(noise[rows % len(batch)], step=1 << 30)
        return -self._judge(self._seen(packs, packs.x, quiet, "real"), self._packed_side(packs))


def _slope(score: Tensor, x: Tensor) -> Tensor:
    """The squared norm of each row's gradient, (B,)."""
    (gradient,) = torch.autograd.grad(score.sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(-1)


def _constrain(net: nn.Module) -> None:
    """Spectral normalisation of every linear and convolutional layer (Miyato et al. 2018, arXiv:1802.05957)."""
    for module in net.modules():
        if type(module) in {nn.Linear, nn.Conv1d, nn.Conv2d}:
            parametrizations.spectral_norm(module)

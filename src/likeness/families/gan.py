"""Generative adversarial nets: five losses, gradient penalties, packing, unrolling; samples only, no likelihood."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from likeness.bijections.preprocess import Reals
from likeness.core import plates
from likeness.core.answers import Kind
from likeness.core.batch import Batch
from likeness.core.config import GradientConfig, option
from likeness.core.learner import Gradient, Phase
from likeness.core.model import Model
from likeness.core.noise import Noise
from likeness.core.preprocessor import Source
from likeness.core.row_distribution import Delta, RowDistribution
from likeness.core.space import Space, vector
from likeness.learn.adversarial import CRITICS, GENERATORS, constrain, squared_slope
from likeness.nets.conditioner import Conditioner
from likeness.nets.conv import Decoder, Encoder
from likeness.nets.embed import Activation, Fourier
from likeness.nets.mlp import MLP
from likeness.numerics.draws import inverse_cdf
from likeness.registry import Card, register

FALLING = 0.65  # share of the steps in which instance noise and penalties fall
CODE_EVERY = 3  # codes' log-odds move less often than the generator, but so much faster
CODE_RATE = 25.0


class GANConfig(GradientConfig):
    """Options of `gan`."""

    loss: Literal["relativistic", "non_saturating", "minimax", "hinge", "wasserstein"] = option(
        "relativistic", "what critic and generator play for", "objective"
    )
    noise: Literal["normal", "uniform", "discrete"] = option(
        "normal", "the distribution of the generator's continuous input"
    )
    latent: int = option(16, "numbers in the generator's continuous input", ge=1)
    codes: int = option(0, "states of a discrete part of the generator's input, 0 for none", ge=0)
    hidden: tuple[int, ...] = option(
        (128, 128, 128), "widths of both nets' hidden layers (vectors, tables, series)"
    )
    activation: Activation = option("silu", "the critic's nonlinearity (vectors, tables, series)")
    width: int = option(32, "channels of the finest layer of both nets (images, audio)", ge=1)
    critic_steps: int = option(1, "moves of the critic for one of the generator", "objective", ge=1)
    r1: float = option(0.1, "penalty on the critic's gradient at data", "objective", ge=0)
    r2: float = option(0.1, "penalty on the critic's gradient at samples", "objective", ge=0)
    gradient_penalty: float = option(
        0.0, "penalty on a gradient norm other than 1 between the two", "objective", ge=0
    )
    instance_noise: float = option(
        0.0, "standard deviation of noise on what the critic sees, at first", "objective", ge=0
    )
    fall: float = option(
        1.0, "factor by which instance noise, r1 and r2 fall while learning", "objective", ge=1
    )
    spectral: bool = option(False, "whether the critic's layers are held to spectral norm 1")
    fourier: int = option(
        0, "Fourier features of every entry that the critic sees, 0 for none", ge=0
    )
    fourier_high: float = option(
        12.0, "their highest frequency, in cycles a standard deviation of the data", gt=0
    )
    packing: int = option(1, "rows that the critic judges together", "objective", ge=1)
    unroll: int = option(0, "critic moves that the generator looks ahead", "objective", ge=0)
    context: int = option(64, "numbers that stand for what is given", ge=1)
    lr: float = option(1e-3, "peak learning rate of Adam", "optimiser", gt=0)
    pace: float = option(
        1.0, "the generator's learning rate as a multiple of the critic's", "optimiser", gt=0
    )
    settling: float = option(
        1.0, "power of the schedule that the generator follows", "optimiser", ge=0
    )
    critic_settling: float = option(
        1.0,
        "power of the schedule that the critic follows: 0 keeps its learning rate",
        "optimiser",
        ge=0,
    )
    beta1: float = option(0.0, "decay of Adam's first moment: momentum", "optimiser", ge=0, lt=1)
    beta2: float = option(0.99, "decay of Adam's second moment", "optimiser", gt=0, lt=1)
    ema: float = option(
        0.995,
        "decay of the averaged weights that answer questions, 0 for none",
        "optimiser",
        ge=0,
        lt=1,
    )
    clip: float = option(0.0, "largest gradient norm, 0 for none", "optimiser", ge=0)


def modes() -> dict[str, Any]:
    """Options for data in many narrow clusters: 1,600 steps reach all of them, and about the width of each.

    Codes give clusters names to begin with, which makes them easier to cover than a continuous
    input does. The critic keeps its learning rate while the generator comes to rest: where both
    slow down alike the generator circles around each cluster to the end, and is learned too narrow.
    """
    return {
        "latent": 8,
        "codes": 128,
        "fourier": 16,
        "activation": "leaky_relu",
        "instance_noise": 1.0,
        "fall": 200.0,
        "batch": 512,
        "pace": 0.4,
        "settling": 1.25,
        "critic_settling": 0.0,
        "ema": 0.995,
    }


ADDED = (
    "last.bias",
    "last.linear.bias",
    "last.side.weight",
)  # the parts of a critic that only shift its score


@register(
    Card(
        "gan",
        "Generative adversarial net",
        "implicit",
        "Goodfellow et al., Generative Adversarial Nets",
        2014,
        "A generator and a critic play against each other: sharp samples in one pass, and no likelihood.",
    )
)
class GAN(Model):
    """x = G(z), trained against a critic that tells data from samples.

    Discrete and counted values are relaxed to reals, uniform within their cell (nominal
    ones to K reals of which they are the argmax), for data and samples alike. Where a row has missing entries
    the critic sees (x times mask, mask) of it and of a sample. Its score is offered as what it is:
    a score, not a log-probability.
    """

    Config = GANConfig
    preprocessor: Reals

    def __init__(self, config: GANConfig, space: Space, given_space: Space | None = None) -> None:
        super().__init__(config, space, given_space)
        self.preprocessor = Reals(space, squash=False)
        self.out = self.preprocessor.out
        self.codes = vector(config.latent + (config.codes > 0))
        # One conditioner for each player: sharing would let each train the other's view.
        self.conditioner = Conditioner(space, given_space, config.context)
        self.critic_conditioner = Conditioner(space, given_space, config.context)
        context = self.conditioner.size
        entry = config.latent + config.codes
        grid = not space.ragged and len(self.out.layout) in {2, 3}
        if grid:
            # The critic of images and audio sees (x times mask,
            # mask) along the channels, rows packed.
            shape = (2 * config.packing * self.out.layout[0], *self.out.layout[1:])
            self.generator: nn.Module = Decoder(
                entry, self.out.layout, width=config.width, context=context
            )
            self.critic: nn.Module = Encoder(
                shape, 1, width=config.width, context=context * config.packing
            )
        else:
            hidden = config.hidden
            self.generator = MLP(
                entry, self.out.dims, hidden=hidden, activation="silu", context=context
            )
            # That of vectors sees each entry, its mask and, where asked for, its Fourier features.
            per = self.out.dims * (2 + config.fourier)
            self.critic = MLP(
                per * config.packing,
                1,
                hidden=hidden,
                activation=config.activation,
                context=context * config.packing,
            )
        self.grid = grid
        self.features: Fourier | None = None
        if config.fourier and not grid:
            self.features = Fourier(config.fourier, low=0.25, high=config.fourier_high)
        self._still()
        if config.spectral:
            constrain(self.critic)
        self.code_logits = nn.Parameter(torch.zeros(config.codes)) if config.codes else None

    def _still(self) -> None:
        """Freeze what only shifts the critic's score as it is, where the game takes differences of scores."""
        if self.config.loss in {"relativistic", "wasserstein"}:
            for name, p in self.critic.named_parameters():
                p.requires_grad_(name not in ADDED)

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """A quick GAN for checks."""
        return {
            "hidden": (32, 32),
            "width": 8,
            "latent": 8,
            "context": 16,
            "batch": 64,
            "ema": 0.99,
        }

    def _why_not(self, verb: str) -> str | None:
        reasons = {
            "log_prob": "a GAN has no likelihood: its critic is a score, not a log-probability",
            "complete": "a GAN has no likelihood to weigh completions by",
            "classify": "a GAN has no likelihood to compare classes by",
        }
        if verb == "decode" and self.space.ragged:
            return "what a ragged row's generator starts from holds its length too"
        return reasons.get(verb)

    def _prepare(self, source: Source) -> None:
        self.conditioner.fit(source)
        self.critic_conditioner.fit(source)

    def graph(self) -> plates.Graph:
        """Noise z that the generator makes x of."""
        return plates.rows(
            self, plates.Node("z", "latent", self.codes), ties=(plates.Edge("z", "x", "map"),)
        )

    # ---- the game --------------------------------------------------------------------------------

    def learner(self) -> Gradient:
        """Critic and generator in turn, and now and then the codes' probabilities."""
        c: GANConfig = self.config
        # Each player moves its own parameters and sees the other's as constants.
        critic = [
            *self._judging().values(),
            *self.critic_conditioner.parameters(),
        ]
        generator = [
            *self.generator.parameters(),
            *self.conditioner.parameters(),
        ]
        betas = (c.beta1, c.beta2)
        play, answer, weigh = (
            partial(self.__call__, phase=name) for name in ("critic", "generator", "codes")
        )
        phases = (
            Phase(
                "critic",
                play,
                critic,
                repeat=c.critic_steps,
                settling=c.critic_settling,
                betas=betas,
            ),
            Phase("generator", answer, generator, lr=c.pace, settling=c.settling, betas=betas),
        )
        if self.code_logits is None:
            return Gradient(phases)
        # The codes' log-odds by REINFORCE, less often than the generator and faster.
        rate = CODE_RATE * c.pace
        rest = c.settling
        codes = Phase(
            "codes", weigh, [self.code_logits], CODE_EVERY, lr=rate, settling=rest, betas=betas
        )
        return Gradient((*phases, codes))

    def _judging(self) -> dict[str, nn.Parameter]:
        """The critic's parameters; without those that only shift all scores, where differences count."""
        return {name: p for name, p in self.critic.named_parameters() if p.requires_grad}

    def forward(self, batch: Batch, noise: Noise, phase: str) -> dict[str, Tensor]:
        """The critic's terms (real, fake, penalty), or the generator's or the codes' one, each (B,)."""
        # Only the generator's phase needs the gradient through the samples.
        with torch.set_grad_enabled(phase == "generator"):
            fake = self._generate(noise, batch.given, batch.length)
        if phase == "critic":
            return self._critic_terms(batch, fake, noise)
        cost = self._cost(batch, fake, noise)
        if phase == "generator" or self.code_logits is None:
            return {"fake": cost}
        return {"codes": self._weighed(self.code_logits, cost.detach(), noise)}

    def _critic_terms(self, batch: Batch, fake: Tensor, noise: Noise) -> dict[str, Tensor]:
        c: GANConfig = self.config
        # (2 B, ...): data and samples go through the critic together.
        both = torch.cat(
            [self._shown(batch, batch.x, noise, "real"), self._shown(batch, fake, noise, "fake")]
        )
        both.requires_grad_(c.r1 > 0 or c.r2 > 0)
        mask = self._mask(batch)
        context = self._packed_context(batch)
        scores = self._judge(
            both,
            torch.cat([mask, mask]),
            None if context is None else torch.cat([context, context]),
        )
        # The loss's two terms; r1 and r2 are gradient penalties
        # at data and at samples (Mescheder et al. 2018).
        terms = dict(zip(("real", "fake"), CRITICS[c.loss](*scores.chunk(2)), strict=True))
        if both.requires_grad:
            weight = 0.5 * self._fade()
            for name, gamma, slope in zip(
                ("r1", "r2"), (c.r1, c.r2), squared_slope(scores, both).chunk(2), strict=True
            ):
                terms |= {name: gamma * weight * slope} if gamma > 0 else {}
        if c.gradient_penalty > 0:
            terms["penalty"] = c.gradient_penalty * self._steepness(
                both.detach(), mask, context, noise
            )
        # One value for each pack; rows of a pack share it.
        return {k: v.repeat_interleave(c.packing) for k, v in terms.items()}

    def _steepness(
        self, both: Tensor, mask: Tensor, context: Tensor | None, noise: Noise
    ) -> Tensor:
        """(|grad D| - 1)^2 somewhere between a row of data and one of samples (Gulrajani et al. 2017, eq. 3)."""
        u = noise.uniform("between", *[1] * (mask.dim() - 1)).reshape(
            -1, self.config.packing, *[1] * (mask.dim() - 1)
        )
        u = (
            u[:, :1].expand(-1, self.config.packing, *u.shape[2:]).flatten(0, 1)
        )  # one place for each pack
        real, fake = both.chunk(2)
        # A random point on the line between each pack of data and of samples.
        between = torch.lerp(real, fake, u).requires_grad_()
        norm = (squared_slope(self._judge(between, mask, context), between) + 1e-12).sqrt()
        return (norm - 1).square()

    def _cost(self, batch: Batch, fake: Tensor, noise: Noise) -> Tensor:
        """What samples cost the generator, (B,)."""
        c: GANConfig = self.config
        # Differences of scores need those of data too; else it is the samples' score alone.
        x = self._shown(batch, batch.x, noise, "real")
        y = self._shown(batch, fake, noise, "fake")
        mask = self._mask(batch)
        context = self._packed_context(batch)
        ahead = self._unrolled(x, y, mask, context) if c.unroll else None
        # Data carry no gradient to the generator except through the unrolled critic.
        with torch.set_grad_enabled(c.unroll > 0):
            real = self._judge(x, mask, context, ahead)
        return GENERATORS[c.loss](real, self._judge(y, mask, context, ahead))[1].repeat_interleave(
            c.packing
        )

    def _weighed(self, logits: Tensor, cost: Tensor, noise: Noise) -> Tensor:
        """0, with the gradient of the expected cost in the codes' probabilities (Williams 1992, eq. 3), (B,)."""
        log_p = logits.log_softmax(0)[_code(logits, noise)]
        return (log_p - log_p.detach()) * (cost - cost.mean())

    def _unrolled(
        self, x: Tensor, y: Tensor, mask: Tensor, context: Tensor | None
    ) -> dict[str, Tensor]:
        """The critic after a few steps of descent, which the generator sees through (Metz et al. 2017, eq. 8)."""
        c: GANConfig = self.config
        weights: dict[str, Tensor] = dict(self._judging())
        # Each look-ahead step is a step of descent on the critic's loss, kept differentiable.
        for _ in range(c.unroll):
            first, second = CRITICS[c.loss](
                self._judge(x, mask, context, weights), self._judge(y, mask, context, weights)
            )
            slopes = torch.autograd.grad(
                (first + second).mean(), list(weights.values()), create_graph=True
            )
            weights = {
                k: w - 100 * c.lr * g for (k, w), g in zip(weights.items(), slopes, strict=True)
            }
        return weights

    def _shown(self, batch: Batch, x: Tensor, noise: Noise, who: str) -> Tensor:
        """What the critic sees of x: with fading noise, and 0 where missing. Penalties are on its gradient in this."""
        size = self.config.instance_noise * self._fade()
        if size > 0:
            x = x + size * noise.normal(f"instance {who}", *x.shape[1:])
        return x * self._mask(batch)

    def _mask(self, batch: Batch) -> Tensor:
        return batch.present.to(self.dtype)

    def _judge(
        self,
        seen_x: Tensor,
        mask: Tensor,
        context: Tensor | None,
        weights: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """One score for each pack of rows, (B / packing,), from (x times mask, mask) and Fourier features of x."""
        # (rows, 2 C, ...) of grids, (rows, D (2 + F)) of vectors
        if self.grid:
            rows = torch.cat([seen_x, mask], 1)
        else:
            x = seen_x.flatten(1)
            m = mask.flatten(1)
            if self.features is None:
                waves = []
            else:
                waves = [(self.features(x) * m[..., None]).flatten(1)]
            rows = torch.cat([x, m, *waves], -1)
        packed = self._packed(rows)
        if weights is None:
            return self.critic(packed, context).squeeze(-1)
        return torch.func.functional_call(self.critic, weights, (packed, context)).squeeze(-1)

    def _packed(self, rows: Tensor) -> Tensor:
        """Rows side by side, `packing` at a time (Lin et al. 2018, section 3)."""
        m = self.config.packing
        return rows.reshape(len(rows) // m, m * rows.shape[1], *rows.shape[2:])

    def _packed_context(self, batch: Batch) -> Tensor | None:
        context = self.critic_conditioner(batch.given, batch.length, len(batch))
        if context is None:
            return None
        return self._packed(context)

    def _fade(self) -> float:
        """The factor of noise and penalties: it falls geometrically for a share FALLING of the steps, then rests."""
        return self.config.fall ** -min(1.0, self.progress / FALLING)

    # ---- the generator ---------------------------------------------------------------------------

    def _generate(self, noise: Noise, given: Batch | None, length: Tensor | None) -> Tensor:
        """Samples in model units, (B, *F)."""
        context = self.conditioner(given, length, noise.rows)
        return self.generator(self._entry(noise), context).reshape(noise.rows, *self.out.layout)

    def _decode(self, z: Tensor, given: Batch | None, index: Tensor) -> RowDistribution:
        """The item that the generator makes of the numbers z (B, latent) and, behind them, the code's number if any."""
        numbers = z[:, : self.config.latent]
        context = self.conditioner(given, None, len(z))
        if self.code_logits is None:
            entry = numbers
        else:
            entry = self._beside(numbers, z[:, -1].long())
        y = self.generator(entry, context).reshape(len(z), *self.out.layout)
        return Delta(self.space, index, Kind.EXACT, "generator", self.preprocessor.inverse(y))

    def _beside(self, z: Tensor, code: Tensor) -> Tensor:
        """Numbers and a one-hot code of unit variance, like theirs: codes would else be one point for the critic."""
        many = self.config.codes
        return torch.cat([z, math.sqrt(many) * one_hot(code, many).to(z)], -1)

    def _entry(self, noise: Noise) -> Tensor:
        """The generator's input: continuous numbers and, with codes, a one-hot code."""
        c: GANConfig = self.config
        # Unit variance of whatever distribution, so that options compare.
        if c.noise == "normal":
            z = noise.normal("z", c.latent)
        else:
            z = 2 * noise.uniform("z", c.latent) - 1
            z = z.sign() if c.noise == "discrete" else z * math.sqrt(3.0)
        if self.code_logits is None:
            return z
        return self._beside(z, _code(self.code_logits, noise))

    def _sample(
        self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any
    ) -> Tensor:
        return self._generate(noise, given, length)

    def _critic_score(self, batch: Batch, noise: Noise) -> Tensor:
        """-D(x): how far from data the critic holds a row, in the critic's own units, (B,)."""
        many = batch.repeat(self.config.packing)
        rows = torch.arange(len(batch)).repeat_interleave(self.config.packing)
        packs = replace(many, index=many.ids)[rows]
        mask = self._mask(packs)
        return -self._judge(packs.x * mask, mask, self._packed_context(packs))


def _code(logits: Tensor, noise: Noise) -> Tensor:
    """Each row's code, drawn from log-odds (codes,), int64 (B,)."""
    cdf = logits.log_softmax(0).detach().exp().cumsum(0)
    return inverse_cdf(cdf, noise.uniform("code"))

"""Variational autoencoders: a Gaussian code, a decoder with a head for each variable, an amortised encoder."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from likeness import registry
from likeness.core import inputs, plates, scoring
from likeness.core.answers import Completed, Kind, LogProb, Scored
from likeness.core.batch import Batch
from likeness.core.config import GradientConfig, option
from likeness.core.learner import Gradient, Learner, Phase, Staged
from likeness.core.model import Model
from likeness.core.nested import Mapped, through
from likeness.core.noise import Noise
from likeness.core.preprocessor import Source
from likeness.core.routes import Question
from likeness.core.row_distribution import Normal, RowDistribution
from likeness.core.space import Space, vector
from likeness.heads.choice import bounds_refused
from likeness.heads.columns import Columns, deviation_gate, rows
from likeness.inference.amortised import (
    LEAST_LOG_STD,
    MOST_LOG_STD,
    PRIOR_SHARE,
    Code,
    refined,
)
from likeness.nets.codec import Codec, Flat, Grid, Steps, codec_kind, gridded
from likeness.nets.conditioner import Conditioner
from likeness.nets.embed import Activation
from likeness.numerics.constants import HALF_LOG_2PI
from likeness.numerics.stable import log_mean_exp
from likeness.registry import Card, FamilyConfig, register
from likeness.routes.particles import cloud, resampled

FROM_PRIOR = round(1 / PRIOR_SHARE)  # one particle in so many comes from the prior
PAIRS = 4  # antithetic pairs of a step of refinement
ACTIVE = 0.01  # variance of a code's mean over rows, of a prior of variance 1
BINS = 16  # pieces of the distribution of a real within bounds
TOGETHER = 512  # codes decoded at once where many are asked for: more would leave the cache, at half the speed
VALIDATED = 4  # draws that validation takes at least


class VAEConfig(GradientConfig):
    """Options of `vae`."""

    latent: int = option(16, "numbers of a code", ge=1)
    net: Literal["auto", "mlp", "conv", "sequence"] = option(
        "auto",
        "conv: images and signals; sequence: ragged rows; mlp: anything; auto: by the shape of the data",
    )
    hidden: tuple[int, ...] = option(
        (256, 256), "widths of an mlp's hidden layers; () makes both nets affine"
    )
    activation: Activation = option("silu", "nonlinearity of an mlp")
    width: int = option(
        32, "channels of a conv net's finest stage, or width of a sequence net", ge=2
    )
    depth: int = option(
        1, "residual blocks of each stage of a conv net, or layers of a sequence net", ge=1
    )
    norm: bool = option(False, "whether a conv net normalises within an item (group norm)")
    real: Literal["normal", "shared", "mixture"] = option(
        "normal",
        "distribution of a real entry given the code; shared: its standard deviation is the same for all codes",
    )
    components: int = option(
        3, "components of a mixture for one real or many-levelled variable", ge=1
    )
    beta: float = option(
        1.0, "weight of the divergence from the prior; 1 is the bound on log p", "objective", ge=0
    )
    free_bits: float = option(
        0.0, "divergence of each number of a code that costs no less, nats", "objective", ge=0
    )
    kl_warmup: float = option(
        0.2, "share of the training in which the weight rises from 0", "objective", ge=0, le=1
    )
    draws: int = option(
        1, "draws of the importance-weighted bound; 1 is the plain one", "objective", ge=1
    )
    draws_from: float = option(
        0.0, "share of the training that takes one draw first", "objective", ge=0, le=1
    )
    hide: float = option(
        0.1,
        "share of training rows that hide some entries, so that codes of rows with missing entries are learned",
        "objective",
        ge=0,
        le=1,
    )
    effort: int = option(64, "draws of the bound where a question names no other number", ge=1)
    prior: FamilyConfig = option(
        None, "a family whose distribution over codes, learned second, replaces the standard normal"
    )
    context: int = option(64, "numbers that stand for what is given", ge=1)
    lr: float = option(2e-3, "peak learning rate of Adam", "optimiser", gt=0)


@register(
    Card(
        "vae",
        "Variational autoencoder",
        "latent",
        "Kingma & Welling, Auto-Encoding Variational Bayes",
        2014,
        "A latent code for every row, a distribution for every code: bounds on log p, any variables, missing entries.",
    )
)
class VAE(Model):
    """p(x) = E_{z ~ N(0, I)} p(x | z), with p(x | z) a product of heads and an encoder q(z | x) = N(m(x), s(x)^2).

    log p(x) >= E log (1/k) sum_i p(x, z_i) / q(z_i | x), z_i ~ q (Burda et al. 2016,
    arXiv:1509.00519, eq. 8). Missing entries are left out by the heads and marked for the encoder, so the bound
    of a row is that of its observed entries.
    """

    Config = VAEConfig
    codes: Space
    gate: Tensor | None

    def __init__(self, config: VAEConfig, space: Space, given_space: Space | None = None) -> None:
        super().__init__(config, space, given_space)
        # Categories and bits are 0 where absent, and need no bit of presence
        numbers = any(v.type != "nominal" and v.states > 2 for v in space.variables)
        real: Literal["mixture", "normal"] = "mixture" if config.real == "mixture" else "normal"
        self.default_effort = config.effort
        self.columns = Columns(
            space, components=config.components, real=real, bins=BINS, presence=numbers
        )
        # Codecs of ragged rows take lengths themselves
        self.conditioner = Conditioner(space, given_space, config.context, by_length=False)
        self.codec = _codec(config, space, self.columns, self.conditioner.size)
        self.bias = nn.Parameter(torch.zeros(self.columns.size))
        self.register_buffer(
            "gate",
            deviation_gate(self.columns) if config.real == "shared" else None,
            persistent=False,
        )
        self.codes = vector(config.latent)
        if config.prior is None:
            self.prior = None
        else:
            self.prior = registry.build(
                registry.name_of(config.prior), config.prior, self.codes, given_space
            )

    @classmethod
    def _refuse(cls, config: Any, space: Space, given_space: Space | None) -> str | None:
        if config.net == "conv" and not gridded(space):
            return (
                "a conv net takes images (C, H, W) or signals (C, T) of one variable: take net=mlp"
            )
        if config.net == "sequence" and not space.ragged:
            return "a sequence net takes ragged rows: take net=mlp"
        if config.prior is not None:
            prior = registry.family(registry.name_of(config.prior))
            return prior.accepts(
                config.prior, vector(config.latent), given_space
            ).why or bounds_refused(space)
        return bounds_refused(space)

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """A quick model for checks: convolutions on images of two levels only."""
        levels = gridded(space) and space.variables[0].states > 2
        small = {
            "net": "mlp" if levels else "auto",
            "latent": min(8, space.dims),
            "hidden": (48,),
            "width": 8,
            "components": 1,
            "context": 16,
        }
        return {**small, "effort": 8, "kl_warmup": 0.0, "batch": 128, "lr": 2e-2, "ema": 0.95}

    def graph(self) -> plates.Graph:
        """A code z and x under it; the encoder guesses back."""
        own = self.config.prior
        prior = "" if own is None else f"distribution: {registry.name_of(own)}"
        z = plates.Node("z", "latent", self.codes, note=prior)
        ties = (plates.Edge("z", "x"), plates.Edge("x", "z", "encoder"))
        under = ("z", "x") if prior else ("x",)
        return plates.rows(self, z, ties=ties, under=under, learned=under)

    # ---- learning --------------------------------------------------------------------------------

    def _prepare(self, source: Source) -> None:
        self.columns.fit(b.to(dtype=self.dtype) for b in source.chunks(65536))
        self.bias.data.copy_(self.columns.start())
        self.conditioner.fit(source)

    def learner(self) -> Learner:
        """Stochastic gradients of the bound; then, where one is asked for, a prior on draws of the codes."""
        own = [p for name, p in self.named_parameters() if not name.startswith("prior.")]
        first = Gradient((Phase("bound", partial(self.__call__, phase="bound"), own),))
        if self.prior is None:
            return first
        return Staged((("bound", lambda: first), ("prior", partial(self._second, self.prior))))

    def _second(self, prior: Model) -> Learner:
        prior.prepare(Mapped(self.source, self._coded, self.codes))
        return through(
            prior, lambda batch, noise: prior.inputs(self._coded(batch, noise), noise)[0]
        )

    @torch.no_grad()
    def _coded(self, batch: Batch, noise: Noise) -> Batch:
        """The rows as draws of their codes."""
        code = self._posterior(
            scoring.to_model_units(self, batch.to(dtype=self.dtype, device=self.device), noise)[0]
        )
        return Batch(
            code.at(self._eps(noise, 1))[0], weight=batch.weight, given=code.given, index=batch.ids
        )

    def forward(self, batch: Batch, noise: Noise, phase: str) -> dict[str, Tensor]:
        """Reconstruction and divergence in nats, whose sum is -ELBO, and what another objective adds to it, (B,)."""
        c: VAEConfig = self.config
        batch = self._hidden(batch, noise)
        code = self._posterior(batch)
        k = c.draws if self.progress >= c.draws_from else 1
        eps = self._eps(noise, k)
        # One term for each part of -ELBO; other objectives are written as a difference from it.
        log_p = self._likelihood(batch, code, code.at(eps))
        terms = {"reconstruction": -log_p.mean(0), "kl": code.kl.sum(-1)}
        weight = c.beta * (min(1.0, self.progress / c.kl_warmup) if c.kl_warmup else 1.0)
        if k > 1:
            bound = log_mean_exp(log_p - weight * code.log_ratio(eps))[0]
            terms["importance"] = -bound - terms["reconstruction"] - terms["kl"]
        elif weight != 1 or c.free_bits:
            terms["weight"] = weight * code.kl.clamp_min(c.free_bits).sum(-1) - terms["kl"]
        return terms

    def _hidden(self, batch: Batch, noise: Noise) -> Batch:
        """The batch with entries of some rows hidden, each such row at its own random rate."""
        share = self.config.hide
        if not share or not self.training:
            return batch
        u = noise.uniform("hide", 2)
        rate = torch.where(u[:, 0] < share, u[:, 1], 0.0).reshape(-1, *[1] * (batch.x.dim() - 1))
        return batch.hide(noise.uniform("hidden", *batch.x.shape[1:]) < rate)

    def criterion(self, batch: Batch, noise: Noise) -> Tensor:
        """Minus the bound with few draws, (B,): what learning raises, at a cost that validation can bear."""
        there = batch.to(dtype=self.dtype, device=self.device)
        k = max(VALIDATED, self.config.draws)
        return -scoring.score(self, there, noise, k, self.Settings()).value

    # ---- encoder and decoder ---------------------------------------------------------------------

    def _context(self, given: Batch | None, rows: int) -> Tensor | None:
        """The conditioning vector of each row, (B, C)."""
        context: Tensor | None = self.conditioner(given, None, rows)
        return context

    def _posterior(self, batch: Batch) -> Code:
        """Q(z | what is observed)."""
        context = self._context(batch.given, len(batch))
        out = self.codec.encode(self.columns.embed(batch.x, _seen(batch)), batch.length, context)
        loc, log_std = out.to(self.dtype).chunk(2, -1)
        return Code(loc, log_std.clamp(LEAST_LOG_STD, MOST_LOG_STD), batch.given, context)

    def _params(self, z: Tensor, length: Tensor | None, context: Tensor | None) -> Tensor:
        """Parameters (B, *places, S) of the distribution of x for codes (B, L)."""
        out = self.codec.decode(z, length, context)
        return (out if self.gate is None else out * self.gate) + self.bias

    def _likelihood(self, batch: Batch, code: Code, z: Tensor) -> Tensor:
        """log p(x | z) of what is observed for k codes a row, z (k, B, L), (k, B)."""
        k = len(z)
        mask = _seen(batch)
        length = None if batch.length is None else batch.length.repeat(k)
        context = None if code.context is None else code.context.repeat(k, 1)
        params = self._params(z.flatten(0, 1), length, context).unflatten(0, (k, len(batch)))
        present = None if mask is None else mask.expand(k, *mask.shape)
        return self.columns.distribution(params).total(batch.x.expand(k, *batch.x.shape), present)

    def _likelihoods(self, batch: Batch, code: Code, z: Tensor, most: int) -> Tensor:
        """The same with at most `most` codes decoded at once, (k, B)."""
        parts = z.split(max(1, most // max(len(batch), 1)))
        return torch.cat([self._likelihood(batch, code, some) for some in parts])

    def _log_prior(self, z: Tensor, given: Batch | None, noise: Noise) -> Tensor:
        """log p(z) - log N(z; 0, I) for k codes a row, z (k, B, L): 0 but for a prior of its own, (k, B)."""
        if self.prior is None:
            return z.new_zeros(())
        k, rows = z.shape[:2]
        batch = Batch(
            z.flatten(0, 1),
            given=None if given is None else given.repeat(k),
            index=noise.index.repeat(k),
        )
        question = Question(batch, noise.within("prior").draws(k), self.prior.Settings())
        # Codes count as log p(z) - log N(z): 0 for the standard normal prior.
        normal = -(0.5 * z.square() + HALF_LOG_2PI).sum(-1)
        return scoring.score_rows(self.prior, question).value.reshape(k, rows) - normal

    def _eps(self, noise: Noise, k: int) -> Tensor:
        """Standard normal numbers for k codes a row, (k, B, L)."""
        return (
            (noise if k == 1 else noise.draws(k))
            .normal("z", self.config.latent)
            .unflatten(0, (k, -1))
        )

    # ---- hooks -----------------------------------------------------------------------------------

    def _marginal(self, batch: Batch) -> str | None:
        return None

    def _log_prob(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Scored:
        """The importance-weighted bound; its terms are the plain bound's two and what the weights gain on it."""
        k = effort or self.default_effort
        code = self._posterior(batch)
        eps = self._eps(noise, k)
        log_p = self._likelihoods(batch, code, code.at(eps), TOGETHER)
        gain = self._log_prior(code.at(eps), code.given, noise)
        value, stderr = log_mean_exp(log_p - code.log_ratio(eps) + gain)
        # E log p(x|z), -KL (to the learned prior, if any),
        # and what the importance weights add to both.
        fit = log_p.mean(0)
        kl = code.kl.sum(-1) - (gain.mean(0) if gain.dim() else gain)
        terms = {"reconstruction": fit, "kl": -kl, "importance": value - fit + kl}
        return Scored(
            value, Kind.LOWER_BOUND, f"importance-weighted bound, {k} draws", stderr, terms
        )

    def _sample(
        self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any
    ) -> Tensor:
        z = noise.normal("z", self.config.latent)
        if self.prior is not None:
            z = scoring.sample_rows(
                self.prior, noise.within("prior"), given, self.prior.Settings()
            )[0]
        return self._drawn(self._params(z, length, self._context(given, noise.rows)), noise)

    def _drawn(self, params: Tensor, noise: Noise) -> Tensor:
        """x ~ p(x | z) for parameters (B, *places, S)."""
        return self.columns.distribution(params).draw(
            noise.uniform("x", *params.shape[1:-1], self.columns.uniforms)
        )

    def _encode(
        self, batch: Batch, noise: Noise, effort: int | None, settings: Any
    ) -> RowDistribution:
        """The encoder's answer; with an effort, that many steps of each row's own ascent of the bound from there."""
        code = self._posterior(batch)
        how = "amortised posterior"
        if effort:
            code = refined(code, partial(self._slopes, batch, noise), effort)
            how = f"{how}, refined by {effort} steps"
        return Normal(self.codes, batch.ids, Kind.ESTIMATE, how, code.loc, code.log_std.exp())

    def _slopes(self, batch: Batch, noise: Noise, code: Code, step: int) -> tuple[Tensor, Tensor]:
        """Gradients of each row's bound, under the standard normal, in its own mean and log std.

        By the path alone: they vanish draw by draw where q is the posterior (Roeder et al. 2017,
            arXiv:1703.09194).
        """
        half = self._eps(replace(noise, step=step + 1), PAIRS)
        eps = torch.cat([half, -half])
        with torch.enable_grad():
            loc, log_std = (t.detach().requires_grad_() for t in (code.loc, code.log_std))
            z = replace(code, loc=loc, log_std=log_std).at(eps)
            # Gradients through z alone: q's own parameters are held, so that only the path counts.
            u = (z - code.loc) * (-code.log_std).exp()
            bound = self._likelihood(batch, code, z) + 0.5 * (u.square() - z.square()).sum(-1)
            slopes = torch.autograd.grad(bound.mean(0).sum(), (loc, log_std))
        return slopes[0], slopes[1]

    def _decode(self, z: Tensor, given: Batch | None, index: Tensor) -> RowDistribution:
        return rows(
            self.columns, self._params(z, None, self._context(given, len(z))), index, how="decoder"
        )

    def _complete(self, batch: Batch, noise: Noise, n: int, settings: Any) -> Completed:
        """Codes from q(z | what is observed) weighed by p(x, z) / q, resampled; missing entries drawn from their heads.

        Sampling-importance-resampling (Rubin 1987); some proposals come from the prior, weights
        being those of the mix.
        """
        # The first of each FROM_PRIOR proposals comes from the prior; the mixture is their density.
        count = settings.particles
        code = self._posterior(batch)
        eps = cloud(noise, count).normal("z", self.config.latent).unflatten(0, (count, -1))
        z = code.at(eps)
        z[::FROM_PRIOR] = eps[::FROM_PRIOR]
        log_p = self._likelihoods(batch, code, z, min(settings.rows, TOGETHER))
        log_w = log_p + self._log_prior(z, code.given, noise) - code.log_mixed_ratio(z)
        picks = resampled(z, log_w, Question(batch, noise, settings, n=n), "codes resampled")
        wide = batch.repeat(n)
        context = None if code.context is None else code.context.repeat(n, 1)
        x = self._drawn(self._params(picks.x.flatten(0, 1), wide.length, context), noise.draws(n))
        return replace(picks, x=x.unflatten(0, (n, len(batch))), evaluations=count + 1)

    # ---- beyond the verbs ------------------------------------------------------------------------

    def active(self, x: Any, *, given: Any = None) -> Tensor:
        """Which latent dimensions are in use, bool (L,): the variance over rows of their means is above 0.01.

        The others have collapsed onto the prior and say nothing (Burda et al. 2016,
        arXiv:1509.00519, section 5.2).
        """
        means: Tensor = self.encode(x, given=given, seed=0).mean
        return means.var(0) > ACTIVE

    def remarks(self, batch: Batch) -> tuple[str, ...]:
        """How much of the code is in use."""
        active = int(self.active(batch, given=batch.given).sum())
        n = self.config.latent
        if not active:
            return (f"0 of {n} numbers of the code in use: it has collapsed onto the prior",)
        return (f"{active} of {n} numbers of the code in use",)

    @torch.no_grad()
    def elbo(
        self, x: Any, codes: Normal, *, given: Any = None, effort: int = 64, seed: int = 0
    ) -> LogProb:
        """E_q log p(x | z) - KL(q || p(z)) for any q that `encode` answered with, nats, (B,).

        The difference between q refined and q amortised is the amortisation gap (Cremer et al.
        2018, arXiv:1801.03558).
        """
        batch = inputs.batch_of(self, x, given)
        inside, _, _ = scoring.to_model_units(
            self, batch, noise := inputs.noise_of(self, seed, batch.ids, "elbo")
        )
        with self.asking():
            code = Code(
                codes.loc, codes.std.log(), inside.given, self._context(inside.given, len(batch))
            )
            z = code.at(self._eps(noise, effort))
            log_p = self._likelihood(inside, code, z)
            gain = self._log_prior(z, code.given, noise)
        stderr = (log_p + gain).std(0) / math.sqrt(effort) if effort > 1 else None
        terms = {
            "reconstruction": log_p.mean(0),
            "kl": (log_p + gain).mean(0) - log_p.mean(0) - code.kl.sum(-1),
        }
        value = terms["reconstruction"] + terms["kl"]
        return LogProb(
            value,
            Kind.LOWER_BOUND,
            self.measure,
            f"plain bound, {effort} draws",
            stderr,
            terms,
            seed=seed,
        )


def _seen(batch: Batch) -> Tensor | None:
    """Which entries are there and known; None, which is faster, where all are."""
    if batch.observed is None and batch.length is None:
        return None
    return batch.present


def _codec(c: VAEConfig, space: Space, columns: Columns, context: int) -> Codec:
    """The nets that the Config names, or that the shape of the data calls for."""
    kind = codec_kind(space) if c.net == "auto" else c.net
    net = {"outputs": 2 * c.latent, "inputs": c.latent, "context": context}
    if kind == "conv":
        per = (columns.features // space.width, columns.size // space.width)
        return Grid(space.layout, *per, width=c.width, depth=c.depth, norm=c.norm, **net)
    if kind == "sequence":
        return Steps(
            space.layout[0], columns.features, columns.size, width=c.width, depth=c.depth, **net
        )
    places = space.layout if columns.narrow else space.layout[:-1]
    longest = space.layout[0] if space.ragged else 0
    sizes = {**net, "longest": longest}
    return Flat(
        places, columns.features, columns.size, hidden=c.hidden, activation=c.activation, **sizes
    )

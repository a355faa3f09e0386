"""Hidden Markov models: states that follow each other, each with a distribution of its own, exact and fitted by EM."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from likeness.bijections.preprocess import Reals
from likeness.core import plates
from likeness.core.answers import Kind, Mode
from likeness.core.batch import Batch
from likeness.core.config import Config, option
from likeness.core.learner import Parameters
from likeness.core.noise import Noise, generator
from likeness.core.preprocessor import Source
from likeness.core.row_distribution import RowDistribution
from likeness.core.space import Nominal, Space
from likeness.heads.choice import CountName, bounds_refused
from likeness.heads.columns import Columns
from likeness.inference.em_model import ExactEMModel
from likeness.inference.mixture import kmeans
from likeness.inference.mixture.components import Products, SampledComponent
from likeness.inference.mixture.em import COARSE, NEVER, under
from likeness.inference.mixture.gaussians import Covariance, Gaussians
from likeness.inference.sequence.emissions import Emissions, StateEStep
from likeness.inference.sequence.hmm_init import followed, in_order, renamed, variances
from likeness.inference.sequence.linear_chain import LEAST, Paths, smoothed
from likeness.inference.sequence.posterior import StateDistribution, Steering
from likeness.inference.sequence.steps import Packed, StepNoise, Steps, timed, unseen
from likeness.numerics import memory
from likeness.numerics.draws import choose
from likeness.registry import Card, register
from likeness.routes import enumerate_states

FULL = 50  # numbers a step up to which "auto" lets every state have its own covariance
START_STEPS = 50_000  # steps that starts are tried on
START_NUMBERS = 1 << 22  # numbers that distances between steps are taken from
BLUR = 0.5  # of a start's shares of codes, so that a state may still take to any of them
LLOYD = 10
ALL_ROWS = 1 << 40
WIDE = 512  # numbers of a step's features beyond which a start is random


class HMMConfig(Config):
    """Options of `hmm`."""

    states: int = option(5, "hidden states", ge=1)
    components: int = option(1, "mixture components of each state's emission distribution", ge=1)
    covariance: Literal["auto", "full", "tied", "diagonal", "spherical"] = option(
        "auto",
        f"of Gaussian states; auto: full up to {FULL} numbers a step, beyond that one for all (tied)",
    )
    count: CountName = option("poisson", "the distribution of counts in a state")
    topology: Literal["full", "left_right", "cycle"] = option(
        "full",
        "which states follow which; left_right: itself or the next, from the first on; cycle: the same, round",
    )
    allowed: tuple[tuple[int, ...], ...] | None = option(
        None, "which states follow which, a row of 0s and 1s for each state, in place of topology"
    )
    smoothing: float = option(
        0.1,
        "weight added to every step between states, first state and category",
        "objective",
        ge=0,
    )
    floor: float = option(
        1e-4, "added to every variance, as a share of the data's own", "objective", ge=1e-12
    )
    restarts: int = option(
        5, "starts, of which the likeliest after `trial` passes goes on", "optimiser", ge=1
    )
    trial: int = option(10, "passes of EM that a start is judged by", "optimiser", ge=0)
    passes: int = option(200, "most passes of EM", "optimiser", ge=1)
    tolerance: float = option(
        1e-6, "EM stops where a pass gains less, in nats an item", "optimiser", ge=0
    )


@register(
    Card(
        "hmm",
        "Hidden Markov model",
        "classical",
        "Rabiner, A tutorial on hidden Markov models and selected applications in speech recognition",
        1989,
        "Hidden states behind a series; exact answers at any length, with any entries missing.",
    )
)
class HMM(ExactEMModel):
    """p(x) = sum_z first[z_1] prod_t step[z_t-1, z_t] prod_t p_{z_t}(x_t); a state is a Gaussian, heads, or a mixture.

    `encode` is the posterior of the states, its `mean` the smoothed marginals, its `mode` the
    likeliest path.
    """

    Config = HMMConfig
    scored_how = "forward recursion"
    drawn_how = "states drawn backwards, then each step given its own"
    unbounded = True
    multimodal = True
    codes: Space
    allowed: Tensor
    log_first: Tensor

    def __init__(self, config: HMMConfig, space: Space, given_space: Space | None = None) -> None:
        super().__init__(config, space, given_space)
        self.columns: Columns | None = None
        if _of_heads(config, space):
            self.steps = Steps(space)
            self.columns = Columns(self.steps.space, kind="closed", count=config.count)
        else:
            self.preprocessor = Reals(space)
            self.default_effort = 8 if self.preprocessor.stochastic else 1
            self.steps = Steps(self.preprocessor.out)
        self.dims = self.steps.space.dims
        self.part = self._part()
        steps = None if self.columns is None else self.steps.space
        self.emissions = Emissions(self.part, steps)
        self.codes = Space(
            axes=("time",),
            shape=(None if space.ragged else self.steps.longest,),
            longest=space.longest,
            variables=(Nominal(categories=config.states),),
        )
        self.register_buffer("allowed", _allowed(config), persistent=False)
        self._declare()

    @classmethod
    def _refuse(cls, config: HMMConfig, space: Space, given_space: Space | None) -> str | None:
        if not timed(space):
            return (
                "states follow each other in time, which these data have no axis of: take `mixture`, or load a table's "
                "steps with series=..."
            )
        if given_space is not None:
            return "its states take no condition: take `discriminant density=hmm` for classes, or `autoregressive`"
        if config.allowed is not None and {len(config.allowed), *map(len, config.allowed)} != {
            config.states
        }:
            return f"allowed= is not a row of {config.states} numbers for each of {config.states} states"
        if config.allowed is not None and not all(any(row) for row in config.allowed):
            return "allowed= lets a state be followed by none: let it be followed by itself"
        if _of_heads(config, space):
            return bounds_refused(space, closed=True)
        return None

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """Options that learn within a second."""
        return {"states": 5, "restarts": 1, "passes": 40}

    def _part(self) -> SampledComponent:
        """The distribution of a step in each component of each state, K * M of them, those of a state side by side."""
        config: HMMConfig = self.config
        many = config.states * config.components
        if self.columns is not None:
            return Products(self.columns, config.smoothing, many)
        auto: Covariance = "full" if self.dims <= FULL else "tied"
        return Gaussians(
            many, auto if config.covariance == "auto" else config.covariance, config.floor
        )

    def _init(self) -> Parameters:
        return self._blank(torch.ones(self.dims, dtype=torch.float64))

    def _blank(self, variance: Tensor) -> Parameters:
        """Even transitions among those allowed, and all states alike, given the variance of each entry, (D,)."""
        config: HMMConfig = self.config
        k = config.states
        m = config.components
        first = torch.zeros(k, dtype=torch.float64)
        if config.topology == "left_right" and config.allowed is None:
            first[1:] = NEVER
        step = torch.where(_allowed(config), 0.0, NEVER).double().log_softmax(-1)
        share = torch.full((k, m), -math.log(m), dtype=torch.float64)
        chain = {
            "log_first": first.log_softmax(-1),
            # Transitions that are ruled out keep a finite logarithm (see NEVER).
            "log_step": step.clamp(min=NEVER),
            "log_share": share,
        }
        never = torch.tensor(NEVER, dtype=torch.float64)
        emission = {f"x.{name}": t for name, t in self.part.init(variance).items()}
        return chain | emission | {"reached": never, "gain": -never}

    def graph(self) -> plates.Graph:
        """A state that follows the one before, and a step of x that depends on it."""
        many = self.config.components
        state = Steps(self.codes).space
        step = Steps(self.space).space
        return plates.hidden_chain(self, state, step, note=f"mixture of {many}" if many > 1 else "")

    # ---- learning --------------------------------------------------------------------------------

    def _prepare(self, source: Source) -> None:
        if self.columns is not None:
            self.columns.fit(self._flat(b.to(dtype=self.dtype)) for b in source.chunks(65536))

    def _flat(self, batch: Batch) -> Batch:
        """The steps of all items as one batch of items."""
        view = self.steps.packed(batch)
        return Batch(
            view.v.reshape(-1, self.dims), view.known.reshape(-1, self.dims), weight=view.each
        )

    @property
    def chunk_rows(self) -> int:
        """All items at once where states are products of heads, whose M-steps need them."""
        config: HMMConfig = self.config
        if self.columns is not None:
            return ALL_ROWS
        return memory.rows(self.steps.longest * config.states * config.components)

    @property
    def trial(self) -> int:
        """Passes that a start is judged by."""
        passes: int = self.config.trial
        return passes

    def _steps_e_step(
        self, v: Tensor, known: Tensor, now: Parameters, *, draft: bool = False
    ) -> StateEStep:
        """The emission part of the E-step of N steps."""
        return self.emissions.e_step(v, known, under(now, "x"), now["log_share"], draft=draft)

    def _e_step(self, batch: Batch, now: Parameters) -> Parameters:
        """Forward and backward over every item; shares of the states for each step's own statistics."""
        view = self.steps.packed(batch)
        # Emission densities of all steps, then
        # forward-backward over the items: gamma (N, K) and xi.
        k = self.config.states
        e_step = self._steps_e_step(view.v, view.known, now, draft=float(now["gain"]) > COARSE)
        posterior = smoothed(
            now["log_first"], now["log_step"], e_step.unary, view.length, view.weight
        )
        # Weighted responsibilities, split among the mixture components of each state, (N, K * M).
        if view.each is None:
            r = posterior.gamma
        else:
            r = posterior.gamma * view.each[:, None]
        if e_step.within is not None:
            r = (e_step.within * r[..., None]).flatten(1)
        emission = {f"x.{name}": t for name, t in e_step.statistics(r).items()}
        return emission | {
            "first": posterior.first,
            "pairs": posterior.pairs,
            "share": r.sum(0).reshape(k, -1),
            "objective": posterior.log_z @ view.weight,
            "weight": view.weight.sum(),
        }

    def _m_step(self, sums: Parameters, before: Parameters, *, least: float = 0.0) -> Parameters:
        """Shares of expected counts, smoothed where a step is allowed at all (Rabiner 1989, eq. 40)."""
        # pi_i and A_ij from expected counts, each with its
        # smoothing weight where it is possible at all.
        smoothing: float = self.config.smoothing
        first = sums["first"] + smoothing * (before["log_first"] > NEVER / 2)
        pairs = sums["pairs"] + smoothing * self.allowed
        # A state that nothing ever left keeps its transitions.
        stuck = pairs.sum(-1, keepdim=True) <= 0
        step = torch.where(
            stuck, before["log_step"].exp(), pairs / pairs.sum(-1, keepdim=True).clamp(min=1e-300)
        )
        # Scaled recursions need ratios of LEAST or more between transitions (see Paths).
        step = torch.where(self.allowed, step.clamp(min=10 * LEAST).log(), NEVER)
        share = sums["share"] + 1e-12
        objective = sums["objective"] / sums["weight"]
        part = self.part.m_step(under(sums, "x"), under(before, "x"), least=least)
        return {
            "log_first": (first / first.sum())
            .clamp(min=1e-300)
            .log()
            .where(before["log_first"] > NEVER / 2, NEVER),
            "log_step": step,
            "log_share": (share / share.sum(-1, keepdim=True)).log(),
            "reached": objective,
            "gain": objective - before["reached"],
        } | {f"x.{name}": t for name, t in part.items()}

    def _stride(self, rows: int) -> int:
        return max(1, rows * self.steps.longest // START_STEPS)

    def _starts(self, batch: Batch, noise: Noise) -> Iterator[Parameters]:
        for i in range(self.config.restarts):
            yield self._guess(batch, noise[:1], i)

    def _guess(self, batch: Batch, noise: Noise, i: int) -> Parameters:
        """Initial states from k-means++ clusters (half random for codes), and the transitions that these make."""
        config: HMMConfig = self.config
        view = self.steps.packed(batch)
        k = config.states
        m = config.components
        blank = self._blank(variances(view))
        # A hard state for each step: in order of time, or by clustering.
        if config.topology == "left_right":
            own = in_order(view.length, k)
        else:
            own = self._clusters(view, noise, i)
        # Cluster numbers are arbitrary: renumber them so that the transitions are allowed ones.
        if not bool(self.allowed.all()):
            own = renamed(followed(one_hot(own, k).double(), view.length)[1], self.allowed)[own]
        # Soft shares: states of heads are blurred, components within a state are random.
        r = one_hot(own, k).double()
        random = torch.empty(len(r), k * m, dtype=torch.float64)
        random.exponential_(generator=generator(noise.seed, i))
        if self.columns is not None:
            r = (1 - BLUR) * r + BLUR * random[:, :k] / random[:, :k].sum(-1, keepdim=True)
        parts = random.unflatten(-1, (k, m)) / random.unflatten(-1, (k, m)).sum(-1, keepdim=True)
        if view.each is not None:
            r = r * view.each[:, None]
        parts_resp = (r[..., None] * parts).flatten(1)
        # One M-step from these shares and from the transitions that the hard states make.
        e_step = self._steps_e_step(view.v, view.known, blank)
        sums = {f"x.{name}": t for name, t in e_step.statistics(parts_resp).items()}
        first, pairs = followed(r, view.length)
        sums |= {
            "share": parts_resp.sum(0).reshape(k, m),
            "first": first + 1,
            "pairs": (pairs + 1) * self.allowed,
            "objective": blank["reached"],
            "weight": torch.ones_like(blank["reached"]),
        }
        return self._m_step(sums, blank, least=1e-3) | {"gain": blank["gain"]}

    def _clusters(self, view: Packed, noise: Noise, i: int) -> Tensor:
        """The nearest of K k-means++ centres to each step, int64 (N,); whole items in turn where that cannot be."""
        k = self.config.states
        # Features too wide for distances: whole items in turn.
        if self.columns is not None and self.columns.features > WIDE:
            return (
                torch.arange(len(view.length), device=view.v.device).repeat_interleave(view.length)
                % k
            )
        features = self._features(view)
        some = features[:: max(1, features.numel() // START_NUMBERS)]
        u = noise.uniform(f"seeds {i}", k, kmeans.candidates(k)).double()[0]
        if len(some) < k:
            return in_order(view.length, k)
        centres, _ = kmeans.lloyd(some, kmeans.seeds(some, k, u), LLOYD)
        return kmeans.distances(features, centres).argmin(-1)

    def _features(self, view: Packed) -> Tensor:
        """Steps as numbers of like scale, 0 where hidden, (N, F)."""
        if self.columns is None:
            return view.v * view.known
        x = view.v.reshape(-1, *self.steps.space.layout)
        return self.columns.embed(x.to(self.dtype), view.known).flatten(1).double()

    def count(self) -> int:
        """Steps that are allowed, first states and components less one each, and those of the states' distributions."""
        k = self.config.states
        m = self.config.components
        firsts = int((self.log_first > NEVER / 2).sum()) - 1
        return (
            firsts
            + int(self.allowed.sum())
            - k
            + k * (m - 1)
            + self.part.free_parameters(under(self.fitted, "x"))
        )

    def remarks(self, batch: Batch) -> tuple[str, ...]:
        """How long each state lasts."""
        stay = self.fitted["log_step"].diagonal().exp().clamp(max=1 - 1e-12)
        lasts = ", ".join(f"{1 / (1 - s):.3g}" for s in stay.tolist())
        return (f"States last {lasts} steps on average.",)

    # ---- hooks -----------------------------------------------------------------------------------

    def _paths(self, batch: Batch, now: Parameters) -> Paths:
        """The distribution of the states of each row."""
        v = self.steps.split(batch.x).double()
        known = self.steps.split(batch.present)
        e_step = self._steps_e_step(v.flatten(0, 1), known.flatten(0, 1), now)
        return self._chain(e_step.unary.unflatten(0, v.shape[:2]), batch.length, now)

    def _chain(self, unary: Tensor, length: Tensor | None, now: Parameters) -> Paths:
        """Paths of states under emissions (B, L, K) and the chain's own transitions."""
        return Paths(now["log_first"], now["log_step"], unary, length)

    def _log_density(self, batch: Batch) -> Tensor:
        return self._paths(batch, self.fitted).log_z

    def _encode(
        self, batch: Batch, noise: Noise, effort: int | None, settings: Any
    ) -> RowDistribution:
        now = self.fitted
        length = self.steps.lengths(batch)
        chain = Steering(now["log_first"], now["log_step"])
        unary = self._paths(batch, now).unary
        return StateDistribution(
            self.codes, batch.ids, self._kind(), "forward and backward", chain, unary, length
        )

    def _unknown(self, noise: Noise, given: Batch | None, length: Tensor | None) -> Batch:
        return unseen(self.inner_space, noise, length, self._anchor)

    def _draw(self, batch: Batch, noise: Noise) -> Tensor:
        """The states of each row given what is known, then the hidden entries given the states."""
        n = noise.rows // len(batch)
        now = self.fitted
        v = self.steps.split(batch.x).double()
        known = self.steps.split(batch.present)
        (rows, length) = v.shape[:2]
        many = StepNoise.of(noise, length)
        u = many.uniform("state").double().reshape(n, rows, length)
        e_step = self._steps_e_step(v.flatten(0, 1), known.flatten(0, 1), now)
        paths = self._chain(e_step.unary.unflatten(0, v.shape[:2]), batch.length, now)
        state = paths.draw(u).flatten()
        # A component of the state, by its share at that step.
        if e_step.within is not None:
            within = e_step.within.repeat(n, 1, 1)[torch.arange(len(state)), state]
            share = within.clamp(min=1e-300).log()
            state = state * self.config.components + choose(
                share, many.uniform("component").double()
            )
        values, mask = (t.flatten(0, 1).repeat(n, 1) for t in (v, known))
        x = self.part.draw(values, mask, state, under(now, "x"), many)
        return self._joined(x, rows * n, length).reshape(-1, *batch.x.shape[1:])

    def _joined(self, x: Tensor, rows: int, length: int) -> Tensor:
        return self.steps.join(x.reshape(rows, length, -1)).to(self.dtype)

    def _mode(self, batch: Batch, settings: Any) -> Mode:
        """The sum over what is hidden where its states are few, else each step's peak along the likeliest path."""
        if self.space.discrete and enumerate_states.few(self, batch):
            return enumerate_states.best_of(self, batch, settings)
        now = self.fitted
        v = self.steps.split(batch.x).double()
        # Given the likeliest path, the emission's own mode:
        # other states get no weight, (B * L, K, M).
        known = self.steps.split(batch.present).flatten(0, 1)
        path = self._paths(batch, now).best()[0].flatten()
        prior = torch.full((len(path), *now["log_share"].shape), NEVER, dtype=torch.float64)
        prior[torch.arange(len(path)), path] = now["log_share"][path]
        x = self.part.mode(v.flatten(0, 1), known, ~known, prior.flatten(1), under(now, "x"))
        return Mode(
            batch.with_x(self._joined(x, *v.shape[:2])),
            Kind.ESTIMATE,
            "peaks along the likeliest path",
        )


def _of_heads(config: HMMConfig, space: Space) -> bool:
    """Whether a state is a product of heads rather than Gaussian in model units."""
    return not space.real or (
        config.covariance == "diagonal" and any(v.counted for v in space.variables)
    )


def _allowed(config: HMMConfig) -> Tensor:
    """Which states may follow which, bool (K, K)."""
    k = config.states
    if config.allowed is not None:
        return torch.tensor(config.allowed, dtype=torch.bool).reshape(k, -1)
    if config.topology == "full":
        return torch.ones(k, k, dtype=torch.bool)
    here = torch.arange(k)
    if config.topology == "cycle":
        after = (here + 1) % k
    else:
        after = (here + 1).clamp(max=k - 1)
    return torch.eye(k, dtype=torch.bool) | (here == after[:, None])

"""Linear dynamical systems: a Gaussian state that moves by a matrix, exact by the Kalman filter and fitted by EM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from likeness.bijections.preprocess import Reals
from likeness.core import plates
from likeness.core.answers import Kind, Mode
from likeness.core.batch import Batch
from likeness.core.config import Config, option
from likeness.core.learner import Parameters
from likeness.core.noise import Noise, generator
from likeness.core.row_distribution import RowDistribution
from likeness.core.space import Real, Space
from likeness.inference.em_model import ExactEMModel
from likeness.inference.sequence.steps import StepNoise, Steps, timed, unseen
from likeness.inference.state_space.kalman import Track
from likeness.inference.state_space.moments import (
    Moments,
    Move,
    radius,
    raised,
    regressed,
    solved,
    tamed,
    turned,
)
from likeness.inference.state_space.observations import System
from likeness.inference.state_space.posterior import track_distribution
from likeness.numerics import memory
from likeness.registry import Card, register

START_STEPS = 20_000  # steps that starts are tried on
SPANS = (1, 9, 25)  # steps whose principal components a start may take for its latents
START_WIDTH = 1024  # numbers of so many steps side by side
LOOSE = 0.1  # least variance of a start's noise: EM hardly moves from a distribution that is nearly certain
HALVINGS = 12  # of a step of EM that would leave the stable systems
NAMES = ("first_mean", "first_cov", "step", "drift", "step_cov", "load", "offset", "noise")


class LinearDynamicalConfig(Config):
    """Options of `linear_dynamical`."""

    latents: int = option(4, "numbers of the hidden state", ge=1)
    noise: Literal["diagonal", "full"] = option(
        "diagonal",
        "of what is seen given the state; diagonal: independent entries; full: any covariance",
    )
    stable: bool = option(
        True,
        "whether no direction of the state may grow of itself, so that long forecasts are tame",
    )
    smoothing: float = option(
        1.0,
        "weight, in items, of a first state like the states of all steps, for items are often few",
        "objective",
        ge=0,
    )
    floor: float = option(
        1e-6, "least variance of any noise, as a share of the data's own", "objective", ge=1e-12
    )
    passes: int = option(200, "most passes of EM", "optimiser", ge=1)
    tolerance: float = option(
        1e-4, "EM stops where a pass gains less, in nats an item", "optimiser", ge=0
    )


@register(
    Card(
        "linear_dynamical",
        "Linear dynamical system",
        "classical",
        "Kalman, A new approach to linear filtering and prediction problems",
        1960,
        "A state that moves smoothly behind a series; exact tracking, gaps and forecasts with intervals.",
    )
)
class LinearDynamical(ExactEMModel):
    """z_1 ~ N(m, P), z_t = A z_t-1 + b + N(0, Q), x_t = C z_t + d + N(0, R): one Gaussian of any length.

    `encode` is the posterior of the path of states, its `mean` the smoothed path. States have zero mean
    and unit covariance over the training steps, and are sorted by what x tells of them.
    """

    Config = LinearDynamicalConfig
    scored_how = "Kalman filter"
    drawn_how = "states drawn backwards, then each step given its own"
    multimodal = True
    trial = 20
    codes: Space
    preprocessor: Reals
    unbounded = True
    first_mean: Tensor
    first_cov: Tensor
    step: Tensor
    drift: Tensor
    step_cov: Tensor
    load: Tensor
    offset: Tensor
    noise: Tensor

    def __init__(
        self, config: LinearDynamicalConfig, space: Space, given_space: Space | None = None
    ) -> None:
        super().__init__(config, space, given_space)
        self.preprocessor = Reals(space)
        self.default_effort = 8 if self.preprocessor.stochastic else 1
        self.steps = Steps(self.preprocessor.out)
        self.dims = self.steps.space.dims
        q = config.latents
        self.codes = Space(
            axes=("time", "latent"),
            shape=(None if space.ragged else self.steps.longest, q),
            variables=(Real(),),
            longest=space.longest,
        )
        self._declare()

    @classmethod
    def _refuse(
        cls, config: LinearDynamicalConfig, space: Space, given_space: Space | None
    ) -> str | None:
        if not timed(space):
            return (
                "its state moves in time, which these data have no axis of: take `pca`, or load a table's steps with "
                "series=..."
            )
        if not space.real:
            return "its steps are Gaussian, and these data are no real numbers: take `hmm`"
        if given_space is not None:
            return "its state takes no condition: take `discriminant density=linear_dynamical` for classes"
        return None

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """Options that learn within a second."""
        return {"latents": 3, "passes": 30}

    def graph(self) -> plates.Graph:
        """A state that follows the one before, and a step of x that depends on it."""
        state = Steps(self.codes).space
        step = Steps(self.space).space
        return plates.hidden_chain(self, state, step)

    # ---- learning --------------------------------------------------------------------------------

    def _init(self) -> Parameters:
        """Unit noise, and states that do not reach x."""
        q: int = self.config.latents
        noise = torch.ones(self.dims)
        blank = System(
            first_mean=torch.zeros(q),
            first_cov=torch.eye(q),
            step=torch.zeros(q, q),
            drift=torch.zeros(q),
            step_cov=torch.eye(q),
            load=torch.zeros(self.dims, q),
            offset=torch.zeros(self.dims),
            noise=noise if self.config.noise == "diagonal" else noise.diag(),
        )
        return {name: getattr(blank, name).double() for name in NAMES}

    @property
    def chunk_rows(self) -> int:
        """As many as the second moments of their paths have room for."""
        numbers = (self.config.latents + 1) ** 2 + self.dims
        return memory.rows(self.steps.longest * numbers)

    def _view(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Steps (B, L, C), which of their entries are known, and the weight of each step, 0 past the end, (B, L)."""
        v = self.steps.split(batch.x).double()
        known = self.steps.split(batch.present)
        there = self.steps.there(batch)
        weight = batch.weights.double()[:, None].expand(v.shape[:2])
        return v, known, weight if there is None else weight * there

    def _e_step(self, batch: Batch, now: Parameters) -> Parameters:
        """Second moments of smoothed states, of states and those before, and of x and states.

        Shumway & Stoffer 1982; Ghahramani & Hinton 1996.
        """
        v, known, weight = self._view(batch)
        track = Track(_system(now), v, known)
        moments = Moments(track, weight)
        own = batch.weights.double()
        return (
            moments.first
            | moments.moves
            | moments.emissions
            | {"objective": track.log_z @ own, "weight": own.sum()}
        )

    def _m_step(self, sums: Parameters, before: Parameters) -> Parameters:
        """Regressions of states on those before, and of x on states (Ghahramani & Hinton 1996, eq. 14 to 24)."""
        config: LinearDynamicalConfig = self.config
        transition = self._moved(sums, before)
        # C and d by regression of x on (z, 1); R is what that leaves of the squares of x.
        slope = solved(sums["x_outer"], sums["x_cross"])
        load = slope[:, :-1]
        offset = slope[:, -1]
        square = sums["x_square"]
        if config.noise == "diagonal":
            count = sums["x_seen"]
            square = square - (slope * sums["x_cross"]).sum(-1)
            noise = torch.where(
                count > 0,
                (square / count.clamp_min(1e-12)).clamp_min(config.floor),
                before["noise"],
            )
        else:
            noise = raised(
                (square - slope @ sums["x_cross"].T) / sums["x_seen"].clamp_min(1e-12), config.floor
            )
        return transition | self._begun(sums) | {"load": load, "offset": offset, "noise": noise}

    def _begun(self, sums: Parameters) -> Parameters:
        """The first state's distribution, to which all states add as `smoothing` items; their mean and covariance."""
        config: LinearDynamicalConfig = self.config
        # Mean and second moment of the states of all steps.
        total = sums["z_total"].clamp_min(1e-12)
        middle = sums["z_sum"] / total
        second = sums["z_square"] / total
        # The first states, and the average state counted as `smoothing` items more.
        n = (sums["n"] + config.smoothing).clamp_min(1e-12)
        mean = (sums["first"] + config.smoothing * middle) / n
        cov = (sums["first_square"] + config.smoothing * second) / n - torch.outer(mean, mean)
        return {
            "first_mean": mean,
            "first_cov": raised(cov, config.floor),
            "middle": middle,
            "spread": raised(second - torch.outer(middle, middle), config.floor),
        }

    def _moved(self, sums: Parameters, before: Parameters) -> Parameters:
        """A, b and Q; a step of EM that would leave the stable systems is shortened, and still gains."""
        config: LinearDynamicalConfig = self.config
        # Items of one step say nothing of how states move.
        if float(sums["moves"]) <= 0:
            return {name: before[name] for name in ("step", "drift", "step_cov")}
        move = Move(sums)
        # A by regression of z_t on (z_t-1, 1); beyond the
        # unit circle it is shortened towards the last A.
        step = solved(sums["outer"], sums["cross"])[:, :-1]
        if config.stable and radius(step) > 1:
            step = self._shortened(move, before, tamed(step))
        slope = move.slope(step)
        return {
            "step": step,
            "drift": slope[:, -1],
            "step_cov": raised(move.left(slope), config.floor),
        }

    def _shortened(self, move: Move, before: Parameters, goal: Tensor) -> Tensor:
        """The longest of ever shorter ways to a stable matrix that stays stable and loses nothing."""
        # Halve the way from the last A, which is stable, until the new one is stable and no worse.
        precision = torch.linalg.inv(before["step_cov"])
        least = move.loss(before["step"], precision)
        for i in range(HALVINGS):
            step = torch.lerp(before["step"], goal, 0.5**i)
            if radius(step) <= 1 + 1e-9 and float(move.loss(step, precision)) <= float(least):
                return step
        return before["step"]

    def _canonical(self, params: Parameters) -> Parameters:
        """States of zero mean and unit covariance, ordered by how well x determines them, loadings mostly positive."""
        system = turned(_system(params), params["middle"], params["spread"])
        return {name: getattr(system, name) for name in NAMES}

    # ---- starts ----------------------------------------------------------------------------------

    def _stride(self, rows: int) -> int:
        return max(1, rows * self.steps.longest // START_STEPS)

    def _starts(self, batch: Batch, noise: Noise) -> Iterator[Parameters]:
        for span in self._spans():
            yield self._guess(batch, noise, span)

    def _spans(self) -> list[int]:
        most = min(max(1, START_WIDTH // self.dims), 2 * self.steps.longest - 1)
        return sorted({min(span, most - 1 + most % 2) for span in SPANS})

    def _guess(self, batch: Batch, noise: Noise, span: int) -> Parameters:
        """States as principal components of windows of `span` steps; the other parameters by regression."""
        # Missing entries on straight lines, so that principal components can be taken.
        v, known, weight = self._view(batch)
        x = _bridged(v, known)
        z = self._components(x, weight, noise, span)
        first = (z.new_zeros(z.shape[-1]), torch.eye(z.shape[-1]).to(z))
        # Regress z_t on z_t-1 for A, b, Q, and x on z for C, d, R.
        moves = regressed(z[:, 1:], z[:, :-1], weight[:, 1:], LOOSE)
        start = dict(zip(NAMES, (*first, *moves, *regressed(x, z, weight, LOOSE)), strict=True))
        if self.config.noise != "full":
            start["noise"] = start["noise"].diagonal()
        # Slightly inside the unit circle: EM moves away from its edge slowly.
        start["step"] = tamed(start["step"], 0.999)
        return start | {"middle": start["first_mean"], "spread": start["first_cov"]}

    def _components(self, x: Tensor, weight: Tensor, noise: Noise, span: int) -> Tensor:
        """Principal components of unit variance of windows about each step, random ones beyond them, (B, L, Q)."""
        q: int = self.config.latents
        # Windows of `span` steps about each step, its ends repeated: (rows, steps, C * span).
        pad = span // 2
        wide = torch.cat([x[:, :1].expand(-1, pad, -1), x, x[:, -1:].expand(-1, pad, -1)], 1)
        window = wide.unfold(1, span, 1).flatten(2)
        w = weight.flatten()
        flat = window.flatten(0, 1)
        # Weighted covariance of the windows, its leading eigenvectors scaled to unit variance.
        mean = (w @ flat) / w.sum().clamp_min(1e-12)
        flat = flat - mean
        values, vectors = torch.linalg.eigh((flat * w[:, None]).T @ flat / w.sum().clamp_min(1e-12))
        values = values.flip(0)[:q]
        vectors = vectors.flip(1)[:, :q]
        z = (window - mean) @ (vectors / values.clamp_min(1e-6).sqrt())
        more = q - z.shape[-1]
        if not more:
            return z
        random = torch.empty(*z.shape[:2], more, dtype=z.dtype)
        return torch.cat([z, random.normal_(generator=generator(noise.seed, span)).to(z)], -1)

    # ---- hooks -----------------------------------------------------------------------------------

    @property
    def system(self) -> System:
        """The parameters."""
        return _system(self.fitted)

    def count(self) -> int:
        """Free parameters, less those of a change of the states' coordinates, which changes nothing."""
        q = self.load.shape[1]
        c = self.dims
        if self.config.noise == "diagonal":
            noise = c
        else:
            noise = c * (c + 1) // 2
        return 2 * q + q * (q + 1) + q * q + c * q + c + noise - q * q - q

    def remarks(self, batch: Batch) -> tuple[str, ...]:
        """How fast the directions of the state fade, and in how many steps they turn."""
        return (_fading(self.fitted["step"]),)

    def _track(self, batch: Batch) -> Track:
        return Track(
            self.system,
            self.steps.split(batch.x).double(),
            self.steps.split(batch.present),
            batch.length,
        )

    def _log_density(self, batch: Batch) -> Tensor:
        return self._track(batch).log_z

    def _encode(
        self, batch: Batch, noise: Noise, effort: int | None, settings: Any
    ) -> RowDistribution:
        v, known, _ = self._view(batch)
        length = self.steps.lengths(batch)
        return track_distribution(
            self.codes, batch.ids, self._kind(), self.system, (v, known, length)
        )

    def _unknown(self, noise: Noise, given: Batch | None, length: Tensor | None) -> Batch:
        return unseen(self.inner_space, noise, length, self._anchor)

    def _draw(self, batch: Batch, noise: Noise) -> Tensor:
        """The states of each row given what is known, then the hidden entries given the states."""
        n = noise.rows // len(batch)
        # Steps before the first missing entry need no draw: noise begins at `since`.
        track = self._track(batch)
        many = StepNoise.of(replace(noise, dtype=torch.float64), track.steps, track.since)
        eps, own = (
            many.normal(use, size).reshape(n, track.rows, track.steps - track.since, size)
            for use, size in (("state", self.load.shape[1]), ("x", self.dims))
        )
        x = self._joined(track.filled(track.draw(eps), own).flatten(0, 1))
        return x.reshape(-1, *batch.x.shape[1:])

    def _joined(self, x: Tensor) -> Tensor:
        return self.steps.join(x).to(self.dtype)

    def _mode(self, batch: Batch, settings: Any) -> Mode:
        """The conditional mean, which is the peak where data units are those of the model up to a scale."""
        track = self._track(batch)
        kind = Kind.EXACT if self.preprocessor.plain else Kind.ESTIMATE
        return Mode(batch.with_x(self._joined(track.filled(track.mean))), kind, "conditional mean")


def _system(now: Parameters) -> System:
    return System(*(now[name] for name in NAMES))


def _bridged(x: Tensor, known: Tensor) -> Tensor:
    """Missing entries on a straight line between the nearest known steps, level before the first and after the last."""
    # Places of the nearest known step before and after
    # each step; past either end the other one serves.
    at = torch.arange(x.shape[1], device=x.device)[:, None].expand(x.shape)
    before = torch.where(known, at, -1).cummax(1)[0]
    after = torch.where(known, at, x.shape[1]).flip(1).cummin(1)[0].flip(1)
    none = before.amax(1, keepdim=True) < 0
    low = torch.where(before < 0, after, before).clamp(0, x.shape[1] - 1)
    high = torch.where(after >= x.shape[1], before, after).clamp(0, x.shape[1] - 1)
    a = x.gather(1, low)
    b = x.gather(1, high)
    part = (at - low) / (high - low).clamp_min(1)
    return torch.where(none, 0.0, a + (b - a) * part)


def _fading(step: Tensor) -> str:
    # Modulus: what is left of a direction; angle: its period.
    values = torch.linalg.eigvals(step)
    # One of each pair of conjugate eigenvalues.
    values = values[values.imag >= 0]
    parts = []
    for value in values[values.abs().argsort(descending=True)].tolist():
        angle = abs(torch.angle(torch.tensor(value)).item())
        if 1e-6 < angle < torch.pi - 1e-6:
            turn = f", turning in {2 * torch.pi / angle:.3g}"
        else:
            turn = ""
        parts.append(f"{abs(value):.3g}{turn}")
    return f"What is left of the state's directions after a step: {'; '.join(parts)}."

"""Linear dynamical systems: a Gaussian state that moves by a matrix, exact by the Kalman filter and fitted by EM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from likeness.bijections.preprocess import Reals
from likeness.core.answers import Completed, Kind, Mode, Scored
from likeness.core.batch import Batch, concat, missing
from likeness.core.config import Config, option
from likeness.core.learner import EM, Parameters
from likeness.core.model import Model
from likeness.core.noise import Noise, generator
from likeness.core.registry import Card, register
from likeness.core.rowlaw import RowLaw
from likeness.core.space import Real, Space
from likeness.heads.kalman import Shared, System, Track, TrackLaw
from likeness.heads.steps import StepNoise, Steps, timed

ROOM = 1 << 24  # numbers of a chunk's second moments
START_STEPS = 50_000  # steps that starts are tried on
SPANS = (1, 9, 25)  # steps whose principal components a start may take for its latents
START_WIDTH = 1024  # numbers of so many steps side by side
TRIAL = 10  # passes of EM that a start is judged by
LOOSE = 1e-2  # least variance of a start's noise: EM hardly moves from a law that is nearly certain
HALVINGS = 12  # of a step of EM that would leave the stable systems
NAMES = ("first_mean", "first_cov", "step", "drift", "step_cov", "load", "offset", "noise")


class LinearDynamicalConfig(Config):
    """Options of `linear_dynamical`."""

    latents: int = option(4, "numbers of the hidden state", ge=1)
    noise: Literal["diagonal", "full"] = option(
        "diagonal", "of what is seen given the state; diagonal: independent entries; full: any covariance"
    )
    stable: bool = option(True, "whether no direction of the state may grow of itself, so that long forecasts are tame")
    smoothing: float = option(
        1.0, "weight, in items, of a first state like the states of all steps, for items are often few", "objective",
        ge=0,
    )  # fmt: skip
    floor: float = option(1e-6, "least variance of any noise, as a share of the data's own", "objective", ge=1e-12)
    passes: int = option(200, "most passes of EM", "optimiser", ge=1)
    tolerance: float = option(1e-5, "EM stops where a pass gains less, in nats an item", "optimiser", ge=0)


@register(
    Card(
        "linear_dynamical", "Linear dynamical system", "classical",
        "Kalman, A new approach to linear filtering and prediction problems", 1960,
        "A state that moves smoothly behind a series; exact tracking, gaps and forecasts with intervals.",
    )
)  # fmt: skip
class LinearDynamical(Model):
    """z_1 ~ N(m, P), z_t = A z_t-1 + b + N(0, Q), x_t = C z_t + d + N(0, R): one Gaussian of any length.

    `encode` is the law of the path of states, its `mean` the smoothed one. States have zero mean and unit covariance
    over the training steps, and are sorted by what x tells of them.
    """

    Config = LinearDynamicalConfig
    natural_dtype = torch.float64
    unbounded = True
    first_mean: Tensor
    first_cov: Tensor
    step: Tensor
    drift: Tensor
    step_cov: Tensor
    load: Tensor
    offset: Tensor
    noise: Tensor

    def __init__(self, config: LinearDynamicalConfig, space: Space, given_space: Space | None = None) -> None:
        super().__init__(config, space, given_space)
        self.preprocessor = Reals(space)
        self.default_effort = 8 if self.preprocessor.stochastic else 1
        self.steps = Steps(self.preprocessor.out)
        self.dims, q = self.steps.space.dims, config.latents
        self.codes = Space(axes=("time", "latent"), shape=(None if space.ragged else self.steps.longest, q),
                           variables=(Real(),), longest=space.longest)  # fmt: skip
        noise = torch.ones(self.dims) if config.noise == "diagonal" else torch.eye(self.dims)
        blank = (torch.zeros(q), torch.eye(q), torch.zeros(q, q), torch.zeros(q), torch.eye(q),
                 torch.zeros(self.dims, q), torch.zeros(self.dims), noise)  # fmt: skip
        for name, value in zip(NAMES, blank, strict=True):
            self.register_buffer(name, value)

    @classmethod
    def _refuse(cls, config: LinearDynamicalConfig, space: Space, given_space: Space | None) -> str | None:
        if not timed(space):
            return "its state moves in time, which these data have no axis of: take `pca`"
        if not space.real:
            return "its steps are Gaussian, and these data are no real numbers: take `hmm`"
        if given_space is not None:
            return "its state knows of no condition: take `discriminant` with law=linear_dynamical for classes"
        return None

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """Options that learn within a second."""
        return {"latents": 3, "passes": 30}

    # ---- learning --------------------------------------------------------------------------------------------------

    def learner(self) -> EM:
        """EM over smoothed states from the likelier of few starts (Shumway & Stoffer 1982; Ghahramani & Hinton 1996)."""
        config: LinearDynamicalConfig = self.config
        rows = max(1, ROOM // (self.steps.longest * ((config.latents + 1) ** 2 + self.dims)))
        return EM(self._start, self._expect, self._maximise, self._assign, config.passes, config.tolerance, rows=rows)

    def _view(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Steps (B, L, C), which of their entries are known, and the weight of each step, 0 past the end, (B, L)."""
        v, known = self.steps.split(batch.x).double(), self.steps.split(batch.present)
        there = self.steps.there(batch)
        weight = batch.weights.double()[:, None].expand(v.shape[:2])
        return v, known, weight if there is None else weight * there

    def _expect(self, batch: Batch, now: Parameters) -> Parameters:
        """Sums of second moments of states, of states and those before, and of x and states."""
        v, known, weight = self._view(batch)
        track = Track(_system(now), v, known)
        moments = _Moments(track, weight)
        own = batch.weights.double()
        return moments.first | moments.moves | moments.seen | {"objective": track.log_z @ own, "weight": own.sum()}

    def _maximise(self, sums: Parameters, before: Parameters) -> Parameters:
        """Regressions of states on those before, and of x on states (Ghahramani & Hinton 1996, eq. 14 to 24)."""
        config: LinearDynamicalConfig = self.config
        moved = self._moved(sums, before)
        slope = _solved(sums["x_outer"], sums["x_cross"])
        load, offset = slope[:, :-1], slope[:, -1]
        left = sums["x_square"]
        if config.noise == "diagonal":
            seen = sums["x_seen"]
            left = left - (slope * sums["x_cross"]).sum(-1)
            noise = torch.where(seen > 0, (left / seen.clamp_min(1e-12)).clamp_min(config.floor), before["noise"])
        else:
            noise = _raised((left - slope @ sums["x_cross"].T) / sums["x_seen"].clamp_min(1e-12), config.floor)
        return moved | self._begun(sums) | {"load": load, "offset": offset, "noise": noise}

    def _begun(self, sums: Parameters) -> Parameters:
        """The law of the first state, to which all steps' states add as `smoothing` items; and their mean and spread."""
        config: LinearDynamicalConfig = self.config
        total = sums["z_total"].clamp_min(1e-12)
        middle = sums["z_sum"] / total
        second = sums["z_square"] / total
        n = (sums["n"] + config.smoothing).clamp_min(1e-12)
        mean = (sums["first"] + config.smoothing * middle) / n
        cov = (sums["first_square"] + config.smoothing * second) / n - torch.outer(mean, mean)
        return {"first_mean": mean, "first_cov": _raised(cov, config.floor),
                "middle": middle, "spread": _raised(second - torch.outer(middle, middle), config.floor)}  # fmt: skip

    def _moved(self, sums: Parameters, before: Parameters) -> Parameters:
        """How states move; a step of EM that would leave the stable systems is shortened, and still gains."""
        config: LinearDynamicalConfig = self.config
        if float(sums["moves"]) <= 0:
            return {name: before[name] for name in ("step", "drift", "step_cov")}
        move = _Move(sums)
        step = _solved(sums["outer"], sums["cross"])[:, :-1]
        if config.stable and _radius(step) > 1:
            step = self._shortened(move, before, _tamed(step))
        slope = move.slope(step)
        return {"step": step, "drift": slope[:, -1], "step_cov": _raised(move.left(slope), config.floor)}

    def _shortened(self, move: _Move, before: Parameters, goal: Tensor) -> Tensor:
        """The longest of ever shorter ways to a stable matrix that stays stable and loses nothing."""
        precision = torch.linalg.inv(before["step_cov"])
        least = move.loss(before["step"], precision)
        for i in range(HALVINGS):
            step = torch.lerp(before["step"], goal, 0.5**i)
            if _radius(step) <= 1 + 1e-9 and float(move.loss(step, precision)) <= float(least):
                return step
        return before["step"]

    def _assign(self, parameters: Parameters) -> None:
        """The same law with states of zero mean and unit covariance, the best told first, loadings mostly positive."""
        system = _turned(_system(parameters), parameters["middle"], parameters["spread"])
        for name in NAMES:
            setattr(self, name, getattr(system, name).to(getattr(self, name)).contiguous())

    # ---- starts ----------------------------------------------------------------------------------------------------

    def _start(self, task: Any, noise: Noise) -> Parameters:
        """The likeliest of few starts after some passes over some of the items."""
        stride = max(1, task.rows * self.steps.longest // START_STEPS)
        batch = concat([b[::stride] for b, _ in task.everything(1 << 30)])
        best, height = Parameters(), -torch.inf
        for span in self._spans():
            now, reached = self._guess(batch, noise, span), -torch.inf
            for _ in range(TRIAL):
                sums = self._expect(batch, now)
                now, reached = self._maximise(sums, now), float(sums["objective"] / sums["weight"])
            if not best or reached > height:
                best, height = now, reached
        return best

    def _spans(self) -> list[int]:
        most = min(max(1, START_WIDTH // self.dims), 2 * self.steps.longest - 1)
        return sorted({min(span, most - 1 + most % 2) for span in SPANS})

    def _guess(self, batch: Batch, noise: Noise, span: int) -> Parameters:
        """States as principal components of so many steps side by side; the rest by regression on them."""
        v, known, weight = self._view(batch)
        filled = _bridged(v, known)
        z = self._components(filled, weight, noise, span)
        system = System(
            torch.zeros(z.shape[-1]).to(z), torch.eye(z.shape[-1]).to(z), *_regressed(z[:, 1:], z[:, :-1], weight[:, 1:]),
            *_regressed(filled, z, weight),
        )  # fmt: skip
        kept = {name: getattr(system, name) for name in NAMES}
        kept["noise"] = kept["noise"] if self.config.noise == "full" else kept["noise"].diagonal()
        kept["step"] = _tamed(kept["step"], 0.999)
        return kept | {"middle": kept["first_mean"], "spread": kept["first_cov"]}

    def _components(self, x: Tensor, weight: Tensor, noise: Noise, span: int) -> Tensor:
        """Principal components of unit variance of windows about each step, random ones beyond them, (B, L, Q)."""
        q: int = self.config.latents
        pad = span // 2
        wide = torch.cat([x[:, :1].expand(-1, pad, -1), x, x[:, -1:].expand(-1, pad, -1)], 1)
        window = wide.unfold(1, span, 1).flatten(2)
        w, flat = weight.flatten(), window.flatten(0, 1)
        mean = (w @ flat) / w.sum().clamp_min(1e-12)
        flat = flat - mean
        values, vectors = torch.linalg.eigh((flat * w[:, None]).T @ flat / w.sum().clamp_min(1e-12))
        values, vectors = values.flip(0)[:q], vectors.flip(1)[:, :q]
        z = (window - mean) @ (vectors / values.clamp_min(1e-6).sqrt())
        more = q - z.shape[-1]
        if not more:
            return z
        random = torch.empty(*z.shape[:2], more, dtype=z.dtype)
        return torch.cat([z, random.normal_(generator=generator(noise.seed, span)).to(z)], -1)

    # ---- hooks -----------------------------------------------------------------------------------------------------

    @property
    def fitted(self) -> System:
        """The parameters."""
        return System(*(getattr(self, name).double() for name in NAMES))

    def count(self) -> int:
        """Free numbers, less those of a change of the states' coordinates, which changes nothing."""
        q, c = self.load.shape[1], self.dims
        noise = c if self.config.noise == "diagonal" else c * (c + 1) // 2
        return 2 * q + q * (q + 1) + q * q + c * q + c + noise - q * q - q

    def remarks(self, batch: Batch) -> tuple[str, ...]:
        """How fast the directions of the state fade, and in how many steps they turn."""
        return (_told(self.fitted.step),)

    def _track(self, batch: Batch) -> Track:
        return Track(self.fitted, self.steps.split(batch.x).double(), self.steps.split(batch.present), batch.length)

    def _marginal(self, batch: Batch) -> str | None:
        return None

    def _log_prob(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Scored:
        return Scored(self._track(batch).log_z.to(self.dtype), Kind.EXACT, "Kalman filter")

    def _encode(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> RowLaw:
        assert self.codes is not None
        assert self.preprocessor is not None
        kind = Kind.ESTIMATE if self.preprocessor.stochastic else Kind.EXACT
        v, known, _ = self._view(batch)
        length = torch.full_like(batch.ids, v.shape[1]) if batch.length is None else batch.length
        return TrackLaw(self.codes, batch.ids, kind, "Kalman smoother", Shared(self.fitted), v, known, length)

    def _sample(self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any) -> Tensor:
        assert self.preprocessor is not None
        batch = replace(missing(self.preprocessor.out, noise.rows, self.step), length=length, index=noise.index)
        more = 0 if length is None or not len(length) else int(length.max()) - self.steps.longest
        if more > 0:
            x = torch.cat([batch.x, batch.x.new_zeros(len(batch), more, *batch.x.shape[2:])], 1)
            batch = replace(batch, x=x, observed=torch.zeros_like(x, dtype=torch.bool))
        return self._drawn(batch, noise, 1)[0]

    def _complete(self, batch: Batch, noise: Noise, n: int, settings: Any) -> Completed:
        return Completed(self._drawn(batch, noise.draws(n), n), "states drawn backwards, then each step given its own")

    def _drawn(self, batch: Batch, noise: Noise, n: int) -> Tensor:
        """N times the states of each row from their law, and what is hidden from them, (n, B, *E)."""
        track = self._track(batch)
        many = StepNoise.of(replace(noise, dtype=torch.float64), track.steps)
        eps, own = (
            many.normal(use, size).reshape(n, track.rows, track.steps, size)
            for use, size in (("state", self.load.shape[1]), ("x", self.dims))
        )
        return self._joined(track.filled(track.draw(eps), own).flatten(0, 1)).reshape(n, *batch.x.shape)

    def _joined(self, x: Tensor) -> Tensor:
        return self.steps.join(x).to(self.dtype)

    def _mode(self, batch: Batch, settings: Any) -> Mode:
        """The conditional mean, which is the peak where data units are those of the model up to a scale."""
        assert isinstance(self.preprocessor, Reals)
        track = self._track(batch)
        kind = Kind.EXACT if self.preprocessor.plain else Kind.ESTIMATE
        return Mode(batch.with_x(self._joined(track.filled(track.mean))), kind, "conditional mean")


# ---- expected moments ------------------------------------------------------------------------------------------------


class _Moments:
    """Weighted sums over steps of E[z], E[z z'], E[z_t z_t-1'] and of x with them, given all that is known.

    Args:
        track: The law of the states.
        weight: Of each step, 0 past the end, (B, L).
    """

    def __init__(self, track: Track, weight: Tensor) -> None:
        self.track, self.weight, self.z = track, weight, track.mean
        self.h = torch.cat([self.z, torch.ones_like(self.z[..., :1])], -1)
        groups = track.code.shape[1]
        self.grouped = weight.new_zeros(track.steps, groups).index_add_(1, track.group, weight.T)

    @property
    def first(self) -> Parameters:
        """Of the first step, and of all of them."""
        w, z, covs = self.weight, self.z, self.track.smoothed
        start = w[:, :1]
        return {
            "n": start.sum(), "first": (start * z[:, 0]).sum(0),
            "first_square": (start * z[:, 0]).T @ z[:, 0] + covs.total(self.grouped[:1]),
            "z_total": w.sum(), "z_sum": (w[..., None] * z).sum((0, 1)),
            "z_square": _product(z, z, w) + covs.total(self.grouped),
        }  # fmt: skip

    @property
    def moves(self) -> Parameters:
        """Of states and those before them with 1 behind: outer (Q+1, Q+1), cross (Q, Q+1), square (Q, Q)."""
        w, covs, track = self.weight[:, 1:], self.track.smoothed, self.track
        g = self.grouped[1:]
        past = g.new_zeros(track.smoothed.cov.shape[:2]).index_add_(0, covs.place[:-1], g)
        before = torch.einsum("dg,dgij->ij", past, covs.cov)
        now = torch.einsum("dg,dgij->ij", torch.zeros_like(past).index_add_(0, covs.place[1:], g), covs.cov)
        return {
            "moves": w.sum(),
            "outer": _product(self.h[:, :-1], self.h[:, :-1], w) + _bordered(before, 1, 1),
            "cross": _product(self.z[:, 1:], self.h[:, :-1], w) + _bordered(covs.total_cross(g), 0, 1),
            "square": _product(self.z[:, 1:], self.z[:, 1:], w) + now,
        }

    @property
    def seen(self) -> Parameters:
        """Of x and states with 1 behind: x_outer (1 or C, Q+1, Q+1), x_cross (C, Q+1), x_square, x_seen."""
        if bool(self.track.mask.all()):
            return self._whole
        return self._entries if self.track.system.diagonal else self._expected

    @property
    def _whole(self) -> Parameters:
        """Nothing hidden: one outer product for all entries."""
        x, w, diagonal = self.track.v, self.weight, self.track.system.diagonal
        outer = _product(self.h, self.h, w) + _bordered(self.track.smoothed.total(self.grouped), 1, 1)
        square = (w[..., None] * x.square()).sum((0, 1)) if diagonal else _product(x, x, w)
        seen = w.sum().expand(x.shape[-1]) if diagonal else w.sum()
        return {"x_outer": outer[None], "x_cross": _product(x, self.h, w), "x_square": square, "x_seen": seen}

    @property
    def _expected(self) -> Parameters:
        """Steps of which something is known, the rest of them as it is expected under full noise."""
        track = self.track
        some = track.mask.any(-1).to(self.z)
        g, w = self.grouped * some[track.code], self.weight * some[track.code.T[track.group]]
        x, (pull, left), code = track.filled(self.z), self._hidden, track.code.flatten()
        cov = track.smoothed.cov[track.smoothed.place]
        each = cov.new_zeros(len(track.mask), *cov.shape[-2:])
        each.index_add_(0, code, (g[..., None, None] * cov).flatten(0, 1))
        often = cov.new_zeros(len(track.mask)).index_add_(0, code, g.flatten())
        square = _product(x, x, w) + (pull @ each @ pull.mT).sum(0) + torch.einsum("p,pij->ij", often, left)
        return {
            "x_outer": (_product(self.h, self.h, w) + _bordered(each.sum(0), 1, 1))[None],
            "x_cross": _product(x, self.h, w) + _bordered((pull @ each).sum(0), 0, 1),
            "x_square": square, "x_seen": w.sum(),
        }  # fmt: skip

    @property
    def _hidden(self) -> tuple[Tensor, Tensor]:
        """How x follows the state given what is known, (P, C, Q), and the covariance that is left, (P, C, C)."""
        track, s = self.track, self.track.system
        hidden = (~track.mask).to(self.z)
        gain = s.noise @ track.weight
        left = (s.noise - gain @ s.noise) * hidden[:, :, None] * hidden[:, None, :]
        return (s.load - gain @ s.load) * hidden[:, :, None], left

    @property
    def _entries(self) -> Parameters:
        """Each entry's own sums, over the steps in which it is known."""
        track, x = self.track, self.track.v
        w = (track.known * self.weight[..., None]).flatten(0, 1)
        outer = (w.T @ (self.h[..., :, None] * self.h[..., None, :]).flatten(0, 1).flatten(1)).unflatten(
            -1, self.h.shape[-1:] * 2
        )
        cov = track.smoothed.cov[track.smoothed.place]
        share = (track.mask[track.code] * self.grouped[..., None]).flatten(0, 1)
        spread = (share.T @ cov.flatten(0, 1).flatten(1)).unflatten(-1, cov.shape[-2:])
        flat = x.flatten(0, 1)
        return {
            "x_outer": outer + _bordered(spread, 1, 1), "x_cross": (w * flat).T @ self.h.flatten(0, 1),
            "x_square": (w * flat.square()).sum(0), "x_seen": w.sum(0),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Move:
    """The expected log-density of moves as a function of their matrix, from the sums that EM keeps."""

    sums: Parameters

    def slope(self, step: Tensor) -> Tensor:
        """The matrix with the drift that is best beside it, (Q, Q+1)."""
        count = self.sums["outer"][-1, -1].clamp_min(1e-12)
        drift = (self.sums["cross"][:, -1] - step @ self.sums["outer"][:-1, -1]) / count
        return torch.cat([step, drift[:, None]], -1)

    def left(self, slope: Tensor) -> Tensor:
        """The mean square that is left of a move, (Q, Q)."""
        both = slope @ self.sums["cross"].T
        square = self.sums["square"] - both - both.T + slope @ self.sums["outer"] @ slope.T
        return square / self.sums["moves"]

    def loss(self, step: Tensor, precision: Tensor) -> Tensor:
        """What it costs in units of the noise before."""
        return (precision * self.left(self.slope(step))).sum()


def _system(now: Parameters) -> System:
    return System(*(now[name] for name in NAMES))


def _turned(s: System, middle: Tensor, spread: Tensor) -> System:
    """The same law of x by states z' = T (z - middle) of unit covariance along the directions that x tells most of."""
    values, vectors = torch.linalg.eigh(spread)
    root = vectors * values.sqrt()
    load = s.load @ root
    scaled = load / s.noise.sqrt()[:, None] if s.diagonal else torch.linalg.solve_triangular(
        torch.linalg.cholesky(s.noise), load, upper=False
    )  # fmt: skip
    turn = torch.linalg.svd(scaled, full_matrices=True)[2].T
    sign = (load @ turn).gather(0, (load @ turn).abs().argmax(0, keepdim=True)).sign()
    root = root @ (turn * torch.where(sign == 0, 1.0, sign))
    back = torch.linalg.inv(root)
    return System(
        back @ (s.first_mean - middle), back @ s.first_cov @ back.T, back @ s.step @ root,
        back @ (s.drift + s.step @ middle - middle), _even(back @ s.step_cov @ back.T), s.load @ root,
        s.offset + s.load @ middle, s.noise,
    )  # fmt: skip


def _even(cov: Tensor) -> Tensor:
    return (cov + cov.mT) / 2


def _product(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """Sum over rows and steps of weight a b'."""
    return (a * weight[..., None]).flatten(0, 1).T @ b.flatten(0, 1)


def _bordered(t: Tensor, rows: int, columns: int) -> Tensor:
    """With so many rows and columns of 0 behind."""
    return torch.nn.functional.pad(t, (0, columns, 0, rows))


def _solved(outer: Tensor, cross: Tensor) -> Tensor:
    """Slopes cross outer^-1 of each entry, (C, Q+1), for outer (Q+1, Q+1), or one for each or for all (1 or C, ...)."""
    ridge = 1e-12 * outer.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] + 1e-30
    outer = outer + ridge * torch.eye(outer.shape[-1]).to(outer)
    return torch.linalg.solve(outer.expand(len(cross), -1, -1), cross[..., None]).squeeze(-1)


def _raised(cov: Tensor, floor: float) -> Tensor:
    """The covariance with eigenvalues of `floor` at least, which is the likeliest such."""
    values, vectors = torch.linalg.eigh(_even(cov))
    return _even(vectors * values.clamp_min(floor) @ vectors.T)


def _radius(step: Tensor) -> float:
    return float(torch.linalg.eigvals(step).abs().max())


def _tamed(step: Tensor, most: float = 1.0) -> Tensor:
    """The matrix with eigenvalues beyond a circle brought back to it."""
    values, vectors = torch.linalg.eig(step)
    values = values / (values.abs() / most).clamp_min(1.0)
    tamed = torch.linalg.solve(vectors.T, (vectors * values).T).T.real
    radius = _radius(tamed)
    return tamed if radius <= most else tamed * (most / radius)


def _regressed(y: Tensor, z: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Slope, offset and covariance of y (B, L, K) on z."""
    h = torch.cat([z, torch.ones_like(z[..., :1])], -1)
    slope = _solved(_product(h, h, weight), _product(y, h, weight))
    gap = y - h @ slope.T
    return slope[:, :-1], slope[:, -1], _raised(_product(gap, gap, weight) / weight.sum().clamp_min(1e-12), LOOSE)


def _bridged(x: Tensor, known: Tensor) -> Tensor:
    """Holes on the straight line between the nearest known steps, level before the first and after the last."""
    at = torch.arange(x.shape[1], device=x.device)[:, None].expand(x.shape)
    before = torch.where(known, at, -1).cummax(1)[0]
    after = torch.where(known, at, x.shape[1]).flip(1).cummin(1)[0].flip(1)
    none = before.amax(1, keepdim=True) < 0
    low = torch.where(before < 0, after, before).clamp(0, x.shape[1] - 1)
    high = torch.where(after >= x.shape[1], before, after).clamp(0, x.shape[1] - 1)
    a, b = x.gather(1, low), x.gather(1, high)
    share = (at - low) / (high - low).clamp_min(1)
    return torch.where(none, 0.0, a + (b - a) * share)


def _told(step: Tensor) -> str:
    values = torch.linalg.eigvals(step)
    values = values[values.imag >= 0]
    parts = []
    for value in values[values.abs().argsort(descending=True)].tolist():
        angle = abs(torch.angle(torch.tensor(value)).item())
        turn = f", turning in {2 * torch.pi / angle:.3g}" if 1e-6 < angle < torch.pi - 1e-6 else ""
        parts.append(f"{abs(value):.3g}{turn}")
    return f"What is left of the state's directions after a step: {'; '.join(parts)}."

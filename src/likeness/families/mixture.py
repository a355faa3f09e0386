"""Mixtures: of Gaussians where all is real, of products of heads elsewhere; exact answers, fitted by EM."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from likeness.bijections.preprocess import Reals
from likeness.core import plates
from likeness.core.answers import Kind, Mode
from likeness.core.batch import Batch, missing
from likeness.core.config import Config, option
from likeness.core.context import Summary
from likeness.core.learner import Parameters
from likeness.core.noise import Noise
from likeness.core.preprocessor import Source, standardised
from likeness.core.row_distribution import Categorical, RowDistribution
from likeness.core.space import Space, label
from likeness.heads.choice import CountName, bounds_refused
from likeness.heads.columns import Columns, rows
from likeness.inference.em_model import ExactEMModel
from likeness.inference.mixture import kmeans
from likeness.inference.mixture.components import (
    MixtureComponent,
    Multinomials,
    Products,
    View,
)
from likeness.inference.mixture.em import Joint, split, under
from likeness.inference.mixture.gaussians import Covariance, Gaussians
from likeness.inference.mixture.row_gaussian import RowGaussian
from likeness.numerics.draws import choose
from likeness.registry import Card, register
from likeness.routes import enumerate_states

FULL = 50  # numbers up to which "auto" lets every component have its own covariance
GIVEN_FLOOR = 0.05  # pixels, levels and lengths that are given repeat: a narrower Gaussian would stand on one value
START_ROWS = 20_000  # rows that restarts are tried on
CHUNK = 16_384
ALL_ROWS = 1 << 40
WIDE = 256  # categories from which distances are taken of a sketch of their one-hot codes
SKETCH = 64  # numbers of a sketch


class MixtureConfig(Config):
    """Options of `mixture`."""

    components: int = option(10, "components of the mixture", ge=1)
    covariance: Literal["auto", "full", "tied", "diagonal", "spherical"] = option(
        "auto",
        f"of Gaussian components; auto: full up to {FULL} numbers, beyond that one for all components (tied)",
    )
    count: CountName = option(
        "negative_binomial",
        "the distribution of counts in a component; zero_inflated: Poisson with more zeros",
    )
    smoothing: float = option(
        0.3, "weight added to every category of every component", "objective", ge=0
    )
    floor: float = option(
        1e-6, "added to every variance, as a share of the data's own", "objective", ge=1e-12
    )
    restarts: int = option(
        5,
        "starts by k-means++, of which the likeliest after `trial` passes goes on",
        "optimiser",
        ge=1,
    )
    trial: int = option(5, "passes of EM that a start is judged by", "optimiser", ge=0)
    passes: int = option(200, "most passes of EM", "optimiser", ge=1)
    tolerance: float = option(
        1e-6, "EM stops where a pass gains less, in nats a row", "optimiser", ge=0
    )


@register(
    Card(
        "mixture",
        "Mixture by EM",
        "classical",
        "Dempster, Laird & Rubin, Maximum likelihood from incomplete data via the EM algorithm",
        1977,
        "Clusters of reals, categories, counts and mixed tables, with missing entries; every answer is exact.",
    )
)
class Mixture(ExactEMModel):
    """p(x | s) = sum_k w_k p_k(x, s) / sum_k w_k p_k(s): component densities cover x and the summary s.

    A real x is Gaussian in model units, jointly with a vector that is given; any other x is a
    product of heads. Categories that are given are multinomial in each component, pixels and
    lengths independent.
    """

    Config = MixtureConfig
    drawn_how = "exact conditional of a mixture"
    codes: Space
    log_weight: Tensor
    codes_log_theta: Tensor

    def __init__(
        self, config: MixtureConfig, space: Space, given_space: Space | None = None
    ) -> None:
        super().__init__(config, space, given_space)
        self.codes = label(config.components)
        self.columns = (
            Columns(space, kind="closed", count=config.count) if _of_heads(config, space) else None
        )
        if self.columns is not None:
            self.preprocessor = None
        else:
            self.preprocessor = Reals(space)
        self.default_effort = 1 if self._kind() is Kind.EXACT else 8
        self.summary = None if given_space is None else Summary(given_space)
        self.split = None if given_space is None else split(given_space, FULL)
        self.dims = 0 if self.preprocessor is None else self.inner_space.dims
        self.shared = False
        self.head = self._head()
        self.joint = self._joint()
        self._declare()

    @classmethod
    def _refuse(cls, config: Any, space: Space, given_space: Space | None) -> str | None:
        if _of_heads(config, space):
            return bounds_refused(space, closed=True)
        return None

    def _head(self) -> Products | Gaussians:
        """The component density of x, jointly with the condition's numbers where one Gaussian holds both."""
        config: MixtureConfig = self.config
        if self.columns is not None:
            return Products(self.columns, config.smoothing, config.components)
        vector = self.split is not None and self.split.vector
        if self.split is not None and vector:
            numbers = len(self.split.numbers)
        else:
            numbers = 0
        covariance: Covariance = "full" if self.dims + numbers <= FULL else "tied"
        if config.covariance != "auto":
            covariance = config.covariance
        self.shared = vector and covariance in {"full", "tied"}
        return Gaussians(config.components, covariance, config.floor)

    def _joint(self) -> Joint:
        """The factors of a component's density, with the number of variances of each."""
        config: MixtureConfig = self.config
        parts = {"x": cast(MixtureComponent, self.head)}
        sizes = {"x": self.dims}
        k = config.components
        if self.split is not None:
            numbers = len(self.split.numbers)
            codes = len(self.split.codes)
            # A vector condition shares the Gaussian of x, or
            # has one of its own; other numbers are independent.
            sizes["x"] += numbers * self.shared
            if numbers and not self.shared:
                vector = self.split.vector
                if vector:
                    own = Gaussians(k, "full", config.floor)
                else:
                    own = Gaussians(k, "diagonal", GIVEN_FLOOR)
                parts["numbers"] = own
                sizes["numbers"] = numbers
            if codes:
                parts["codes"] = Multinomials(self.split.groups, config.smoothing, k)
                sizes["codes"] = codes
        return Joint(k, parts, sizes)

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """Options that learn within a second."""
        if space.dims <= 20:
            return {"components": 6, "restarts": 2, "passes": 60}
        return {
            "components": 4 if space.dims <= 64 else 2,
            "restarts": 2,
            "passes": 20,
            "covariance": "tied",
        }

    def graph(self) -> plates.Graph:
        """The component z of a row, which x and what is given depend on."""
        z = plates.Node("z", "latent", self.codes)
        condition = plates.given(self)
        ties = (plates.Edge("z", "x"), *(plates.Edge("z", g.key) for g in condition))
        return plates.rows(
            self, z, ties=ties, under=("x",) if self.shared else (), learned=("z", "x")
        )

    # ---- learning --------------------------------------------------------------------------------

    def _prepare(self, source: Source) -> None:
        if self.columns is not None:
            self.columns.fit(b.to(dtype=self.dtype) for b in source.chunks(65536))
        if self.summary is not None:
            self.summary.fit(source)

    @property
    def chunk_rows(self) -> int:
        """All rows at once where components are products of heads, whose M-steps need them."""
        return CHUNK if self.columns is None else ALL_ROWS

    def _init(self) -> Parameters:
        return self.joint.init()

    def _stride(self, rows: int) -> int:
        return max(1, rows // START_ROWS)

    def _start(self, task: Any, noise: Noise) -> Parameters:
        config: MixtureConfig = self.config
        batch = self._some(task)
        shape = (config.restarts, config.components, kmeans.candidates(config.components))
        u = noise[:1].uniform("seeds", *shape)[0]
        return self.joint.start(
            self._views(batch), batch.weights, self._features(batch), u, config.trial
        )

    def _features(self, batch: Batch) -> Tensor:
        """Rows as standardised numbers and one-hot codes, 0 where hidden, (B, F)."""
        # Distances are taken between all real parts, and x's codes as indicators or sketches.
        parts = [
            v * known
            for n, (v, known) in self._views(batch).items()
            if n != "x" or self.columns is None
        ]
        if self.columns is None:
            return torch.cat(parts, -1)
        if self.space.ragged:
            return torch.cat(
                [*parts, self.columns.embed(batch.x, batch.present).flatten(1).double()], -1
            )
        # Many categories: random projections in place of indicators.
        if any(v.type == "nominal" and v.categories > WIDE for v in self.space.variables):
            return torch.cat([*parts, _sketched(self.space, batch)], -1)
        # Numbers are standardised; indicators keep their scale of 0 and 1.
        plain = Summary(self.space)
        weight = batch.weights.double()
        raw = plain.raw(batch).double()
        mask = plain.mask(batch).double()
        mean, std = standardised(raw, mask, weight)
        numbers = split(self.space, 0).numbers
        scale = torch.ones_like(std).index_copy(0, numbers, std[numbers])
        return torch.cat([*parts, (raw - mean) / scale * mask], -1)

    def _e_step(self, batch: Batch, params: Parameters) -> Parameters:
        return self.joint.e_step(self._views(batch), batch.weights, params)

    def _m_step(self, sums: Parameters, before: Parameters) -> Parameters:
        return self.joint.m_step(sums, before)

    def count(self) -> int:
        """One less than the weights, and those of the components' parts: O(K D^2) for full Gaussians."""
        return self.joint.free_parameters(self.fitted)

    # ---- what each part sees of a batch ----------------------------------------------------------

    def _views(self, batch: Batch) -> dict[str, View]:
        """Values and what of them is known, for each part."""
        x = batch.x.double()
        present = batch.present
        views = {
            "x": (x, present) if self.columns is not None else (x.flatten(1), present.flatten(1))
        }
        if self.summary is None or self.split is None or self.given_space is None:
            return views
        # A missing condition is a row of which nothing is observed.
        if batch.given is not None:
            given = batch.given
        else:
            given = missing(self.given_space, len(batch), batch.x)
        mask = self.summary.mask(given) > 0
        numbers = self.split.numbers
        codes = self.split.codes
        numbers_of_given = self.summary(given)[:, numbers].double(), mask[:, numbers]
        if self.shared:
            views["x"] = (
                torch.cat([views["x"][0], numbers_of_given[0]], -1),
                torch.cat([views["x"][1], numbers_of_given[1]], -1),
            )
        elif len(numbers):
            views["numbers"] = numbers_of_given
        if len(codes):
            views["codes"] = self.summary.raw(given)[:, codes].double(), mask[:, codes]
        return views

    def _views_of_given(self, views: dict[str, View]) -> dict[str, View]:
        """The same with x hidden."""
        if not self.shared:
            return {name: view for name, view in views.items() if name != "x"}
        v, known = views["x"]
        return views | {"x": (v, known & (torch.arange(v.shape[-1], device=v.device) >= self.dims))}

    def _log_share(self, views: dict[str, View], parameters: Parameters, rows: int) -> Tensor:
        """log p(k | views), (B, K)."""
        return self.joint.log_joint(views, parameters).log_softmax(0).T.expand(rows, -1)

    # ---- hooks -----------------------------------------------------------------------------------

    def class_prior(self) -> Tensor:
        """p(y) = sum_k w_k p_k(y), to which rows without a label contribute too, (C,)."""
        if not self.sums_classes():
            return super().class_prior()
        joint = self.log_weight[:, None] + self.codes_log_theta
        return joint.logsumexp(0).softmax(-1).to(self.dtype)

    def how(self, verb: str, settings: Any) -> str:
        """The number of components."""
        return self.scored_how

    @property
    def scored_how(self) -> str:
        """The number of components."""
        return f"mixture of {self.config.components}"

    def _log_density(self, batch: Batch) -> Tensor:
        """log sum_k w_k p_k(x, s) - log sum_k w_k p_k(s)."""
        views = self._views(batch)
        now = self.fitted
        value = self.joint.log_joint(views, now).logsumexp(0)
        if self.summary is not None:
            value = value - self.joint.log_joint(self._views_of_given(views), now).logsumexp(0)
        return value

    def _encode(
        self, batch: Batch, noise: Noise, effort: int | None, settings: Any
    ) -> RowDistribution:
        logits = self._log_share(self._views(batch), self.fitted, len(batch)).to(self.dtype)
        return Categorical(self.codes, batch.ids, self._kind(), "responsibilities", logits)

    def _draw(self, batch: Batch, noise: Noise) -> Tensor:
        """A component from its posterior, and what is hidden from that component given what is known."""
        n = noise.rows // len(batch)
        params = self.fitted
        views = self._views(batch)
        # x entirely missing: its density is 1, so leave its part out.
        if not bool(batch.present.any()):
            views = self._views_of_given(views)
        # p(k | observed) for every row, a component for each draw, then x from that component.
        log_resp = self._log_share(views, params, len(batch)).repeat(n, 1)
        k = choose(log_resp, noise.uniform("component", 1)[:, 0].double())
        batch = batch.repeat(n)
        v = self.head.draw(*self._views(batch)["x"], k, under(params, "x"), noise)
        return self._as_x(v, batch)

    def _as_x(self, v: Tensor, batch: Batch) -> Tensor:
        """A part's values as model units of x."""
        if self.columns is None:
            return v[:, : self.dims].reshape(batch.x.shape).to(self.dtype)
        return v.to(self.dtype)

    def _mode(self, batch: Batch, settings: Any) -> Mode:
        """The best peak of ascents from every component; the sum over states where they are few."""
        alone = self.config.components == 1
        if (
            self.columns is not None
            and not alone
            and self.space.discrete
            and enumerate_states.few(self, batch)
        ):
            return enumerate_states.best_of(self, batch, settings)
        now = self.fitted
        views = self._views(batch)
        # The components' log-weights given everything but x, (rows, K).
        v, known = views.pop("x")
        prior = self.joint.log_joint(views, now).T.expand(len(batch), -1)
        if self.columns is not None:
            hidden = batch.holes
        else:
            hidden = _padded(batch.holes.flatten(1), v.shape[-1])
        x = self._as_x(self.head.mode(v, known, hidden, prior, under(now, "x")), batch)
        exact = alone and self._plain
        return Mode(
            batch.with_x(x), Kind.EXACT if exact else Kind.ESTIMATE, "ascent from every component"
        )

    @property
    def _plain(self) -> bool:
        """Whether a peak in model units is a peak in data units."""
        return all(
            v.type != "real" or v.lower is v.upper is v.resolution is None
            for v in self.space.variables
        )

    def _decode(self, z: Tensor, given: Batch | None, index: Tensor) -> RowDistribution:
        """The distribution of x in component z (B, 1), under the condition."""
        k = z[:, 0].long()
        now = self.fitted
        if isinstance(self.head, Products):
            return rows(self.head.columns, now["x.table"][k].to(self.dtype), index, how="component")
        assert self.preprocessor is not None
        batch = replace(
            missing(self.inner_space, len(z), self.log_weight), given=given, index=index
        )
        loc, factor = self.head.conditional(*self._views(batch)["x"], k, under(now, "x"), self.dims)
        kind = self._kind(Kind.LOWER_BOUND)
        return RowGaussian(self.space, index, kind, "component", self.preprocessor, loc, factor)


def _of_heads(config: MixtureConfig, space: Space) -> bool:
    """Whether components are products of heads rather than Gaussians in model units."""
    return not space.real or (
        config.covariance == "diagonal" and any(v.counted for v in space.variables)
    )


def _sketched(space: Space, batch: Batch) -> Tensor:
    """Standardised numbers and sketches of codes, 0 where hidden, (B, F).

    A sketch is a row of random signs of length 1, so that two categories lie near sqrt(2) apart as
    their one-hot codes do (Johnson & Lindenstrauss 1984); thousands of those would take gigabytes.
    """
    x = batch.x.reshape(len(batch), -1, space.width).double()
    known = batch.present.reshape(len(batch), -1, space.width).double()
    weight = batch.weights.double()
    signs = torch.Generator().manual_seed(0)
    features = []
    for i, variable in enumerate(space.columns):
        column = x[..., i]  # (B, places)
        if variable.type == "nominal":
            size = min(variable.categories, SKETCH)
            table = torch.randint(0, 2, (variable.categories, size), generator=signs).double()
            code = (2 * table - 1)[column.long()] / size**0.5  # (B, places, size)
            # Random signs of length 1: codes of two categories are nearly orthogonal.
            features.append((code * known[..., i, None]).flatten(1))
            continue
        # Numbers stand in units of their own deviation.
        mean, std = standardised(column, known[..., i], weight)
        features.append((column - mean) / std * known[..., i])
    return torch.cat(features, -1)


def _padded(mask: Tensor, size: int) -> Tensor:
    """A mask over x as one over x and what shares its Gaussian."""
    return nn.functional.pad(mask, (0, size - mask.shape[-1]))

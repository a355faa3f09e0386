"""Markov chains: each step depends on the last few, in time or in the order of the columns; codes, or numbers."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from likeness.bijections.preprocess import Reals
from likeness.core import plates
from likeness.core.answers import Kind, Mode
from likeness.core.batch import Batch
from likeness.core.config import Config, option
from likeness.core.errors import BadData
from likeness.core.learner import Parameters
from likeness.core.noise import Noise
from likeness.core.space import Real, Space
from likeness.inference.em_model import ExactEMModel
from likeness.inference.sequence.chain import Chain
from likeness.inference.sequence.steps import Steps, timed
from likeness.inference.sequence.tables import TableChain
from likeness.inference.state_space.vector_autoregression import LagChain
from likeness.registry import Card, register

LARGEST = 1 << 22  # numbers of all tables together
ROOM = 1 << 24  # numbers of a chunk
MOST_CODES = 64
SHOWN = 3  # steps before one that a diagram shows one by one


class MarkovConfig(Config):
    """Options of `markov`."""

    order: int = option(1, "how many steps before one it depends on", ge=1)
    steps: Literal["auto", "tied", "free"] = option(
        "auto",
        "tied: the same transition at every step; free: one for each; auto: tied in time, free over columns",
    )
    end: bool = option(
        False,
        "whether the chain may end after any step of a ragged sequence: then lengths are modelled",
    )
    smoothing: float = option(
        1.0, "weight added to every code behind every window of codes", "objective", ge=0
    )
    passes: int = option(100, "most passes of EM, where values are missing", "optimiser", ge=1)
    tolerance: float = option(
        1e-8, "EM stops where a pass gains less, in nats an item", "optimiser", ge=0
    )


@register(
    Card(
        "markov",
        "Markov chain",
        "classical",
        "Markov, An example of statistical investigation of the text Eugene Onegin",
        1913,
        "Transition probabilities, counted in one pass: a baseline for all ordered data, exact with missing entries.",
    )
)
class Markov(ExactEMModel):
    """p(x) = prod_t p(x_t | x_t-k, ..., x_t-1): a table of codes, or for numbers a regression with Gaussian residuals.

    Missing codes are summed over by forward-backward through the windows of the last k, missing numbers by the joint
    Gaussian of a row.
    """

    Config = MarkovConfig
    scored_how = "chain"
    drawn_how = "exact conditional of a chain"

    def __init__(
        self, config: MarkovConfig, space: Space, given_space: Space | None = None
    ) -> None:
        super().__init__(config, space, given_space)
        free = _free(config, space)
        self.ends = config.end and space.ragged
        self.unbounded = space.ragged and not self.ends and not free
        self.tables: TableChain | None = None
        if space.real:
            self.preprocessor = Reals(space)
            self.default_effort = 8 if self.preprocessor.stochastic else 1
            self.chain: Chain = LagChain(_steps(self.preprocessor.out), config.order, free=free)
        else:
            self.chain = self.tables = TableChain(
                space, config.order, config.smoothing, free=free, ends=self.ends
            )
        self.holes = False
        self._declare()

    @classmethod
    def _refuse(cls, config: MarkovConfig, space: Space, given_space: Space | None) -> str | None:
        if given_space is not None:
            return "its steps take no condition: take `discriminant density=markov`, or `autoregressive`"
        if config.end and (not space.ragged or space.real):
            return "only sequences of codes end of their own: leave out end="
        if space.real:
            alike = space.ragged or timed(space) or len(space.shape) == 1
            if alike:
                return None
            return "numbers without an order of their own: take `gaussian`"
        if not space.discrete or max(v.states for v in space.variables) > MOST_CODES:
            return f"it takes numbers, or codes, up to {MOST_CODES} of them: take `autoregressive`"
        codes = int(max(v.states for v in space.variables))
        places = space.dims if _free(config, space) else 1
        windows = (codes + 1) ** config.order
        if windows * (codes + 1) * places > LARGEST:
            return f"an order of {config.order} over {codes} codes has {windows:,} windows: take a lower order"
        if config.steps == "tied" and len({v.states for v in space.columns}) > 1:
            return "columns of unlike categories share no table: leave out steps=tied"
        return None

    def graph(self) -> plates.Graph:
        """A step and those before it that it depends on, in one node where they are many."""
        timely = self.space.ragged or timed(self.space)
        order = self.config.order
        index = "t" if timely else "i"
        step = Steps(self.space).space if timed(self.space) else plates.entry(self.space)
        if order <= SHOWN:
            lags = [f"{index}-{k}" for k in range(order, 0, -1)]
        else:
            lags = [f"{index}-{order} … {index}-1"]
        before = [plates.Node("x", "observed", step, lag) for lag in lags]
        x = plates.Node("x", "observed", step, index)
        inner = plates.Plate(plates.steps(self.space, index), (x.key,))
        return plates.rows(self, *before, x=x, ties=plates.edges(before, x.key), inner=(inner,))

    # ---- learning --------------------------------------------------------------------------------

    def _prepare(self, source: Any) -> None:
        for batch in source.chunks(65536):
            reason = None if batch.full else self.chain.too_wide(batch)
            if reason is not None:
                raise BadData(reason)
            self.holes = self.holes or not batch.full

    def _init(self) -> Parameters:
        return self.chain.init()

    def _e_step(self, batch: Batch, params: Parameters) -> Parameters:
        return self.chain.e_step(batch, batch.weights.double(), params)

    def _m_step(self, sums: Parameters, before: Parameters) -> Parameters:
        return self.chain.m_step(sums, before)

    @property
    def iterative(self) -> bool:
        """One pass of counts or squares is enough where no value is missing."""
        return self.holes

    @property
    def chunk_rows(self) -> int:
        """As many as their windows have room for."""
        windows = 8 if self.tables is None else self.tables.windows.count
        return max(1, ROOM // (self.space.dims * windows))

    def count(self) -> int:
        """Those of the tables or regressions."""
        return self.chain.free_parameters(self.fitted)

    # ---- hooks -----------------------------------------------------------------------------------

    def _marginal(self, batch: Batch) -> str | None:
        return self.chain.too_wide(batch)

    def _why_not(self, verb: str) -> str | None:
        if verb in {"complete", "mode"}:
            return self.chain.too_wide(None)
        return None

    @property
    def measure(self) -> str:
        """What log p is taken against."""
        if self.ends:
            return super().measure.replace("given length", "and length")
        return super().measure

    def _log_density(self, batch: Batch) -> Tensor:
        return self.chain.log_prob(batch, self.fitted)

    def _sample(
        self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any
    ) -> Tensor:
        if self.tables is not None:
            steps = self.space.dims
        else:
            steps = _steps(self.space).longest
        if not (length is None or not len(length)):
            steps = max(self.space.layout[0], int(length.max()))
        return self.chain.sample(noise, steps, self.fitted).to(self.dtype)

    def _sample_ended(
        self, noise: Noise, given: Batch | None, settings: Any
    ) -> tuple[Tensor, Tensor]:
        x, length = self.chain.ended(noise, self.fitted)
        return x.to(self.dtype), length

    def _draw(self, batch: Batch, noise: Noise) -> Tensor:
        self._bear(batch)
        x = self.chain.draw(batch, self.fitted, noise).to(self.dtype)
        return x.reshape(-1, *batch.x.shape[1:])

    def _mode(self, batch: Batch, settings: Any) -> Mode:
        """The best path of codes (Viterbi 1967), or the mean of numbers, no mode where values are bounded."""
        self._bear(batch)
        x = self.chain.mode(batch, self.fitted)[0].to(self.dtype)
        plain = self.tables is not None or all(
            v == Real(unit=getattr(v, "unit", None)) for v in self.space.variables
        )
        return Mode(
            batch.with_x(x),
            Kind.EXACT if plain else Kind.ESTIMATE,
            "best path" if plain else "mean",
        )

    def _bear(self, batch: Batch) -> None:
        reason = self.chain.too_wide(batch)
        if reason is not None:
            raise BadData(reason)

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """Options that learn within a second."""
        return {"passes": 30}


def _free(config: MarkovConfig, space: Space) -> bool:
    """Whether every place has a transition of its own."""
    if config.steps == "auto":
        return not (space.ragged or timed(space))
    return config.steps == "free"


def _steps(space: Space) -> Steps:
    """Events as steps: of their time, or one column after the other."""
    if timed(space):
        return Steps(space)
    return Steps(
        space.model_copy(
            update={"axes": ("time",), "variables": space.variables[:1], "names": None}
        )
    )

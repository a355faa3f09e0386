"""Bayesian networks: a learned tree, a mixture of trees, or a graph that is given; exact answers to every question."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from likeness.bijections.preprocess import Reals
from likeness.core import plates
from likeness.core.answers import Kind, Mode
from likeness.core.batch import Batch
from likeness.core.config import Config, option
from likeness.core.errors import BadConfig
from likeness.core.learner import Parameters
from likeness.core.noise import Noise
from likeness.core.preprocessor import Source
from likeness.core.row_distribution import Categorical, RowDistribution
from likeness.core.space import Space, entry_names, label, vector
from likeness.inference.bayes_net.chow_liu import Trees
from likeness.inference.bayes_net.graph import Net, looked_up
from likeness.inference.bayes_net.linear_gaussian import Linear
from likeness.inference.bayes_net.variable_elimination import Graph
from likeness.inference.em_model import ExactEMModel
from likeness.registry import Card, register
from likeness.routes import enumerate_states

START_ROWS = 20_000  # rows that starts are tried on
MOST = 1 << 26  # numbers of all tables of pairs
WIDE = 1 << 22  # numbers of one variable's table
ROWS = 8192


class BayesNetConfig(Config):
    """Options of `bayes_net`."""

    components: int = option(
        1, "trees, of which each row has one: above 1 a mixture, over categories", ge=1
    )
    parents: dict[str, tuple[str | int, ...]] | None = option(
        None,
        "the graph: the parents of each variable that has any, by name or number; None: a tree is learned",
    )
    smoothing: float = option(
        1.0,
        "weight of rows spread evenly over all states, which every table is told besides its own",
        "objective",
        ge=0,
    )
    restarts: int = option(
        3,
        "starts of a mixture, of which the likeliest after `trial` passes goes on",
        "optimiser",
        ge=1,
    )
    trial: int = option(5, "passes of EM that a start is judged by", "optimiser", ge=0)
    passes: int = option(
        100, "most passes of EM: of mixtures, and where entries are missing", "optimiser", ge=1
    )
    tolerance: float = option(
        1e-5, "EM stops where a pass gains less, in nats a row", "optimiser", ge=0
    )


@register(
    Card(
        "bayes_net",
        "Bayesian network",
        "classical",
        "Chow & Liu, Approximating discrete probability distributions with dependence trees",
        1968,
        "Variables that depend on a few others: a learned tree, a mixture of trees, or your own graph, all exact.",
    )
)
class BayesNet(ExactEMModel):
    """p(x) = prod_j p(x_j | parents of x_j): tables over categories, linear regressions over reals.

    With missing entries in training, a tree over categories is learned from the complete pairs, and EM then
    finds its tables; over reals EM finds the tree too.
    """

    Config = BayesNetConfig
    chunk_rows = ROWS
    start_chunk = ROWS

    def __init__(
        self, config: BayesNetConfig, space: Space, given_space: Space | None = None
    ) -> None:
        super().__init__(config, space, given_space)
        if space.real:
            self.preprocessor = Reals(space)
            self.default_effort = 8 if self.preprocessor.stochastic else 1
        if config.components > 1:
            self.codes = label(config.components)
        else:
            self.codes = None
        self.net = _net(config, space)
        self._declare()

    @classmethod
    def _refuse(cls, config: BayesNetConfig, space: Space, given_space: Space | None) -> str | None:
        if given_space is not None:
            return "its graph takes no condition: take `discriminant density=bayes_net` for classes, or add columns"
        if space.ragged:
            return "a graph is over a fixed number of variables: take `hmm`, or `autoregressive`"
        if not space.real and not space.discrete:
            return (
                "its tables need finitely many states, its regressions reals alone: take `mixture`"
            )
        return _refused_graph(config, space) or _refused_size(config, space)

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """Options that learn within a second."""
        return {"passes": 30}

    def graph(self) -> plates.Graph:
        """The columns and the edges between them; of a mixture, whose trees differ, its components."""
        if self.config.components > 1:
            x = plates.Node("x", "observed", self.space, note="a tree for each z")
            z = plates.Node("z", "latent", self.codes)
            return plates.rows(self, z, x=x, ties=(plates.Edge("z", "x"),), learned=("z", "x"))
        types = self.space.columns * (self.space.dims // self.space.width)
        names = entry_names(self.space)
        nodes = tuple(
            plates.Node(n, "observed", vector(1, v)) for n, v in zip(names, types, strict=True)
        )
        return plates.Graph(
            nodes,
            tuple(plates.Edge(*edge) for edge in self.edges[0]),
            (plates.plate_of_rows(self, nodes),),
        )

    # ---- learning --------------------------------------------------------------------------------

    def _prepare(self, source: Source) -> None:
        self.net.holes = any(not b.full for b in source.chunks(65536))

    @property
    def iterative(self) -> bool:
        """One pass of counts is enough for one graph where nothing is missing."""
        return self.net.holes or self.config.components > 1

    def _init(self) -> Parameters:
        return self.net.init()

    def _e_step(self, batch: Batch, params: Parameters) -> Parameters:
        return self.net.e_step(self._view(batch), batch.weights.double(), params)

    def _m_step(self, sums: Parameters, before: Parameters) -> Parameters:
        return self.net.m_step(sums, before)

    def _stride(self, rows: int) -> int:
        return max(1, rows // START_ROWS)

    def _start(self, task: Any, noise: Noise) -> Parameters:
        """As the net begins, from some of the rows."""
        if not self.iterative:
            return self._init()
        config: BayesNetConfig = self.config
        batch = self._some(task)
        weight = batch.weights.double()
        return self.net.start(self._view(batch), weight, noise[:1], config.restarts, config.trial)

    @property
    def edges(self) -> list[list[tuple[str, str]]]:
        """The edges (parent, child) of each component's graph, by name."""
        names = entry_names(self.space)
        return [[(names[i], names[j]) for i, j in edges] for edges in self.net.edges(self.fitted)]

    def count(self) -> int:
        """The numbers of all tables that may be chosen freely: 2^n - 1 for n bits that all depend on those before."""
        return self.net.free_parameters(self.fitted)

    def remarks(self, batch: Batch) -> tuple[str, ...]:
        """The edges, where they can be read."""
        edges = self.edges[0]
        if self.config.components > 1 or not 0 < len(edges) <= 30:
            return ()
        return (f"Edges, which are no causes: {', '.join(f'{a} - {b}' for a, b in edges)}.",)

    # ---- hooks -----------------------------------------------------------------------------------

    def _view(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Numbers or codes, and what of them is known, (N, D)."""
        x = batch.x.flatten(1)
        return (x.double() if self.space.real else x.long()), batch.present.flatten(1)

    def _as_x(self, v: Tensor) -> Tensor:
        return v.to(self.dtype).reshape(-1, *self.inner_space.layout)

    def _why_not(self, verb: str) -> str | None:
        alone = self.config.components == 1
        if verb == "encode" and alone:
            return "one net has no components to tell apart: take components=10"
        return None

    def how(self, verb: str, settings: Any) -> str:
        """What kind of net."""
        return self.scored_how

    @property
    def scored_how(self) -> str:
        """What kind of net."""
        m = self.config.components
        if m > 1:
            return f"mixture of {m} trees"
        if self.config.parents is None:
            return "tree"
        return "given graph"

    def _log_density(self, batch: Batch) -> Tensor:
        return self.net.log_prob(self._view(batch), self.fitted)

    def _encode(
        self, batch: Batch, noise: Noise, effort: int | None, settings: Any
    ) -> RowDistribution:
        assert isinstance(self.net, Trees)
        logits = self.net.posterior(self._view(batch), self.fitted).to(self.dtype)
        codes = label(self.config.components)
        return Categorical(codes, batch.ids, Kind.EXACT, "responsibilities", logits)

    def _draw(self, batch: Batch, noise: Noise) -> Tensor:
        return self._as_x(self.net.draw(self._view(batch), self.fitted, noise))

    def _mode(self, batch: Batch, settings: Any) -> Mode:
        """The greatest in place of sums; for a mixture every state where they are few, else the best tree's."""
        if self.config.components > 1 and enumerate_states.few(self, batch):
            return enumerate_states.best_of(self, batch, settings)
        x, sure = self.net.mode(self._view(batch), self.fitted)
        kind = Kind.EXACT if sure and self._plain else Kind.ESTIMATE
        return Mode(
            batch.with_x(self._as_x(x)),
            kind,
            "greatest in place of sums" if sure else "peaks of the trees",
        )

    @property
    def _plain(self) -> bool:
        """Whether a peak in model units is a peak in data units."""
        return all(
            v.type != "real" or v.lower is v.upper is v.resolution is None
            for v in self.space.variables
        )


def _sizes(space: Space) -> list[int]:
    """The states of each entry."""
    return [int(v.states) for v in space.columns] * (space.dims // space.width)


def _net(config: BayesNetConfig, space: Space) -> Net:
    """The network for these options and this Space."""
    if config.parents is None:
        parents = None
    else:
        parents = looked_up(entry_names(space), config.parents)
    if space.real:
        return Linear(space.dims, parents)
    # At most one parent each makes a forest, which messages answer; other graphs are eliminated.
    if parents is None or max(map(len, parents)) <= 1:
        if parents is None:
            tree = None
        else:
            tree = torch.tensor([above[0] if above else -1 for above in parents])
        return Trees(_sizes(space), config.components, config.smoothing, tree)
    return Graph(_sizes(space), parents, config.smoothing)


def _refused_graph(config: BayesNetConfig, space: Space) -> str | None:
    """Why these options and this graph do not go together, or None where they do."""
    if config.components > 1 and space.real:
        return "a mixture of trees is over categories: take `mixture` for reals, or components=1"
    if config.parents is None:
        return None
    if config.components > 1:
        return "parents= gives one graph, components= asks for several trees: leave one of them out"
    try:
        looked_up(entry_names(space), config.parents)
    except BadConfig as error:
        return error.what
    return None


def _refused_size(config: BayesNetConfig, space: Space) -> str | None:
    """Why the tables would be too large, or None where they are not."""
    if space.real:
        return None
    sizes = _sizes(space)
    if config.parents is None:
        parents = None
    else:
        parents = looked_up(entry_names(space), config.parents)
    if parents is not None and max(map(len, parents)) > 1:
        wide = max(math.prod(sizes[i] for i in (*above, j)) for j, above in enumerate(parents))
        if wide <= WIDE:
            return None
        return f"a table of {wide:.3g} numbers is too large: give fewer parents"
    # Counts of all pairs of codes, for every component.
    total = config.components * (len(sizes) * max(sizes)) ** 2
    if total <= MOST:
        return None
    return f"its tables of all pairs would have {total:.3g} numbers: take `independent` or `autoregressive`"

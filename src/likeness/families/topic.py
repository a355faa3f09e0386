"""Latent Dirichlet allocation: documents as mixtures of topics, bounded from below and fitted by variational EM."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from likeness.core import plates, scoring
from likeness.core.answers import Completed, Kind, Mode, Scored
from likeness.core.batch import Batch
from likeness.core.config import Config, option
from likeness.core.learner import EM, Parameters
from likeness.core.noise import Noise
from likeness.core.preprocessor import Source
from likeness.core.row_distribution import RowDistribution
from likeness.core.space import Real, Space, label, vector
from likeness.heads.poisson import Poisson
from likeness.inference.em_model import EMModel
from likeness.inference.sequence.steps import StepNoise
from likeness.inference.starts import best_start
from likeness.inference.topics.bag_of_words import Bags, LastBags, seeds
from likeness.inference.topics.dirichlet import Dirichlet, fitted, log_shares, mean_log
from likeness.inference.topics.lda import Topics, expected, settled, sight, weighed
from likeness.inference.topics.unknown import UnknownWords
from likeness.numerics.draws import from_staircase, inverse_cdf, staircase
from likeness.numerics.stable import log_mean_exp
from likeness.registry import Card, register

CHUNK = 65536
ALL = 1 << 40  # rows of a chunk that holds everything
COLD = 100  # most updates of a document's proportions from an even start
SETTLED = 1e-6  # words that a topic's weight moves less than in an update before an answer is given
ROUGH = 1e-3  # the same while topics are learned from some of the documents at a time (Hoffman, Bach & Blei 2010)
TOLD = 10  # words that a topic is told by
BLUR = 0.5  # of a start's topics, what is not of the documents that they begin with
COARSE = 1e-2  # the same where the passes that follow go on
EVEN = 4  # every so many passes documents begin evenly again, up to this pass
EXPLORED = 40
START = 5000  # documents that starts are chosen from, and how many are tried for each topic
CANDIDATES = 5
FORMING = 20  # passes before alpha is learned: small weights early on keep documents in the topics they began in


class TopicConfig(Config):
    """Options of `topic`."""

    topics: int = option(10, "topics", ge=1)
    alpha: float | None = option(
        None,
        "Dirichlet weight of each topic in a document; none: 1 to begin with, or 1 / topics where it is fixed",
        gt=0,
    )
    proportions: Literal["fixed", "symmetric", "asymmetric"] = option(
        "asymmetric",
        "whether alpha is learned: not, one number, or one for each topic",
        "objective",
    )
    smoothing: float = option(
        0.1,
        "Dirichlet weight of each word in a topic (eta); 0: topics by maximum likelihood",
        "objective",
        ge=0,
    )
    restarts: int = option(
        1, "starts, of which the best after `trial` passes goes on", "optimiser", ge=1
    )
    trial: int = option(10, "passes that a start is judged by", "optimiser", ge=0)
    updates: int = option(
        3,
        "most updates of a document's proportions in a pass, which goes on from the last pass's",
        "optimiser",
        ge=1,
    )
    passes: int = option(100, "most passes of variational EM", "optimiser", ge=1)
    tolerance: float = option(
        1e-3, "EM stops where a pass gains less, in nats a document", "optimiser", ge=0
    )
    decay: float | None = option(
        None,
        "exponent of the steps of stochastic EM, above 0.5 to 1; none: all documents at once",
        "optimiser",
        gt=0.5,
        le=1,
    )
    batch: int = option(256, "documents of a step of stochastic EM", "optimiser", ge=1)


@register(
    Card(
        "topic",
        "Latent Dirichlet allocation",
        "classical",
        "Blei, Ng & Jordan, Latent Dirichlet Allocation",
        2003,
        "Topics behind documents: bounds on the evidence, proportions of topics, words that go together.",
    )
)
class Topic(EMModel):
    """p(w) = integral of Dirichlet(theta; alpha) prod_n sum_k theta_k p(w_n | k), bounded by a Dirichlet q(theta).

    Vectors of counts have a Poisson total, so that each count is Poisson given theta: log p is of
    the counts. `encode` is q(theta). Topics are fitted under a Dirichlet prior of their own
    (Hoffman, Bach & Blei 2010), and answers take their means.
    """

    Config = TopicConfig
    codes: Space
    start_chunk = ALL
    weights: Tensor
    alpha: Tensor
    rate: Tensor
    p_unknown: Tensor

    def __init__(self, config: TopicConfig, space: Space, given_space: Space | None = None) -> None:
        super().__init__(config, space, given_space)
        self.counted = space.variables[0].type == "count"
        self.unbounded = space.ragged
        self.pooled = getattr(space.variables[0], "pooled", None)
        states = int(space.variables[0].states) if not self.counted else space.width
        self.words = states - (self.pooled is not None)
        self.codes = vector(
            config.topics, Real(lower=0, upper=1), tuple(f"topic {k}" for k in range(config.topics))
        )
        self._declare()
        self.register_buffer("p_unknown", torch.zeros((), dtype=torch.float64))

    @classmethod
    def _refuse(cls, config: TopicConfig, space: Space, given_space: Space | None) -> str | None:
        words = space.axes == ("time",) and [v.type for v in space.variables] == ["nominal"]
        counts = len(space.shape) == 1 and all(v.type == "count" for v in space.variables)
        if not words and not counts:
            return "documents are sequences of words (one nominal in time) or vectors of counts: take `mixture`"
        if given_space is not None:
            return "its topics know of no condition: take `mixture`, or one `topic` for each class"
        return None

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """Options that learn within a second."""
        return {"topics": 4, "passes": 40}

    def _init(self) -> Parameters:
        config: TopicConfig = self.config
        flat = torch.full((self.words, config.topics), 1.0 / self.words, dtype=torch.float64)
        begin = config.alpha or (1 / config.topics if config.proportions == "fixed" else 1.0)
        alpha = torch.full((config.topics,), begin, dtype=torch.float64)
        return {"weights": flat, "alpha": alpha, "rate": torch.ones((), dtype=torch.float64)}

    def _bags(self, batch: Batch) -> Bags:
        x = batch.x.double()
        if self.counted:
            return Bags.of_counts(x, batch.present)
        unknown = self.unknown
        present = batch.present if unknown is None else unknown.known(batch)
        return Bags.of_sequences(x, present, self.words)

    @property
    def unknown(self) -> UnknownWords | None:
        """Words that are none of the vocabulary, where the Space has a code for them."""
        if self.pooled is None:
            return None
        return UnknownWords(self.words, self.p_unknown.double())

    def _prepare(self, source: Source) -> None:
        """The probability of an unknown word, smoothed as that of any other."""
        unknown = self.unknown
        if unknown is None:
            return
        counts = torch.zeros(2, dtype=torch.float64)
        for batch in source.chunks(CHUNK):
            each = (unknown.count(batch), unknown.known(batch).sum(-1).double())
            counts += torch.stack(each) @ batch.weights.double()
        smoothing = float(self.config.smoothing)
        total = counts.sum() + smoothing * (self.words + 1)
        self.p_unknown = (counts[0] + smoothing) / total.clamp(min=1e-300)

    def _log_unknown(self, batch: Batch) -> Tensor:
        """Log p of which words are unknown, (B,)."""
        unknown = self.unknown
        if unknown is None:
            return batch.x.new_zeros(len(batch)).double()
        return unknown.log_prob(batch)

    def graph(self) -> plates.Graph:
        """Proportions of topics in a document, the topic of each word, and the word; words of the topics themselves."""
        shares = plates.Node("θ", "latent", self.codes, note="shares of topics")
        z = plates.Node("z", "latent", label(self.config.topics), "i", "topic")
        w = plates.Node(
            "w", "observed", plates.entry(self.space), "i", "" if self.counted else "word"
        )
        alpha = plates.Node("α", "parameter", note=self.config.proportions)
        beta = plates.Node("β", "parameter", note=f"of {self.words:,} words")
        within = (shares, w) if self.counted else (shares, z, w)
        chain = (alpha, *within)
        ties = (
            *(plates.Edge(a.key, b.key) for a, b in itertools.pairwise(chain)),
            plates.Edge("β", w.key),
        )
        words = plates.Plate(plates.steps(self.space, "i"), tuple(n.key for n in within[1:]))
        topics = plates.Plate(f"K = {self.config.topics} topics", ("β",))
        every = (plates.plate_of_rows(self, within, "document"), words, topics)
        return plates.Graph((*within, alpha, beta), ties, every)

    # ---- learning --------------------------------------------------------------------------------

    def learner(self) -> EM:
        """Variational EM on all documents at once, or in steps of some of them."""
        bags = LastBags(self._bags)
        return replace(
            super().learner(),
            start=partial(self._best_start, bags),
            expect=lambda batch, params: self._sums(bags(batch), batch, params),
            decay=self.config.decay,
        )

    @property
    def chunk_rows(self) -> int:
        """All documents, or those of a step of stochastic EM."""
        config: TopicConfig = self.config
        return ALL if config.decay is None else config.batch

    def _e_step(self, batch: Batch, params: Parameters) -> Parameters:
        return self._sums(self._bags(batch), batch, params)

    def _sums(self, bags: Bags, batch: Batch, now: Parameters) -> Parameters:
        """Expected counts of words by topic (Blei, Ng & Jordan 2003, eq. 9), and the statistics of alpha."""
        rate = now["rate"] if self.counted else None
        topics, bound = expected(now["weights"].T, self.config.smoothing, now["alpha"], rate)
        weight = batch.weights.double()
        posterior = sight(bags, topics, self._proportions(bags, topics, now))
        # M-step of the topics: count_dw times the responsibilities, summed over documents, (V, K).
        each = posterior.theta * weight[:, None]
        words = bags.scattered(posterior.ratio, each)
        total = weight @ bags.total
        unseen = topics.unseen(bags)
        if bags.hidden is not None and unseen is not None:
            words = words + now["rate"] * (bags.hidden.T @ each)
            total = total + weight @ (posterior.theta * unseen).sum(-1)
        # The bound of all documents counts KL(q(topics) || prior) once: each chunk has its share.
        sums = {
            "words": words * topics.table,
            "log_theta": weight @ mean_log(posterior.weights),
            "total": total,
            "objective": weight @ (posterior.value + self._log_unknown(batch))
            + bound * weight.sum() / now["documents"],
            "weight": weight.sum(),
        }
        return sums | ({"gamma": posterior.weights} if "gamma" in now else {})

    def _proportions(self, bags: Bags, topics: Topics, now: Parameters) -> Tensor:
        """Weights of each document's topics, from the last pass's on, and at first now and then from an even start.

        Going on is cheap and never lowers the bound, but documents stay where topics without shape
        have led them. An even start may lower it for a pass, and then it rises further.
        """
        passes = int(now["made"])
        cold = topics.start(bags)
        if "gamma" not in now:
            return settled(bags, topics, cold, COLD, ROUGH)
        if passes % EVEN == 0 and passes <= EXPLORED:
            return settled(bags, topics, cold, COLD, COARSE)
        return settled(bags, topics, now["gamma"], self.config.updates, SETTLED)

    def _m_step(self, sums: Parameters, before: Parameters) -> Parameters:
        """q(topics), the mean number of words, and alpha once topics have formed under the first one."""
        config: TopicConfig = self.config
        alpha = before["alpha"]
        passes = before["made"] + 1
        objective = sums["objective"] / sums["weight"]
        gain = abs(float(objective - before["reached"]))
        formed = float(passes) > FORMING or gain < 10 * config.tolerance
        if formed and config.proportions != "fixed":
            mean = sums["log_theta"] / sums["weight"]
            alpha = fitted(alpha, mean, symmetric=config.proportions == "symmetric")
        # q(topic) = Dirichlet(smoothing + expected counts of its words).
        after = {
            "weights": sums["words"] + config.smoothing,
            "alpha": alpha,
            "rate": sums["total"] / sums["weight"],
        }
        gamma = {"gamma": sums["gamma"]} if "gamma" in sums else {}
        return before | after | gamma | {"made": passes, "reached": objective}

    def _best_start(self, known: LastBags, task: Any, noise: Noise) -> Parameters:
        """The best of several starts after a few passes over all documents."""
        config: TopicConfig = self.config
        batch = self._some(task)
        bags = known(batch)
        starts = self._guesses(bags, batch.weights.double(), noise)
        trial = config.trial if config.restarts > 1 else 0
        best = best_start(starts, partial(self._sums, bags, batch), self._m_step, trial)
        if config.decay is None:
            return best
        return {k: v for k, v in best.items() if k != "gamma"}

    def _guesses(self, bags: Bags, weight: Tensor, noise: Noise) -> Iterator[Parameters]:
        for i in range(self.config.restarts):
            yield self._guess(bags, weight, noise, i)

    def _guess(self, bags: Bags, weight: Tensor, noise: Noise, i: int) -> Parameters:
        """Topics begun by documents far from each other, each half its words and half those of all."""
        config: TopicConfig = self.config
        some = bags.take(torch.arange(0, len(bags), max(1, len(bags) // START)))
        some = some.take(some.total.nonzero().flatten())
        now = self._init()
        even = torch.ones(len(bags), 1, dtype=torch.float64)
        own = now["weights"]
        if len(some):
            u = noise[:1].uniform(f"seeds {i}", config.topics, CANDIDATES)[0]
            few = some.take(seeds(some, u.double()))
            own = few.scattered(
                few.count / few.total[few.row], torch.eye(config.topics, dtype=torch.float64)
            )
        # Half the words of a seed document, half those of all documents, at the counts of all words.
        words = bags.scattered(bags.count, even * weight[:, None])
        blend = (1 - BLUR) * own + BLUR * words / words.sum().clamp(min=1)
        topics = Topics(own, now["alpha"])
        return now | {
            "weights": config.smoothing + blend * words.sum() / config.topics,
            "rate": (words.sum() / weight.sum()).clamp(min=1e-3),
            "gamma": topics.start(bags),
            "documents": weight.sum(),
            "made": weight.new_zeros(()),
            "reached": weight.new_tensor(-torch.inf),
        }

    def count(self) -> int:
        """One less than the words of each topic, alpha where it is learned, and the mean number of counts."""
        config: TopicConfig = self.config
        learned = {"fixed": 0, "symmetric": 1, "asymmetric": config.topics}[config.proportions]
        one = self.counted or self.pooled is not None
        return config.topics * (self.words - 1) + learned + one

    @property
    def table(self) -> Tensor:
        """The probability of each word in each topic, (V, K): the mean of the topics' distributions."""
        weights = self.weights.double()
        return weights / weights.sum(0).clamp(min=1e-300)

    @property
    def topics(self) -> Topics:
        """The topics that answers use: q's means."""
        return Topics(self.table, self.alpha.double(), self.rate.double() if self.counted else None)

    def top(self, n: int = TOLD) -> list[list[str]]:
        """The likeliest words of each topic, the likeliest first."""
        best = self.table.topk(min(n, self.words), 0).indices.T.tolist()
        if self.counted:
            names = self.space.names or tuple(f"x{i}" for i in range(self.words))
        else:
            variable = self.space.variables[0]
            assert variable.type == "nominal"
            names = variable.labels or tuple(map(str, range(self.words)))
        return [[names[w] for w in topic] for topic in best]

    def remarks(self, batch: Batch) -> tuple[str, ...]:
        """The perplexity, and the likeliest words of each topic with its share of the training words."""
        batch = batch.to(dtype=self.dtype, device=self.device)
        bags = self._bags(batch)
        topics = self.topics
        # Perplexity: exp of the bound on -log p of a word, without the counts' own constant.
        weights = settled(bags, topics, topics.start(bags), COLD, SETTLED)
        words = float(bags.total.sum())
        if self.unknown is not None:
            words += float(self.unknown.count(batch).sum())
        words = max(words, 1.0)
        value = sight(bags, topics, weights).value - topics.constant(bags)
        value = value + self._log_unknown(batch) - scoring.log_pooled(self, batch)
        nats = -float(value.sum()) / words
        learned = (self.weights.double() - self.config.smoothing).clamp(min=0).sum(0)
        share = learned / learned.sum().clamp(min=1e-300)
        price = f"A word costs at most {nats:.4f} nats: a perplexity of {math.exp(min(nats, 700)):.1f} or less."
        lines = [
            f"Topic {k}, {share[k]:.1%} of the words: {', '.join(self.top()[k])}."
            for k in share.argsort(descending=True)
        ]
        return (price, *lines)

    # ---- hooks -----------------------------------------------------------------------------------

    def how(self, verb: str, settings: Any) -> str:
        """The number of topics."""
        return f"{self.config.topics} topics"

    def _posterior(self, bags: Bags) -> Tensor:
        """Dirichlet weights of each document's topics, (B, K)."""
        return settled(bags, self.topics, self.topics.start(bags), COLD, SETTLED)

    def _log_prob(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Scored:
        """The variational bound, or with effort that by weighted draws (Burda, Grosse & Salakhutdinov 2016)."""
        bags = self._bags(batch)
        weights = self._posterior(bags)
        if effort is None:
            value = sight(bags, self.topics, weights).value + self._log_unknown(batch)
            return Scored(value.to(self.dtype), Kind.LOWER_BOUND, "variational bound")
        value, stderr = log_mean_exp(weighed(bags, self.topics, weights, noise, effort)[1])
        value = value + self._log_unknown(batch)
        stderr = None if stderr is None else stderr.to(self.dtype)
        return Scored(
            value.to(self.dtype), Kind.LOWER_BOUND, f"importance bound, {effort} draws", stderr
        )

    def _encode(
        self, batch: Batch, noise: Noise, effort: int | None, settings: Any
    ) -> RowDistribution:
        weights = self._posterior(self._bags(batch)).to(self.dtype)
        return Dirichlet(self.codes, batch.ids, Kind.ESTIMATE, "variational posterior", weights)

    def _sample(
        self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any
    ) -> Tensor:
        log_theta = log_shares(self.alpha.double().expand(noise.rows, -1), noise, "shares")
        size = self.space.layout[0]
        if not (length is None or not len(length)):
            size = max(size, int(length.max()))
        return self._drawn(log_theta, noise, size)

    def _drawn(self, log_theta: Tensor, noise: Noise, size: int) -> Tensor:
        """Words of documents whose proportions are known, (B, L): a topic, then a word of it; or Poisson counts."""
        if self.counted:
            mean = (log_theta.exp() @ self.table.T * self.rate.double()).clamp(min=1e-300)
            u = noise.uniform("count", size).double()
            return (
                Poisson(size).distribution(mean.log()[..., None]).draw(u[..., None]).to(self.dtype)
            )
        # A topic for each word from the document's proportions, then a word of the topic.
        many = StepNoise.of(noise, size)
        u, v = (many.uniform(use).double().reshape(-1, size) for use in ("topic", "word"))
        topic = inverse_cdf(log_theta.exp().cumsum(-1)[:, None], u)
        words = from_staircase(staircase(self.table.T), self.words, topic, v).to(self.dtype)
        if self.unknown is None:
            return words
        u = many.uniform("unknown").double().reshape(-1, size)
        return self.unknown.mixed(words, u)

    def _complete(self, batch: Batch, noise: Noise, n: int, settings: Any) -> Completed:
        """Proportions from weighted draws that all of a row's completions share, words from them."""
        bags = self._bags(batch)
        many = noise.draws(n)
        particles = settings.particles
        weights = self._posterior(bags)
        log_theta, log_weight = weighed(
            bags, self.topics, weights, replace(noise, draw=0).within("shares"), particles
        )
        # Importance resampling: n of the weighted proportions for each document.
        share = log_weight.softmax(0).T
        u = many.uniform("particle", 1).double().reshape(n, len(batch)).T
        particle = inverse_cdf(share.cumsum(-1)[:, None], u)
        log_shares_of_draws = log_theta.transpose(0, 1)[
            torch.arange(len(batch))[:, None], particle
        ].transpose(0, 1)
        words = self._drawn(log_shares_of_draws.flatten(0, 1), many, batch.x.shape[1]).unflatten(
            0, (n, -1)
        )
        x = torch.where(batch.holes, words, batch.x)
        # Draws that share particles: the effective size of n picks among the weighted ones.
        ess = (n / (1 + n / particles * (particles * share.square().sum(-1)))).to(self.dtype)
        return Completed(x, f"{particles} weighted proportions of topics", None, ess, Kind.ESTIMATE)

    def _mode(self, batch: Batch, settings: Any) -> Mode:
        """The likeliest word, or count, where topics have their mean proportions."""
        weights = self._posterior(self._bags(batch))
        mean = weights / weights.sum(-1, keepdim=True) @ self.table.T
        best = (self.rate.double() * mean).floor() if self.counted else self._likeliest(mean)
        x = torch.where(batch.holes, best.to(self.dtype), batch.x)
        return Mode(batch.with_x(x), Kind.ESTIMATE, "mean proportions of topics")

    def _likeliest(self, mean: Tensor) -> Tensor:
        """The likeliest word under word probabilities (B, V), (B, 1)."""
        p, best = mean.max(-1, keepdim=True)
        if self.unknown is None:
            return best
        rare = self.unknown.p > (1 - self.unknown.p) * p
        return torch.where(rare, self.unknown.code, best)

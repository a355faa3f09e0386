"""Times variational EM for topics beside scikit-learn's and gensim's, from one start and with the same priors.

    python -m bench.topics [--set ap] [--topics 50] [--passes 40] [--repeats 3] [--show 20]

All learn from all documents, alpha = eta = 1 / topics fixed. The topics' laws that each finds are judged by one
function, our bound of the corpus, which is what all three maximise. Processor time, one thread, in turn; the set is
read from LIKENESS_DATA.
`--show K` fits K topics with alpha learned and prints the likeliest words of each instead.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gensim.models import LdaModel
from scipy.sparse import csr_matrix
from sklearn.decomposition import LatentDirichletAllocation

import likeness as lk
from likeness import registry
from likeness.core.batch import Batch, concat
from likeness.core.noise import Noise
from likeness.core.space import Space
from likeness.inference.topics.bag_of_words import Bags

NEAR, EVERY = 1e-3, 2  # how near to a peer's bound counts as there; passes between looks at it
Trace = list[tuple[float, np.ndarray]]  # processor seconds, and weights of the topics (K, V) then


class Corpus:
    """All documents of a set, in each one's own form."""

    def __init__(self, name: str) -> None:
        data = lk.load(name)
        self.space: Space = data.space
        self.batch: Batch = concat([p.batch for p in data.parts.values()]).to(dtype=torch.float64)
        self.words = int(data.space.variables[0].states)
        self.bags = bags = Bags.of_sequences(self.batch.x, self.batch.present, self.words)
        arrays = [t.numpy() for t in (bags.count, bags.word, bags.start)]
        self.matrix = csr_matrix(tuple(arrays), (len(bags), self.words))
        rows = zip(arrays[2], arrays[2][1:], strict=False)
        self.lists = [
            list(zip(arrays[1][a:b].tolist(), arrays[0][a:b].tolist(), strict=True))
            for a, b in rows
        ]
        self.total = float(bags.total.sum())


def model(corpus: Corpus, topics: int) -> Any:
    """`topic` with both priors fixed."""
    options = {
        "topics": topics,
        "alpha": 1 / topics,
        "proportions": "fixed",
        "smoothing": 1 / topics,
    }
    return registry.build("topic", options, corpus.space).double()


def bound(corpus: Corpus, weights: np.ndarray) -> float:
    """The bound that all maximise, at these laws of topics and with even starts of documents, nats a word."""
    judge = model(corpus, len(weights))
    now = judge._blank() | {
        "weights": torch.from_numpy(np.ascontiguousarray(weights.T)), "made": torch.zeros(()),
        "documents": torch.tensor(float(len(corpus.batch))),
    }  # fmt: skip
    return float(judge._expect(corpus.bags, corpus.batch, now)["objective"]) / corpus.total


def begin(corpus: Corpus, topics: int) -> dict[str, torch.Tensor]:
    """Where all begin: `topic`'s own start."""
    one = model(corpus, topics)
    noise = Noise(0, torch.arange(1), scope="start", dtype=torch.float64)
    now: dict[str, torch.Tensor] = one._guess(
        one._bags(corpus.batch), corpus.batch.weights.double(), noise, 0
    )
    return now


def ours(corpus: Corpus, topics: int, passes: int, start: dict[str, torch.Tensor]) -> Trace:
    """`topic`'s own passes, documents made sparse within the first."""
    one = model(corpus, topics)
    learner, now, found = one.learner(), dict(start), list[tuple[float, np.ndarray]]()
    clock = time.process_time()
    for _ in range(passes):
        now = learner.maximise(learner.expect(corpus.batch, now), now)
        spent = time.process_time() - clock
        found.append((spent, now["weights"].T.numpy().copy()))
        clock = time.process_time() - spent
    return found


def sklearns(corpus: Corpus, topics: int, passes: int, start: dict[str, torch.Tensor]) -> Trace:
    """Batch passes of LatentDirichletAllocation with its own tolerance of 100 updates or 1e-3."""
    one = LatentDirichletAllocation(
        topics, doc_topic_prior=1 / topics, topic_word_prior=1 / topics, learning_method="batch", random_state=0,
        total_samples=corpus.matrix.shape[0],
    )  # fmt: skip
    one._init_latent_vars(corpus.words, dtype=np.float64)
    one.components_ = start["weights"].T.numpy().copy()
    one.exp_dirichlet_component_ = np.exp(_mean_log(one.components_))
    found, clock = list[tuple[float, np.ndarray]](), time.process_time()
    for _ in range(passes):
        one._em_step(corpus.matrix, total_samples=corpus.matrix.shape[0], batch_update=True)
        spent = time.process_time() - clock
        found.append((spent, one.components_.copy()))
        clock = time.process_time() - spent
    return found


def gensims(corpus: Corpus, topics: int, passes: int, start: dict[str, torch.Tensor]) -> Trace:
    """Batch passes of LdaModel (update_every=0), its own tolerance of 50 updates or 1e-3, in double precision."""
    one = LdaModel(
        num_topics=topics, id2word={i: str(i) for i in range(corpus.words)}, alpha=[1 / topics] * topics,
        eta=1 / topics, update_every=0, chunksize=len(corpus.lists), passes=1, eval_every=None, random_state=0,
        dtype=np.float64,
    )  # fmt: skip
    one.state.sstats[:] = start["weights"].T.numpy() - 1 / topics
    one.sync_state()
    found, clock = list[tuple[float, np.ndarray]](), time.process_time()
    for _ in range(passes):
        # Else it takes each pass for new documents, and scales what it has counted up
        one.state.numdocs = 0
        one.update(corpus.lists, passes=1, update_every=0, offset=1.0, decay=1e-9, eval_every=None)
        spent = time.process_time() - clock
        found.append((spent, one.state.get_lambda().copy()))
        clock = time.process_time() - spent
    return found


def _mean_log(weights: np.ndarray) -> np.ndarray:
    told: np.ndarray = torch.digamma(torch.from_numpy(weights)).numpy()
    return told - torch.digamma(torch.from_numpy(weights.sum(1, keepdims=True))).numpy()


RUNS: dict[str, Callable[..., Trace]] = {"topic": ours, "scikit-learn": sklearns, "gensim": gensims}


def compare(corpus: Corpus, topics: int, passes: int, repeats: int) -> None:
    """Time a pass, the bound after all, and the time until each, and ours, is within 0.1 % of it."""
    start, traces = begin(corpus, topics), {name: list[Trace]() for name in RUNS}
    for _ in range(repeats):
        for name, run in RUNS.items():
            traces[name].append(run(corpus, topics, passes, start))
    climbs = {
        n: [(s, bound(corpus, w)) for s, w in t[0][EVERY - 1 :: EVERY]] for n, t in traces.items()
    }
    print(
        "| | ms a pass | theirs / ours | bound, nats a word | near it after | ours after | theirs / ours |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, found in traces.items():
        seconds = [t[-1][0] for t in found]
        ratios = sorted(s / t[-1][0] for s, t in zip(seconds, traces["topic"], strict=True))
        height = climbs[name][-1][1]
        own, other = (_reached(climbs[n], height - NEAR * abs(height)) for n in ("topic", name))
        pace = statistics.median(seconds) / passes * 1e3
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        when = f"{other:.2f} s | {own:.2f} s | {other / own:.2f}"
        print(f"| {name} | {pace:.0f} | {spread} | {height:.4f} | {when} |", flush=True)


def _reached(climb: list[tuple[float, float]], height: float) -> float:
    """Seconds until a bound lies as high, infinity where it never does."""
    return next((seconds for seconds, value in climb if value >= height), float("inf"))


def show(name: str, topics: int) -> None:
    """The likeliest words of topics whose weights in documents are learned."""
    fitted = lk.fit("topic", lk.load(name), topics=topics, seed=0, progress=False)
    print("\n".join(fitted.facts["remarks"]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", default="ap")
    parser.add_argument("--topics", type=int, default=50)
    parser.add_argument("--passes", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--show", type=int)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.show:
        show(arguments.set, arguments.show)
    else:
        compare(Corpus(arguments.set), arguments.topics, arguments.passes, arguments.repeats)


if __name__ == "__main__":
    with torch.no_grad():
        main()

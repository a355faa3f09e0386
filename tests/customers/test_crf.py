"""An awkward customer: a linear-chain CRF p(labels | ragged features), full-batch; its length is its condition's."""

import itertools
from functools import partial

import pytest
import torch
from torch import nn

import likeness.routes  # noqa: F401 - registers them
from likeness.core.answers import Mode, Scored
from likeness.core.batch import Batch, as_batch
from likeness.core.config import Config
from likeness.core.learner import FullBatch
from likeness.core.model import Model
from likeness.core.space import sequence, series
from likeness.data.source import Table
from likeness.learn.run import Run

K, F = 3, 2


class TinyCRF(Model):
    """log p(y | features) = score(y, features) - log Z (Lafferty et al. 2001, eq. 1)."""

    def __init__(self, config, space, given_space=None) -> None:
        super().__init__(config, space, given_space)
        self.emit, self.step = nn.Parameter(torch.zeros(F, K)), nn.Parameter(torch.zeros(K, K))

    def learner(self):
        return FullBatch(partial(self.__call__, phase="full"), [self.emit, self.step], l2=1e-3)

    def forward(self, batch, noise, phase):
        y, inside, unary = batch.x.long(), batch.within, batch.given.x @ self.emit
        score = (unary.gather(-1, y[..., None])[..., 0] * inside).sum(-1)
        score = score + (self.step[y[:, :-1], y[:, 1:]] * inside[:, 1:]).sum(-1)
        return {"nll": self.chain(unary, inside, torch.logsumexp) - score}

    def chain(self, unary, inside, reduce):
        alpha = unary[:, 0]
        for t in range(1, unary.shape[1]):
            alpha = torch.where(
                inside[:, t, None], reduce(alpha[:, :, None] + self.step, 1) + unary[:, t], alpha
            )
        return reduce(alpha, -1)

    def _log_prob(self, batch, noise, effort, settings):
        return Scored(-self.forward(batch, noise, "full")["nll"], how="forward recursion")

    def draw_length(self, noise, given):
        return given.length

    def _path(self, given, u):
        """Labels drawn from the last to the first by filtered messages; u = None takes the best path."""
        reduce = torch.logsumexp if u is not None else torch.amax
        unary, alpha = given.x @ self.emit, []
        inside = torch.arange(unary.shape[1]) < given.length[:, None]
        for t in range(unary.shape[1]):
            new = unary[:, t] + (reduce(alpha[-1][:, :, None] + self.step, 1) if t else 0)
            alpha.append(torch.where(inside[:, t, None], new, alpha[-1] if t else new))
        path, behind = [], torch.zeros(len(unary), K, dtype=unary.dtype)
        for t in range(unary.shape[1] - 1, -1, -1):
            logits = alpha[t] + behind
            pick = logits.argmax(-1)
            if u is not None:
                pick = (logits.softmax(-1).cumsum(-1)[:, :-1] <= u[:, t, None]).sum(-1)
            path.insert(0, pick)
            behind = torch.where(inside[:, t, None], self.step[:, pick].T, torch.zeros_like(behind))
        return torch.stack(path, 1).to(unary.dtype)

    def _sample(self, noise, given, length, settings):
        return self._path(given, noise.uniform("y", self.space.layout[0]))

    def _mode(self, batch, settings):
        from likeness.core.answers import Kind

        return Mode(batch.with_x(self._path(batch.given, None)), Kind.EXACT, "Viterbi")


def fitted() -> tuple[TinyCRF, Batch]:
    g = torch.Generator().manual_seed(0)
    features, labels = [], []
    for n in torch.randint(1, 6, (80,), generator=g).tolist():
        x = torch.randn(n, F, generator=g, dtype=torch.float64)
        features.append(x)
        labels.append((x[:, 0] > 0).long() + (x[:, 1] > 0.5).long())
    space, given = sequence(K, 5), series(F, 5)
    batch = as_batch(space, labels).to(dtype=torch.float64)
    batch = Batch(batch.x, length=batch.length, given=as_batch(given, features))
    return Run(
        TinyCRF(Config(), space, given).double(), Table(space, batch, given), 60
    ).fit(), batch


def test_probabilities_and_best_path_equal_enumeration() -> None:
    model, batch = fitted()
    for i in range(4):
        n = int(batch.length[i])
        paths = [torch.tensor(p) for p in itertools.product(range(K), repeat=n)]
        given = batch.given[torch.full((len(paths),), i)]
        lp = model.log_prob(as_batch(model.space, paths), given=given).value
        assert float(lp.exp().sum()) == pytest.approx(1, abs=1e-10)
        best = model.mode(
            batch[i : i + 1].hide(torch.ones(5, dtype=torch.bool)), given=batch.given[i : i + 1]
        ).x[0, :n]
        assert torch.equal(best.long(), paths[int(lp.argmax())])


def test_samples_have_the_length_of_their_condition() -> None:
    model, batch = fitted()
    drawn = model.sample(4000, given=batch.given[:3], seed=0)
    assert torch.equal(drawn.length, batch.length[:3].expand(4000, 3))
    row = 0
    n = int(batch.length[row])
    same = (drawn.x[:, row, :n] == batch.x[row, :n]).all(-1).double().mean()
    p = float(model.log_prob(batch[row : row + 1], given=batch.given[row : row + 1]).value.exp())
    assert abs(float(same) - p) < 5 * (p * (1 - p) / 4000) ** 0.5 + 1e-9
    blind = -(batch.length.double() * torch.log(torch.tensor(3.0))).mean()
    assert float(model.log_prob(batch, given=batch.given).value.mean()) > float(blind) + 1

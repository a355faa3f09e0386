"""An awkward customer: a tiny HMM on ragged series with missing observations, by EM."""

import itertools

import pytest
import torch

import likeness.routes  # noqa: F401 - registers them
from likeness.core.answers import Completed, Kind, Scored
from likeness.core.batch import Batch, as_batch
from likeness.core.config import Config
from likeness.core.learner import EM
from likeness.core.model import Model
from likeness.core.space import series
from likeness.data.source import Table
from likeness.learn.run import Run

K = 2


class TinyHMM(Model):
    """Two Gaussian states; log p by the forward recursion, holes leave their emission out."""

    def __init__(self, config, space, given_space=None) -> None:
        super().__init__(config, space, given_space)
        self.register_buffer("first", torch.full((K,), 1 / K))
        self.register_buffer("step", torch.full((K, K), 1 / K))
        self.register_buffer("mean", torch.tensor([-1.0, 1.0]))

    def emit(self, batch, mean):
        lp = -0.5 * (batch.x - mean).square() - 0.9189385332046727
        return torch.where(batch.present, lp, torch.zeros_like(lp))

    def filter(self, batch, p):
        """Forward and backward log-messages (B, L, K) each; absent steps repeat what came before."""
        emit, inside = self.emit(batch, p["mean"]), batch.within[..., 0]
        alpha = [p["first"].log() + emit[:, 0]]
        for t in range(1, emit.shape[1]):
            moved = torch.logsumexp(alpha[-1][:, :, None] + p["step"].log(), 1) + emit[:, t]
            alpha.append(torch.where(inside[:, t, None], moved, alpha[-1]))
        beta = [torch.zeros_like(alpha[0])]
        for t in range(emit.shape[1] - 2, -1, -1):
            back = torch.logsumexp(p["step"].log() + (emit[:, t + 1] + beta[0])[:, None], 2)
            beta.insert(0, torch.where(inside[:, t + 1, None], back, beta[0]))
        return torch.stack(alpha, 1), torch.stack(beta, 1)

    def parameters_now(self):
        return {"first": self.first, "step": self.step, "mean": self.mean}

    def expect(self, batch, p):
        alpha, beta = self.filter(batch, p)
        log_p, emit = torch.logsumexp(alpha[:, -1], -1), self.emit(batch, p["mean"])
        state = (alpha + beta - log_p[:, None, None]).exp() * batch.within
        seen = state * batch.present
        pair = (
            alpha[:, :-1, :, None]
            + p["step"].log()
            + (emit + beta)[:, 1:, None]
            - log_p[:, None, None, None]
        )
        moves = (pair.exp() * batch.within[:, 1:, :, None]).sum((0, 1))
        sums = {
            "first": state[:, 0].sum(0),
            "step": moves,
            "n": seen.sum((0, 1)),
            "x": (seen * batch.x).sum((0, 1)),
        }
        return {**sums, "objective": log_p.sum(), "weight": batch.weights.sum()}

    def maximise(self, s, p):
        return {
            "first": s["first"] / s["first"].sum(),
            "step": s["step"] / s["step"].sum(1, keepdim=True),
            "mean": s["x"] / s["n"],
        }

    def assign(self, p):
        self.first, self.step, self.mean = p["first"], p["step"], p["mean"]

    def learner(self):
        return EM(
            lambda task, noise: self.parameters_now(),
            self.expect,
            self.maximise,
            self.assign,
            passes=30,
        )

    def _marginal(self, batch):
        return None

    def _log_prob(self, batch, noise, effort, settings):
        return Scored(
            torch.logsumexp(self.filter(batch, self.parameters_now())[0][:, -1], -1),
            how="forward recursion",
        )

    def _walk(self, noise, alpha, rows, steps):
        """States drawn backwards from filtered messages, then their emissions."""
        u, path = noise.uniform("state", steps), []
        for t in range(steps - 1, -1, -1):
            logits = alpha[:, t] if not path else alpha[:, t] + self.step.log()[:, path[0]].T
            cdf = logits.softmax(-1).cumsum(-1)
            path.insert(0, (cdf[:, :-1] <= u[:, t, None]).sum(-1).clamp(max=K - 1))
        return self.mean[torch.stack(path, 1)][..., None] + noise.normal("x", steps, 1)

    def _complete(self, batch, noise, n, settings):
        many = noise.draws(n)
        alpha, _ = self.filter(batch.repeat(n), self.parameters_now())
        x = self._walk(many, alpha, many.rows, batch.x.shape[1])
        return Completed(x.reshape(n, *batch.x.shape), "backward sampling")

    def _sample(self, noise, given, length, settings):
        x = torch.zeros(noise.rows, *self.space.layout, dtype=self.dtype)
        empty = Batch(x, torch.zeros_like(x, dtype=torch.bool), length)
        return self._walk(
            noise, self.filter(empty, self.parameters_now())[0], noise.rows, x.shape[1]
        )


def fitted() -> tuple[TinyHMM, Batch]:
    g = torch.Generator().manual_seed(0)
    items = []
    for n in torch.randint(2, 7, (60,), generator=g).tolist():
        state = int(torch.rand(1, generator=g) < 0.5)
        rows = []
        for _ in range(n):
            rows.append(3.0 * state + torch.randn(1, generator=g, dtype=torch.float64))
            state = state if torch.rand(1, generator=g) < 0.8 else 1 - state
        items.append(torch.stack(rows))
    items[0][1] = torch.nan
    items[3][0] = torch.nan
    space = series(1, 6)
    batch = as_batch(space, items)
    run = Run(TinyHMM(Config(), space).double(), Table(space, batch), 30)
    model = run.fit()
    assert all(b.loss <= a.loss + 1e-9 for a, b in zip(run.events, run.events[1:], strict=False))
    return model, batch


def test_log_p_is_the_sum_over_all_paths_holes_and_all() -> None:
    model, batch = fitted()
    for i in range(5):
        length, total = int(batch.length[i]), []
        for path in itertools.product(range(K), repeat=length):
            lp = model.first[path[0]].log() + sum(
                model.step[a, b].log() for a, b in itertools.pairwise(path)
            )
            for t, k in enumerate(path):
                if batch.present[i, t, 0]:
                    lp = lp - 0.5 * (batch.x[i, t, 0] - model.mean[k]) ** 2 - 0.9189385332046727
            total.append(lp)
        answer = model.log_prob(batch[i : i + 1])
        assert answer.kind is Kind.EXACT
        assert float(answer.value) == pytest.approx(
            float(torch.logsumexp(torch.stack(total), 0)), abs=1e-10
        )


def test_verbs_of_the_base_class_hold_for_it() -> None:
    model, batch = fitted()
    drawn = model.complete(batch[:4], n=3, seed=0)
    assert torch.equal(drawn.x[0][batch.present[:4]], batch.x[:4][batch.present[:4]])
    assert torch.equal(model.complete(batch[2:4], n=3, seed=0).x, drawn.x[:, 2:])
    assert model.sample(500, seed=0).length.bincount().tolist()[:2] == [0, 0]
    hidden = Batch(torch.zeros(1, 6, 1).double(), torch.zeros(1, 6, 1).bool(), torch.tensor([6]))
    assert float(model.log_prob(hidden).value) == pytest.approx(0, abs=1e-9)

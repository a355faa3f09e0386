"""Latent Dirichlet allocation of documents: posteriors of topic shares, bounds and weighted draws."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.core.noise import Noise
from likeness.inference.topics.bag_of_words import Bags
from likeness.inference.topics.dirichlet import log_density, log_norm, log_shares, mean_log

WIDE = 1 / 8  # share of proposals that are drawn from the prior, which bounds their weights
TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Topics:
    """K topics over V words.

    Args:
        table: What each word is worth in each topic, (V, K): its probability, or exp of its mean
            logarithm.
        prior: Dirichlet weights of the topics in a document, (K,).
        rate: The mean number of words where documents are vectors of counts, Poisson in all, else
            None.
    """

    table: Tensor
    prior: Tensor
    rate: Tensor | None = None

    def start(self, bags: Bags) -> Tensor:
        """Initial weights of each document's topics, its words spread evenly (Blei, Ng & Jordan 2003, fig. 6)."""
        return self.prior + bags.total[:, None] / len(self.prior)

    def unseen(self, bags: Bags) -> Tensor | None:
        """The likelihood of hidden counts in each topic, rate * sum over hidden words of the table, (B, K)."""
        if bags.hidden is None or self.rate is None:
            return None
        return self.rate * (bags.hidden @ self.table)

    def constant(self, bags: Bags) -> Tensor:
        """What p(counts) has beyond p(words in their order): Poisson of the rate, each word in any place, (B,)."""
        if self.rate is None:
            return torch.zeros_like(bags.total)
        return bags.total * self.rate.log() - self.rate - bags.sums(torch.lgamma(bags.count + 1))


@dataclass(frozen=True, eq=False)
class Sight:
    """The variational posterior of the topics of B documents.

    Args:
        weights: Of q(theta) = Dirichlet(weights), (B, K).
        theta: Exp of the mean of log theta, (B, K).
        ratio: Count over sum_k theta_k table_k of each pair, (n,): shares of a word are theta *
            table * ratio.
        value: The bound on log p, (B,), where it was asked for.
    """

    weights: Tensor
    theta: Tensor
    ratio: Tensor
    value: Tensor


def expected(
    weights: Tensor, smoothing: float, alpha: Tensor, rate: Tensor | None
) -> tuple[Topics, Tensor]:
    """Topics under q(topic_k) = Dirichlet(weights_k), and -KL(q || prior), their part of the bound, ().

    Hoffman, Bach & Blei 2010, eqs. 4 and 5. With smoothing 0 topics are points, the weights scaled.

    Args:
        weights: (K, V).
        smoothing: Weight of each word in the topics' Dirichlet prior.
        alpha: Dirichlet weights of the topics in a document, (K,).
        rate: See `Topics`.
    """
    if smoothing == 0:
        table = weights / weights.sum(-1, keepdim=True).clamp(min=TINY)
        return Topics(table.T.contiguous(), alpha, rate), weights.new_zeros(())
    # exp E log p(w | k) takes the place of p(w | k) (mean field).
    log_table = mean_log(weights)
    prior = weights.new_full(weights.shape[1:], smoothing)
    bound = (
        log_norm(weights).sum()
        - len(weights) * log_norm(prior)
        + ((smoothing - weights) * log_table).sum()
    )
    return Topics(log_table.exp().T.contiguous(), alpha, rate), bound


def settled(bags: Bags, topics: Topics, weights: Tensor, most: int, tolerance: float) -> Tensor:
    """Weights of each document's topics after at most `most` updates, each until it changes less, (B, K).

    gamma_k = alpha_k + sum_n c_n phi_nk with phi_nk ~ theta_k table_nk (Blei, Ng & Jordan 2003,
    eqs. 6 and 7), the responsibilities phi never laid out (Hoffman, Bach & Blei 2010). When a
    document rests does not depend on others.
    """
    # Documents that converge leave the batch; `rows` are the places of those that stay in it.
    rows = torch.arange(len(bags), device=weights.device)
    unseen = topics.unseen(bags)
    gamma = weights
    moving = bags
    result = weights.clone()
    on = torch.ones_like(rows, dtype=torch.bool)
    for _ in range(most):
        # gamma_k <- alpha_k + theta_k sum_w table_wk count_w / (sum_j theta_j table_wj)
        theta = mean_log(gamma).exp()
        words = moving.gathered(_ratio(moving, topics, theta), topics.table)
        after = topics.prior + theta * (words if unseen is None else words + unseen)
        changes = (after - gamma).abs().mean(-1) > tolerance
        gamma = torch.where(on[:, None], after, gamma)
        on = on & changes
        # Taking rows out costs a copy, so wait until half of them rest.
        if int(on.sum()) > len(rows) // 2:
            continue
        result[rows] = gamma
        if not bool(on.any()):
            return result
        # (documents, topics) -> (documents that still move, topics)
        active = on.nonzero().flatten()
        rows = rows[active]
        gamma = gamma[active]
        moving = moving.take(active)
        on = on[active]
        unseen = None if unseen is None else unseen[active]
    result[rows] = gamma
    return result


def _ratio(bags: Bags, topics: Topics, theta: Tensor) -> Tensor:
    return bags.count / bags.products(theta, topics.table).clamp(min=TINY)


def sight(bags: Bags, topics: Topics, weights: Tensor) -> Sight:
    """The bound at these weights, responsibilities at their best, and what it rests on.

    log p(w) >= sum_n c_n log sum_k theta_k table_nk + E log p(theta) - E log q(theta), theta = exp
    E log theta (Blei, Ng & Jordan 2003, eq. 15).
    """
    # E log p(w | theta) at the best responsibilities, and -KL(q || prior) of the topic shares.
    log_theta = mean_log(weights)
    theta = log_theta.exp()
    likelihood = bags.products(theta, topics.table)
    value = bags.sums(bags.count * likelihood.log()) + log_norm(weights) - log_norm(topics.prior)
    value = value + ((topics.prior - weights) * log_theta).sum(-1) + topics.constant(bags)
    unseen = topics.unseen(bags)
    # Hidden counts: Poisson words that nobody counted add their expected number.
    if unseen is not None:
        value = value + (theta * unseen).sum(-1)
    return Sight(weights, theta, bags.count / likelihood.clamp(min=TINY), value)


def given_shares(bags: Bags, topics: Topics, log_theta: Tensor) -> Tensor:
    """log p(words | theta), (B,), for tables of probabilities."""
    theta = log_theta.exp()
    value = bags.sums(bags.count * bags.products(theta, topics.table).log()) + topics.constant(bags)
    unseen = topics.unseen(bags)
    if unseen is None:
        return value
    return value + (theta * unseen).sum(-1)


def weighed(
    bags: Bags, topics: Topics, weights: Tensor, noise: Noise, n: int
) -> tuple[Tensor, Tensor]:
    """n draws of log theta for each document, (n, B, K), and their log p(w, theta) / q(theta), (n, B).

    q = 7/8 Dirichlet(weights) + 1/8 prior: without the prior, whose density is larger at the
    corners, weights would have no variance.
    """
    # Each draw comes from q or, with probability 1/8,
    # from the prior; both densities enter its weight.
    many = noise.draws(n)
    own = weights.repeat(n, 1)
    wide = many.uniform("wide", 1).to(weights) < WIDE
    log_theta = log_shares(torch.where(wide, topics.prior, own), many, "shares")
    prior = log_density(log_theta, topics.prior)
    log_q = torch.logaddexp(
        log_density(log_theta, own) + math.log(1 - WIDE), prior + math.log(WIDE)
    )
    log_weight = given_shares(bags.repeat(n), topics, log_theta) + prior - log_q
    return log_theta.unflatten(0, (n, -1)), log_weight.unflatten(0, (n, -1))

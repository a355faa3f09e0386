"""EM for mixtures whose components are products of component densities; pure functions of tensors.

Legend: B rows, K components. A view is a part's values and what of them is known; parameters are
one flat dictionary, "part.name" -> tensor, besides "log_weight" (K,), the objective "reached" and
what the last pass gained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from likeness.core.learner import Parameters
from likeness.core.preprocessor import standardised
from likeness.core.space import Space
from likeness.inference.mixture import kmeans
from likeness.inference.mixture.components import (
    EStep,
    EStepFunction,
    MixtureComponent,
    View,
)
from likeness.inference.starts import best_start
from likeness.numerics import gaussian

Views = Mapping[str, View]

START_FLOOR = 1e-3  # a start's variances are kept this wide, so that few rows do not make a spike
START_STEPS = 10  # Lloyd's steps before EM takes over
ROWS = 4096  # rows whose features stay in the second-level cache
NEVER = -1e30
COARSE = 1e-5  # nats a row that a pass gains, above which single precision serves


@dataclass(frozen=True, eq=False)
class Joint:
    """sum_k w_k prod_parts p_k(part).

    Args:
        components: K.
        parts: The factors of every component.
        sizes: The entries of each part that have variances.
    """

    components: int
    parts: Mapping[str, MixtureComponent]
    sizes: Mapping[str, int]

    def init(self, variances: Mapping[str, Tensor] | None = None) -> Parameters:
        """Initial parameters: equal weights, every component density at its own."""
        scales = variances or {n: torch.ones(d, dtype=torch.float64) for n, d in self.sizes.items()}
        params = {
            f"{n}.{key}": t
            for n, part in self.parts.items()
            for key, t in part.init(scales[n]).items()
        }
        equal = torch.full((self.components,), -math.log(self.components), dtype=torch.float64)
        never = torch.tensor(NEVER, dtype=torch.float64)
        return params | {"log_weight": equal, "reached": never, "gain": -never}

    def log_joint(self, views: Views, parameters: Parameters) -> Tensor:
        """log w_k p_k(views), (K, B); of the weights alone (K, 1) where there is no view."""
        return _log_joint(
            _e_steps_at(self._e_steps(views, parameters), views), parameters["log_weight"]
        )

    def e_step(self, views: Views, weight: Tensor, parameters: Parameters) -> Parameters:
        """The E-step: responsibilities of rows with weights (B,), and the sufficient statistics under them.

        Single precision serves while passes still gain much; its rounding would hide the small
        gains of the last ones.
        """
        # "gain" is what the last pass gained in nats a row.
        e_steps = self._e_steps(views, parameters, draft=float(parameters["gain"]) > COARSE)
        # Chunks that fit the cache, where the statistics of chunks add up.
        if all(part.additive for part in self.parts.values()):
            rows = ROWS
        else:
            rows = len(weight)
        pieces = [
            _expected(e_steps, part, w, parameters["log_weight"])
            for part, w in _pieces(views, weight, rows)
        ]
        return {name: torch.stack([p[name] for p in pieces]).sum(0) for name in pieces[0]}

    def _e_steps(
        self, views: Views, parameters: Parameters, *, draft: bool = False
    ) -> dict[str, EStepFunction]:
        return {
            name: self.parts[name].e_step_at(under(parameters, name), draft=draft) for name in views
        }

    def m_step(self, sums: Parameters, before: Parameters, *, least: float = 0.0) -> Parameters:
        """The M-step of the weights and of every component density; `least` raises the floor of variances."""
        # pi_k = n_k / n; every factor then maximises under its own statistics.
        share = sums["n"].clamp(min=1e-12)
        objective = sums["objective"] / sums["weight"]
        after = {
            "log_weight": (share / share.sum()).log(),
            "reached": objective,
            "gain": objective - before["reached"],
        }
        for name, part in self.parts.items():
            new = part.m_step(under(sums, name), under(before, name), least=least)
            after |= {f"{name}.{key}": t for key, t in new.items()}
        return after

    def start(
        self, views: Views, weight: Tensor, features: Tensor, u: Tensor, passes: int
    ) -> Parameters:
        """The best of several starts by k-means++ and Lloyd's steps, judged by a few passes of EM on these rows.

        Args:
            views: Of the rows.
            weight: (B,).
            features: What distances between rows are taken of, (B, F).
            u: Uniform numbers (restarts, K, candidates).
            passes: Passes by which a start is judged; with none the first start is taken.
        """
        m_step = partial(self.m_step, least=START_FLOOR)
        starts = self._starts(views, weight, features, u)
        return best_start(starts, partial(self.e_step, views, weight), m_step, passes)

    def _starts(
        self, views: Views, weight: Tensor, features: Tensor, u: Tensor
    ) -> Iterator[Parameters]:
        """Parameters after one M-step from the hard clusters of k-means."""
        initial = self.init(self._variances(views, weight))
        for one in u:
            # Hard responsibilities of a k-means clustering, followed by one M-step.
            centres = kmeans.seeds(features, self.components, one)
            _, own = kmeans.lloyd(features, centres, START_STEPS)
            resp = one_hot(own, self.components).T * weight.double()
            yield self.m_step(self._first(views, resp, initial), initial, least=START_FLOOR)

    def free_parameters(self, params: Parameters) -> int:
        """One less than the weights, and those of the components: O(K D^2) for full Gaussians."""
        own = [part.free_parameters(under(params, name)) for name, part in self.parts.items()]
        return self.components - 1 + sum(own)

    def _variances(self, views: Views, weight: Tensor) -> dict[str, Tensor]:
        """The variance of each entry over the rows, 1 where nothing varies."""
        # The first d entries of each part are those with variances.
        flat = {
            n: (v.flatten(1)[:, :d], o.flatten(1)[:, :d])
            for n, d in self.sizes.items()
            for v, o in (views[n],)
        }
        return {
            n: gaussian.varying(standardised(v, o, weight.double())[1].square())
            for n, (v, o) in flat.items()
        }

    def _first(self, views: Views, r: Tensor, blank: Parameters) -> Parameters:
        """The sufficient statistics under responsibilities r (K, B)."""
        sums = _sums(_e_steps_at(self._e_steps(views, blank), views), r)
        return sums | {"objective": blank["reached"], "weight": torch.ones_like(blank["reached"])}


def _expected(
    e_steps: Mapping[str, EStepFunction], views: Views, weight: Tensor, log_weight: Tensor
) -> Parameters:
    """The E-step of a chunk of rows, in as few passes over memory as possible."""
    e_steps_of_rows = _e_steps_at(e_steps, views)
    joint = _log_joint(e_steps_of_rows, log_weight)
    # Responsibilities by a softmax over components in place: exp(log joint - max), then / sum.
    top = joint.amax(0).clamp(min=NEVER)
    least = math.log(torch.finfo(joint.dtype).tiny) + 8  # denormal numbers are ten times slower
    r = (joint - top).clamp_(min=least).exp_()
    total = r.sum(0)
    w = weight.to(r.dtype)
    # sum_b weight_b log sum_k exp(log joint)
    height = (top + total.log()).double() @ weight.double()
    return _sums(e_steps_of_rows, r.mul_(w / total)) | {
        "objective": height,
        "weight": weight.double().sum(),
    }


def _e_steps_at(e_steps: Mapping[str, EStepFunction], views: Views) -> dict[str, EStep]:
    return {name: e_step(*views[name]) for name, e_step in e_steps.items()}


def _sums(parts: Mapping[str, EStep], r: Tensor) -> Parameters:
    sums = {
        f"{name}.{key}": t for name, one in parts.items() for key, t in one.statistics(r).items()
    }
    return sums | {"n": r.sum(-1).double()}


def _log_joint(parts: Mapping[str, EStep], log_weight: Tensor) -> Tensor:
    """log w_k + the sum of the log-densities, (K, B)."""
    terms = [one.log_density for one in parts.values()]
    if terms:
        return sum(terms[1:], terms[0] + log_weight[:, None].to(terms[0].dtype))
    return log_weight[:, None]


def _pieces(views: Views, weight: Tensor, rows: int) -> Iterator[tuple[Views, Tensor]]:
    """Chunks of at most `rows` rows."""
    for start in range(0, len(weight), max(rows, 1)):
        chunk = slice(start, start + rows)
        yield {name: (v[chunk], known[chunk]) for name, (v, known) in views.items()}, weight[chunk]


def under(parameters: Parameters, name: str) -> Parameters:
    """The parameters or statistics of one component density."""
    # Keys are "part.name": those of one part, without its prefix.
    return {
        key.removeprefix(f"{name}."): t
        for key, t in parameters.items()
        if key.startswith(f"{name}.")
    }


@dataclass(frozen=True, eq=False)
class Split:
    """Which entries of a condition's summary are numbers, and which are categories of which group.

    Args:
        numbers: int64.
        codes: int64.
        groups: The group of each of `codes`.
        vector: Whether the numbers are a few reals without order in space or time, which may have
            any covariance.
    """

    numbers: Tensor
    codes: Tensor
    groups: Tensor
    vector: bool


def split(space: Space, most: int) -> Split:
    """How a condition over `space` enters components; at most `most` numbers may have any covariance."""
    # A ragged condition is summarised by mean counts of each category, or by means, and its length.
    if space.ragged:
        if space.variables[0].type == "nominal":
            steps = int(space.variables[0].states)
        else:
            steps = 0
        sizes = ([steps] if steps else [0] * space.width) + [0]  # a place for the length
    # Otherwise each nominal column is a group of indicators, and all others are numbers.
    else:
        sizes = [int(v.states) if v.type == "nominal" else 0 for v in space.columns] * (
            space.dims // space.width
        )
    # -1 for a number, else the number of the group: (entries of the summary,)
    group = torch.cat([torch.full((max(n, 1),), i if n else -1) for i, n in enumerate(sizes)])
    numbers = torch.nonzero(group < 0).flatten()
    codes = torch.nonzero(group >= 0).flatten()
    # Groups numbered from 0 without gaps.
    dense = torch.unique(group[codes], return_inverse=True)[1]
    plain = space.real and not space.ragged and len(space.shape) == 1
    return Split(numbers, codes, dense, plain and len(numbers) <= most)

"""Normalizing flows: spline or affine steps, coupling or autoregressive, mixed by LU maps or permutations."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from likeness.bijections.affine import AffineStep
from likeness.bijections.autoregressive import Autoregressive
from likeness.bijections.base import Bijection, Chain, Step
from likeness.bijections.coupling import Coupling
from likeness.bijections.dequantise import LearnedReals
from likeness.bijections.mixing import LU, Permutation
from likeness.bijections.preprocess import GaussianFiller, Reals
from likeness.bijections.spline import SplineStep
from likeness.core import plates
from likeness.core.answers import Kind, Scored
from likeness.core.batch import Batch
from likeness.core.config import GradientConfig, option
from likeness.core.learner import Gradient, Phase
from likeness.core.model import Model
from likeness.core.noise import Noise
from likeness.core.preprocessor import Source
from likeness.core.row_distribution import Delta, RowDistribution
from likeness.core.space import Space, vector
from likeness.nets.conditioner import Conditioner
from likeness.nets.masked import MaskedNet
from likeness.nets.mlp import MLP
from likeness.numerics.constants import LOG_2PI
from likeness.registry import Card, register


class FlowConfig(GradientConfig):
    """Options of `flow`."""

    transform: Literal["spline", "affine"] = option(
        "spline", "the map of each variable: rational-quadratic or affine"
    )
    net: Literal["auto", "autoregressive", "coupling"] = option(
        "auto",
        "autoregressive: every variable after those before it; coupling: one half after the other; auto: coupling for "
        "images, else autoregressive",
    )
    layers: int = option(4, "maps one after the other", ge=1)
    hidden: tuple[int, ...] = option((96, 96), "widths of each conditioner's hidden layers")
    bins: int = option(8, "pieces of a spline", ge=2)
    bound: float = option(
        5.0, "half width of the interval that a spline bends, in standard deviations", gt=0
    )
    mixing: Literal["lu", "permutation", "none"] = option(
        "lu", "what mixes the variables between two maps"
    )
    dequantise: Literal["uniform", "variational"] = option(
        "uniform", "how rounded and counted values are spread over their cell", "objective"
    )
    context: int = option(64, "numbers that stand for what is given", ge=1)
    lr: float = option(2e-3, "peak learning rate of Adam", "optimiser", gt=0)


@register(
    Card(
        "flow",
        "Normalizing flow",
        "latent",
        "Durkan, Bekasov, Murray, Papamakarios, Neural Spline Flows",
        2019,
        "An invertible net: exact densities of reals, exact codes, samples in one pass.",
    )
)
class Flow(Model):
    """log p(x) = log N(f(x); 0, I) + sum over layers of log|det df_k| (Rezende & Mohamed 2015, eq. 7).

    Discrete and rounded values are dequantised: a LOWER_BOUND. Ragged rows: absent tails pass
    through unchanged, so the density is that of the present entries given the length. Missing entries are
    filled by a Gaussian: a LOWER_BOUND.
    """

    Config = FlowConfig
    preprocessor: Reals
    codes: Space

    def __init__(self, config: FlowConfig, space: Space, given_space: Space | None = None) -> None:
        super().__init__(config, space, given_space)
        learned = config.dequantise == "variational" and any(v.counted for v in space.variables)
        if learned:
            self.preprocessor = LearnedReals(space)
        else:
            self.preprocessor = Reals(space)
        self.filler = GaussianFiller(self.preprocessor.out)
        self.dims = self.preprocessor.out.dims
        if len(space.shape) == 3 and self.dims > 1:
            images = "coupling"
        else:
            images = "autoregressive"
        self.net = images if config.net == "auto" else config.net
        self.codes = vector(self.dims)
        self.conditioner = Conditioner(space, given_space, config.context)
        self.maps = Chain([m for k in range(config.layers) for m in self._layer(k)])

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """A quick flow for checks: few steps must teach it the distribution without a condition too."""
        small = {
            "layers": 2,
            "hidden": (32,),
            "bins": 6,
            "context": 16,
            "drop_given": 0.5,
            "lr": 5e-3,
            "ema": 0.99,
        }
        if len(space.shape) < 3:
            return {**small, "batch": 128}
        return {**small, "batch": 32, "lr": 2e-3}

    def _layer(self, k: int) -> list[Bijection]:
        """A mixing map and a conditioned one; one variable alone has nothing to mix."""
        c: FlowConfig = self.config
        if self.dims == 1:
            return [self._conditioned(k)]
        forward = list(range(self.dims))
        # Order is the mixing of ragged rows, whose absent tails must stay where they are.
        if self.space.ragged or c.mixing == "none":
            return [self._conditioned(k, forward if k % 2 == 0 else forward[::-1])]
        # Elsewhere a random order for each layer; LU learns a linear map on top of it.
        if k == 0:
            order = forward
        elif self.dims > 2:
            order = torch.randperm(self.dims).tolist()
        else:
            order = forward[::-1]
        return [
            LU(self.dims, order) if c.mixing == "lu" else Permutation(order),
            self._conditioned(k),
        ]

    def _conditioned(self, k: int, order: list[int] | None = None) -> Bijection:
        c: FlowConfig = self.config
        step: Step = SplineStep(c.bins, c.bound) if c.transform == "spline" else AffineStep()
        if self.net == "autoregressive" or self.dims == 1:
            # Autoregressive: the parameters of entry i follow from the entries before it.
            ins = [1] * self.dims
            outs = [step.size] * self.dims
            return Autoregressive(
                MaskedNet(ins, outs, order=order, hidden=c.hidden, context=self.conditioner.size),
                step,
            )
        # Coupling: every second entry changes, by parameters that follow from the others (NICE).
        changes = [(i + k) % 2 == 0 for i in range(self.dims)]
        count = sum(changes)
        net = MLP(
            self.dims - count,
            count * step.size,
            hidden=c.hidden,
            context=self.conditioner.size,
            zero=True,
        )
        return Coupling(net, changes, step)

    def graph(self) -> plates.Graph:
        """Noise z that is x by an invertible map; where x is rounded or a code, the way back is drawn."""
        z = plates.Node("z", "latent", self.codes)
        both = plates.Edge("z", "x", "bijection")
        rounded = (plates.Edge("z", "x", "map"), plates.Edge("x", "z", "encoder"))
        return plates.rows(self, z, ties=rounded if self.preprocessor.stochastic else (both,))

    # ---- learning --------------------------------------------------------------------------------

    def _prepare(self, source: Source) -> None:
        self.conditioner.fit(source)

    def learner(self) -> Gradient:
        """Maximum likelihood."""
        return Gradient(
            (
                Phase(
                    "likelihood",
                    partial(self.__call__, phase="likelihood"),
                    list(self.parameters()),
                ),
            )
        )

    def forward(self, batch: Batch, noise: Noise, phase: str) -> dict[str, Tensor]:
        """-log p(y), (B,)."""
        _, base, ladjs = self._through(batch)
        return {"nll": -(base + torch.stack(ladjs).sum(0))}

    # ---- the maps --------------------------------------------------------------------------------

    def _present(self, length: Tensor | None, rows: int) -> Tensor | None:
        """Which entries lie within their row's length, (B, D); None where all rows are of one size."""
        if not self.space.ragged:
            return None
        empty = Batch(self._anchor.new_zeros((rows, *self.preprocessor.out.layout)), length=length)
        return empty.present.flatten(1)

    def _through(self, batch: Batch) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Codes z (B, D), log N(z) over what is present (B,), and every map's log-determinant."""
        z = batch.x.flatten(1)
        context = self.conditioner(batch.given, batch.length, len(batch))
        present = self._present(batch.length, len(batch))
        ladjs = []
        # z = f_K(... f_1(x)), log p(x) = log N(z) + sum_k
        # log|det df_k|: data to noise, layer by layer.
        for part in self.maps.parts:
            z, ladj = part(z, context, present)
            ladjs.append(ladj)
        # Entries past a row's length do not count.
        entry = -0.5 * (z.square() + LOG_2PI)
        return z, (entry if present is None else entry * present).sum(-1), ladjs

    def _back(self, z: Tensor, given: Batch | None, length: Tensor | None) -> Tensor:
        """Codes (B, D) to model units (B, *F)."""
        context = self.conditioner(given, length, len(z))
        present = self._present(length, len(z))
        # Noise to data: the inverses in reverse order.
        for part in reversed(self.maps.parts):
            z, _ = part.inverse(z, context, present)
        return z.reshape(len(z), *self.preprocessor.out.layout)

    # ---- hooks -----------------------------------------------------------------------------------

    def _log_prob(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Scored:
        _, base, ladjs = self._through(batch)
        terms = {"base": base, **{f"map {i}": ladj for i, ladj in enumerate(ladjs)}}
        return Scored(
            base + torch.stack(ladjs).sum(0), Kind.EXACT, "change of variables", terms=terms
        )

    def _sample(
        self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any
    ) -> Tensor:
        return self._back(noise.normal("z", self.dims), given, length)

    def _encode(
        self, batch: Batch, noise: Noise, effort: int | None, settings: Any
    ) -> RowDistribution:
        z, _, _ = self._through(batch)
        return Delta(self.codes, batch.ids, Kind.EXACT, "the flow's own map", z)

    def _decode(self, z: Tensor, given: Batch | None, index: Tensor) -> RowDistribution:
        if self.space.ragged:
            length = torch.full((len(z),), self.space.layout[0])
        else:
            length = None
        x = self.preprocessor.inverse(self._back(z, given, length))
        return Delta(self.space, index, Kind.EXACT, "the inverse map", x)

"""A Model is a Distribution that is an nn.Module and can learn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from likeness.core import plates, scoring
from likeness.core.answers import YES, Answer, Kind, no
from likeness.core.batch import Batch, Places, missing
from likeness.core.config import Config
from likeness.core.distribution import Distribution
from likeness.core.errors import BadConfig, Unsupported
from likeness.core.files import path_of
from likeness.core.learner import Learner
from likeness.core.noise import Noise
from likeness.core.overview import Overview
from likeness.core.preprocessor import Filler, Preprocessor, Source
from likeness.core.reach import extent
from likeness.core.space import Space
from likeness.numerics import memory
from likeness.numerics.draws import inverse_cdf

CRITERION_DRAWS = 8

# The registry's store fills this with what writes a model as a folder.
WRITERS: list[Callable[[Model, str | Path], Path]] = []


class Model(Distribution, nn.Module):
    """A Distribution with parameters, a Config and a Learner.

    The only abstract method is `learner`. Build one with `registry.build`, which seeds its initial
    weights; `prepare` takes lengths, class prior and a preprocessor's statistics from the training
    split before the first step.

    Args:
        config: The family's options.
        space: What x is, laid out to the longest item that will be seen.
        given_space: What is given, or None.

    Attributes:
        progress: The share of its learning that is done, for objectives that change on the way; the
            executor keeps it.
        source: What it learns from while it learns, for stages that prepare themselves when their
            turn comes.
        facts: What a saved model says of how it was learned: data, budget, decisions; the Run fills
            it.
    """

    Config: ClassVar[type[Config]] = Config
    natural_dtype: torch.dtype = torch.float32
    progress: float = 0.0
    source: Source | None = None
    facts: dict[str, Any]
    lengths: Tensor
    classes: Tensor
    extent: Tensor
    given_extent: Tensor
    held_out: Tensor
    held_out_alone: Tensor
    _anchor: Tensor

    def __init__(self, config: Any, space: Space, given_space: Space | None = None) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.space = space
        self.given_space = given_space
        self.codes: Space | None = None
        self.preprocessor: Preprocessor | None = None
        self.filler: Filler | None = None
        # Statistics of the training split are buffers: saved and moved with the weights.
        if space.ragged:
            self.register_buffer("lengths", torch.zeros(space.layout[0] + 1, dtype=torch.float64))
        if given_space is not None and given_space.label is not None:
            self.register_buffer("classes", torch.zeros(given_space.label, dtype=torch.float64))
        self.register_buffer("extent", torch.zeros(2, len(space.columns)))
        columns = 0 if given_space is None else len(given_space.columns)
        self.register_buffer("given_extent", torch.zeros(2, columns))
        # Held-out scores, for conformal p-values; `_alone` without the condition.
        self.register_buffer("held_out", torch.zeros(0, dtype=torch.float64))
        if given_space is not None:
            self.register_buffer("held_out_alone", torch.zeros(0, dtype=torch.float64))
        # The anchor knows the module's dtype and device, even where there are no parameters.
        self.register_buffer("_anchor", torch.zeros(()), persistent=False)

    def __getattr__(self, name: str) -> Tensor | nn.Module:
        """What torch keeps under a name; else an error that says where what was looked for is."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            raise AttributeError(_elsewhere(self, name), name=name, obj=self) from None

    def overview(self) -> Overview:
        """What it is over, the options that were set, and what it was fitted to."""
        over = super().overview()
        default = type(self.config)()
        options = {k: v for k, v in self.config if v != getattr(default, k)}
        facts = {
            **over.facts,
            "options": ", ".join(f"{k}={v!r}" for k, v in options.items()) or "as by default",
            "parameters": f"{self.count():,}",
            "fitted": self._history(),
        }
        return Overview(over.title, facts)

    def _history(self) -> str:
        """What it was fitted to, for how long."""
        history = getattr(self, "facts", {})
        if "iterations" not in history:
            return "not yet"
        data = history.get("data") or {}
        rows = f"to {data['rows']:,} rows of {data['name']}, " if data else ""
        return f"{rows}{history['iterations']:,} steps, seed {history['seed']}"

    @abstractmethod
    def learner(self) -> Learner:
        """How this model's parameters are found."""

    @classmethod
    def _refuse(cls, config: Any, space: Space, given_space: Space | None) -> str | None:
        """The sentence that says why the family does not take these Spaces, or None where it does."""
        return None

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """Options of a model of this family that learns `space` roughly within a second: for checks, not for use."""
        return {}

    @final
    @classmethod
    def accepts(cls, config: Any, space: Space, given_space: Space | None = None) -> Answer:
        """Whether the family takes these Spaces, before any fit."""
        why = cls._refuse(config, space, given_space)
        if why is None:
            return YES
        return no(why)

    def _prepare(self, source: Source) -> None:
        """What a family takes from the training split beyond what the base class does."""

    @final
    def prepare(self, source: Source) -> None:
        """Lengths, class prior and preprocessors from the training split, in one pass each."""
        refused = type(self).accepts(self.config, self.space, self.given_space)
        if not refused:
            raise BadConfig(refused.why)
        # Value ranges first: they refuse data that no arithmetic can hold.
        self._extend(source)
        self._count(source)
        # Then the preprocessor, whose output the filler is fitted to.
        if self.preprocessor is not None:
            self.preprocessor.fit(source)
        if self.filler is not None:
            self.filler.fit(Inside(self, source))
        self._prepare(source)

    def _extend(self, source: Source) -> None:
        """The least and the largest values of columns, as far as the model's own type tells them."""
        rows = memory.cached(self.space.dims)
        self.extent = extent(self.space, source.chunks(rows)).to(self._anchor)
        if self.given_space is not None:
            conditions = (b.given for b in source.chunks(65536) if b.given is not None)
            self.given_extent = extent(self.given_space, conditions).to(self._anchor)

    def _count(self, source: Source) -> None:
        if not self.space.ragged and not self.sums_classes():
            return
        for batch in source.chunks(65536):
            # Weighted histograms: of lengths, and of observed classes.
            weights = batch.weights.double()
            if batch.length is not None and self.space.ragged:
                self.lengths.index_add_(
                    0, batch.length.to(self.lengths.device), weights.to(self.lengths)
                )
            if self.sums_classes() and batch.given is not None:
                labelled = batch.given.present.flatten(1).all(-1)
                self.classes.index_add_(
                    0,
                    batch.given.x.flatten(1)[:, 0].long()[labelled],
                    weights[labelled].to(self.classes),
                )

    def class_prior(self) -> Tensor:
        """Class frequencies of the training split with one row added to each, (K,)."""
        # Laplace smoothing, so that no class has probability 0.
        return ((self.classes + 1) / (self.classes + 1).sum()).to(self.dtype)

    def draw_length(self, noise: Noise, given: Batch | None) -> Tensor | None:
        """Lengths by inverse CDF of the training split's empirical distribution."""
        if not self.space.ragged:
            return None
        cdf = self.lengths.cumsum(0).to(noise.dtype)
        return inverse_cdf(cdf, noise.uniform("length", 1)[:, 0])

    @property
    def dtype(self) -> torch.dtype:
        """The type of the parameters."""
        return self._anchor.dtype

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self._anchor.device

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Evaluation mode while a question is answered."""
        was = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was)

    # ---- learning --------------------------------------------------------------------------------

    def forward(self, batch: Batch, noise: Noise, phase: str) -> dict[str, Tensor]:
        """A phase's loss terms, each (B,): the one door for compilation."""
        raise NotImplementedError(f"{type(self).__name__} has no phase {phase!r}")

    def remarks(self, batch: Batch) -> tuple[str, ...]:
        """What a family has to say of itself once it is fitted, in sentences for its card; `batch` are rows of data."""
        return ()

    def graph(self) -> plates.Graph:
        """What is observed, what is latent, and what depends on what: drawn by `Graph.to_svg`."""
        return plates.rows(self)

    def training_filler(self, batch: Batch) -> Filler | None:
        """What draws a training batch's missing entries, None where nothing is missing."""
        if batch.full:
            return None
        return self.filler

    @final
    def inputs(self, batch: Batch, noise: Noise, drop: float = 0.0) -> tuple[Batch, Tensor]:
        """A training batch in model units, and the correction that brings its log p to data units, (B,)."""
        batch = batch.to(dtype=self.dtype, device=self.device)
        # Training hides the condition at rate `drop`, so that the model also learns p(x) without it.
        if self.given_space is not None:
            if batch.given is not None:
                given = batch.given
            else:
                given = missing(self.given_space, len(batch), batch.x)
            batch = replace(batch, given=_dropped(given, noise, drop))
        # Model units; the correction is log|det| of the preprocessor.
        inside, correction, _ = scoring.to_model_units(self, batch, noise)
        filler = self.training_filler(inside)
        if filler is not None:
            inside, minus_log_q = filler.fill(inside, noise)
            correction = correction + minus_log_q
        return inside, correction

    def criterion(self, batch: Batch, noise: Noise) -> Tensor:
        """What validation minimises, (B,): -log p where there is one, else the energy score of draws.

        The energy score is E|Y - x| - E|Y - Y'| / 2 over draws Y under the row's condition
        (Gneiting & Raftery 2007, eq. 22).
        """
        settings = self.Settings()
        if self.support("log_prob"):
            return -scoring.score(
                self, batch.to(dtype=self.dtype, device=self.device), noise, None, settings
            ).value
        if not self.support("sample"):
            raise Unsupported(
                f"{type(self).__name__} has neither log_prob nor sample to validate by"
            )
        # Without log p: the energy score of CRITERION_DRAWS draws.
        many = noise.draws(CRITERION_DRAWS)
        if batch.given is None:
            given = None
        else:
            given = batch.given.repeat(CRITERION_DRAWS)
        y, *_ = scoring.tiled(
            self,
            many.place,
            settings,
            lambda rows: scoring.sample_rows(self, many[rows], _rows(given, rows), settings),
        )
        # (n, B, D), hidden entries set to 0 in draws and data alike.
        y = y.reshape(CRITERION_DRAWS, len(batch), -1) * batch.present.flatten(1)
        # E|Y - x|, over all draws.
        near = (y - batch.x.flatten(1) * batch.present.flatten(1)).norm(dim=-1).mean(0)
        # E|Y - Y'|, over disjoint pairs of draws.
        apart = (y[::2] - y[1::2]).norm(dim=-1).mean(0)
        return near - apart / 2

    @final
    def save(self, path: str | Path) -> Path:
        """Save the model as a folder that `likeness.open` reads.

        Raises:
            Unsupported: Where nothing that writes models is loaded.
        """
        if not WRITERS:
            raise Unsupported(
                "saving needs likeness.registry.store", do="import likeness.registry.store"
            )
        return WRITERS[0](self, path_of(path))

    def count(self) -> int:
        """The number of free parameters: entries that a mask holds at zero are none.

        Distributions in closed form, whose numbers are not `nn.Parameter`s, count them by their own
        formula.
        """
        total = 0
        for module in self.modules():
            mask = getattr(module, "mask", None)
            for p in module.parameters(recurse=False):
                masked = isinstance(mask, Tensor) and mask.shape == p.shape
                total += int(mask.count_nonzero()) if masked and mask is not None else p.numel()
        return total

    def kind_of_criterion(self) -> str:
        """What `criterion` is, in words."""
        if self.support("log_prob"):
            return "-log p"
        return "energy score"


class Inside:
    """A Source seen through a model's preprocessor: what fillers and staged learners fit."""

    def __init__(self, model: Model, source: Source) -> None:
        self.model = model
        self.source = source
        if model.preprocessor is not None:
            self.space = model.preprocessor.out
        else:
            self.space = source.space
        self.given_space = source.given_space

    def __len__(self) -> int:
        return len(self.source)

    def rows(self, index: Tensor) -> Batch:
        """Some items in model units."""
        return self._through(self.source.rows(index))

    def epoch(self, k: int) -> Inside:
        """The same, as pass k sees it."""
        return Inside(self.model, self.source.epoch(k))

    def chunks(self, size: int) -> Iterator[Batch]:
        """All items in model units."""
        for batch in self.source.chunks(size):
            yield self._through(batch)

    def _through(self, batch: Batch) -> Batch:
        batch = batch.to(dtype=self.model.dtype, device=self.model.device)
        noise = Noise(0, batch.ids, scope="inside", dtype=self.model.dtype)
        return scoring.to_model_units(self.model, batch, noise)[0]


def _rows(given: Batch | None, rows: Places) -> Batch | None:
    if given is None:
        return None
    return given[rows]


def _dropped(given: Batch, noise: Noise, rate: float) -> Batch:
    """The condition hidden whole at `rate`, and each of its entries at `rate`."""
    if rate <= 0:
        return given
    flat = given.x.flatten(1)
    # The first number decides on the whole condition, the others on its entries: (B, 1 + C).
    u = noise.uniform("drop given", 1 + flat.shape[1]).to(flat.device)
    hidden = (u[:, :1] < rate) | (u[:, 1:] < rate)
    return given.hide(hidden.reshape(given.x.shape))


__all__ = ["Inside", "Kind", "Model"]


# What other libraries call what a distribution can do
OTHER_NAMES = {
    "predict": "classify",
    "predict_proba": "classify",
    "score": "log_prob",
    "score_samples": "log_prob",
    "transform": "encode",
    "inverse_transform": "decode",
    "impute": "complete",
    "generate": "sample",
    "rvs": "sample",
    "pdf": "log_prob",
    "logpdf": "log_prob",
}


def _elsewhere(model: Model, name: str) -> str:
    """That a model has no such attribute, and what was meant: an option, what was fitted, or a verb."""
    missing = f"{type(model).__name__!r} object has no attribute {name!r}"
    if name.startswith("_") or "config" not in vars(model):
        return missing
    if name in type(model.config).model_fields:
        return f"{missing}; it is an option: model.config.{name}"
    if name in OTHER_NAMES:
        return f"{missing}; ask model.{OTHER_NAMES[name]}(...)"
    if name.rstrip("_") in set(dict(model.named_buffers())) or name.endswith("_"):
        return f"{missing}; what was fitted is in model.state_dict()"
    return missing

"""Discriminant analysis: a density for each class, a prior, and Bayes' rule; missing features integrated out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor, nn

from likeness import registry
from likeness.core import inputs, plates, routes, scoring
from likeness.core.answers import Completed, Filled, Mode, Scored, regrouped, ways, weakest
from likeness.core.batch import Batch, Places, missing
from likeness.core.config import Config, option
from likeness.core.errors import BadData
from likeness.core.learner import Learner, Staged
from likeness.core.model import Model
from likeness.core.nested import Chosen, through
from likeness.core.noise import Noise
from likeness.core.preprocessor import Source
from likeness.core.routes import Question
from likeness.core.space import Space
from likeness.numerics.tree import join, take
from likeness.registry import Card, FamilyConfig, register

T = TypeVar("T")
ALL = slice(None)
FEW = 32  # rows to a class below which every model answers for all rows: products of a few round otherwise
NAMED = {"qda": ("gaussian", {}), "naive": ("independent", {"real": "normal"})}


class DiscriminantConfig(Config):
    """Options of `discriminant`."""

    kind: Literal["auto", "lda", "qda", "naive"] = option(
        "auto",
        "lda: Gaussians of one covariance; qda: of one each; naive: independent features; auto: qda, or naive "
        "where a Gaussian has no density",
    )
    density: FamilyConfig = option(
        None,
        "a family that models each class's density instead, such as density=mixture density.components=5",
    )
    shrinkage: float = option(
        0.0,
        "of lda and qda: share of the covariance replaced by its mean variance times the identity",
        "objective",
        ge=0,
        le=1,
    )


@register(
    Card(
        "discriminant",
        "Discriminant analysis",
        "classical",
        "Fisher, The use of multiple measurements in taxonomic problems",
        1936,
        "A classifier that models each class's density: it takes missing entries and samples from each class.",
    )
)
class Discriminant(Model):
    """p(x | y) = p_y(x) of a family's models, one for each class: p(y | x) is in proportion to p(y) p_y(x).

    Rows without a label change neither the prior nor the classes.
    """

    Config = DiscriminantConfig
    given_space: Space

    def __init__(
        self, config: DiscriminantConfig, space: Space, given_space: Space | None = None
    ) -> None:
        super().__init__(config, space, given_space)
        name, options = _inner(config, space)
        # LDA is one model given the label (one covariance
        # for all classes); else one model for each class.
        self.shared = config.kind == "lda"
        count = 1 if self.shared else self.given_space.label or 1
        condition = self.given_space if self.shared else None
        self.models = nn.ModuleList(
            registry.build(name, options, space, condition, seed=k) for k in range(count)
        )
        self.natural_dtype = self._model(0).natural_dtype
        self.default_effort = self._model(0).default_effort
        self.places: list[Tensor] = []  # the rows of each class while it learns

    @classmethod
    def _refuse(
        cls, config: DiscriminantConfig, space: Space, given_space: Space | None
    ) -> str | None:
        if given_space is None or given_space.label is None:
            return "it tells classes apart: give it a label of named categories (given=...)"
        if config.density is not None and (config.kind != "auto" or config.shrinkage):
            return "density= says how each class is modelled: leave out kind= and shrinkage=, or density="
        # The classes' own family has the last word on the Space.
        name, options = _inner(config, space)
        inner = registry.family(name)
        if config.shrinkage and name != "gaussian":
            return (
                "shrinkage is of covariances, which independent features have none of: leave it out"
            )
        if isinstance(options, Config):
            own = options
        else:
            own = inner.Config.parse(options)
        return inner.accepts(own, space, given_space if config.kind == "lda" else None).why or None

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """Options that learn within a second, of a smooth density."""
        if space.real:
            return {}
        return {"kind": "naive"}

    def _model(self, k: int) -> Model:
        """The model of class k, or the one of all."""
        return cast(Model, self.models[0 if self.shared else k])

    def graph(self) -> plates.Graph:
        """The class y, and x under the density of its class."""
        name = registry.name_of(self._model(0).config)
        x = plates.Node(
            "x",
            "observed",
            self.space,
            note=f"{name} given y" if self.shared else f"one {name} a class",
        )
        return plates.rows(self, x=x, learned=("y", "x"))

    # ---- learning --------------------------------------------------------------------------------

    def _prepare(self, source: Source) -> None:
        if self.shared:
            self._model(0).prepare(source)
            return
        self.places = self._parted(source)
        for k in range(len(self.models)):
            self._model(k).prepare(self._rows_of(k, source))

    def learner(self) -> Learner:
        """Each class's own learner on that class's rows, one after the other."""
        stages = tuple((f"class {k}", self._stage(k)) for k in range(len(self.models)))
        return Staged(
            stages, rows=(lambda _stage, source: source) if self.shared else self._rows_of
        )

    def _stage(self, k: int) -> Any:
        inner = self._model(k)

        def codes(batch: Batch, noise: Noise) -> Batch:
            return inner.inputs(batch if self.shared else batch.given_as(None), noise)[0]

        return lambda: through(inner, codes)

    def _rows_of(self, k: int, source: Any) -> Chosen:
        """The rows of class k."""
        return Chosen(source, self.places[k])

    def _parted(self, source: Source) -> list[Tensor]:
        """Where the rows of each class are, by one look at the labels."""
        labels = [
            torch.where(b.given.present.flatten(1)[:, 0], b.given.x.flatten(1)[:, 0], -1)
            for b in source.chunks(65536)
            if b.given is not None
        ]
        code = torch.cat(labels).long()
        places = [(code == k).nonzero().flatten() for k in range(len(self.models))]
        empty = [k for k, rows in enumerate(places) if not len(rows)]
        if empty:
            names = getattr(self.given_space.variables[0], "labels", None)
            name = names[empty[0]] if names else repr(empty[0])
            raise BadData(f"class {name} has no rows to learn from", do="leave the class out")
        return places

    def count(self) -> int:
        """Those of all classes' models, and one less than the classes."""
        classes = len(self.classes)
        return sum(self._model(k).count() for k in range(len(self.models))) + (
            0 if self.shared else classes - 1
        )

    # ---- hooks: each row asks the model of its class -----------------------------------------------

    def _why_not(self, verb: str) -> str | None:
        if verb not in {"sample", "log_prob", "complete", "mode"}:
            return None
        return self._model(0).support(verb).why or None

    def _marginal(self, batch: Batch) -> str | None:
        return None

    def _each(
        self, batch: Batch, settings: Any, ask: Callable[[Model, Places], T]
    ) -> list[tuple[Tensor, T]]:
        """The answer of each class's model about the rows of that class: their places, and the answer.

        In strict mode, and for few rows, every model answers for all rows of the tile, so that its
        products round as they do for any other mix of classes.
        """
        everything = torch.arange(len(batch))
        code = batch.condition.x.flatten(1)[:, 0].long()
        if self.shared:
            return [(everything, ask(self._model(0), ALL))]
        answers = []
        present = code.unique().tolist()
        if len(present) == 1:
            return [(everything, ask(self._model(present[0]), ALL))]
        for k in present:
            rows = (code == k).nonzero().flatten()
            whole = len(rows) < (len(batch) if settings.strict else min(len(batch), FEW))
            answers.append(
                (rows, take(ask(self._model(k), ALL), rows) if whole else ask(self._model(k), rows))
            )
        return answers

    def _own(self, batch: Batch) -> Batch:
        """The rows as their class's model sees them."""
        if self.shared:
            return batch
        return batch.given_as(None)

    def _log_prob(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Scored:
        def ask(model: Model, rows: Places) -> Scored:
            return scoring.score(
                model,
                self._own(batch[rows]),
                noise[rows],
                effort,
                inputs.settings_of(model, settings),
            )

        return _in_order(self._each(batch, settings, ask))

    def _sample(
        self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any
    ) -> Tensor:
        batch = replace(
            missing(self.space, noise.rows, self._anchor), given=given, index=noise.index
        )

        def ask(model: Model, rows: Places) -> Tensor:
            own = None if length is None else length[rows]
            condition = batch.condition[rows] if self.shared else None
            return scoring.to_data_units(
                model,
                model._sample(noise[rows], condition, own, inputs.settings_of(model, settings)),
                own,
            )

        return _in_order(self._each(batch, settings, ask))

    def _complete(self, batch: Batch, noise: Noise, n: int, settings: Any) -> Completed:
        def ask(model: Model, rows: Places) -> Filled:
            own = self._own(batch[rows])
            own_settings = inputs.settings_of(model, settings)
            parts = []
            for way, some in routes.ways(model, "complete", None, own):
                function = scoring.complete_rows if way is None else way.function
                parts.append(
                    (
                        some,
                        function(model, Question(own[some], noise[rows][some], own_settings, n=n)),
                    )
                )
            return Filled.of(parts[0][1] if len(parts) == 1 else regrouped(parts))

        return _in_order(self._each(batch, settings, ask)).completed

    def _mode(self, batch: Batch, settings: Any) -> Mode:
        def ask(model: Model, rows: Places) -> Mode:
            return model.mode(self._own(batch[rows]), settings=inputs.settings_of(model, settings))

        answers = self._each(batch, settings, ask)
        modes = [mode for _, mode in answers]
        x = _in_order([(rows, mode.batch.x) for rows, mode in answers])
        return Mode(batch.with_x(x), weakest(modes), ways(modes))

    def how(self, verb: str, settings: Any) -> str:
        """As the classes' models do."""
        return self._model(0).how(verb, inputs.settings_of(self._model(0), settings))


def _in_order(parts: list[tuple[Tensor, T]]) -> T:
    """Answers about several sets of rows as one, the rows in their own order."""
    if len(parts) == 1:
        return parts[0][1]
    return take(
        join([answer for _, answer in parts]), torch.cat([rows for rows, _ in parts]).argsort()
    )


def _inner(config: DiscriminantConfig, space: Space) -> tuple[str, Any]:
    """The family of the classes' models, and its options."""
    if config.density is not None:
        return registry.name_of(config.density), config.density
    kind = config.kind
    if kind == "auto":
        if registry.family("gaussian").accepts(registry.family("gaussian").Config(), space):
            kind = "qda"
        else:
            kind = "naive"
    if kind == "lda":
        return "gaussian", {"classes": "shared", "shrinkage": config.shrinkage}
    name, options = NAMED[kind]
    return name, options | ({"shrinkage": config.shrinkage} if kind == "qda" else {})

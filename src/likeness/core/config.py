"""Configs (how to fit) and Settings (how to ask): frozen, closed, every field described. Needs no torch."""

from __future__ import annotations

import difflib
import json
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from likeness.core.errors import BadConfig

Section = Literal["family", "objective", "optimiser"]


def option(default: Any, description: str, section: Section = "family", **limits: Any) -> Any:
    """A field of a Config: its default, what it means, which section of config.json it stands in, and limits."""
    return Field(default, description=description, json_schema_extra={"section": section}, **limits)


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> Self:
        """An instance from options as a user typed them.

        Raises:
            BadConfig: Naming the option, the nearest valid name, and what was expected.
        """
        if not isinstance(options, Mapping):
            raise BadConfig(
                f"options are given by their names, not as {reprlib.repr(options)}",
                do=f"write {{{next(iter(cls.model_fields), 'name')!r}: ...}}",
            )
        for name in options:
            if name not in cls.model_fields:
                near = difflib.get_close_matches(str(name), list(cls.model_fields), n=1)
                if near:
                    hint = f"did you mean {near[0]!r}?"
                else:
                    hint = f"the options are {', '.join(cls.model_fields)}"
                raise BadConfig(f"there is no option {name!r}", do=hint)
        for name, value in options.items():
            if isinstance(value, str) and not value.isprintable() and _halved(value):
                raise BadConfig(f"{name}={value!r} holds halves of characters", do="write it anew")
        try:
            return cls.model_validate(dict(options))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place, what = fault(error)
            alone = first["type"] == "tuple_type" and isinstance(first["input"], int | float | str)
            do = f"write {place}=({first['input']!r},)" if alone else None
            shown = reprlib.repr(first["input"])
            raise BadConfig(f"{place or 'options'}: {what}", where=f"got {shown}", do=do) from error


def _halved(text: str) -> bool:
    """Whether a text holds halves of surrogate pairs, which no file can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def fault(error: ValidationError) -> tuple[str, str]:
    """The place of the first of pydantic's errors, and what is wrong there, as part of a sentence."""
    first = error.errors(include_url=False)[0]
    what = " ".join(str(first["msg"]).removeprefix("Value error, ").split())
    place = " ".join(".".join(map(str, first["loc"])).split())
    return place, what[:1].lower() + what[1:]


class Config(_Closed):
    """Base of every family's Config."""

    def sections(self) -> dict[str, dict[str, Any]]:
        """The fields grouped as config.json keeps them: family, objective, optimiser."""
        grouped: dict[str, dict[str, Any]] = {"family": {}, "objective": {}, "optimiser": {}}
        values = json.loads(self.model_dump_json())
        for name, info in type(self).model_fields.items():
            extra = info.json_schema_extra
            if isinstance(extra, dict):
                section = extra.get("section", "family")
            else:
                section = "family"
            grouped[str(section)][name] = values[name]
        return grouped

    def bring(self, load: Callable[[str], Any]) -> None:
        """Bring what options name as package.module:name into the process, where a user typed them on a command line.

        Nothing else calls it: a Config that was read from a file brings nothing. `load` imports
        what stands under a name.

        Raises:
            BadConfig: For a name that leads to nothing.
        """
        for name in type(self).model_fields:
            held = getattr(self, name)
            if isinstance(held, Config):
                held.bring(load)

    @classmethod
    def from_sections(cls, sections: dict[str, dict[str, Any]]) -> Self:
        """The Config that `sections` wrote."""
        return cls.parse({k: v for part in sections.values() for k, v in part.items()})


class GradientConfig(Config):
    """Options of every family that learns by stochastic gradients."""

    lr: float = option(1e-3, "peak learning rate of Adam", "optimiser", gt=0)
    muon: float = option(
        0.0,
        "peak learning rate of Muon, which moves matrices of at least 32 by 32 in place of Adam; 0: none",
        "optimiser",
        ge=0,
    )
    batch: int = option(256, "rows a step", "optimiser", ge=1)
    weight_decay: float = option(0.0, "decoupled weight decay", "optimiser", ge=0)
    clip: float = option(1.0, "largest gradient norm, 0 for none", "optimiser", ge=0)
    ema: float = option(
        0.999,
        "decay of the averaged weights that answer questions, 0 for none",
        "optimiser",
        ge=0,
        lt=1,
    )
    schedule: Literal["cosine", "linear", "constant"] = option(
        "cosine", "course of the learning rate", "optimiser"
    )
    warmup: int = option(20, "steps in which the learning rate rises", "optimiser", ge=0)
    precision: Literal["auto", "fp32", "onednn", "bf16"] = option(
        "auto",
        "arithmetic of a training step; auto measures where the budget is a time, else fp32",
        "optimiser",
    )
    patience: int = option(
        0, "validations without progress before stopping, 0 for never", "optimiser", ge=0
    )
    drop_given: float = option(
        0.1, "rate at which training hides the condition, whole and entry by entry", ge=0, le=1
    )


class Settings(_Closed):
    """How to ask: settings never change the distribution that `log_prob` speaks of.

    strict: compute in aligned tiles of 8 rows, so that bits do not depend on the batch.
    rows: rows computed at once, a bound on memory.
    precision: oneDNN's products are as exact as torch's own and on some processors twice as fast;
        other bits, though.
    """

    reserved: ClassVar[tuple[str, ...]] = (
        "data",
        "budget",
        "seed",
        "holdout",
        "out",
        "given",
        "settings",
    )
    strict: bool = option(False, "bits of an item do not depend on the rows beside it")
    rows: int = option(4096, "rows computed at once", ge=1)
    precision: Literal["fp32", "onednn"] = option(
        "fp32", "arithmetic of single-precision products while answering"
    )
    particles: int = option(
        256, "weighted particles of each row, where completion needs them", ge=1
    )
    length: int | None = option(None, "length of every drawn item of a ragged space", ge=0)

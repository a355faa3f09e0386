"""Random numbers of this thread alone, where code asks torch for some without saying from which generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Seeded(TorchDispatchMode):
    """While entered, operations of this thread that name no generator draw from one of their own.

    The numbers are those that torch's own generator would give after `torch.manual_seed(seed)`,
    which is neither read nor moved: initial weights of `nn` modules are drawn so.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch would import its compiler, which takes seconds

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        drawing = _drawing(func)
        if drawing is None or named.get("generator") is not None:
            return func(*args, **named)
        named["generator"] = self._generator(_device(args, named))
        return drawing(*args, **named)

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self._generators[device]


def _device(args: tuple[Any, ...], named: Mapping[str, Any]) -> torch.device:
    """Where the numbers are drawn: where the operation is told to, else where its tensor is."""
    if named.get("device") is not None:
        return torch.device(named["device"])
    return next((a.device for a in args if isinstance(a, torch.Tensor)), torch.device("cpu"))


@cache
def _drawing(func: Any) -> Any:
    """What an operation is where a generator is named; None where it draws nothing, or takes none."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return None
    wanted = _arguments(func) | {"generator"}
    packet = func.overloadpacket
    overloads = (getattr(packet, name) for name in (func._overloadname, *packet.overloads()))
    return next((overload for overload in overloads if _arguments(overload) == wanted), None)


def _arguments(func: Any) -> set[str]:
    return {argument.name for argument in func._schema.arguments}

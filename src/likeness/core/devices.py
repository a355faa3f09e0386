"""Where and in what type to compute, as users name it."""

from __future__ import annotations

import torch

from likeness.core.errors import BadConfig


def device_of(name: str | torch.device) -> torch.device:
    """A torch device that is there.

    Raises:
        BadConfig: If the name means nothing, or the device is absent.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (TypeError, RuntimeError, AssertionError, NotImplementedError) as error:
        raise BadConfig(
            f"there is no device {name!r} here", do="use cpu, or cuda where there is a GPU"
        ) from error
    return device


def check_dtype(dtype: torch.dtype | None) -> None:
    """Refuse what is no type of floating-point numbers.

    Raises:
        BadConfig: With those that there are.
    """
    if dtype is None or (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        return
    raise BadConfig(
        f"dtype={dtype!r} is no type to compute in", do="give torch.float32 or torch.float64"
    )

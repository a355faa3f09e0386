"""Rows of one batch that are answered in several ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from likeness.core.routes import Question

T = TypeVar("T")


def answered(
    ways: list[tuple[Tensor, Callable[[Question], T]]], question: Question
) -> list[tuple[Tensor, T]]:
    """Each way's answer to the rows (B,) that take it, beside the places of these rows."""
    # No way without rows is asked, but one is, so that an empty batch has an answer too.
    places = [(torch.nonzero(rows).flatten(), way) for rows, way in ways]
    choices = [(rows, way) for rows, way in places if len(rows)] or places[:1]
    return [
        (rows, way(replace(question, batch=question.batch[rows], noise=question.noise[rows])))
        for rows, way in choices
    ]

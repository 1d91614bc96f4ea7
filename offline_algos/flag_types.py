"""What flags can be: argparse types that say what they expected."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import torch


def whole(minimum: int, maximum: float = math.inf) -> Callable[[str], int]:
    """An argparse type: a whole number, at least `minimum` and at most `maximum`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if not minimum <= value <= maximum:
            most = f" and at most {maximum}" if maximum < math.inf else ""
            raise argparse.ArgumentTypeError(
                f"expected a whole number, at least {minimum}{most}, got {text!r}"
            )
        return value

    return parse


def number(low: float, high: float = math.inf, *, positive: bool = False) -> Callable[[str], float]:
    """An argparse type: a finite number in [low, high], above 0 with `positive`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and low <= value <= high) or (positive and value <= 0.0):
            bounds = [f"of at least {low:g}"] if math.isfinite(low) else []
            bounds = ["above 0"] if positive else bounds
            bounds += [f"at most {high:g}"] if math.isfinite(high) else []
            allowed = " " + " and ".join(bounds) if bounds else ""
            raise argparse.ArgumentTypeError(f"expected a number{allowed}, got {text!r}")
        return value

    return parse


def device(text: str) -> str:
    """An argparse type: a torch device that this machine has."""
    kind, _, index = text.partition(":")
    if kind == "cpu" and not index:
        return text
    if kind == "cuda" and (not index or index.isdigit()):
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) < found:
            return text
        raise argparse.ArgumentTypeError(
            f"{text!r}: this machine has {found} CUDA devices that torch can use. Use cpu"
        )
    raise argparse.ArgumentTypeError(f"expected cpu, cuda or cuda:<number>, got {text!r}")

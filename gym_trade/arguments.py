"""Checks and JSON forms of single arguments; `config` says which argument gets which."""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gym_trade.timeframe import parse_time_frame

CALLABLE_PREFIX = "callable:"


def option(default: Any, text: str) -> Any:
    """A dataclass field with its documentation, which is also its ``--help`` text."""
    return dataclasses.field(default=default, metadata={"help": text})


def describe_value(value: object) -> str:
    """A short repr for messages."""
    if isinstance(value, pd.DataFrame):
        return f"<DataFrame of {len(value)} rows>"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def refuse(name: str, value: object, expected: str) -> ValueError:
    """The error for one argument out of range."""
    return ValueError(f"{name}={describe_value(value)}: expected {expected}.")


def check_choice(name: str, value: object, allowed: Sequence[object]) -> None:
    """Refuse a value that is none of the allowed ones."""
    if not any(value is choice for choice in allowed if not isinstance(choice, str)) and not (
        isinstance(value, str) and value in allowed
    ):
        raise refuse(name, value, f"one of {', '.join(map(repr, allowed))}")


def flag(name: str, value: object) -> bool:
    """A bool, or an error."""
    if not isinstance(value, bool | np.bool_):
        raise refuse(name, value, "True or False")
    return bool(value)


def number(
    name: str,
    value: object,
    low: float,
    high: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
) -> float:
    """A finite float in [low, high], or an error.

    Args:
        name: The argument's name.
        value: Its value; a bool is no number.
        low: Smallest allowed value.
        high: Largest allowed value.
        above: Exclude `low` itself.
        below: Exclude `high` itself.
    """
    bounds = f"a number {'>' if above else '>='} {low:g}"
    bounds += "" if high == math.inf else f" and {'<' if below else '<='} {high:g}"
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise refuse(name, value, bounds)
    result = float(value)
    inside = low < result if above else low <= result
    inside = inside and (result < high if below else result <= high)
    if not (inside and math.isfinite(result)):
        raise refuse(name, value, bounds)
    return result


def whole(name: str, value: object, low: int) -> int:
    """An int of at least `low`, or an error."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        raise refuse(name, value, f"a whole number >= {low}")
    return int(value)


def instant(name: str, value: object) -> str | None:
    """A time as ISO 8601 UTC text; naive values are UTC."""
    if value is None:
        return None
    expected = "a time from 1678 to 2261, such as '2023-01-01' or '2023-01-01 12:00'"
    try:
        stamp = pd.Timestamp(value).as_unit("ns")  # type: ignore[arg-type]
    except (ValueError, TypeError):
        raise refuse(name, value, expected) from None
    if pd.isna(stamp) or isinstance(value, int | float | np.integer | np.floating):
        raise refuse(name, value, expected)
    return (stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")).isoformat()


def time_frame_names(value: Any) -> tuple[str, ...] | None:
    """Canonical names of one or several time frames; two spellings of one are refused."""
    if value is None:
        return None
    single = isinstance(value, str) or not isinstance(value, Sequence)
    # (5, "Minute") is one frame, ("5min", "hour") are two
    single = single or (len(value) == 2 and isinstance(value[1], str) and value[1].isalpha()
                        and not isinstance(value[0], str))  # fmt: skip
    names = tuple(parse_time_frame(frame).name for frame in ([value] if single else value))
    if not names or len(set(names)) != len(names):
        raise refuse("time_frames", value, "at least one time frame, none of them twice")
    return names


def window_counts(value: Any) -> tuple[int, ...] | None:
    """Window sizes as a tuple; one number stands for a single frame or for all."""
    if value is None:
        return None
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return (whole("window_sizes", value, 1),)
    sizes = tuple(whole("window_sizes", size, 1) for size in value)
    if not sizes:
        raise refuse("window_sizes", value, "at least one window size")
    return sizes


def _encode_callable(name: str, value: Callable[..., Any]) -> str:
    module, qualified = getattr(value, "__module__", ""), getattr(value, "__qualname__", "<")
    if "<" in qualified:
        raise ValueError(
            f"{name}={describe_value(value)} has no importable name and cannot be written as JSON. "
            "Define it at the top level of a module."
        )
    text = f"{CALLABLE_PREFIX}{module}:{qualified}"
    if decode(name, text) != value:
        raise ValueError(
            f"{name}={describe_value(value)} is not what {module}.{qualified} names and cannot be "
            "written as JSON. Use a plain function at the top level of a module."
        )
    return text


def encode(name: str, value: Any) -> Any:
    """A field's JSON form; callables are written by their importable name."""
    if callable(value):
        return _encode_callable(name, value)
    if isinstance(value, Mapping):
        return {key: encode(name, item) for key, item in value.items()}
    return value


def decode(name: str, value: Any) -> Any:
    """Undo `encode`."""
    if isinstance(value, Mapping):
        return {key: decode(name, item) for key, item in value.items()}
    if not (isinstance(value, str) and value.startswith(CALLABLE_PREFIX)):
        return value
    module, _, qualified = value.removeprefix(CALLABLE_PREFIX).partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in qualified.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{name}={value!r} cannot be imported: {error}.") from error
    return found

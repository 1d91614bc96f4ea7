"""What a provenance must hold: checked once, so that its readers need not look again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

FORMAT_VERSION = 1

MARKET_TASKS = "Trade-"  # what their ids begin with; other tasks have no market and no span
_OF_MARKETS = ("config", "market", "span")
_OPTIONAL = ("collected", "columns", "edited", "shard", "shards")
_LARGEST = 1e300  # JSON has whole numbers that no float holds

Check = Callable[[dict[str, Any]], str | None]


def find_fault(provenance: object) -> str | None:
    """Say what is wrong with a provenance of this format version, or None."""
    if not isinstance(provenance, dict):
        return "it is no JSON object"
    checks = _OBJECTS
    if not str(provenance.get("task", MARKET_TASKS)).startswith(MARKET_TASKS):
        checks = {name: check for name, check in _OBJECTS.items() if name not in _OF_MARKETS}
    kinds = {"task": str, "layout": list} | dict.fromkeys(checks, dict)
    for name, kind in kinds.items():
        if not isinstance(provenance.get(name), kind):
            given = repr(provenance[name])[:40] if name in provenance else "missing"
            wanted = {str: "a string", list: "a list", dict: "an object"}[kind]
            return f"{name} is {given}, not {wanted}"
    for name in _OPTIONAL:  # younger than the format, and missing from older files
        if not isinstance(provenance.get(name, {}), dict):
            return f"{name} is {repr(provenance[name])[:40]}, not an object"
    if not _is_edit(provenance.get("edited", {"sources": []})):
        return "edited names no list of sources"
    for name, check in checks.items():
        fault = check(provenance[name])
        if fault is not None:
            return f"{name}: {fault}"
    return _layout_fault(provenance["layout"])


def _is_edit(edited: object) -> bool:
    """Whether what was done to a dataset names its sources, and so on for theirs."""
    waiting = [edited]
    while waiting:
        each = waiting.pop()
        sources = each.get("sources") if isinstance(each, dict) else None
        if not isinstance(sources, list) or not all(isinstance(x, dict) for x in sources):
            return False
        waiting += [source["edited"] for source in sources if "edited" in source]
    return True


def _no_fault(_: dict[str, Any]) -> str | None:
    return None  # `SequentialConfig.from_json` checks the configuration


def _market_fault(market: dict[str, Any]) -> str | None:
    place = {"file": "path", "synthetic": "name"}.get(str(market.get("kind")))
    if place is None:
        return "its kind is neither 'file' nor 'synthetic'"
    if not all(isinstance(market.get(name), str) for name in (place, "content_hash")):
        return f"{place} and content_hash are not both strings"
    arguments = market.get("arguments", {})
    if not isinstance(arguments, dict) or not set(arguments) <= {"stamp", "offset"}:
        return "its arguments are not stamp and offset"
    return None


def _span_fault(span: dict[str, Any]) -> str | None:
    times = []
    for name in ("start", "end"):
        text = span.get(name)
        try:
            time = pd.Timestamp(text) if isinstance(text, str) else None
        except ValueError:
            time = None
        if time is None or pd.isna(time):
            return f"{name} is no time"
        times.append(time.tz_localize("UTC") if time.tzinfo is None else time)
    return "it ends before it starts" if times[0] > times[1] else None


def _action_fault(action: dict[str, Any]) -> str | None:
    brackets = action.get("brackets", [{}])
    if not isinstance(brackets, list) or not all(isinstance(each, dict) for each in brackets):
        return "brackets is no list of objects"
    levels = action.get("levels")
    if levels is None:
        return None
    if not isinstance(levels, list) or not levels or not all(map(_is_number, levels)):
        return "levels is neither null nor a list of numbers"
    return None


def _policy_fault(policy: dict[str, Any]) -> str | None:
    members = policy.get("members", [policy])
    if not isinstance(members, list) or not members:
        return "members is no list of policies"
    for member in members:
        if not isinstance(member, dict) or not isinstance(member.get("name"), str):
            return "a policy has no name"
    return None if _is_number(policy.get("epsilon", 0.0)) else "epsilon is no number"


def _reference_fault(reference: dict[str, Any]) -> str | None:
    for name in ("behavior_return", "behavior_return_std"):
        if not _is_number(reference.get(name)):
            return f"{name} is no number"
    for name in ("complete_episodes", "cut_episodes"):
        if not _is_count(reference.get(name)):
            return f"{name} is no whole number >= 0"
    return None


def _layout_fault(layout: list[Any]) -> str | None:
    """The parts must lie one behind the other, from column 0 on."""
    column = 0
    for part in layout:
        if not isinstance(part, dict) or not isinstance(part.get("key"), str):
            return "layout: a part has no key"
        shape, stop = part.get("shape"), part.get("stop")
        if not isinstance(shape, list) or not all(_is_count(n) and n > 0 for n in shape):
            return f"layout: {part['key']} has no shape"
        begins, ends = part.get("start"), column + math.prod(shape)
        if not _is_count(begins) or not _is_count(stop) or (begins, stop) != (column, ends):
            return f"layout: {part['key']} is not columns {column} to {ends} (excluded)"
        column = ends
    return None if layout else "layout: it has no parts"


_OBJECTS: dict[str, Check] = {
    "config": _no_fault,
    "market": _market_fault,
    "span": _span_fault,
    "action": _action_fault,
    "policy": _policy_fault,
    "reference": _reference_fault,
}


def _is_number(value: object) -> bool:
    kind = isinstance(value, int | float) and not isinstance(value, bool)
    return kind and -_LARGEST < value < _LARGEST  # type: ignore[operator]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0

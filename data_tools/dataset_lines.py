"""What a dataset holds, as lines of text."""

from __future__ import annotations

from typing import Any

from data_tools.dataset_report import DatasetReport
from data_tools.editing import EDITED

_OF_COLLECTION = ("seed", "num_envs")


def dataset_lines(report: DatasetReport) -> list[str]:
    """The report as lines of text."""
    returns, lengths, more = report.returns, report.lengths, report.counterfactual
    lines = [
        f"{report.path.name}: {report.kind}",
        f"transitions  {report.transitions}"
        + (f", {more} of them counterfactual: of no episode below" if more else ""),
        f"episodes     {len(returns)}, {report.terminated} terminated, {report.truncated} truncated"
        + (", the last one unfinished" if report.unfinished else ""),
        f"lengths      mean {lengths.mean():.6g}, min {lengths.min()}, max {lengths.max()}",
        f"returns      mean {returns.mean():.6g}, std {returns.std():.6g}, min "
        f"{returns.min():.6g}, max {returns.max():.6g}",
        "actions",
    ]
    for label, count in report.actions:
        share = count / max(1, sum(number for _, number in report.actions))
        lines.append(f"  {label:<24} {count:>12} {share:7.1%}")
    lines.append("observation              mean           std   std of single elements")
    for part in report.parts:
        low, high = part.column_std
        lines.append(
            f"  {part.key:<20} {part.mean:>11.5g} {part.std:>13.5g}   {low:.4g} to {high:.4g}"
        )
    if report.frames is not None:
        lines.append(f"frames       {report.frames}")
    if not report.has_next:
        lines.append(
            "next         obs_next is not stored: the last one of a truncated episode is lost"
        )
    lines += _provenance_lines(report.provenance)
    if report.bad_numbers:
        lines.append(f"bad numbers  {report.bad_numbers} NaN or infinite; it cannot be trained on")
    lines.append(f"sha256       {report.sha256}")
    return lines


def _provenance_lines(provenance: dict[str, Any] | None) -> list[str]:
    if provenance is None:
        return ["provenance   none: not written by data_tools.collect"]
    lines = [
        f"task         {provenance['task']}",
        f"policy       {policy_text(provenance['policy'])}",
    ]
    if "market" not in provenance:
        return [*lines, f"collected    {_collected(provenance, 'environments')}"]
    market, span, steps = provenance["market"], provenance["span"], provenance.get("episode_steps")
    return [
        *lines,
        f"market       {market.get('path') or 'synthetic:' + market['name']}",
        f"market hash  {market['content_hash']}",
        f"span         {span['start']} to {span['end']}",
        f"collected    {_collected(provenance, 'lanes')}"
        + (f", {steps} steps an episode" if steps else ""),
    ]


def _collected(provenance: dict[str, Any], places: str) -> str:
    """Seeds and numbers of lanes: of each collection, where several were merged."""
    members = _collections(provenance)
    seeds, lanes = ([str(each.get(name, "?")) for each in members] for name in _OF_COLLECTION)
    if len(members) == 1:
        return f"seed {seeds[0]}, {lanes[0]} {places}"
    if set(seeds) == {"?"}:
        return f"{len(members)} times, with seeds that the file does not name"
    held = f"{lanes[0]} {places} each" if len(set(lanes)) == 1 else f"{_listed(lanes)} {places}"
    return f"seeds {_listed(seeds)}, with {held}"


def _listed(words: list[str]) -> str:
    """Several words, such as "1, 2 and 3"."""
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _collections(known: dict[str, Any]) -> list[dict[str, Any]]:
    """What is known of each collection that a dataset was made of."""
    sources = (known.get(EDITED) or {}).get("sources")
    if "seed" in known or not sources:
        return [known]
    return [found for each in sources for found in _collections(each)]


def policy_text(policy: dict[str, Any]) -> str:
    """A policy's description in one line, such as "ma-cross(fast=12, slow=48) + flat"."""
    texts = []
    for member in policy.get("members") or [policy]:
        named = [f"{k}={v}" for k, v in member.items() if k not in ("name", "epsilon")]
        texts.append(member["name"] + (f"({', '.join(named)})" if named else ""))
    noise = f", epsilon {policy['epsilon']:g}" if "epsilon" in policy else ""
    return " + ".join(texts) + noise

"""What the README's tables share: their form, and the line that says where numbers come from."""

from __future__ import annotations

from typing import Any


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table whose first column is text and whose others are numbers."""
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def provenance(result: dict[str, Any], more: str) -> str:
    """The line below a table: machine, versions, commit and what else decides its numbers."""
    machine = result["machine"]
    versions = machine["versions"] | result.get("peer_versions", {})
    packages = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python "
        f"{machine['python']}; {packages}; commit {machine['commit']}. {more}"
    )


def count(value: float) -> str:
    """A number of steps, in thousands or millions."""
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:.1f} k"


def spread_of(spread: dict[str, float], form: Any) -> str:
    """Median (smallest to largest), each in the given form."""
    return f"{form(spread['median'])} ({form(spread['min'])} to {form(spread['max'])})"

"""HTML of the Markdown that the benchmarks' tables are written in: no more of it than they use.

Tables, headings, lists and paragraphs; emphasis, strong and code within a line. All else is text,
and all text is escaped: nothing in a result can become markup.
"""

from __future__ import annotations

import html
import re

RULE = re.compile(r"\|?(\s*:?-+:?\s*\|)+\s*:?-*:?\s*")
HEADING = re.compile(r"(#{1,6}) (.*)")
ITEM = re.compile(r"[*-] (.*)")
# A word's start and end: a star that stands alone, or an underscore, is itself.
SPANS = (
    (re.compile(r"\*\*(\S(?:.*?\S)?)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"\*(\S(?:[^*]*?\S)?)\*"), r"<em>\1</em>"),
)


def inline(text: str) -> str:
    """A line's text; what is in backticks stays as it is."""
    parts = re.split(r"`([^`]+)`", text)
    made = []
    for number, part in enumerate(parts):
        escaped = html.escape(part)
        if number % 2:
            made.append(f"<code>{escaped}</code>")
            continue
        for pattern, replacement in SPANS:
            escaped = pattern.sub(replacement, escaped)
        made.append(escaped)
    return "".join(made)


def cells_of(line: str) -> list[str]:
    """A table's line; a bar after a backslash is text."""
    inner = line.strip().removeprefix("|")
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", inner)]


def table_html(lines: list[str], caption: str) -> str:
    """A table: its head can be clicked to sort, and it scrolls by itself where it is too large.

    Args:
        lines: Header, rule and rows.
        caption: For readers that cannot see where it stands.
    """
    header, *rows = (cells_of(line) for line in (lines[0], *lines[2:]))
    aligned = ["right" if cell.endswith(":") else "left" for cell in cells_of(lines[1])]
    aligned += ["left"] * (len(header) - len(aligned))
    head = "".join(
        f'<th scope="col" class="{side}"><button type="button">{inline(cell)}</button></th>'
        for cell, side in zip(header, aligned, strict=False)
    )
    body = "\n".join(f"<tr>{_row(row, aligned)}</tr>" for row in rows)
    label = html.escape(caption)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}">\n<table>\n'
        f'<caption class="unseen">{label}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _row(row: list[str], aligned: list[str]) -> str:
    first, *others = row
    made = f'<th scope="row">{inline(first)}</th>'
    for cell, side in zip(others, aligned[1:], strict=False):
        made += f'<td class="{side}">{inline(cell)}</td>'
    return made


def markdown_html(text: str, caption: str, level: int = 4) -> str:
    """A whole text.

    Args:
        text: Markdown.
        caption: Of its tables.
        level: Of its highest heading.
    """
    made = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.strip().splitlines()
        while lines and (heading := HEADING.fullmatch(lines[0].strip())):
            depth = min(level - 1 + len(heading[1]), 6)
            made.append(f"<h{depth}>{inline(heading[2])}</h{depth}>")
            lines = lines[1:]
        if lines:
            made.append(_block(lines, caption))
    return "\n".join(made)


def _block(lines: list[str], caption: str) -> str:
    rules = [n for n, line in enumerate(lines) if n and RULE.fullmatch(line.strip())]
    start = rules[0] - 1 if rules and "|" in lines[rules[0] - 1] else None
    if start is not None:
        before = f"<p>{inline(' '.join(lines[:start]))}</p>\n" if start else ""
        return before + table_html(lines[start:], caption)
    items = [ITEM.fullmatch(line.strip()) for line in lines]
    if all(items):
        inner = "".join(f"<li>{inline(item[1])}</li>" for item in items if item is not None)
        return f"<ul>{inner}</ul>"
    return f"<p>{inline(' '.join(lines))}</p>"

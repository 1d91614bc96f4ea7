"""The frame of a page that stands alone: style, a little script, contents. No network is used."""

from __future__ import annotations

import html
import re
from typing import NamedTuple

# Nothing may be loaded from anywhere, whatever the page should come to contain.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

STYLE = """
:root { color-scheme: light dark; --back: #ffffff; --text: #1b1f24; --faint: #59636e;
  --line: #d1d9e0; --soft: #f3f5f8; --link: #0a58ca; }
@media (prefers-color-scheme: dark) { :root { --back: #15191e; --text: #e6eaef; --faint: #9aa5b1;
  --line: #3a424b; --soft: #1f252c; --link: #7db4ff; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.frame { display: grid; grid-template-columns: 16rem minmax(0, 1fr); gap: 2.5rem; max-width: 96rem;
  margin: 0 auto; padding: 1.5rem; }
nav { position: sticky; top: 1.5rem; align-self: start; max-height: calc(100vh - 3rem);
  overflow-y: auto; font-size: 0.875rem; }
nav ul { list-style: none; margin: 0; padding: 0 0 0 0.9rem; }
nav > ul { padding: 0; }
nav > ul > li { margin-bottom: 0.6rem; font-weight: 600; }
nav ul ul li { font-weight: 400; }
nav a { color: inherit; text-decoration: none; overflow-wrap: anywhere; }
nav a:hover, nav a:focus-visible { color: var(--link); text-decoration: underline; }
a { color: var(--link); }
main { min-width: 0; }
main p, main ul { max-width: 52rem; }
h1 { margin-top: 0; line-height: 1.2; }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); padding-bottom: 0.3rem; }
h3 { margin-top: 2.2rem; overflow-wrap: anywhere; }
figure { margin: 1rem 0 2rem; }
figure svg { display: block; width: 100%; height: auto; }
figure .drawing { overflow-x: auto; }
figure svg { fill: currentColor; }
figcaption, .faint { color: var(--faint); font-size: 0.875rem; max-width: 52rem; }
.scroll { overflow: auto; max-height: 85vh; border: 1px solid var(--line); border-radius: 6px;
  margin: 1rem 0; width: fit-content; max-width: 100%; }
table { border-collapse: separate; border-spacing: 0; font-size: 0.875rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid var(--line); text-align: left;
  white-space: nowrap; background: var(--back); }
.right, .right button { text-align: right; }
tbody th { position: sticky; left: 0; font-weight: 400; white-space: normal; min-width: 9rem; }
thead th { position: sticky; top: 0; z-index: 2; background: var(--soft); white-space: normal; }
thead th:first-child { left: 0; z-index: 3; }
tbody tr:last-child > * { border-bottom: 0; }
tbody tr:hover > * { background: var(--soft); }
th button { all: unset; cursor: pointer; font-weight: 600; display: block; width: 100%; }
th button:focus-visible, .scroll:focus-visible { outline: 2px solid var(--link);
  outline-offset: 2px; }
th[aria-sort="ascending"] button::after { content: " \\25B2"; }
th[aria-sort="descending"] button::after { content: " \\25BC"; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
@media (max-width: 60rem) { .frame { display: block; padding: 1rem; }
  nav { position: static; max-height: none; margin-bottom: 2rem; }
  figure svg { min-width: 40rem; } }
@media print { nav { display: none; } .frame { display: block; } .scroll { max-height: none; } }
"""

# A click sorts by the first number of each cell ("-" has none and is last), or else by its text.
SCRIPT = """
"use strict";
const units = { k: 1e3, M: 1e6, G: 1e9 };
function valueOf(cell) {
  const found = cell.textContent.replace(/,/g, "").trim()
    .match(/^([-+]?\\d+(?:\\.\\d+)?(?:e[-+]?\\d+)?)\\s*([kMG])?(?![A-Za-z])/);
  return found ? Number(found[1]) * (units[found[2]] || 1) : null;
}
function compare(one, other, sign) {
  const [a, b] = [valueOf(one), valueOf(other)];
  if (a !== null && b !== null) return sign * (a - b);
  if (a === null && b === null) return sign * one.textContent.localeCompare(other.textContent);
  return a === null ? 1 : -1;
}
for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, body = head.closest("table").tBodies[0];
    const first = head.cellIndex === 0 ? "ascending" : "descending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    for (const each of head.parentElement.cells) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1, place = head.cellIndex;
    const rows = [...body.rows];
    rows.sort((a, b) => compare(a.cells[place], b.cells[place], sign));
    body.append(...rows);
  });
}
"""


class Part(NamedTuple):
    """A piece of a section: its identifier, its heading (text) and its body (HTML)."""

    name: str
    title: str
    body: str


class Section(NamedTuple):
    """A section: as a part, with parts below."""

    name: str
    title: str
    body: str
    parts: tuple[Part, ...] = ()


def page(title: str, lead: str, sections: list[Section]) -> str:
    """The whole page.

    Args:
        title: Text.
        lead: What stands first, HTML.
        sections: In order.
    """
    contents = "".join(_entry(section) for section in sections)
    body = "\n".join(_section(section) for section in sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{html.escape(POLICY)}">
<title>{html.escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<div class="frame">
<nav aria-label="Contents"><ul>{contents}</ul></nav>
<main>
<h1>{html.escape(title)}</h1>
{lead}
{body}
</main>
</div>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _link(part: Part | Section) -> str:
    return f'<a href="#{html.escape(part.name)}">{html.escape(part.title)}</a>'


def _entry(section: Section) -> str:
    below = "".join(f"<li>{_link(part)}</li>" for part in section.parts)
    return f"<li>{_link(section)}{f'<ul>{below}</ul>' if below else ''}</li>"


def _section(section: Section) -> str:
    parts = "\n".join(
        f'<section id="{html.escape(part.name)}">\n<h3>{html.escape(part.title)}</h3>\n'
        f"{part.body}\n</section>"
        for part in section.parts
    )
    return (
        f'<section id="{html.escape(section.name)}">\n<h2>{html.escape(section.title)}</h2>\n'
        f"{section.body}\n{parts}\n</section>"
    )


def inline_svg(text: str, name: str, description: str) -> str:
    """An SVG file's text as an element of a page: own identifiers, and colours of the page.

    Args:
        text: As Matplotlib writes it.
        name: What its identifiers begin with: several pictures of a page share none.
        description: For readers who do not see it.
    """
    found = text[text.index("<svg") :]
    found = re.sub(r"<metadata>.*?</metadata>", "", found, flags=re.DOTALL)
    found = re.sub(r'(?<= id=")', f"{name}-", found)
    found = found.replace('xlink:href="#', f'xlink:href="#{name}-')
    found = found.replace("url(#", f"url(#{name}-")
    found = found.replace("#000000", "currentColor").replace("fill: #ffffff", "fill: none")
    width = float(re.search(r'width="([0-9.]+)pt"', found)[1])  # type: ignore[index]
    own = f'role="img" aria-label="{html.escape(description)}" style="max-width: {width:.0f}pt"'
    return found.replace("<svg ", f"<svg {own} ", 1).strip()

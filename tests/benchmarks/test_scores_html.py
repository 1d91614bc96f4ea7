"""The report as one HTML file: whole, alone, safe, and made again from a result's file."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from benchmarks import scores, scores_html
from benchmarks.markdown import table
from benchmarks.markdown_html import inline, markdown_html
from benchmarks.page import inline_svg
from benchmarks.scores_config import MARTINGALE
from benchmarks.scores_figures import pictures
from benchmarks.scores_html import report_html
from benchmarks.scores_tables import scores_tables

ALONE = {"meta", "link", "img", "br", "hr", "input"}
CHROMIUMS = ("chromium-headless-shell", "chromium")


@pytest.fixture
def result(whole):
    """One of few pictures."""
    kept = {key: value for key, value in whole.items() if key not in ("costs", "curves")}
    return json.loads(json.dumps(kept | {"methods": {}}))


@pytest.fixture(scope="module")
def text(whole):
    return report_html(whole)


class Page(HTMLParser):
    """A page's elements; an end that fits no start is an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        self.found.append((tag, dict(attrs)))
        if tag not in ALONE:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.words.append(data)

    def of(self, tag):
        return [attrs for name, attrs in self.found if name == tag]

    @property
    def said(self):
        return re.sub(r"\s+", " ", "".join(self.words))


# --- the page ---------------------------------------------------------------------------------


def test_the_page_is_well_formed_and_its_links_lead_somewhere(text):
    assert text.startswith("<!DOCTYPE html>")
    page = Page(text)
    names = [attrs["id"] for _, attrs in page.found if "id" in attrs]
    assert len(names) == len(set(names))
    links = [attrs["href"] for attrs in page.of("a")] + [a["xlink:href"] for a in page.of("use")]
    assert links and all(link[0] == "#" and link[1:] in names for link in links)
    clips = re.findall(r"url\((.*?)\)", text)
    assert clips and all(clip[0] == "#" and clip[1:] in names for clip in clips)


def test_the_page_asks_for_nothing_from_elsewhere(text):
    page = Page(text)
    asked = {"script", "link", "img", "iframe", "object", "embed", "video", "audio", "image"}
    for tag, attrs in page.found:
        assert "src" not in attrs and "srcset" not in attrs
        assert tag not in asked - {"script"}
        assert not [name for name in attrs if name.startswith("on")]
    assert not re.search(r"@import|@font-face|fetch\(|XMLHttpRequest", text)
    (policy,) = [a["content"] for a in page.of("meta") if "http-equiv" in a]
    assert policy.startswith("default-src 'none'")
    outside = set(re.findall(r"https?://[^\s\"'<>]+", text))
    assert outside <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_every_table_and_picture_is_there(whole, text):
    page = Page(text)
    tables, drawn = scores_tables(whole), pictures(whole)
    count = sum(part.count("|---") > 0 for body in tables.values() for part in body.split("\n\n"))
    assert len(page.of("table")) == count >= len(tables)
    assert len(page.of("svg")) == len(page.of("figure")) == len(drawn) >= 8
    for picture in drawn.values():
        assert picture.title in page.said and picture.caption in page.said
    labels = {attrs["aria-label"] for attrs in page.of("svg")}
    assert labels == {picture.description for picture in drawn.values()}
    for title, body in tables.items():
        assert title in page.said
        for line in body.splitlines():
            if line.startswith("| "):
                for cell in line.strip("| ").split(" | "):
                    assert cell.strip("*") in page.said or "*" in cell.strip("*")


def test_origin_and_limits_are_told(whole, text):
    page = Page(text)
    machine = whole["machine"]
    for words in (
        machine["processor"],
        machine["commit"],
        f"torch {machine['versions']['torch']}",
        "0, 1, 2",
        "What this does not show",
        "One price path.",
        "120 decisions",
    ):
        assert words in page.said  # fmt: skip
    assert "not finished" not in page.said.lower()


def test_a_report_of_own_bars_claims_no_optimum(result):
    assert "of some of which the optimum is known" in Page(report_html(result)).said
    said = Page(report_html(result | {"own_market": {"content_hash": "x"}})).said
    assert "Nobody knows their optimum" in said and "They are synthetic" not in said
    assert "no score unless that is clearly above no position and random trading" in said


def test_a_part_says_so(result):
    result["missing"] = ["a/b", "c/d"]
    assert "Not finished: 2 cells are missing." in Page(report_html(result)).said
    result["missing_jobs"] = ["fqe: c"]
    both = "Not finished: 2 cells and 1 job of later stages are missing."
    assert both in Page(report_html(result)).said


def test_time_is_told_as_what_it_is(result):
    """What a cell took has its tests in it."""
    hours = sum(len(row["seeds"]) for row in result["rows"].values()) * 9.0 / 3600
    said = Page(report_html(result)).said
    assert "training time" not in said
    assert said.partition("training and testing")[2].strip().startswith(f"{hours:.1f} core hours")


def test_no_name_becomes_markup(result):
    hostile = "<script>alert(1)</script>\"'&$x$ --> ]]> </style>"
    result["suite"] = result["machine"]["processor"] = result["machine"]["commit"] = hostile
    result["tasks"][MARTINGALE]["market"] = hostile
    text = json.dumps(result).replace('"cql"', json.dumps(f"c|{hostile}"))
    text = text.replace("10k/cql", f"10k/c|{json.dumps(hostile)[1:-1]}")
    made = report_html(json.loads(text))
    page = Page(made)
    assert len(page.of("script")) == len(page.of("style")) - len(page.of("svg")) == 1
    assert made.count("<script>") == 1 and hostile not in made
    assert page.said.count("<script>alert(1)</script>\"'&$x$ --> ]]> </style>") > 10


# --- parts ------------------------------------------------------------------------------------


def test_markdown_of_tables():
    text = table(["a|b".replace("|", r"\|"), "n"], [["*x* & **y**", "1 < 2"], ["`z_*_`", "-"]])
    page = Page(markdown_html(text + "\n\nSaid *so*.\n\n* one\n* two\n\n## Head\nmore", "All"))
    assert [name for name, _ in page.found if name in ("em", "strong", "code")] == [
        "em", "strong", "code", "em"
    ]  # fmt: skip
    assert "a|b" in page.said and "x & y" in page.said and "1 < 2" in page.said
    assert "z_*_" in page.said and len(page.of("li")) == 2 and len(page.of("tr")) == 3
    assert page.of("th")[1]["class"] == "right" and len(page.of("h5")) == 1


def test_stars_that_mark_nothing_stay():
    assert inline("2 * 3 * 4, snake_case_name") == "2 * 3 * 4, snake_case_name"
    assert inline("*optimum*, computed") == "<em>optimum</em>, computed"
    assert inline("<b>`<i>`") == "&lt;b&gt;<code>&lt;i&gt;</code>"


def test_pictures_of_a_page_share_no_identifiers(whole):
    svg = pictures(whole)["intervals"].svg()
    one, other = (inline_svg(svg, name, 'a "b"') for name in ("x", "y"))
    found = [set(re.findall(r' id="([^"]+)"', text)) for text in (one, other)]
    assert found[0] and not found[0] & found[1]
    assert 'aria-label="a &quot;b&quot;"' in one and "metadata" not in one


# --- the command ------------------------------------------------------------------------------


def test_a_report_is_made_from_a_file(result, tmp_path, capsys):
    path, made = tmp_path / "scores-x.json", tmp_path / "report.html"
    path.write_text(json.dumps(result))
    assert scores_html.main([str(path), "-o", str(made)]) == 0
    assert made.read_text() == report_html(result) and capsys.readouterr().out.strip() == str(made)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "Expected a result"), ("{", "is not JSON"), ("[]", "has no 'tasks'"),
     ('{"tasks": {}}', "has no 'rows'")],
)  # fmt: skip
def test_what_is_no_result_is_refused(tmp_path, capsys, content, words):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    assert scores_html.main([str(path), "-o", str(tmp_path / "r.html")]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "r.html").exists()


def test_a_result_of_another_version_is_named(result, tmp_path, capsys):
    path, made = tmp_path / "x.json", tmp_path / "r.html"
    made.write_text("before")
    del next(iter(result["rows"].values()))["best"]
    path.write_text(json.dumps(result))
    assert scores_html.main([str(path), "-o", str(made)]) == 2
    assert "has no 'best'" in capsys.readouterr().err and made.read_text() == "before"


def test_a_place_that_cannot_be_written_is_told_first(tmp_path, capsys):
    assert scores_html.main(["none.json", "-o", str(tmp_path / "a" / "r.html")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert scores_html.main(["none.json", "-o", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_a_browser_shows_it_without_complaint(text, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    # the machine's Chromium, or else the one that Playwright installs; without any it fails
    known = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    path = tmp_path / "report.html"
    path.write_text(text)
    said, asked = [], []
    with playwright.sync_playwright() as made:
        browser = made.chromium.launch(executable_path=known, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        head = page.locator("table").first.locator("thead button").nth(1)
        head.click()
        column = page.locator("table").first.locator("tbody tr td:nth-child(2)")
        values = [float(cell.split()[0]) for cell in column.all_inner_texts()]
        assert values == sorted(values, reverse=True) and len(values) == 3
        browser.close()
    assert said == [] and asked == [path.as_uri()]


def test_a_report_may_go_into_the_folder_that_is_yet_to_be_made(tmp_path, capsys):
    flags = ["--folder", str(tmp_path / "made"), "--dry-run", "--html"]
    assert scores.main([*flags, str(tmp_path / "made" / "report.html")]) == 0
    assert scores.main([*flags, str(tmp_path / "other" / "report.html")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

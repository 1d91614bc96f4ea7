"""docs/methods and --help: the flags that there are, all of them and no others."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from data_tools import relabel
from offline_algos import entrance, export
from offline_algos.arguments import training_parser
from offline_algos.online_arguments import online_parser
from tests.offline_algos import scripts

PAGES = Path(__file__).parents[2] / "docs/methods"
ALL = [*scripts.NAMES, *scripts.ONLINE]
METHODS = sorted({scripts.method_of(name) for name in ALL})
NOTHING_SAID = re.compile(r"\(?(the )?default:? (is )?(%\(default\)s|that of --lr)\)?\.?")


def actions_of(name):
    parser = importlib.import_module(f"offline_algos.{name}").make_parser()
    return [action for action in parser._actions if action.dest != "help"]


def own_flags(name):
    """Those of a script that not all scripts of its kind have: one spelling each."""
    if name in scripts.ONLINE:
        shared = online_parser("", lr=1.0, warmup=1, update_per_step=1.0)
    else:
        shared = training_parser("", lr=1.0, d4rl=True)
    known = {action.dest for action in shared._actions}
    return {a.option_strings[0] for a in actions_of(name) if a.dest not in known}


def named(text):
    return set(re.findall(r"--[a-z][a-z-]*[a-z]", text))


@pytest.mark.parametrize("method", METHODS)
def test_a_page_names_the_method_s_flags(method, capsys):
    page = (PAGES / f"{method}.md").read_text(encoding="utf-8")
    made_by = [name for name in ALL if scripts.method_of(name) == method]
    for name in made_by:
        assert f"{name}.py" in page
        missing = own_flags(name) - named(page)
        assert not missing, f"{method}.md does not name {sorted(missing)} of {name}.py"
    exist = {flag for name in made_by for a in actions_of(name) for flag in a.option_strings}
    for beside in (export, relabel):  # which pages speak of
        with pytest.raises(SystemExit):
            beside.main(["--help"])
    exist |= named(capsys.readouterr().out)
    exist |= {"--" + name.replace("_", "-") for used in entrance.USED.values() for name in used}
    # a page may also say what a method has not: "neither ... nor ..."
    wrong = named(re.sub(r"neither[^.]*\.", "", page)) - exist
    assert not wrong, f"{method}.md names {sorted(wrong)}, which no script of it has"


def test_every_method_has_a_page():
    assert {path.stem for path in PAGES.glob("*.md")} == set(METHODS)


@pytest.mark.parametrize("name", ALL)
def test_every_flag_says_what_it_is(name):
    for action in actions_of(name):
        said = action.help or ""
        assert said.strip() and not (
            NOTHING_SAID.fullmatch(said) and not action.option_strings[0].endswith("-lr")
        ), f"{name}.py {action.option_strings[0]}: {said!r}"


@pytest.mark.parametrize("name", ALL)
def test_help_is_shown(name, capsys):
    """In full: a percent sign in a text, for one, would end it with an error."""
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(f"offline_algos.{name}").main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for action in actions_of(name):
        assert action.option_strings[0] in shown

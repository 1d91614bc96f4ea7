"""Imports go one way, scripts stand alone, files stay short: read from the source itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("gym_trade", "data_tools", "offline_algos", "benchmarks")
OURS = (*PACKAGES, "tests")
FORBIDDEN = {
    "gym_trade": {"data_tools", "offline_algos", "benchmarks", "tests", "torch", "tianshou",
                  "h5py", "tqdm", "tensorboard", "scipy"},
    "data_tools": {"offline_algos", "benchmarks", "tests"},
    "offline_algos": {"benchmarks", "tests"},
    "benchmarks": {"tests"},
}  # fmt: skip
MAKES_BUFFERS = {f"data_tools/{name}.py" for name in ("buffers", "tensor_columns",
                 "observation_source", "indexed_observations", "priorities")}  # fmt: skip
LONGEST = 320  # "about 250 lines", with some patience
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
NAMES = [path.relative_to(ROOT).as_posix() for path in FILES]
SCRIPTS = [
    name for name in NAMES
    if Path(name).name.startswith(("atari_style_", "d4rl_style_"))
]  # fmt: skip


def imports(source, package=""):
    """Every imported module of a source text, and whether only a call of a function imports it."""
    found = []

    def visit(node, inside):
        for child in ast.iter_child_nodes(node):
            deeper = inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            if isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING":
                deeper = True  # for type checkers only: never imported when the module is
            if isinstance(child, ast.Import):
                found.extend((alias.name, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = ".".join(filter(None, (package * (child.level > 0), child.module)))
                found.append((base, inside))
                found.extend((f"{base}.{alias.name}", inside) for alias in child.names)
            elif isinstance(child, ast.Call) and child.args:
                name = getattr(child.func, "attr", getattr(child.func, "id", ""))
                literal = child.args[0]
                if name in ("import_module", "__import__") and isinstance(literal, ast.Constant):
                    found.append((literal.value, inside))
            visit(child, deeper)

    visit(ast.parse(source), False)
    return found


def of(name):
    return imports((ROOT / name).read_text(), name.rsplit("/", 1)[0].replace("/", "."))


def test_the_reader_of_imports_misses_nothing():
    source = """
import a, b.c as d
from e.f import g
from . import sibling
from .other import thing
try:
    import h
except ImportError:
    h = None
class K:
    import i
    def method(self):
        import j
        __import__("k")
if TYPE_CHECKING:
    import m
if True:
    x = importlib.import_module("l.m")
"""
    found = dict(imports(source, "pack"))
    assert set(found) == {"a", "b.c", "e.f", "e.f.g", "pack", "pack.sibling", "pack.other",
                          "pack.other.thing", "h", "i", "j", "k", "l.m", "m"}  # fmt: skip
    assert {name for name, inside in found.items() if inside} == {"j", "k", "m"}


@pytest.mark.parametrize("name", NAMES)
def test_imports_go_one_way(name):
    package = name.split("/")[0]
    wrong = {module for module, _ in of(name) if module.split(".")[0] in FORBIDDEN[package]}
    assert not wrong, f"{name} imports {sorted(wrong)}"


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("data_tools/")])
def test_data_tools_need_tianshou_only_where_a_buffer_is_made(name):
    early = {module for module, inside in of(name)
             if module.split(".")[0] in ("tianshou", "torch") and not inside}  # fmt: skip
    assert not early or name in MAKES_BUFFERS, f"{name} imports {sorted(early)} at its top"


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_imports_another(name):
    others = {Path(script).stem for script in SCRIPTS}
    wrong = {module for module, _ in of(name) if set(module.split(".")) & others}
    assert not wrong, f"{name} imports {sorted(wrong)}"


def test_scripts_are_imported_by_no_module():
    scripts = {Path(script).stem for script in SCRIPTS}
    for name in NAMES:
        if name.split("/")[0] == "offline_algos":
            assert not any(set(module.split(".")) & scripts for module, _ in of(name)), name


def test_no_cycle_of_modules_within_a_package():
    """At import time; an import inside a function may point back."""
    modules = {name.removesuffix(".py").replace("/", "."): name for name in NAMES}
    edges = {
        module: {m for m, inside in of(name) if not inside and m in modules and m != module}
        for module, name in modules.items()
    }
    done, open_ = set(), []

    def visit(module):
        assert module not in open_, f"cycle: {[*open_[open_.index(module) :], module]}"
        if module not in done:
            open_.append(module)
            for other in sorted(edges[module]):
                visit(other)
            open_.pop()
            done.add(module)

    for module in sorted(modules):
        visit(module)


def test_the_environments_load_nothing_heavy():
    """What a plain import brings in, whatever the source says."""
    program = (
        "import sys, gym_trade, gymnasium; "
        "env = gymnasium.make('Trade-Sequential-v0'); env.reset(seed=0); env.step(0); "
        "print([n for n in ('torch', 'tianshou', 'h5py', 'data_tools', 'offline_algos',"
        " 'benchmarks', 'matplotlib', 'scipy.stats') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", NAMES)
def test_files_stay_short(name):
    assert len((ROOT / name).read_text().splitlines()) <= LONGEST


def test_the_whole_tree_was_read():
    assert {name.split("/")[0] for name in NAMES} == set(PACKAGES)
    assert {"gym_trade/market.py", "data_tools/load.py", "offline_algos/runner.py"} <= set(NAMES)
    assert set(OURS) <= {path.name for path in ROOT.iterdir()}

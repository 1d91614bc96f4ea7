"""The documents' code runs, the README's tables are those of the results, CI runs its commands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


BLOCKS = blocks(README)
GUIDES = [found for path in (ROOT / "docs").glob("*.md") for found in blocks(path.read_text())]
PYTHON = [code for language, code in BLOCKS + GUIDES if language == "python"]
SHELL = [code for language, code in BLOCKS if language == "bash"]
# What makes a README command quick: the last mention of a flag wins.
QUICK = {
    "data_tools.collect": ["--buffer-size", "3000", "--episode-steps", "200"],
    "--load-buffer-name": ["--epoch", "1", "--update-per-epoch", "3", "--test-end", "2020-07-20"],
    "--save-buffer-name expert": ["--buffer-size", "2000"],
}


def commands() -> list[str]:
    return [part.strip() for block in SHELL for line in block.splitlines()
            for part in line.split("&&")]  # fmt: skip


def test_there_is_something_to_run():
    assert len(PYTHON) >= 6 and len(GUIDES) >= 4
    assert any("pip install" in command for command in commands())


@pytest.mark.parametrize("code", PYTHON)
def test_python_block(code, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_shell_blocks_from_a_market_to_a_score(tmp_path):
    """Runs the collect, describe and training commands as they stand, but for their sizes."""
    folder = tmp_path / "offline_algos"
    folder.mkdir()
    for script in (ROOT / "offline_algos").glob("*_style_*.py"):
        (folder / script.name).write_text(script.read_text())
    here, run = tmp_path, 0
    for command in commands():
        words = shlex.split(command)
        if words[0] == "cd":
            here = tmp_path / words[1]
            continue
        if "pip" in words or "pytest" in words or "benchmarks.quickstart" in words:
            continue
        # as a shell would
        words = [str(next(here.glob(word))) if "*" in word else word for word in words]
        for name, quick in QUICK.items():
            words += quick if name in command else []
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, *words[1:]], cwd=here, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        run += 1
    assert run >= 7
    assert list(folder.rglob("result.json")) and list(folder.rglob("evaluation.json"))


def test_tables_are_those_of_the_results():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.report", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_ci_reads_its_commands_from_the_readme():
    script = (ROOT / ".ci" / "run").read_text()
    for wanted in re.findall(r'readme_command "(.*)"', script):
        lines = [line for line in README.splitlines() if wanted in line]
        assert lines, wanted
        assert lines[0].startswith("python -m pip install"), lines[0]

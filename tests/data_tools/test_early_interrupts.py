"""Ctrl-C and SIGTERM while a command is still importing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_tools import early_interrupts

ROOT = Path(__file__).parents[2]
IMPORT = "import data_tools.early_interrupts"
# numpy, in the place of which this is found, never finishes to be imported
NEVER_DONE = """
import pathlib, time
pathlib.Path(__file__).with_name("begun").touch()
try:
    time.sleep(100)
except BaseException:  # as some packages do while they are imported
    time.sleep(100)
"""
COMMANDS = [
    ["offline_algos/atari_style_cql.py"],
    ["offline_algos/d4rl_style_sac.py"],
    ["-m", "offline_algos.atari_style_dt"],
    ["-m", "offline_algos.export"],
    ["-m", "data_tools.describe"],
    ["-m", "data_tools.collect"],
    ["-m", "benchmarks.plots"],
]


def interrupted(folder: Path, *command: str, by: signal.Signals = signal.SIGINT) -> tuple[int, str]:
    """Exit code and standard error of a process that gets a signal while it imports numpy."""
    (folder / "numpy.py").write_text(NEVER_DONE)
    begun = folder / "begun"
    begun.unlink(missing_ok=True)
    with subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))},
    ) as process:  # fmt: skip
        try:
            while not begun.exists():
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.01)
            process.send_signal(by)
            _, error = process.communicate(timeout=50)
        finally:
            process.kill()
    return process.returncode, error


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[-1])
def test_ctrl_c_is_one_line(tmp_path, command):
    assert interrupted(tmp_path, *command) == (130, "interrupted.\n")


def test_sigterm_has_its_code(tmp_path):
    assert interrupted(tmp_path, *COMMANDS[0], by=signal.SIGTERM) == (143, "")


def test_a_signal_that_is_ignored_stays_ignored():
    """As a shell starts what it runs in the background."""
    program = """
import signal
from data_tools import early_interrupts
signal.signal(signal.SIGINT, signal.SIG_IGN)
early_interrupts.install()
print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"


@pytest.mark.parametrize("how", ["file", "module"])
def test_a_program_of_the_user_s_own_is_left_alone(tmp_path, how):
    """Also one whose package imports ours while ``-m`` looks for its module."""
    package = tmp_path / "own"
    package.mkdir()
    (package / "__init__.py").write_text(f"{IMPORT}, offline_algos, benchmarks\n")
    (package / "main.py").write_text(
        f"{IMPORT}\nimport signal\n"
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler,"
        " signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n"
    )
    done = subprocess.run(
        [sys.executable, *(["-m", "own.main"] if how == "module" else ["own/main.py"])],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "True True\n"


def test_from_main_on_ctrl_c_is_the_usual_exception():
    """What a command does then is told in its own tests."""
    program = """
import signal
from data_tools import early_interrupts
from data_tools.command_line import terminate_cleanly
early_interrupts.install()
terminate_cleanly()
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
signal.raise_signal(signal.SIGTERM)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 143)


def test_nothing_is_imported_before_it():
    scripts = sorted((ROOT / "offline_algos").glob("*_style_*.py"))
    packages = [ROOT / f"{name}/__init__.py" for name in early_interrupts.PACKAGES[1:]]
    assert len(scripts) > 10
    for path in (*scripts, *packages):
        lines = [x for x in path.read_text().splitlines() if x.startswith(("import ", "from "))]
        first = lines[0] if not lines[0].startswith("from __future__") else lines[1]
        assert first.startswith(IMPORT), path

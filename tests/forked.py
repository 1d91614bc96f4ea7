"""Python's command lines, each in a process of its own that need not import torch first.

A command starts as ``python SCRIPT ...`` or ``python -m MODULE ...`` does, in its folder, with its
own output, signals and exit code, and imports all of this project itself: it is forked from a
process that has imported what others wrote, and nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import IO

SERVER = """
import json, os, runpy, sys, traceback
import gymnasium, h5py, matplotlib, numba, pandas, tianshou, torch, tqdm

for line in sys.stdin:
    words, folder, output, error, paths = json.loads(line)
    child = os.fork()
    if child == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()

os.chdir(folder)
for number, path in ((1, output), (2, error)):
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, number)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.environ["PYTHONPATH"] = os.pathsep.join(paths)
sys.path[:1] = paths
if words[0] == "-m":
    sys.argv = words[1:]
    sys.path.insert(0, folder)
    runpy.run_module(words[1], run_name="__main__", alter_sys=True)
else:
    sys.argv = words
    sys.path.insert(0, os.path.dirname(os.path.abspath(words[0])))
    runpy.run_path(words[0], run_name="__main__")
"""


class Interpreter:
    """Runs command lines, until its ``with`` ends.

    Args:
        folder: Where it keeps what they print.
        paths: What PYTHONPATH is for them.
    """

    def __init__(self, folder: Path, *paths: Path) -> None:
        self._folder, self._paths = folder, [str(path) for path in paths]

    def __enter__(self) -> Interpreter:
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()

    def run(self, words: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run what stands behind ``python``; returns its exit code and what it printed."""
        files = [self._folder / name for name in ("stdout", "stderr")]
        asked = (words, str(cwd), *map(str, files), self._paths)
        given, answer = _pipes(self._server)
        print(json.dumps(asked), file=given, flush=True)
        code = int(answer.readline())
        return subprocess.CompletedProcess(words, code, *(file.read_text() for file in files))


def _pipes(server: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert server.stdin is not None and server.stdout is not None
    return server.stdin, server.stdout

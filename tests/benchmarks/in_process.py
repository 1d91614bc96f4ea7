"""Commands and cells run in this process, so that a test does not import torch seven times."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.scores_engine import Outcome


class Finished:
    """A process that has ended."""

    def __init__(self, code: int) -> None:
        self.code = code

    def poll(self) -> int:
        return self.code

    def terminate(self) -> None:
        raise AssertionError("it has ended")

    wait = poll


class InProcess:
    """Starts a command by calling its main, and notes it.

    Attributes:
        commands: Words of every command that was started.
        fail: Fails a command with this kind of name, if any.
        error: What it raises instead of failing.
    """

    def __init__(self, fail: str = "", error: type[BaseException] | None = None) -> None:
        self.commands: list[list[str]] = []
        self.fail, self.error = fail, error

    def __call__(self, words: list[str], folder: Path, log: Path) -> Finished:
        if self.fail and any(self.fail in word for word in words):
            if self.error is not None:
                raise self.error
            log.write_text("starting\nerror: no luck\n")
            return Finished(2)
        self.commands.append(words)
        with (
            open(log, "w") as stream,
            contextlib.chdir(folder),
            contextlib.redirect_stdout(stream),
            contextlib.redirect_stderr(stream),
        ):
            return Finished(importlib.import_module(words[0]).main(words[1:]))


def run_here(
    work: Callable[[Any], None], jobs: Sequence[Any], *, say: Callable[[str, str], object], **_: Any
) -> Outcome:
    """As `scores_engine.run_jobs`, one after the other, where no job is to fail."""
    outcome = Outcome()
    for job in jobs:
        work(job)
        outcome.done.append(job.name)
        say(job.name, "done")
    return outcome

"""Makes the files of a plan, several at once, each by its command in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.machine import ROOT
from benchmarks.suite_manifest import (
    SuiteError,
    describe,
    is_made,
    part_of,
    run_result,
    write_manifest,
)
from benchmarks.suite_plan import Step
from data_tools.files import replacing
from data_tools.parents import lifeline

PAUSE = 0.05  # seconds between two looks at what runs


class Process(Protocol):
    """What runs: as `subprocess.Popen`."""

    def poll(self) -> int | None:
        """The exit code, None while it runs."""

    def terminate(self) -> None:
        """Ask it to end."""

    def wait(self) -> int:
        """Wait until it has."""


Launch = Callable[[list[str], Path, Path], Process]


def launch(words: list[str], folder: Path, log: Path) -> Process:
    """Start ``python -m WORDS`` in a folder; what it prints goes into the log.

    It ends with this process, also where that is killed: who goes on after it begins it anew.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    with open(log, "wb") as stream:
        # a session of its own: Ctrl-C is ours to hand on, once
        return subprocess.Popen(
            [sys.executable, "-m", "data_tools.parents", *words], cwd=folder, env=environment,
            stdin=lifeline(), stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


@dataclass
class _Running:
    step: Step
    process: Process
    begun: float


class Maker:
    """Makes what is missing of a plan.

    Args:
        folder: The suite's, which exists.
        manifest: What is made; entries are added, and written after each file.
        jobs: Processes at once.
        launch: Starts one.
        echo: Told what is done.
    """

    def __init__(
        self,
        folder: Path,
        manifest: dict[str, Any],
        *,
        jobs: int = 1,
        launch: Launch = launch,
        echo: Callable[[str], object] = print,
    ) -> None:
        self.folder, self.manifest, self.jobs = folder, manifest, jobs
        self._launch, self._echo = launch, echo
        self._running: list[_Running] = []
        self._done: set[str] = set()
        self._count = 0

    def make(self, plan: list[Step]) -> int:
        """Make everything; returns how many files were made.

        Raises:
            SuiteError: A command failed. What was finished stays, and need not be made again.
        """
        self._count = len(plan)
        waiting, made = list(plan), 0
        try:
            while waiting or self._running:
                waiting = self._start(waiting)
                for job in [job for job in self._running if job.process.poll() is not None]:
                    self._running.remove(job)
                    self._finish(job)
                    made += 1
                if self._running:
                    time.sleep(PAUSE)
        finally:
            for job in self._running:
                job.process.terminate()
            for job in self._running:
                job.process.wait()
        return made

    def _start(self, waiting: list[Step]) -> list[Step]:
        """Start what can be; returns what cannot yet."""
        left = []
        for step in waiting:
            if not self._done.issuperset(step.needs) or len(self._running) >= self.jobs:
                left.append(step)
            elif is_made(step, self.folder, self.manifest):
                self._say(step, "is there already")
            else:
                self._running.append(_Running(step, self._begin(step), time.monotonic()))
        return left

    def _begin(self, step: Step) -> Process:
        words = step.command(self.manifest)
        part_of(self.manifest, step).pop(step.path, None)
        (self.folder / step.path).parent.mkdir(exist_ok=True)
        work = self.folder / step.log_folder
        shutil.rmtree(work, ignore_errors=True)  # of a run that was interrupted
        work.mkdir(parents=True)
        if not step.is_policy:
            words = [*words, "--overwrite"]
        return self._launch(words, self.folder, self._log(step))

    def _log(self, step: Step) -> Path:
        return self.folder / f"{step.log_folder}.log"

    def _finish(self, job: _Running) -> None:
        """Take a finished file into the manifest."""
        step = job.step
        if job.process.poll() != 0:
            lines = self._log(step).read_text(errors="replace").strip().splitlines()
            raise SuiteError(
                f"making {step.path} failed: {lines[-1] if lines else 'it printed nothing'} "
                f"(all of it: {self._log(step)}). The same command goes on with what is missing."
            )
        if step.is_policy:
            self._take_policy(step)
        entry = describe(step, self.folder, self.manifest)
        part_of(self.manifest, step)[step.path] = entry
        write_manifest(self.folder, self.manifest)
        self._say(step, f"{_summary(step, entry)} ({time.monotonic() - job.begun:.0f} s)")

    def _take_policy(self, step: Step) -> None:
        """Copy a run's checkpoint to where it is published."""
        name = "policy.pth" if step.kind == "expert" else "last.pth"
        source = run_result(step, self.folder).parent / name
        with replacing(self.folder / step.path) as temporary:
            shutil.copyfile(source, temporary)

    def _say(self, step: Step, text: str) -> None:
        self._done.add(step.path)
        self._echo(f"[{len(self._done)}/{self._count}] {step.path}: {text}")


def _summary(step: Step, entry: dict[str, Any]) -> str:
    if step.is_policy:
        tested = entry["test"][step.kind]["return"]
        return f"epoch {entry['epoch']}, test return {tested:.6g}"
    return (
        f"{entry['rows']:,} transitions, return {entry['behavior_return']:.6g} ± "
        f"{entry['behavior_return_std']:.3g}"
    )

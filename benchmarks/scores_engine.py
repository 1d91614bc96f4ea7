"""Who runs the cells: processes of this machine, or a Ray cluster. What dies is run again."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any, Protocol

from data_tools.command_line import CommandLineError, terminate_cleanly
from data_tools.files import sha256
from data_tools.parents import end_with_parent

RETRIES = 3  # of a job whose worker was lost
# Read once, by the process that all workers are forked from.
PRELOADED = ("benchmarks.scores_cell", "offline_algos.report", "offline_algos.preparation")


class Job(Protocol):
    """What is run: picklable, and safe to be run again."""

    @property
    def name(self) -> str:
        """For people."""


@dataclass
class Outcome:
    """What came of the jobs.

    Attributes:
        done: Names of those that ended well.
        failed: Name to what is known of the failure.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


Say = Callable[[str, str], object]


def run_local(
    work: Callable[[Any], None], jobs: Sequence[Any], workers: int, say: Say = lambda *_: None
) -> Outcome:
    """Run jobs in processes of their own, so that each one's memory can be told.

    Args:
        work: Called with a job; a module's function. It exits with another code than 0, or raises,
            where the job has failed.
        jobs: With a ``name`` each.
        workers: Processes at once.
        say: Told a job's name and what came of it.

    Returns:
        What came of them. A job that fails by itself is not run again, one that was killed is, up
        to `RETRIES` times.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    waiting, outcome = list(jobs), Outcome()
    attempts: dict[str, int] = {}
    running: dict[int, tuple[Any, Any]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop(0)
                process = context.Process(target=_in_worker, args=(work, job), name=job.name)
                process.start()
                running[process.sentinel] = (process, job)
            for sentinel in connection.wait(list(running)):
                process, job = running.pop(sentinel)  # type: ignore[index]
                process.join()
                again = _take(process.exitcode, job.name, attempts, outcome, say)
                waiting += [job] if again else []
    finally:
        for process, _ in running.values():
            process.terminate()
        for process, _ in running.values():
            process.join()
    return outcome


def _in_worker(work: Callable[[Any], None], job: Any) -> None:
    terminate_cleanly()
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hand on, once
    work(job)


def _take(
    code: int | None, name: str, attempts: dict[str, int], outcome: Outcome, say: Say
) -> bool:
    """Note how a process ended; whether its job is to be run again."""
    if code == 0:
        outcome.done.append(name)
        say(name, "done")
        return False
    killed = code is not None and code < 0
    attempts[name] = attempts.get(name, 0) + 1
    if killed and attempts[name] <= RETRIES:
        say(name, f"killed by {signal.Signals(-code).name}, run again")  # type: ignore[operator]
        return True
    outcome.failed[name] = f"killed {attempts[name]} times" if killed else f"exit code {code}"
    say(name, "FAILED: " + outcome.failed[name])
    return False


def run_ray(
    work: Callable[[Any], None],
    jobs: Sequence[Any],
    workers: int | None,
    say: Say = lambda *_: None,
) -> Outcome:
    """The same on a Ray cluster: the one that is running, or one for the time of the call.

    All machines must see the benchmark's folder under the same path.

    Args:
        work: See `run_local`.
        jobs: See `run_local`.
        workers: Cores of a cluster that is begun here; None: all.
        say: See `run_local`.

    Raises:
        CommandLineError: Ray is not installed.
    """
    from data_tools.engines import import_ray, ray_running

    ray = import_ray()
    outcome = Outcome()
    with ray_running(ray, workers):
        remote = ray.remote(max_retries=RETRIES)(_quietly)
        waiting = {remote.remote(work, job): job for job in jobs}
        try:
            while waiting:
                (reference, *_), _ = ray.wait(list(waiting), num_returns=1)
                name = waiting.pop(reference).name
                try:
                    wrong = ray.get(reference)
                except ray.exceptions.RayError as error:
                    wrong = f"its worker was lost {RETRIES + 1} times: {str(error).splitlines()[0]}"
                if wrong is None:
                    outcome.done.append(name)
                else:
                    outcome.failed[name] = wrong
                say(name, "done" if wrong is None else "FAILED: " + wrong)
        finally:
            for reference in waiting:
                ray.cancel(reference)
    return outcome


def _quietly(work: Callable[[Any], None], job: Any) -> str | None:
    """Run a job in a worker that lives on; what went wrong, None for nothing."""
    try:
        work(job)
    except SystemExit as stop:
        return f"exit code {stop.code}"
    return None


def run_jobs(
    work: Callable[[Any], None],
    jobs: Sequence[Any],
    *,
    engine: str = "local",
    workers: int | None = None,
    say: Say = lambda *_: None,
) -> Outcome:
    """Run jobs by the engine that a flag names.

    Raises:
        CommandLineError: There is no such engine, Ray is not installed, or `workers` is below 1.
    """
    if workers is not None and workers < 1:
        raise CommandLineError(f"--jobs {workers}: expected a whole number >= 1.")
    if engine == "ray":
        return run_ray(work, jobs, workers, say)
    if engine != "local":
        raise CommandLineError(f"--engine {engine}: expected local or ray.")
    return run_local(work, jobs, workers or 1, say)


def digest_of(path: Path) -> str:
    """What makes another file another question: its SHA-256, or that it is absent."""
    return sha256(path) if path.exists() else "absent"


def is_answered(path: Path, command: list[str]) -> bool:
    """Whether a result's file is there, whole, and of this very command."""
    try:
        return bool(json.loads(path.read_text())["command"] == command)
    except (OSError, ValueError, KeyError, TypeError):
        return False

"""Who writes the shards of a collection: this process, several of its own, or a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from tqdm import tqdm

from data_tools.command_line import CommandLineError, terminate_cleanly
from data_tools.flat_layout import DatasetError
from data_tools.parents import end_with_parent
from data_tools.parts import Part, Recording, record_part
from gym_trade import Market

KINDS = ("local", "ray")
RETRIES = 3  # of a shard whose worker was lost


@dataclass(frozen=True)
class Engine:
    """Who writes shards.

    Attributes:
        kind: "local", or "ray": a cluster that is running (``RAY_ADDRESS``), or else one on this
            machine for the time of the collection. All of its machines must see the market's file
            and the dataset's folder under the same paths.
        jobs: Processes; None: one locally, all cores with Ray.

    Raises:
        CommandLineError: There is no such engine, Ray is not installed, or the number is below 1.
    """

    kind: str = "local"
    jobs: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise CommandLineError(f"--engine {self.kind}: expected one of {', '.join(KINDS)}.")
        if self.jobs is not None and self.jobs < 1:
            raise CommandLineError(f"--jobs {self.jobs}: expected a whole number >= 1.")
        if self.kind == "ray":
            import_ray()

    def run(
        self, recording: Recording, parts: Sequence[Part], market: Market, bar: tqdm[Any]
    ) -> None:
        """Write all parts; the bar is told of their rows.

        Raises:
            ValueError: As for `parts.record_part`, of the first part that fails; or a worker was
                lost.
        """
        if self.kind == "ray":
            _run_ray(recording, parts, self.jobs, bar)
        elif (self.jobs or 1) > 1:
            _run_processes(recording, parts, min(self.jobs or 1, len(parts)), bar)
        else:
            for part in parts:
                record_part(recording, part, market, progress=bar)


def _run_processes(recording: Recording, parts: Sequence[Part], jobs: int, bar: tqdm[Any]) -> None:
    # spawned: a forked child would inherit the locks of this one's threads
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_begin_worker)
    try:
        futures = {pool.submit(record_part, recording, part): part for part in parts}
        for future in as_completed(futures):
            future.result()
            bar.update(futures[future].rows)
    except BrokenProcessPool:
        raise DatasetError(
            "a worker process was killed, perhaps for want of memory; lower --jobs or --num-envs"
        ) from None
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()  # each removes what it has not finished
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    terminate_cleanly()
    end_with_parent()


def import_ray() -> Any:
    """Ray, or the error that says how to install it."""
    try:
        import ray
    except ImportError:
        raise CommandLineError(
            "--engine ray: Ray is not installed. Install it with: python -m pip install "
            "'gym-trade[ray]', or use --jobs N on this machine."
        ) from None
    return ray


@contextmanager
def ray_running(ray: Any, jobs: int | None) -> Iterator[None]:
    """Use the cluster that this process is in, or one that is begun and ended here."""
    if ray.is_initialized():
        yield
        return
    own = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": jobs, "include_dashboard": False}
    ray.init(log_to_driver=False, logging_level="error", **own)
    try:
        yield
    finally:
        ray.shutdown()


def _run_ray(recording: Recording, parts: Sequence[Part], jobs: int | None, bar: tqdm[Any]) -> None:
    ray = import_ray()
    with ray_running(ray, jobs):
        write = ray.remote(max_retries=RETRIES)(_write_anew)
        waiting = {write.remote(recording, part): part for part in parts}
        try:
            while waiting:
                (done, *_), _ = ray.wait(list(waiting), num_returns=1)
                ray.get(done)
                bar.update(waiting.pop(done).rows)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            raise DatasetError(
                f"a Ray worker was lost {RETRIES + 1} times: {str(error).splitlines()[0]}"
            ) from None
        finally:
            for reference in waiting:
                ray.cancel(reference)


def _write_anew(recording: Recording, part: Part) -> None:
    """Write a part, also where a lost worker's other attempt has ended meanwhile."""
    record_part(recording, part, overwrite=True)

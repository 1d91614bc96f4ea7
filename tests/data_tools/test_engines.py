"""Who writes the shards makes no difference to any byte, even if one of them is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from data_tools.collect import collect, main
from data_tools.driving import Behaviour
from data_tools.engines import Engine
from data_tools.environment import open_market
from data_tools.hdf5 import DatasetError
from data_tools.recording import record_market
from data_tools.scripted import ScriptedBehaviour
from data_tools.shards import shard_seed
from data_tools.training_span import combine_arguments
from gym_trade import VectorTradeEnv
from tests.data_tools.collecting import write_market
from tests.data_tools.test_shards import content

SEED, SHARDS = 4, 4


@pytest.fixture(scope="module")
def market_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_market(tmp_path_factory.mktemp("market") / "wild.csv")


@dataclass(frozen=True)
class Killed:
    """Acts like a scripted policy, but the first worker that writes the last shard is killed.

    Attributes:
        marker: A file that says that it was.
        spared: The process of the test.
    """

    marker: str
    spared: int

    def __call__(self, venv: VectorTradeEnv, seed: int) -> Behaviour:
        made, calls = ScriptedBehaviour("random")(venv, seed), 0

        def act(observations: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 3 and seed == shard_seed(SEED, SHARDS - 1) and os.getpid() != self.spared:
                with contextlib.suppress(FileExistsError):
                    os.close(os.open(self.marker, os.O_CREAT | os.O_EXCL))
                    os.kill(os.getpid(), signal.SIGKILL)
            return made.act(observations)

        return Behaviour(
            act, made.begin, log_probability=made.log_probability, description=made.description
        )


def record(folder: Path, market_file: str, behaviour: Any, engine: Engine) -> dict[str, bytes]:
    """What is in the folder, which is made, after 300 rows in 4 shards."""
    folder.mkdir(exist_ok=True)
    market, spec = open_market(market_file, echo=None)
    record_market(
        folder / "a.hdf5", behaviour, task="Trade-Sequential-v0", market=market, market_spec=spec,
        arguments=combine_arguments({"window_sizes": 6}, 20, None, None), train_fraction=None,
        buffer_size=300, seed=SEED, num_envs=3, shards=SHARDS, engine=engine,
        progress=False, echo=None,
    )  # fmt: skip
    return content(folder)


def test_a_killed_process_is_one_line_and_can_be_resumed(tmp_path: Path, market_file: str) -> None:
    behaviour = Killed(str(tmp_path / "killed"), os.getpid())
    with pytest.raises(DatasetError, match=r"a worker process was killed.*[23] of 4 shards are"):
        record(tmp_path / "two", market_file, behaviour, Engine(jobs=2))
    assert (tmp_path / "killed").exists()
    assert not (tmp_path / "two" / "a.hdf5").exists()
    made = record(tmp_path / "two", market_file, behaviour, Engine())
    plain = ScriptedBehaviour("random")
    assert made == record(tmp_path / "one", market_file, plain, Engine())


def test_an_error_in_a_process_is_the_command_s(
    tmp_path: Path, market_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(market_file)
    command = ["--save-buffer-name", str(tmp_path / "a.hdf5"), "--market", market_file, "--shards"]
    command += ["3", "--jobs", "2", "--env", "window_sizes=6", "--episode-steps", "20"]
    kept = path.read_text()
    try:
        with pytest.MonkeyPatch.context() as patch:
            real = Engine.run

            def run(self: Engine, *arguments: Any) -> None:
                path.write_text(kept.replace(",1", ",2", 1))  # as if it changed meanwhile
                real(self, *arguments)

            patch.setattr(Engine, "run", run)
            assert main([*command, "--buffer-size", "300"]) == 2
    finally:
        path.write_text(kept)
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--jobs", "0"], "--jobs 0: expected"),
        (["--engine", "spark"], "invalid choice: 'spark'"),
    ],
)
def test_refusals(
    tmp_path: Path, flags: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--save-buffer-name", str(tmp_path / "a.hdf5"), *flags]) == 2
    assert part in capsys.readouterr().err


def test_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"Ray is not installed.*gym-trade\[ray\]"):
        collect(tmp_path / "a.hdf5", buffer_size=10, engine="ray")


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_ray_makes_the_same_bytes_though_a_worker_is_killed(
    tmp_path: Path, market_file: str
) -> None:
    ray = pytest.importorskip("ray")
    behaviour = Killed(str(tmp_path / "killed"), os.getpid())
    try:
        made = record(tmp_path / "two", market_file, behaviour, Engine("ray", jobs=2))
    finally:
        ray.shutdown()
    assert (tmp_path / "killed").exists()
    plain = ScriptedBehaviour("random")
    assert made == record(tmp_path / "one", market_file, plain, Engine())

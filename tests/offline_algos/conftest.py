from __future__ import annotations

from pathlib import Path

import pytest
import torch

from data_tools.collect import collect
from tests.offline_algos import samples, trained

ENV = {"time_frames": ["1min", "5min"], "window_sizes": [4, 6], "execute_on": "5min"}


torch.set_num_threads(1)  # as the scripts do: small networks are slower on more


@pytest.fixture(scope="session")
def market_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("market") / "market.csv"
    samples.frame().to_csv(path)
    return path


@pytest.fixture(scope="session")
def dataset_file(market_file: Path) -> Path:
    path = market_file.with_name("trades.hdf5")
    collect(
        path, buffer_size=1200, market=str(market_file), policy="ma-cross:fast=3,slow=9+random",
        epsilon=0.1, num_envs=8, episode_steps=100, env=ENV, progress=False, echo=None,
    )  # fmt: skip
    return path


@pytest.fixture(scope="session")
def continuous_file(market_file: Path) -> Path:
    path = market_file.with_name("continuous.hdf5")
    collect(
        path, buffer_size=1200, market=str(market_file), policy="ma-cross:fast=3,slow=9+random",
        epsilon=0.1, num_envs=8, episode_steps=100, env=ENV | {"action_type": "continuous"},
        progress=False, echo=None,
    )  # fmt: skip
    return path


@pytest.fixture(scope="session")
def il_run(dataset_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of discrete behaviour cloning, whose policy takes several actions."""
    folder = tmp_path_factory.mktemp("il")
    return trained.train(
        "atari_style_il", dataset_file, folder, "--update-per-epoch", "200", "--lr", "1e-2"
    )


@pytest.fixture(scope="session")
def continuous_run(continuous_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained.train("d4rl_style_il", continuous_file, tmp_path_factory.mktemp("continuous"))


@pytest.fixture(scope="session")
def transformer_run(continuous_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained.train("d4rl_style_dt", continuous_file, tmp_path_factory.mktemp("transformer"))


@pytest.fixture(scope="session")
def cart_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cart")
    data = trained.cart_data(folder / "cart.hdf5")
    return trained.train("atari_style_il", data, folder, "--num-test-envs", "3", "--lr", "1e-2")

"""The throughput benchmark runs every case and names a peer's failure; no speed is tested."""

from __future__ import annotations

import sys

import pytest

from benchmarks import throughput


def test_every_case_is_measured(capsys):
    code = throughput.main(
        ["--seconds", "0.01", "--rounds", "1", "--bars", "40000", "--no-write"]
    )  # fmt: skip
    out = capsys.readouterr().out
    assert code == 0
    for case in throughput.CASES:
        line = next(line for line in out.splitlines() if line.startswith(case.name))
        assert int(line.removeprefix(case.name).split()[0].replace(",", "")) > 0


def test_a_python_without_the_peer_is_one_clear_error():
    with pytest.raises(SystemExit, match=r"torchtrade_speed\.py failed: .*torchtrade"):
        throughput.main(
            ["--seconds", "0.01", "--rounds", "1", "--bars", "40000", "--no-write",
             "--torchtrade-python", sys.executable]
        )  # fmt: skip

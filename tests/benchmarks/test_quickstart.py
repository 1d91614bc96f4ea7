"""The quickstart, made small: table, picture and the commands to try next."""

from __future__ import annotations

import pytest

from benchmarks import quickstart


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(quickstart, "BUFFER_SIZE", 4096)
    cut = dict(zip(quickstart.TRAINING[::2], quickstart.TRAINING[1::2], strict=False))
    assert cut["--epoch"] == "8"
    flags = [*quickstart.TRAINING, "--epoch", "1", "--update-per-epoch", "5"]
    monkeypatch.setattr(quickstart, "TRAINING", [*flags, "--test-end", "2020-07-25"])


def test_it_ends_with_a_table_a_picture_and_next_commands(small, tmp_path, capsys):
    picture = tmp_path / "quickstart.png"
    folder = tmp_path / "work"
    code = quickstart.main(
        ["--market", "martingale", "--folder", str(folder), "--picture", str(picture)]
    )
    out = capsys.readouterr().out
    assert code == 0, out
    for name in ("CQL", "behaviour policy", "random", "flat", "buy-and-hold"):
        assert any(line.startswith(name) for line in out.splitlines()), name
    assert "--market mean_reverting" in out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert (folder / "martingale.hdf5").exists()
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_an_unknown_market_is_refused(capsys):
    with pytest.raises(SystemExit):
        quickstart.main(["--market", "moon"])
    assert "mean_reverting" in capsys.readouterr().err

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


def test_places_that_cannot_be_written_are_refused_first(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(quickstart, "run_market", None)  # nothing runs
    (tmp_path / "file").write_text("")
    for flags, word in (
        (["--picture", str(tmp_path / "no" / "a.png")], "folder that exists"),
        (["--picture", str(tmp_path / "a.bmp")], "expected a name ending in"),
        (["--folder", str(tmp_path / "file")], "is a file"),
    ):
        assert quickstart.main(flags) == 2
        assert word in capsys.readouterr().err


def test_the_picture_has_the_format_of_its_name(small, tmp_path, capsys):
    picture = tmp_path / "q.svg"
    assert quickstart.main(["--folder", str(tmp_path / "w"), "--picture", str(picture)]) == 0
    assert "<svg" in picture.read_text()[:400]

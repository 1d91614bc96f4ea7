"""One file from a server that breaks off, is silent, busy or wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_tools.fetch import DownloadError, Fetcher, MissingFileError, Stopped
from tests.data_tools.archive_server import Archive, serving

PATH = "/folder/file.zip"
CONTENT = bytes(range(256)) * 1200  # several chunks


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = Archive()
    served.files[PATH] = CONTENT
    served.publish(PATH)
    with serving(served):
        yield served


def fetch(server: Archive, folder: Path, **options: Any) -> None:
    options = {"timeout": 0.3, "retries": 3, "backoff": 0.001} | options
    Fetcher(**options).fetch(server.address + PATH, folder / "file.zip")


def asked(server: Archive) -> list[str]:
    """The ranges that the file was asked for."""
    return [wanted for path, wanted in server.asked if path == PATH]


def held(folder: Path) -> list[str]:
    return [item.name for item in folder.iterdir()]


def test_a_cut_connection_is_resumed_where_it_ended(server: Archive, tmp_path: Path) -> None:
    server.faults[PATH] = ["cut", "cut", "cut", "cut", "cut"]  # more than retries: each brings some
    fetch(server, tmp_path)
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    half = len(CONTENT) // 2
    assert asked(server)[:3] == ["", f"bytes={half}-", f"bytes={half + half // 2}-"]
    assert held(tmp_path) == ["file.zip"]


def test_a_server_without_ranges_starts_over_and_is_given_up(
    server: Archive, tmp_path: Path
) -> None:
    server.ranges = False
    server.faults[PATH] = ["cut", "cut"]
    fetch(server, tmp_path)
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    (tmp_path / "file.zip").unlink()
    server.asked.clear()
    server.faults[PATH] = ["cut"] * 50  # always to the same place: nothing new, so not for ever
    with pytest.raises(
        DownloadError, match=r"could not be fetched in 4 tries: the connection ended"
    ):
        fetch(server, tmp_path)
    assert len(asked(server)) == 4
    assert held(tmp_path) == ["file.zip.part"]


def test_silence_is_a_timeout_and_the_rest_is_asked_for(server: Archive, tmp_path: Path) -> None:
    server.faults[PATH] = ["stall"]
    fetch(server, tmp_path, timeout=0.2)
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert asked(server)[1].startswith("bytes=")


@pytest.mark.parametrize("fault", [500, 503, 429, "drop"])
def test_a_busy_server_is_asked_again(server: Archive, tmp_path: Path, fault: Any) -> None:
    server.faults[PATH] = [fault, fault]
    server.faults[PATH + ".CHECKSUM"] = [fault, "cut"]
    fetch(server, tmp_path)
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert len(asked(server)) == 3


def test_pauses_double_and_the_server_may_ask_for_longer(server: Archive, tmp_path: Path) -> None:
    pauses: list[float | None] = []

    class Recording(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout)
            return False

    server.faults[PATH] = [500, 500, 500, "busy", 500]
    fetch(server, tmp_path, retries=5, backoff=1.0, stop=Recording())
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0]
    (tmp_path / "file.zip").unlink()
    server.faults[PATH] = ["busy"]
    fetch(server, tmp_path, backoff=1.0, stop=Recording())
    assert pauses[5:] == [7.0]


def test_retries_end(server: Archive, tmp_path: Path) -> None:
    server.faults[PATH] = [500] * 10
    with pytest.raises(DownloadError, match="4 tries: HTTP 500"):
        fetch(server, tmp_path)
    assert len(asked(server)) == 4


def test_a_refusal_is_not_repeated(server: Archive, tmp_path: Path) -> None:
    server.faults[PATH] = [403] * 10
    with pytest.raises(DownloadError, match="HTTP 403"):
        fetch(server, tmp_path)
    assert len(asked(server)) == 1


def test_nobody_listens(tmp_path: Path) -> None:
    with serving(Archive()) as address:
        pass
    with pytest.raises(DownloadError, match=r"tries: .*refused"):
        Fetcher(timeout=0.3, retries=1, backoff=0.001).fetch(address + PATH, tmp_path / "file.zip")


def test_a_wrong_checksum_is_tried_once_more_and_refused(server: Archive, tmp_path: Path) -> None:
    server.files[PATH] = CONTENT[:-1] + b"!"
    with pytest.raises(DownloadError, match=r"SHA-256 is \w{64}, published is \w{64}, twice"):
        fetch(server, tmp_path)
    assert asked(server) == ["", ""]
    assert held(tmp_path) == []


@pytest.mark.parametrize("kept", [b"of another file", CONTENT + b"too much", CONTENT[:-1] + b"!"])
def test_a_wrong_beginning_is_noticed_and_fetched_afresh(
    server: Archive, tmp_path: Path, kept: bytes
) -> None:
    (tmp_path / "file.zip.part").write_bytes(kept)
    fetch(server, tmp_path)
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert asked(server) == [f"bytes={len(kept)}-", ""]


def test_all_of_it_had_come(server: Archive, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(CONTENT)
    fetch(server, tmp_path)
    assert asked(server) == [f"bytes={len(CONTENT)}-"]
    assert held(tmp_path) == ["file.zip"]


def test_a_file_that_is_there_is_checked(server: Archive, tmp_path: Path) -> None:
    (tmp_path / "file.zip").write_bytes(CONTENT)
    fetch(server, tmp_path)
    assert asked(server) == []
    (tmp_path / "file.zip").write_bytes(b"another")
    fetch(server, tmp_path)
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_without_a_checksum_only_if_that_is_allowed(server: Archive, tmp_path: Path) -> None:
    del server.files[PATH + ".CHECKSUM"]
    with pytest.raises(DownloadError, match=r"cannot be verified.*--allow-unverified"):
        fetch(server, tmp_path)
    assert held(tmp_path) == []
    fetch(server, tmp_path, verify=False)
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("text", ["", "<html>", "ab" * 32 + "  other.zip", "zz" * 32])
def test_a_checksum_that_is_none(server: Archive, tmp_path: Path, text: str) -> None:
    server.files[PATH + ".CHECKSUM"] = text.encode()
    with pytest.raises(DownloadError, match=r"CHECKSUM holds .*Expected a SHA-256 and file.zip"):
        fetch(server, tmp_path)


def test_a_missing_file_is_told_from_a_missing_checksum(server: Archive, tmp_path: Path) -> None:
    server.files.clear()
    for verify in (True, False):
        with pytest.raises(MissingFileError):
            fetch(server, tmp_path, verify=verify)


def test_stop_ends_a_pause_at_once(server: Archive, tmp_path: Path) -> None:
    server.faults[PATH] = [500] * 10
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(Stopped):
        fetch(server, tmp_path, backoff=60.0, stop=stop)


def test_our_own_disk_is_not_retried(server: Archive, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fetch(server, tmp_path / "none")
    assert len(asked(server)) == 1

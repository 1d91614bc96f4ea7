"""One command loads a shard and converts it; the server is one of this machine's."""

from __future__ import annotations

import http.server
import threading

import pytest

from data_tools import convert_rl_unplugged_atari as module
from data_tools.hdf5 import load_buffer
from tests.data_tools.formats import tfrecords

NAME = "run_1-00001-of-00100"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves one shard; "/cut" breaks off in the middle."""

    content = b""
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self):
        self.asked.append(self.path)
        if not self.path.endswith(f"/Breakout/{NAME}"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        whole = not self.path.startswith("/cut")
        self.wfile.write(self.content if whole else self.content[: len(self.content) // 2])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path):
    examples, _ = tfrecords.transitions((30, 30), (True, True))
    Handler.content = tfrecords.write(tmp_path / "served", examples).read_bytes()
    Handler.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def command(tmp_path, address, *flags):
    return module.main(
        [
            "--task", "Breakout", "--run-id", "1", "--shard-id", "1", "--dataset-dir",
            str(tmp_path / "data"), "--buffer-dir", str(tmp_path / "buffers"),
            "--base-url", address, *flags,
        ]
    )  # fmt: skip


def test_loads_and_converts_under_the_names_of_tianshous_example(server, tmp_path, capsys):
    assert command(tmp_path, server) == 0
    shard, buffer = (
        tmp_path / "data/Breakout" / NAME,
        tmp_path / "buffers/Breakout" / f"{NAME}.hdf5",
    )
    assert shard.read_bytes() == Handler.content
    assert load_buffer(buffer)[0].obs.shape == (60, 84, 84)
    assert capsys.readouterr().out.splitlines()[-2:] == ["60 transitions", str(buffer)]
    assert command(tmp_path, server) == 2  # the buffer is not replaced unasked
    assert "--overwrite" in capsys.readouterr().err
    assert command(tmp_path, server, "--overwrite") == 0
    assert Handler.asked == [f"/Breakout/{NAME}"]  # the shard was kept


def test_a_cut_connection_leaves_no_shard(server, tmp_path, capsys):
    assert command(tmp_path, f"{server}/cut") == 2
    assert "connection broke" in capsys.readouterr().err
    assert not list((tmp_path / "data/Breakout").iterdir())
    assert command(tmp_path, server) == 0


def test_what_the_server_does_not_have(server, tmp_path, capsys):
    assert command(tmp_path, server, "--shard-id", "7") == 2
    assert "404" in capsys.readouterr().err
    assert command(tmp_path, "http://127.0.0.1:1") == 2
    assert "cannot be loaded" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags", [("--task", "../x"), ("--run-id", "6"), ("--shard-id", "100"), ("--shard-id", "-1")]
)
def test_bad_flags(flags, server, tmp_path, capsys):
    assert command(tmp_path, server, *flags) == 2
    assert "expected" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()

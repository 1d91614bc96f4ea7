"""The exchange's archive on a port of this machine, with the faults that a test asks for."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pandas as pd


def klines(start: str, end: str, *, unit: str = "ms") -> pd.DataFrame:
    """Hourly klines of the days from `start` to `end`, as the archive's CSV has them."""
    times = pd.date_range(start, pd.Timestamp(end) + pd.Timedelta("23h"), freq="h")
    count = times.astype("int64").to_numpy() // 3_600_000_000_000  # so that every part agrees
    close = 100.0 + count % 7
    open_ = 100.0 + (count - 1) % 7
    scale = {"ms": 10**6, "us": 10**3}[unit]
    stamps = times.astype("int64").to_numpy() // scale
    return pd.DataFrame(
        {
            "open_time": stamps, "open": open_, "high": np.maximum(open_, close) + 0.5,
            "low": np.minimum(open_, close) - 0.5, "close": close, "volume": 1.0 + count % 5,
            "close_time": stamps + 3_600_000_000_000 // scale - 1, "quote_volume": 1.0, "count": 3,
            "taker_buy_volume": 0.5, "taker_buy_quote_volume": 0.5, "ignore": 0,
        }
    )  # fmt: skip


def packed(name: str, table: pd.DataFrame, *, header: bool = False) -> bytes:
    """A zip of one CSV file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name.replace(".zip", ".csv"), table.to_csv(index=False, header=header))
    return stream.getvalue()


class Archive:
    """What the server holds, which faults are still to come, and what it was asked.

    Attributes:
        files: Path -> content.
        faults: Path -> faults for its next requests: a status, "cut" (half of what was asked for),
            "stall" (half, then silence), "drop" (no answer), "busy" (503, ask in 7 s).
        asked: (path, Range header or "") of every request but HEAD.
        ranges: Whether Range is honoured.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.ranges = True
        self.closing = threading.Event()
        self.address = ""

    def put(
        self,
        period: str,
        table: pd.DataFrame,
        *,
        folder: str = "spot",
        header: bool = False,
        interval: str = "1h",
    ) -> str:
        """Publish a month's or a day's file with its checksum; returns its path."""
        span = "monthly" if len(period) == 7 else "daily"
        name = f"ABCUSDT-{interval}-{period}.zip"
        path = f"/data/{folder}/{span}/klines/ABCUSDT/{interval}/{name}"
        self.files[path] = packed(name, table, header=header)
        self.publish(path)
        return path

    def publish(self, path: str) -> None:
        """Publish the checksum of what a path holds."""
        digest = hashlib.sha256(self.files[path]).hexdigest()
        self.files[path + ".CHECKSUM"] = f"{digest}  {path.rsplit('/', 1)[1]}\n".encode()


@contextmanager
def serving(archive: Archive) -> Iterator[str]:
    """Serve an archive; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            archive.asked.append((self.path, self.headers.get("Range", "")))
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            pending = archive.faults.get(self.path, [])
            fault = pending.pop(0) if body and pending else None
            content = archive.files.get(self.path)
            if fault == "drop":
                self.close_connection = True
                return
            if fault == "busy":
                self.send_response(503)
                self.send_header("Retry-After", "7")
                self.end_headers()
                return
            if content is None or isinstance(fault, int):
                self.send_error(fault if isinstance(fault, int) else 404)
                return
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(asked[1]) if asked and archive.ranges else 0
            if start >= len(content) > 0 and asked and archive.ranges:
                self.send_error(416)
                return
            self.send_response(206 if asked and archive.ranges else 200)
            if asked and archive.ranges:
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
            rest = content[start:]
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            if body:
                self.wfile.write(rest[: len(rest) // 2] if fault in ("cut", "stall") else rest)
                if fault == "stall":
                    self.wfile.flush()
                    archive.closing.wait(20)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    archive.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield archive.address
    finally:
        archive.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()

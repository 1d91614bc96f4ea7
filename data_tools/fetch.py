"""Files over HTTP, whole and verified or not at all: resumed, retried, checked by SHA-256."""

from __future__ import annotations

import http.client
import os
import re
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_tools.files import sha256

PART = ".part"  # suffix of what has come so far
_CHUNK = 1 << 16
_TEMPORARY = {408, 425, 429}  # and every 5xx
_CHECKSUM_BYTES = 4096
_LONGEST_PAUSE = 60.0
_HEADERS = {"User-Agent": "gym-trade", "Accept-Encoding": "identity"}


class DownloadError(ValueError):
    """A file that could not be fetched; the message names its address."""


class MissingFileError(DownloadError):
    """There is no such file."""


class Stopped(Exception):  # noqa: N818 - no error, the answer to Ctrl-C
    """The fetcher was told to stop."""


class _TemporaryError(Exception):
    """Worth another try.

    Attributes:
        pause: Seconds that the server asks to wait, if it does.
    """

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass
class Fetcher:
    """How files are fetched; one serves several threads.

    Attributes:
        timeout: Seconds without a byte after which a connection counts as broken.
        retries: Further tries after one that brought nothing new.
        backoff: Seconds before the first retry; doubled for each further one.
        verify: Whether a file without a published checksum is refused.
        stop: Set it to make every fetch raise `Stopped` soon.
        received: Bytes received so far.
    """

    timeout: float = 30.0
    retries: int = 5
    backoff: float = 1.0
    verify: bool = True
    stop: threading.Event = field(default_factory=threading.Event)
    received: int = 0

    def fetch(self, address: str, target: Path) -> None:
        """Fetch a file whose SHA-256 is published beside it; one that is already there is checked.

        What had come before an interruption is kept beside `target`, and the rest is asked for.

        Raises:
            MissingFileError: There is no such file.
            DownloadError: It could not be fetched, or is not what was published.
            Stopped: `stop` is set.
        """
        wanted = self._published(address, target.name)
        if target.exists():
            if wanted is None or sha256(target) == wanted:
                return
            target.unlink()
        part = target.with_name(target.name + PART)
        for fresh in (False, True):
            if fresh:  # what was resumed may have been another file's beginning
                part.unlink(missing_ok=True)
            self._complete(address, part)
            found = sha256(part)
            if wanted is None or found == wanted:
                os.replace(part, target)
                return
        part.unlink()
        raise DownloadError(
            f"{address}: SHA-256 is {found}, published is {wanted}, twice. The archive or the "
            "connection is at fault; try again later."
        )

    def _published(self, address: str, name: str) -> str | None:
        """The published SHA-256; None where there is none and that is allowed."""
        place = f"{address}.CHECKSUM"
        try:
            text = self._retried(place, lambda: self._read_short(place)).decode("ascii", "replace")
        except MissingFileError:
            if self.verify:
                self._require(address)
                raise DownloadError(
                    f"{place} is missing, so the file cannot be verified. Pass --allow-unverified "
                    "to take it as it is."
                ) from None
            return None
        match = re.fullmatch(r"([0-9a-fA-F]{64})(?:\s+\*?(\S+))?\s*", text)
        if not match or (match[2] or name) != name:
            raise DownloadError(f"{place} holds {text[:100]!r}. Expected a SHA-256 and {name}.")
        return match[1].lower()

    def _require(self, address: str) -> None:
        """Raise `MissingFileError` if there is no such file."""
        self._retried(address, lambda: self._open(address, {}, "HEAD").close())

    def _read_short(self, address: str) -> bytes:
        with self._open(address, {}) as response:
            content = bytes(response.read(_CHECKSUM_BYTES))
            if response.length and len(content) < _CHECKSUM_BYTES:
                raise _TemporaryError(f"the connection ended {response.length} bytes early")
            return content

    def _complete(self, address: str, part: Path) -> None:
        """Bring a partial file to its end."""
        furthest = part.stat().st_size if part.exists() else 0

        def progress() -> bool:
            nonlocal furthest
            size = part.stat().st_size if part.exists() else 0
            more, furthest = size > furthest, max(size, furthest)
            return more

        self._retried(address, lambda: self._continue(address, part), progress)

    def _continue(self, address: str, part: Path) -> None:
        have = part.stat().st_size if part.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self._open(address, headers) as response:
            if response.status == 416:  # nothing after what is there: all of it, as far as is known
                return
            resumed = response.status == 206 and _starts_at(response, have)
            with open(part, "ab" if resumed else "wb") as file:
                left = response.length  # bytes promised; None if the server does not say
                while chunk := response.read1(_CHUNK):
                    self._check()
                    file.write(chunk)
                    file.flush()  # a kill loses nothing
                    self.received += len(chunk)  # for the eye only: threads may lose some
            if left is not None and response.length:
                raise _TemporaryError(f"the connection ended {response.length} bytes early")

    def _open(self, address: str, headers: dict[str, str], method: str = "GET") -> Any:
        self._check()
        request = urllib.request.Request(address, headers=_HEADERS | headers, method=method)
        try:
            return urllib.request.urlopen(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416 and "Range" in headers:
                    return _Nothing()
                if error.code in (404, 410):
                    raise MissingFileError(f"{address} does not exist.") from None
                if error.code in _TEMPORARY or error.code >= 500:
                    pause = error.headers.get("Retry-After", "")
                    seconds = float(pause) if re.fullmatch(r"[0-9]{1,6}", pause) else 0.0
                    raise _TemporaryError(f"HTTP {error.code} {error.reason}", seconds) from None
                raise DownloadError(f"{address}: HTTP {error.code} {error.reason}.") from None

    def _retried(
        self, address: str, attempt: Callable[[], Any], progress: Callable[[], bool] | None = None
    ) -> Any:
        """Try until it works or `retries` tries in a row brought nothing new."""
        failures = 0
        while True:
            try:
                return attempt()
            except (DownloadError, Stopped):
                raise
            except (_TemporaryError, OSError, http.client.HTTPException) as error:
                if isinstance(error, OSError) and _is_local(error):
                    raise
                reason = getattr(error, "reason", None) or str(error) or type(error).__name__
                if isinstance(reason, ssl.SSLCertVerificationError):
                    raise DownloadError(f"{address}: {reason}.") from None
                failures = 1 if progress and progress() else failures + 1
                if failures > self.retries:
                    raise DownloadError(
                        f"{address} could not be fetched in {failures} tries: {reason}. What has "
                        "come is kept; run the same command again to go on."
                    ) from None
                pause = self.backoff * 2.0 ** (failures - 1)
                asked = error.pause if isinstance(error, _TemporaryError) else 0.0
                self.stop.wait(min(max(pause, asked), _LONGEST_PAUSE))
                self._check()

    def _check(self) -> None:
        if self.stop.is_set():
            raise Stopped


class _Nothing:
    """The answer to a request for bytes after the last."""

    status = 416

    def __enter__(self) -> _Nothing:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _starts_at(response: Any, have: int) -> bool:
    return str(response.headers.get("Content-Range", "")).startswith(f"bytes {have}-")


def _is_local(error: OSError) -> bool:
    """Whether it is about our own disk: those name a file."""
    return error.filename is not None or error.errno in _LOCAL


_LOCAL = {28, 122}  # no space, no quota: write() names no file

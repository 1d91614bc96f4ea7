"""One ``jit`` for the package, with a cache that knows all of its sources.

Numba's ``cache=True`` keys a compiled function on the file that it stands in. A kernel that calls
``accounting.fill`` would then go on computing the old rules after ``accounting.py`` was edited.
Here the cache directory's name is a digest of every source file of the package, of numba's version
and of the bounds-check setting, so a change anywhere compiles anew, and a bounds-checked run never
meets code that was compiled without checks. The directory lies outside the installation, which may
be read-only.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config as _numba_config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

numba_config: Any = _numba_config  # its settings are set dynamically
PACKAGE_DIRECTORY = Path(__file__).resolve().parent


@functools.lru_cache(maxsize=1)
def source_digest() -> str:
    """Digest of the package's sources and of what else decides the compiled code."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE_DIRECTORY.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update(f"{numba.__version__} boundscheck={numba_config.BOUNDSCHECK}".encode())
    return digest.hexdigest()[:16]


@functools.lru_cache(maxsize=1)
def cache_directory() -> Path:
    """The first writable of: ``NUMBA_CACHE_DIR``, the user's cache directory, a temporary one."""
    user_cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    candidates = [numba_config.CACHE_DIR, user_cache]
    for base in filter(None, candidates):
        path = Path(base) / "gym_trade" / source_digest()
        try:
            path.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=path).close()
        except OSError:
            continue
        return path
    path = Path(tempfile.mkdtemp(prefix="gym_trade-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


class _PackageLocator(_CacheLocator):  # type: ignore[misc]
    """Places a function's cache in the digest's directory."""

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        self._py_file = py_file
        self._lineno = py_func.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return str(cache_directory())

    def get_source_stamp(self) -> str:
        return source_digest()

    def get_disambiguator(self) -> str:
        return str(self._lineno)

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _PackageLocator:
        return cls(py_func, py_file)


class _PackageCacheImpl(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = [_PackageLocator]  # noqa: RUF012


class _PackageCache(FunctionCache):  # type: ignore[misc]
    _impl_class = _PackageCacheImpl


def jit(function: Callable[..., Any]) -> Any:
    """Compile a function of this package: no Python objects, no GIL, cached on disk.

    Division by zero follows IEEE 754 (``error_model="numpy"``) and ``fastmath`` stays off, so the
    compiled numbers equal those of the plain Python function (``.py_func``) bit for bit.

    The function must not allocate: it writes into its caller's arrays. That lets it do without
    reference counts, whose atomic additions cost several times what a step of a lane does. It is
    inlined where it is called: passing arrays on costs more than most of these functions do.
    """
    return _compile(function, _nrt=False, forceinline=True)


def rare_jit(function: Callable[..., Any]) -> Any:
    """As `jit`, for what seldom runs: it stays out of line, and the common path short."""
    return _compile(function, _nrt=False)


def allocating_jit(function: Callable[..., Any]) -> Any:
    """As `jit`, for functions outside the step that make arrays."""
    return _compile(function)


def _compile(function: Callable[..., Any], **options: Any) -> Any:
    compiled: Any = numba.njit(nogil=True, error_model="numpy", **options)(function)
    if not numba_config.DISABLE_JIT:
        compiled._cache = _PackageCache(function)  # type: ignore[no-untyped-call]
    return compiled

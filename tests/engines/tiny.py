"""Small GGUF files, written by the format's own library."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

ROWS, COLUMNS = 48, 64


def weights() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Give the matrix that the files hold, before it is encoded."""
    return np.random.default_rng(5).normal(size=(ROWS, COLUMNS)).astype(np.float32)


def write_gguf(path: Path, kind: str) -> Path:
    """Write a file with a matrix of some type, a vector, and fields of each sort."""
    tensor_type = gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(77)
    writer.add_name("tiny")
    writer.add_array("tokenizer.ggml.tokens", ["a", "bé", "<|end|>"])
    writer.add_array("tokenizer.ggml.scores", [0.5, 1.5, 2.5])
    writer.add_tensor("matrix", gguf.quants.quantize(weights(), tensor_type), raw_dtype=tensor_type)
    writer.add_tensor("norm", np.arange(COLUMNS, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path

"""A text-to-image pipeline of a hundred kilobytes: real in every part, its weights by chance."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

CHANNELS = 4
HIDDEN = 16
TOKENS_MAX = 77
SCALE = 8

INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
SCHEDULE = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def write_painter(folder: Path) -> Path:
    """Write the pipeline: words are bytes, and noise is steered by their mean."""
    for name in ("tokenizer", "text_encoder", "unet", "vae_decoder", "scheduler"):
        (folder / name).mkdir(parents=True)
    chance = np.random.default_rng(0)
    _tokenizer(folder / "tokenizer")
    _text_encoder(folder / "text_encoder", chance)
    _unet(folder / "unet", chance)
    _decoder(folder / "vae_decoder", chance)
    (folder / "scheduler" / "scheduler_config.json").write_bytes(msgspec.json.encode(SCHEDULE))
    (folder / "model_index.json").write_bytes(msgspec.json.encode(INDEX))
    return folder


def _tokenizer(folder: Path) -> None:
    openvino, ops = library(), operations()
    text = ops.parameter([-1], openvino.Type.string)
    factory = import_module("openvino_tokenizers")._get_factory()
    unpacked = factory.create("StringTensorUnpack", [text.output(0)])
    ids = ops.convert(unpacked.output(2), "i64")
    ids = ops.slice(ids, whole([0]), whole([TOKENS_MAX]), whole([1]), name="cut")
    ids = ops.unsqueeze(ids, whole(0))
    mask = ops.broadcast(whole(1), ops.shape_of(ids))
    model = openvino.Model(
        [named(ids, "input_ids"), named(mask, "attention_mask")], [text], "tokenizer"
    )
    for what in ("pad_token_id", "eos_token_id"):
        model.set_rt_info(0, what)
    openvino.save_model(model, folder / "openvino_tokenizer.xml")


def _text_encoder(folder: Path, chance: np.random.Generator) -> None:
    openvino, ops = library(), operations()
    ids = named(ops.parameter([-1, -1], openvino.Type.i64), "input_ids")
    states = ops.gather(real(chance.normal(size=(256, HIDDEN))), ids, whole(0))
    config = {"max_position_embeddings": TOKENS_MAX, "num_hidden_layers": 1}
    _save(folder, config, named(states, "last_hidden_state"), ids)


def _unet(folder: Path, chance: np.random.Generator) -> None:
    openvino, ops = library(), operations()
    sample = named(ops.parameter([-1, CHANNELS, -1, -1], openvino.Type.f32), "sample")
    step = named(ops.parameter([-1], openvino.Type.i64), "timestep")
    states = named(ops.parameter([-1, -1, HIDDEN], openvino.Type.f32), "encoder_hidden_states")
    kernel = real(0.2 * chance.normal(size=(CHANNELS, CHANNELS, 3, 3)))
    noise = ops.convolution(sample, kernel, [1, 1], [1, 1], [1, 1], [1, 1])
    meant = ops.reduce_mean(states, whole([1]), keep_dims=False)
    weights = real(chance.normal(size=(HIDDEN, CHANNELS)))
    steered = ops.matmul(meant, weights, transpose_a=False, transpose_b=False)
    late = ops.multiply(ops.reduce_mean(ops.convert(step, "f32"), whole([0])), real(1e-4))
    noise = ops.add(ops.add(noise, ops.unsqueeze(steered, whole([2, 3]))), late)
    config = {"in_channels": CHANNELS, "sample_size": 16}
    _save(folder, config, named(noise, "out_sample"), sample, step, states)


def _decoder(folder: Path, chance: np.random.Generator) -> None:
    openvino, ops = library(), operations()
    latent = named(ops.parameter([-1, CHANNELS, -1, -1], openvino.Type.f32), "latent_sample")
    kernel = real(0.3 * chance.normal(size=(3, CHANNELS, 1, 1)))
    small = ops.convolution(latent, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    scales = real([SCALE, SCALE])
    large = ops.interpolate(small, scales, "nearest", "scales", axes=whole([2, 3]))
    config = {
        "in_channels": 3,
        "latent_channels": CHANNELS,
        "out_channels": 3,
        "scaling_factor": 0.18215,
        "block_out_channels": [4] * 4,  # each but one doubles the sides
    }
    _save(folder, config, named(large, "sample"), latent)


def _save(folder: Path, config: dict[str, Any], result: Any, *parameters: Any) -> None:
    openvino = library()
    model = openvino.Model([result], list(parameters), folder.name)
    openvino.save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)
    (folder / "config.json").write_bytes(msgspec.json.encode(config))


def library() -> Any:
    """Import OpenVINO when it is wanted, without its reports."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    return import_module("openvino")


def operations() -> Any:
    return import_module("openvino.opset13")


def named(node: Any, name: str) -> Any:
    node.output(0).set_names({name})
    return node


def whole(value: Any) -> Any:
    return operations().constant(np.array(value, np.int64))


def real(value: Any) -> Any:
    return operations().constant(np.array(value, np.float32))

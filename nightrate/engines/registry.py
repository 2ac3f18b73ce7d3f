"""The engines that can be had by name.

The built-in ones below, and those that installed packages announce in the entry-point group
``nightrate.engines``. A factory imports what it needs only when it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

from nightrate.engines.base import Engine, Options
from nightrate.errors import SettingsFault

ENTRY_POINT_GROUP = "nightrate.engines"

Factory = Callable[[Options], Engine]


def _echo(options: Options) -> Engine:
    from nightrate.engines.echo import EchoEngine

    return EchoEngine.from_options(options)


def _openvino(options: Options) -> Engine:
    from nightrate.engines.openvino import OpenVINOEngine

    return OpenVINOEngine.from_options(options)


def _minilm(options: Options) -> Engine:
    from nightrate.engines.minilm import MiniLMEngine

    return MiniLMEngine.from_options(options)


def _illustrator(options: Options) -> Engine:
    from nightrate.engines.illustrator import IllustratorEngine

    return IllustratorEngine.from_options(options)


def _llama_cpp(options: Options) -> Engine:
    from nightrate.engines.llama_cpp import LlamaCppEngine

    return LlamaCppEngine.from_options(options)


def _gemini(options: Options) -> Engine:
    from nightrate.engines.gemini import GeminiEngine

    return GeminiEngine.from_options(options)


def _openai(options: Options) -> Engine:
    from nightrate.engines.openai import OpenAIEngine

    return OpenAIEngine.from_options(options)


def _openvino_images(options: Options) -> Engine:
    from nightrate.engines.openvino_images import OpenVINOImagesEngine

    return OpenVINOImagesEngine.from_options(options)


def _vllm(options: Options) -> Engine:
    from nightrate.engines.vllm import VLLMEngine

    return VLLMEngine.from_options(options)


BUILT_IN: dict[str, Factory] = {
    "echo": _echo,
    "gemini": _gemini,
    "illustrator": _illustrator,
    "llama_cpp": _llama_cpp,
    "minilm": _minilm,
    "openai": _openai,
    "openvino": _openvino,
    "openvino_images": _openvino_images,
    "vllm": _vllm,
}


def engine_names() -> list[str]:
    """Name every engine that can be created here."""
    announced = {entry.name for entry in metadata.entry_points(group=ENTRY_POINT_GROUP)}
    return sorted(announced | BUILT_IN.keys())


def create_engine(name: str, options: Options) -> Engine:
    """Make an engine, not yet open.

    Raises:
        SettingsFault: there is no such engine, or its options are wrong (every problem listed).
    """
    if name in BUILT_IN:
        return BUILT_IN[name](options)
    for entry in metadata.entry_points(group=ENTRY_POINT_GROUP, name=name):
        factory: Factory = entry.load()
        return factory(options)
    raise SettingsFault([f"engine {name!r} is not known; there are: {', '.join(engine_names())}"])

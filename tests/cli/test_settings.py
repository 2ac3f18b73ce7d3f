"""``nightrate settings``: where each value came from, and every problem at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from nightrate.cli import commands as entry
from nightrate.errors import SettingsFault
from nightrate.settings import load
from tests.cli.conftest import Commands

ALL = {
    "concurrent_batches_max",
    "enqueued_tokens_max",
    "file_storage_bytes_max",
    "partial_results",
    "strict",
    "batch_hours_max",
    "results_kept_days",
    "changes_by_get",
    "host",
    "port",
    "data",
    "cache",
    "public_url",
    "cached_tokens_min",
    "webhooks_private",
    "search",
    "url_context",
    "url_context_private",
    "tariff",
    "engine",
    "models",
    "engines",
}


def test_every_setting_tells_its_value_and_its_origin(commands: Commands) -> None:
    commands.write("my.toml", 'port = 9000\ndata = "/srv/x"\n[models]\n"gemini-*" = "echo"\n')
    environment = {"NIGHTRATE_PORT": "9001", "NIGHTRATE_PUBLIC_URL": "https://example.org"}
    told = commands.run("settings", "--config", "my.toml", "--json", environment=environment)
    assert told.status == 0, told.complaint
    assert told.json.keys() == ALL
    assert told.json["host"] == {"value": "127.0.0.1", "from": "default"}
    assert told.json["port"] == {"value": 9001, "from": "environment variable NIGHTRATE_PORT"}
    assert told.json["data"] == {"value": "/srv/x", "from": "my.toml"}
    assert told.json["models"] == {"value": {"gemini-*": "echo"}, "from": "my.toml"}
    plain = commands.run("settings", "--config", "my.toml", environment=environment)
    assert "port = 9001  (environment variable NIGHTRATE_PORT)" in plain.out
    assert 'data = "/srv/x"  (my.toml)' in plain.out
    assert {line.partition(" ")[0] for line in plain.out} == ALL


def test_the_file_may_be_named_by_the_environment(commands: Commands) -> None:
    commands.write("my.toml", "port = 9000\n")
    told = commands.run("settings", "--json", environment={"NIGHTRATE_CONFIG": "my.toml"})
    assert told.json["port"] == {"value": 9000, "from": "my.toml"}


def test_a_flag_comes_before_environment_and_file(commands: Commands) -> None:
    commands.write("my.toml", "concurrent_batches_max = 5\nport = 80\n")
    command = ("serve", "--config", "my.toml", "--port", "70000")
    environment = {"NIGHTRATE_PORT": "81", "NIGHTRATE_CONCURRENT_BATCHES_MAX": "-1"}
    told = commands.run(*command, environment=environment)
    assert told.status == 2
    assert told.err[0].startswith("error: port 70000:")
    assert told.err[1].startswith("error: concurrent_batches_max -1:")


def test_all_problems_are_told_at_once(commands: Commands) -> None:
    commands.write("my.toml", 'prot = 80\nport = "many"\n[engines]\necho = 5\n')
    environment = {"NIGHTRATE_PORRT": "1", "NIGHTRATE_MODELS": "x"}
    told = commands.run("settings", "--config", "my.toml", environment=environment)
    assert told.status == 2
    assert told.out == []
    complaint = told.complaint
    assert "prot (my.toml): unknown setting; there are: host, port" in complaint
    assert "port (my.toml): Expected `int`" in complaint
    assert "engines (my.toml): Expected `object`" in complaint
    assert "porrt (environment variable NIGHTRATE_PORRT): unknown setting" in complaint
    assert "NIGHTRATE_MODELS: tables are set in the settings file" in complaint
    assert len(told.err) == 5


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"port = ", "is not TOML"), (b"\xff", "is not TOML"), (None, "does not exist")],
)
def test_a_settings_file_that_cannot_be_read_is_named(
    commands: Commands, content: bytes | None, complaint: str
) -> None:
    if content is not None:
        commands.write("my.toml", content)
    told = commands.run("settings", "--config", "my.toml")
    assert told.status == 2
    assert f"settings file my.toml {complaint}" in told.complaint


def test_a_folder_is_no_settings_file(commands: Commands) -> None:
    told = commands.run("settings", "--config", ".")
    assert told.status == 2
    assert "settings file . cannot be read" in told.complaint


def test_quotas_that_let_nothing_through_are_refused(commands: Commands) -> None:
    commands.write("my.toml", '[enqueued_tokens_max]\n"gemini-*" = -1\nother = 0\n')
    environment = {
        "NIGHTRATE_CONCURRENT_BATCHES_MAX": "0",
        "NIGHTRATE_FILE_STORAGE_BYTES_MAX": "0",
    }
    told = commands.run("settings", "--config", "my.toml", environment=environment)
    assert told.status == 2
    assert "concurrent_batches_max 0: not 1 or more" in told.complaint
    assert "file_storage_bytes_max 0: not 1 or more" in told.complaint
    assert "enqueued_tokens_max 'gemini-*': -1 is less than 0" in told.complaint
    assert len(told.err) == 3


def test_a_cached_content_cannot_have_less_than_no_tokens(commands: Commands) -> None:
    told = commands.run("settings", environment={"NIGHTRATE_CACHED_TOKENS_MIN": "-1"})
    assert told.status == 2
    assert "cached_tokens_min -1: not 0 or more" in told.complaint


def test_pages_are_fetched_or_refused_and_nothing_else(commands: Commands) -> None:
    told = commands.run("settings", environment={"NIGHTRATE_URL_CONTEXT": "perhaps"})
    assert told.status == 2
    assert "url_context (environment variable NIGHTRATE_URL_CONTEXT)" in told.complaint


@pytest.mark.parametrize("value", ["0", "-1", "true", '"long"'])
def test_an_engine_has_some_time_for_an_answer(commands: Commands, value: str) -> None:
    commands.write("bad.toml", f"[engines.echo]\nanswer_seconds = {value}\n")
    told = commands.run("settings", "--config", "bad.toml")
    assert told.status != 0
    assert "engines.echo.answer_seconds" in told.complaint
    commands.write("good.toml", "[engines.echo]\nanswer_seconds = 0.5\n")
    assert commands.run("settings", "--config", "good.toml").status == 0


def test_models_tells_which_engine_answers(commands: Commands) -> None:
    commands.write("my.toml", '[models]\n"gemini-*" = "openvino"\nmine = "echo"\n')
    told = commands.run("models", "--config", "my.toml")
    assert told.out == ["gemini-* -> openvino", "mine -> echo"]
    assert commands.run("models", "--config", "my.toml", "--engine", "echo", "--json").json == {
        "gemini-*": "echo",
        "mine": "echo",
    }


def test_a_fresh_install_has_engines_for_texts_vectors_and_pictures(commands: Commands) -> None:
    assert commands.run("models").out == [
        "gemini-* -> openvino",
        "*embedding* -> minilm",
        "*image* -> illustrator",
    ]
    assert commands.run("models", "--engine", "echo").out == [
        "gemini-* -> echo",
        "*embedding* -> echo",
        "*image* -> echo",
    ]


@pytest.mark.parametrize(
    "command",
    [
        *("", "serve", "run", "validate", "doctor", "settings", "models"),
        *("keys", "keys create", "keys list", "keys revoke"),
    ],
)
def test_every_command_explains_itself_and_its_options(command: str) -> None:
    told = CliRunner().invoke(entry, [*command.split(), "--help"])
    assert told.exit_code == 0
    usage, _, rest = told.output.partition("\n\n")
    assert usage.startswith("Usage: ")
    assert rest.strip()
    options = [line for line in rest.splitlines() if line.startswith("  -")]
    assert options
    # Either the words stand behind the option, or in the line below a long one.
    assert all(len(line.split()) > 2 or line.endswith(("PATH", "DIR", "NAME")) for line in options)


def test_the_version_is_told(commands: Commands) -> None:
    told = commands.run("--version")
    assert (told.status, len(told.out)) == (0, 1)
    assert told.out[0].startswith("nightrate, version ")


@pytest.mark.parametrize("setting", ["batch_hours_max", "results_kept_days"])
@pytest.mark.parametrize("value", ["0", "999999"])
def test_times_have_bounds(commands: Commands, setting: str, value: str) -> None:
    told = commands.run("settings", environment={f"NIGHTRATE_{setting.upper()}": value})
    assert told.status != 0
    assert f"{setting} {value}: not 1 to " in told.complaint


# references -----------------------------------------------------------------------------------

ENGINES = """
[models]
mine = "gpu"
[engines.gpu]
kind = "openai"
base_url = "http://gpu/v1"
api_key = { env = "GPU_KEY" }
headers = { x-team = { file = "team.txt" }, x-plain = "plain" }
"""


def test_a_key_is_referred_to_and_not_shown(commands: Commands) -> None:
    commands.write("my.toml", ENGINES)
    environment = {"GPU_KEY": "sk-secret"}
    told = commands.run("settings", "--config", "my.toml", environment=environment)
    assert told.status == 0
    assert "GPU_KEY" in "\n".join(told.out)
    assert "sk-secret" not in "\n".join(told.out)


def test_a_key_that_stands_in_the_settings_is_refused_and_not_shown(commands: Commands) -> None:
    commands.write("my.toml", ENGINES.replace('{ env = "GPU_KEY" }', '"sk-secret"'))
    told = commands.run("settings", "--config", "my.toml")
    assert told.status == 2
    assert "engines.gpu.api_key: a key that stands here would be shown" in told.complaint
    assert "sk-secret" not in told.complaint


def test_references_are_followed_when_an_engine_is_made(tmp_path: Path) -> None:
    (tmp_path / "team.txt").write_text("night\n")
    config = tmp_path / "my.toml"
    config.write_text(ENGINES.replace("team.txt", str(tmp_path / "team.txt")))
    settings = load(config, {}, {}).settings
    kind, options = settings.engine_options("gpu", {"GPU_KEY": "sk-secret"})
    assert kind == "openai"
    assert options == {
        "base_url": "http://gpu/v1",
        "api_key": "sk-secret",
        "headers": {"x-team": "night", "x-plain": "plain"},
    }


def test_all_references_that_lead_nowhere_are_told_at_once(tmp_path: Path) -> None:
    config = tmp_path / "my.toml"
    config.write_text(ENGINES.replace("team.txt", str(tmp_path / "missing")))
    settings = load(config, {}, {}).settings
    with pytest.raises(SettingsFault) as fault:
        settings.engine_options("gpu", {})
    first, second = fault.value.problems
    assert first == "engines.gpu.api_key: there is no environment variable GPU_KEY"
    assert second.startswith("engines.gpu.headers.x-team: ")
    assert second.endswith("missing cannot be read: No such file or directory")
    (tmp_path / "missing").write_bytes(b"\xff")
    with pytest.raises(SettingsFault, match="missing is no text"):
        settings.engine_options("gpu", {})


# tariff ---------------------------------------------------------------------------------------

TARIFF = """
currency = "USD"
[models."gemini-*"]
input = 0.10
output = "0.40"
cached = 0
"""


def test_the_tariff_is_a_file_in_which_decimals_stay_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "tariff.toml"
    path.write_text(TARIFF)
    tariff = load(None, {}, {"NIGHTRATE_TARIFF": str(path)}).settings.read_tariff()
    assert tariff is not None
    (prices,) = tariff.models.values()
    assert [str(prices.input), str(prices.output), str(prices.cached)] == ["0.10", "0.40", "0"]
    assert prices.thinking is None
    assert load(None, {}, {}).settings.read_tariff() is None


def test_everything_that_is_wrong_with_a_tariff_is_told_before_anything_runs(
    commands: Commands,
) -> None:
    commands.write(
        "tariff.toml",
        'currency = "USD"\nbatch_share = 2\n[models.a]\ninput = -1\noutput = 1\ncached = 1\n'
        '[models.b]\ninput = 1\noutput = 1\ncached = 1\nimages = 1\n[models.c]\ninput = "much"\n',
    )
    commands.write("my.toml", 'tariff = "tariff.toml"\n')
    for command in ("settings", "serve"):
        told = commands.run(command, "--config", "my.toml")
        assert told.status == 2
        assert len(told.err) == 4
        assert "tariff file tariff.toml: `batch_share` is 2, not" in told.err[0]
        assert "models.'a': `input` is -1, not a number from 0 on" in told.err[1]
        assert "models.'b': Object contains unknown field `images`" in told.err[2]
        assert "models.'c': Invalid decimal string - at `$.input`" in told.err[3]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"currency = ", "is not TOML"),
        (b"\xff", "is not TOML"),
        (None, "cannot be read: No such file"),
        (b"", "missing required field `currency`"),
        (b'currency = "USD"\nmodels = 1\n', "`models` is no table of tables"),
        (b'currency = "USD"\nprices = 1\n', "unknown field `prices`"),
    ],
)
def test_a_tariff_that_cannot_be_read_is_named(
    commands: Commands, content: bytes | None, complaint: str
) -> None:
    if content is not None:
        commands.write("tariff.toml", content)
    told = commands.run("settings", environment={"NIGHTRATE_TARIFF": "tariff.toml"})
    assert told.status == 2
    assert "tariff file tariff.toml" in told.complaint
    assert complaint in told.complaint

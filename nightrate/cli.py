"""The commands: parse the line, call one verb, print."""

from __future__ import annotations

import logging
import math
import shlex
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

import nightrate
from nightrate.cli_batches import batches
from nightrate.cli_bench import bench
from nightrate.cli_index import index
from nightrate.cli_verify import verify
from nightrate.errors import Fault, SettingsFault
from nightrate.settings import Loaded, load

if TYPE_CHECKING:
    from nightrate.dialects.administration import KeyDocument
    from nightrate.domain.backup import Progress
    from nightrate.domain.batch import Batch
    from nightrate.domain.inspection import Inspection
    from nightrate.engines.base import Finding

T = TypeVar("T")

DEFAULT_MODEL = "gemini-flash-latest"
"""What ``nightrate run`` asks for; the default rules map it to the embedded model."""

_config = click.option("--config", type=click.Path(path_type=Path), help="Settings file (TOML).")
_engine = click.option("--engine", metavar="NAME", help="Run every model on this one engine.")
_data = click.option("--data", metavar="DIR", help="The data directory of the server.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a script.")


def main() -> None:
    """Run the command line; what goes wrong in a foreseen way is one message and status 1."""
    try:
        commands(prog_name="nightrate", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except SettingsFault as fault:
        for problem in fault.problems:
            _complain(problem)
        sys.exit(2)
    except Fault as fault:
        _complain(fault.message)
        sys.exit(1)


def _complain(message: str) -> None:
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(message, err=True)


def _run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    import uvloop

    return uvloop.run(work())


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(nightrate.__version__)
def commands() -> None:
    """Batch inference on models you own, through the Gemini Batch API."""


@commands.command()
@click.option(
    "--host", help="Address to listen on; beyond loopback with keys.  [default: 127.0.0.1]"
)
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one.  [default: 8080]")
@click.option("--data", metavar="DIR", help="Where everything is kept.  [default: nightrate-data]")
@_config
@_engine
def serve(config: Path | None, **flags: Any) -> None:
    """Serve the API until SIGTERM or Ctrl-C."""
    from nightrate import serving, telemetry
    from nightrate.progress import Steps

    settings = load(config, flags).settings
    telemetry.set_up()
    steps = Steps()

    def listening(address: str, trouble: str | None) -> None:
        steps.done()
        if trouble:
            _complain(f"{trouble}\nThe server at {address} keeps what it is given and tries again.")
        else:
            click.echo(f"nightrate ready on {address}")

    _run(lambda: serving.serve(settings, steps.tell, listening))


@commands.command()
@click.argument("source", metavar="INPUT.jsonl", type=click.Path(dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where the answers go.")
@click.option("--model", default=DEFAULT_MODEL, show_default=True, help="The model to ask.")
@_config
@_engine
@_json
def run(
    source: Path,
    output: Path | None,
    model: str,
    config: Path | None,
    engine: str | None,
    *,
    as_json: bool,
) -> None:
    """Run a file of requests without a server. Run again to resume."""
    from nightrate import clock, local_run, telemetry
    from nightrate.progress import Bar

    settings = load(config, {"engine": engine}).settings
    telemetry.set_up(level=logging.ERROR)
    output = output or source.with_name(source.stem + ".out.jsonl")
    started = clock.monotonic()
    with Bar(source.name) as bar:
        batch = _run(
            lambda: local_run.run_file(
                settings, source, output, model, progress=bar.tell, watch=bar.watch
            )
        )
    _tell_end(batch, output, clock.monotonic() - started, as_json=as_json)
    if batch.failure is not None:
        sys.exit(1)


def _tell_end(batch: Batch, output: Path, seconds: float, *, as_json: bool) -> None:
    from nightrate.cli_receipts import tell_receipt
    from nightrate.dialects.receipts import receipt_document
    from nightrate.domain.receipt import receipt_of

    tally = batch.tally
    receipt = None if (found := receipt_of(batch)) is None else receipt_document(found)
    if as_json:
        summary = {
            "state": str(batch.state),
            "output": str(output) if batch.failure is None else None,
            "requests": batch.request_count,
            "succeeded": tally.succeeded,
            "failed": tally.failed,
            "promptTokens": tally.prompt_tokens,
            "outputTokens": tally.output_tokens,
            "seconds": round(seconds, 3),
            "receipt": receipt,
            "error": batch.failure.message if batch.failure else None,
        }
        click.echo(msgspec.json.encode(summary))
    elif batch.failure is not None:
        _complain(f"the run {batch.state}: {batch.failure.message}")
    else:
        rate = tally.output_tokens / seconds
        click.echo(
            f"{output}: {tally.succeeded} answered, {tally.failed} failed in {seconds:.1f} s;"
            f" {tally.prompt_tokens} tokens in, {tally.output_tokens} out ({rate:.0f} tokens/s)"
        )
        assert receipt is not None, "it succeeded"
        tell_receipt(receipt)


@commands.command()
@click.argument(
    "source", metavar="INPUT.jsonl", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--model", default=DEFAULT_MODEL, show_default=True, help="The model to ask.")
@_json
def validate(source: Path, model: str, *, as_json: bool) -> None:
    """Check a file of requests; nothing runs.

    Ends with status 0 when every line is a valid request, 1 when some are not, 2 when none is.
    """
    from nightrate import limits
    from nightrate.domain.batch import Kind
    from nightrate.domain.inspection import Budget
    from nightrate.service.models import usual_method
    from nightrate.work.inspector import inspect_input

    budget = Budget(
        bytes_max=source.stat().st_size,
        seconds_max=math.inf,
        faults_max=limits.FAULTS_LISTED_MAX,
    )
    with source.open("rb", buffering=0) as file:
        found = inspect_input(file, model, Kind(method=usual_method(model)), budget)
    if as_json:
        click.echo(msgspec.json.encode(_summary_of(found)))
    else:
        _tell_inspection(source, found)
    valid = found.request_count - found.invalid_count
    sys.exit(0 if not found.invalid_count and valid else 1 if valid else 2)


def _tell_inspection(source: Path, found: Inspection) -> None:
    for fault in found.faults:
        click.echo(fault.message)
    if (more := found.invalid_count - len(found.faults)) > 0:
        click.echo(f"... and {more} more")
    valid = found.request_count - found.invalid_count
    click.echo(
        f"{source}: {found.request_count} requests, {valid} valid, {found.invalid_count} not;"
        f" {found.shard_count} shards"
    )
    for repeated in found.repeated_keys:
        click.echo(f"Line {repeated.number} repeats the key {repeated.key}.", err=True)
    if (more := found.repeated_count - len(found.repeated_keys)) > 0:
        click.echo(f"... and {more} more repeat one.", err=True)


def _summary_of(found: Inspection) -> dict[str, Any]:
    from nightrate.domain.quota import estimate_tokens

    return {
        "requests": found.request_count,
        "valid": found.request_count - found.invalid_count,
        "invalid": found.invalid_count,
        "shards": found.shard_count,
        "faults": [fault.message for fault in found.faults],
        "repeatedKeys": [
            {"line": one.number, "key": msgspec.Raw(one.key.encode())}
            for one in found.repeated_keys
        ],
        "promptTokenEstimate": estimate_tokens(found.text_bytes),
    }


@commands.command()
@click.option("--data", metavar="DIR", help="The data directory to look at.")
@_config
@_engine
@_json
def doctor(config: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Check disk, database and engines; says what to do about what it finds."""
    from nightrate import telemetry
    from nightrate.doctor import examine
    from nightrate.progress import Steps

    settings = load(config, flags).settings
    telemetry.set_up(level=logging.ERROR)
    steps = Steps()

    async def check() -> list[Finding]:
        findings = []
        async for finding in examine(settings, steps.tell):
            steps.done()
            findings.append(finding)
            if not as_json:
                _print_finding(finding)
        return findings

    findings = _run(check)
    if as_json:
        click.echo(msgspec.json.encode(findings))
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


def _print_finding(finding: Finding) -> None:
    mark, colour = ("ok  ", "green") if finding.ok else ("FAIL", "red")
    click.secho(mark, fg=colour, nl=False)
    remedy = f"\n      -> {finding.remedy}" if finding.remedy else ""
    click.echo(f"  {finding.check}: {finding.found}{remedy}")


@commands.command("backup")
@click.argument("target", metavar="DESTINATION", type=click.Path(path_type=Path))
@_data
@_config
@_json
def make_backup(target: Path, data: str | None, config: Path | None, *, as_json: bool) -> None:
    """Copy the data directory, whether a server is running in it or not.

    DESTINATION is a directory that is not there yet, or empty, or holds an earlier backup.
    """
    from nightrate import manage_backups
    from nightrate.progress import Copying

    directory = _data_directory(config, data)
    with Copying("backup") as copying:
        done = _run(lambda: manage_backups.back_up(directory, target.absolute(), copying.tell))
    _tell_copy(done, target, as_json=as_json)


@commands.command()
@click.argument("source", metavar="BACKUP", type=click.Path(path_type=Path))
@_data
@_config
@_json
def restore(source: Path, data: str | None, config: Path | None, *, as_json: bool) -> None:
    """Make a data directory of a backup. It must not be there yet, or be empty."""
    from nightrate import manage_backups
    from nightrate.progress import Copying

    directory = _data_directory(config, data)
    with Copying("restore") as copying:
        done = manage_backups.restore(source, directory, copying.tell)
    _tell_copy(done, directory, as_json=as_json)
    if not as_json:
        click.echo(f"Start a server in it: nightrate serve --data {shlex.quote(str(directory))}")


def _tell_copy(done: Progress, target: Path, *, as_json: bool) -> None:
    """Print what was copied; status 1 where something was missing."""
    if as_json:
        click.echo(msgspec.json.encode({"target": str(target), **msgspec.to_builtins(done)}))
    else:
        click.echo(
            f"{target}: the database, and {done.done_bytes / 1e6:.1f} MB in"
            f" {done.copied + done.linked + done.there} blobs ({done.copied} copied, {done.linked}"
            f" linked, {done.there} there already)"
        )
    if done.damaged:
        _complain(
            f"{done.damaged} blobs are missing or too short, such as {done.first_damaged};"
            " all others are in the copy"
        )
        sys.exit(1)


@commands.command("settings")
@_config
@_json
def show_settings(config: Path | None, *, as_json: bool) -> None:
    """Print each setting, its value and where it came from."""
    loaded: Loaded = load(config, {})
    values = msgspec.to_builtins(loaded.settings)
    if as_json:
        shown = {key: {"value": values[key], "from": loaded.origins[key]} for key in values}
        click.echo(msgspec.json.encode(shown))
        return
    for key, value in values.items():
        click.echo(f"{key} = {msgspec.json.encode(value).decode()}  ({loaded.origins[key]})")


@commands.command("models")
@_config
@_engine
@_json
def show_models(config: Path | None, engine: str | None, *, as_json: bool) -> None:
    """Print which engine answers for which model names."""
    rules = load(config, {"engine": engine}).settings.model_rules()
    if as_json:
        click.echo(msgspec.json.encode(rules))
        return
    for pattern, name in rules.items():
        click.echo(f"{pattern} -> {name}")


@commands.group()
def keys() -> None:
    """Make, list and revoke API keys, whether a server is running or not."""


@keys.command("create")
@click.option("--tenant", default="default", show_default=True, help="Whose data it opens.")
@click.option("--name", default="", metavar="LABEL", help="A label for people.")
@click.option("--expires-in", type=int, metavar="DAYS", help="Let it end by itself.")
@_data
@_config
@_json
def create_key(
    tenant: str,
    name: str,
    expires_in: int | None,
    data: str | None,
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    """Make a key and print it. It is shown this once."""
    from nightrate import manage_keys
    from nightrate.domain.key import KeyWish

    directory = _data_directory(config, data)
    wish = KeyWish(tenant=tenant, name=name, expires_in_days=expires_in)
    key = _run(lambda: manage_keys.create_key(directory, wish))
    if as_json:
        click.echo(msgspec.json.encode(key))
        return
    click.echo(key.key)
    until = f" until {key.expires}" if key.expires else ""
    told = f"Key {key.id} opens the data of tenant {key.tenant}{until}. It is not shown again."
    click.echo(told, err=True)


@keys.command("list")
@_data
@_config
@_json
def list_keys(data: str | None, config: Path | None, *, as_json: bool) -> None:
    """Print every key that was ever made, without its secret."""
    from nightrate import manage_keys

    directory = _data_directory(config, data)
    found = _run(lambda: manage_keys.list_keys(directory))
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    rows = [_KEY_COLUMNS, *map(_key_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


_KEY_COLUMNS = ("ID", "TENANT", "NAME", "CREATED", "LAST USED", "EXPIRES", "REVOKED")


def _key_row(key: KeyDocument) -> tuple[str, ...]:
    def minute(moment: str | None, none: str) -> str:
        return none if moment is None else f"{moment[:10]} {moment[11:16]}"

    return (
        *(key.id, key.tenant, key.name or "-", minute(key.created, "-")),
        *(minute(key.last_used, "never"), minute(key.expires, "never"), minute(key.revoked, "-")),
    )


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@_data
@_config
@_json
def revoke_key(key_id: str, data: str | None, config: Path | None, *, as_json: bool) -> None:
    """End a key by its ID. A running server refuses it from the next call on."""
    from nightrate import manage_keys

    directory = _data_directory(config, data)
    key = _run(lambda: manage_keys.revoke_key(directory, key_id))
    if as_json:
        click.echo(msgspec.json.encode(key))
    else:
        click.echo(f"Key {key.id} of tenant {key.tenant} is revoked.")


def _data_directory(config: Path | None, data: str | None) -> Path:
    return Path(load(config, {"data": data}).settings.data)


commands.add_command(batches)
commands.add_command(bench)
commands.add_command(index)
commands.add_command(verify)

if __name__ == "__main__":
    main()

"""The `toolset` command: load settings, run a subcommand, map errors to exit codes.

Each command imports what it needs, so that ``--help`` and ``version`` start fast.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Container, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from toolset.commands.parser import EXIT_ERROR, VERSION, parser
from toolset.commands.process import (
    OutputError,
    confirmed,
    drop_output,
    ended_by,
    has_colours,
    lack,
    patiently,
    run_loop,
    write,
)
from toolset.errors import SettingsError, ToolsetError

if TYPE_CHECKING:
    from toolset.commands.plan import Report
    from toolset.config.settings import Settings
    from toolset.config.source import Source
    from toolset.core.status.snapshot import ServiceStatus, StatusSnapshot
    from toolset.model import Key

EXIT_UNCHANGED: Final = 0
EXIT_CHANGES: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    try:
        with ended_by(signal.SIGINT), ended_by(signal.SIGTERM):
            return _command(arguments)
    except SettingsError as error:
        return _failed(*error.problems)
    except ToolsetError as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # the reader of standard output exited, as with `| head`
        drop_output()
        return EXIT_ERROR
    except (MemoryError, RuntimeError) as error:
        if not (lacking := lack(error)):
            raise
        return _failed(lacking)
    except OutputError as error:
        drop_output()
        return _failed(f"standard output cannot be written: {error}")


def _command(arguments: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["help"]:
        given = [*given[1:2], "--help"]
    try:
        options = parser().parse(given)
    except SystemExit:
        write("")  # help and errors are written: flush them
        raise
    return _COMMANDS[options.command](options)


def _failed(*sentences: str) -> int:
    for sentence in sentences:
        sys.stderr.write(f"toolset: {' '.join(sentence.split())}\n")
    return EXIT_ERROR


def _run(options: argparse.Namespace) -> int:
    from toolset.service.serve import serve

    source = _source(options)
    run_loop(lambda: serve(source))
    return EXIT_UNCHANGED


def _plan(options: argparse.Namespace) -> int:
    from toolset.commands import manifests, notes, plan, printers
    from toolset.config.options import check

    settings = _settings(options)
    check(settings)

    async def work() -> "Report":
        if options.file:
            found = manifests.read(options.file)
            notes.write(*found.notes)
            if not found.services:
                raise SettingsError(manifests.without_services(options.file))
            return await plan.plan_manifests(settings, found, assume_healthy=options.assume_healthy)
        return await plan.plan_cluster(settings, assume_healthy=options.assume_healthy)

    report = run_loop(lambda: patiently(work()))
    if report.unreachable and options.output == "yaml":  # a manifest without tools would remove them
        raise SettingsError(report.unreachable)
    match options.output:
        case "yaml":
            text = printers.as_yaml(report)
        case "json":
            text = printers.as_json(report)
        case _:
            text = printers.as_table(report, colour=has_colours(), wide=options.output == "wide")
    write(text)
    if report.unreachable:
        return EXIT_ERROR
    return EXIT_UNCHANGED if report.change is None else EXIT_CHANGES


def _explain(options: argparse.Namespace) -> int:
    from toolset.commands import explain, manifests, notes, printers
    from toolset.config.options import target_options

    settings = _settings(options)
    if bool(options.file) == bool(options.service):
        raise SettingsError("explain takes either one Service as NAMESPACE/NAME, or manifests with -f FILE")
    if options.namespace and not options.service:
        raise SettingsError("-n is the namespace of a Service: name the Service too")
    if options.file:
        found = manifests.read(options.file)
        notes.write(*found.notes)
        if not found.services:
            raise SettingsError(manifests.without_services(options.file))
        explained = run_loop(lambda: patiently(explain.explain_all(settings, found, probe=options.probe)))
    else:
        key = _service_key(options, {backend.name for backend in settings.static})
        explained = run_loop(lambda: patiently(explain.explain_service(settings, key, probe=options.probe)))
    notes.write(*explained.notes)
    if options.output == "json":
        write(printers.as_lines(explained.services))
    else:
        publishing = target_options(settings)
        overrides = publishing.separate or publishing.target
        write("".join(printers.explained(each, publishing.prefix, overrides) for each in explained.services))
    return EXIT_UNCHANGED


def _status(options: argparse.Namespace) -> int:
    from toolset.commands import status, status_printers

    settings = _settings(options)
    if options.namespace and not options.service:
        raise SettingsError("-n is the namespace of a Service: name the Service too")
    key = _service_key(options) if options.service else None
    server = status.Server(options.server, options.token_file, options.ca_file)

    async def work() -> int:
        async with status.reached(settings, server, options.pods) as client:
            if key is not None:
                return _show_service(options, await status.read_service(client, key))

            def show(found: "StatusSnapshot") -> None:
                if options.output == "json":
                    write(status_printers.as_json(found))
                else:
                    write(status_printers.as_table(found, colour=has_colours(), wide=options.output == "wide"))

            if options.watch:
                await status.watch(client, show)
            show(await patiently(status.read(client)))
        return EXIT_UNCHANGED

    return run_loop(work)


def _show_service(options: argparse.Namespace, found: "ServiceStatus") -> int:
    from datetime import datetime, timezone

    from toolset.commands import status_printers

    text = status_printers.as_text(found, datetime.now(timezone.utc))
    write(status_printers.as_json(found) if options.output == "json" else text)
    return EXIT_UNCHANGED if found.published else EXIT_CHANGES


def _service_key(options: argparse.Namespace, static: Container[str] = ()) -> "Key":
    """Return the key of the Service or the static backend that the arguments name."""
    from toolset.model import Key

    text = str(options.service)
    if text in static and not options.namespace:
        return Key("", text)
    namespace, slash, name = text.rpartition("/")
    if slash and options.namespace and namespace != options.namespace:
        raise SettingsError(f"`{text}` is not in namespace {options.namespace}: leave out one of the two")
    namespace = namespace or options.namespace or ""
    if not (namespace and name) or "/" in namespace:
        raise SettingsError(f"`{text}` names no Service: write it as NAMESPACE/NAME, or add -n NAMESPACE")
    return Key(namespace, name)


def _version(_: argparse.Namespace) -> int:
    write(f"{VERSION}\n")
    return EXIT_UNCHANGED


def _completion(options: argparse.Namespace) -> int:
    from toolset.commands import completion

    write(completion.script(parser(), options.shell))
    return EXIT_UNCHANGED


def _check_config(options: argparse.Namespace) -> int:
    from toolset.commands import check_config, manifests, printers
    from toolset.config.options import check, doubts
    from toolset.config.source import Source

    source = Source(options.settings)
    settings = source.parse(source.read())
    check(settings)
    for doubt in doubts(settings):
        sys.stderr.write(f"toolset: {options.settings}: {doubt}\n")
    services = manifests.read(options.file).services if options.file else ()
    found = check_config.matches(settings, services)
    count = len(services) if options.file else None
    write(printers.as_matches(options.settings, found, services=count, static=len(settings.static)))
    return EXIT_UNCHANGED


def _purge(options: argparse.Namespace) -> int:
    from toolset.commands import purge
    from toolset.config.clients import named
    from toolset.config.options import target_key

    settings = named(_settings(options), dict(os.environ))
    going = run_loop(lambda: patiently(purge.preview(settings)))
    place = f"ConfigMap {target_key(settings)}"
    if going is None:
        write(f"{place} contains nothing that this service owns\n")
        return EXIT_UNCHANGED
    if options.dry_run:
        write(f"{place} would lose: {going}\n")
        return EXIT_CHANGES
    run_loop(lambda: patiently(purge.check_unused(settings, force=options.force)))
    if not options.yes and not confirmed(f"{place} will lose: {going}"):
        raise SettingsError("nothing is removed: not confirmed; answer y, or add --yes where nobody can answer")
    gone = run_loop(lambda: patiently(purge.purge_cluster(settings)))
    write(f"{place} has lost: {gone or 'nothing'}\n")
    return EXIT_UNCHANGED


def _doctor(options: argparse.Namespace) -> int:
    from toolset.commands import doctor, printers

    async def work() -> "list[doctor.Check]":
        found: list[doctor.Check] = []
        async with aclosing(doctor.examine(_source(options))) as checks:
            async for check in checks:
                found.append(check)
                if options.output == "text":
                    write(printers.as_check(check, colour=has_colours()))
        return found

    found = run_loop(work)
    write(printers.as_checks(found) if options.output == "json" else printers.diagnosis(found))
    return EXIT_ERROR if any(check.state == "problem" for check in found) else EXIT_UNCHANGED


def _demo(options: argparse.Namespace) -> int:
    from toolset import demo

    run_loop(lambda: demo.run(once=options.once, colours=has_colours()))
    return EXIT_UNCHANGED


def _settings(options: argparse.Namespace) -> "Settings":
    source = _source(options)
    return source.parse(source.read())


def _source(options: argparse.Namespace) -> "Source":
    from toolset.config.source import Source

    flags = {name: value for name, value in vars(options).items() if "." in name and value is not None}
    return Source(options.config or os.environ.get("TOOLSET_CONFIG", ""), dict(os.environ), flags)


_COMMANDS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "run": _run,
    "plan": _plan,
    "explain": _explain,
    "status": _status,
    "doctor": _doctor,
    "check-config": _check_config,
    "purge": _purge,
    "demo": _demo,
    "version": _version,
    "completion": _completion,
}

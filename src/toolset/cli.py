"""The `toolset` command: load settings, run a subcommand, map errors to exit codes.

Each command imports what it needs, so that ``--help`` and ``version`` start fast.
"""

import argparse
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, TypeVar, cast

from toolset import __version__
from toolset.commands.parser import EXIT_ERROR, parser
from toolset.errors import SettingsError, ToolsetError

if TYPE_CHECKING:
    from toolset.commands.plan import Report
    from toolset.config.loader import Source
    from toolset.config.settings import Settings

T = TypeVar("T")

EXIT_UNCHANGED: Final = 0
EXIT_CHANGES: Final = 2
PATIENCE_S: Final = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        return _COMMANDS[options.command](options)
    except ToolsetError as error:
        sys.stderr.write(f"toolset: {' '.join(str(error).split())}\n")
        return EXIT_ERROR
    except KeyboardInterrupt:
        return 128 + 2
    except BrokenPipeError:  # the reader of our output went away, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR


def _run(options: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, _end)
    from toolset.service.app import serve

    source = _source(options)
    _loop(lambda: serve(source))
    return EXIT_UNCHANGED


def _end(signum: int, _: object) -> None:
    """End while nothing runs yet: without a handler the first process of a container never hears of SIGTERM."""
    raise SystemExit(128 + signum)


def _plan(options: argparse.Namespace) -> int:
    from toolset.commands import manifests, notes, plan, printers
    from toolset.config.options import check

    settings = _settings(options)
    check(settings)

    async def work() -> "Report":
        if options.file:
            found = manifests.read(options.file)
            notes.write(*found.notes, *([] if found.services else [manifests.without_services(options.file)]))
            return await plan.plan_manifests(settings, found, assume_healthy=options.assume_healthy)
        return await plan.plan_cluster(settings, assume_healthy=options.assume_healthy)

    report = _loop(lambda: _patiently(work()))
    match options.output:
        case "yaml":
            text = printers.as_yaml(report)
        case "json":
            text = printers.as_json(report)
        case _:
            text = printers.as_table(report, colour=_colours())
    sys.stdout.write(text)
    sys.stdout.flush()
    return EXIT_UNCHANGED if report.change is None else EXIT_CHANGES


def _explain(options: argparse.Namespace) -> int:
    from toolset.commands import explain, manifests, notes, printers
    from toolset.config.options import target_key
    from toolset.model import Key

    settings = _settings(options)
    if bool(options.file) == bool(options.service):
        raise SettingsError("explain takes either one Service as NAMESPACE/NAME, or manifests with -f FILE")
    if options.file:
        found = manifests.read(options.file)
        notes.write(*found.notes)
        if not found.services:
            raise SettingsError(manifests.without_services(options.file))
        explained = explain.explain_manifests(settings, found)
    else:
        namespace, slash, name = options.service.partition("/")
        if not (namespace and slash and name):
            raise SettingsError(f"`{options.service}` names no Service: write it as NAMESPACE/NAME")
        explained = _loop(lambda: _patiently(explain.explain_service(settings, Key(namespace, name))))
    notes.write(*explained.notes)
    if options.output == "json":
        sys.stdout.write(printers.as_lines(explained.services))
    else:
        prefix, target = settings.discovery.annotation_prefix, target_key(settings)
        sys.stdout.write("".join(printers.explained(each, prefix, target) for each in explained.services))
    sys.stdout.flush()
    return EXIT_UNCHANGED


def _version(_: argparse.Namespace) -> int:
    sys.stdout.write(f"toolset {__version__}\n")
    return EXIT_UNCHANGED


def _check_config(options: argparse.Namespace) -> int:
    from toolset.commands import check_config, manifests, printers
    from toolset.config import loader
    from toolset.config.options import check, doubts

    settings = loader.load(loader.read(options.settings), {}, {}, source=options.settings)
    check(settings)
    for doubt in doubts(settings):
        sys.stderr.write(f"toolset: {options.settings}: {doubt}\n")
    services = manifests.read(options.file).services if options.file else ()
    found = check_config.matches(settings, services)
    sys.stdout.write(printers.as_matches(options.settings, found, services=len(services) if options.file else None))
    return EXIT_UNCHANGED


def _purge(options: argparse.Namespace) -> int:
    from toolset.commands import purge
    from toolset.config.options import target_key

    settings = _settings(options)
    gone = _loop(lambda: _patiently(purge.purge_cluster(settings, dry_run=options.dry_run)))
    place = f"ConfigMap {target_key(settings)}"
    if gone is None:
        sys.stdout.write(f"{place} holds nothing of ours\n")
        return EXIT_UNCHANGED
    verb = "would lose" if options.dry_run else "has lost"
    sys.stdout.write(f"{place} {verb}: {', '.join((*gone.keys, *gone.annotations, *gone.labels))}\n")
    return EXIT_CHANGES if options.dry_run else EXIT_UNCHANGED


def _doctor(options: argparse.Namespace) -> int:
    from toolset.commands import doctor, printers

    async def work() -> "list[doctor.Check]":
        found: list[doctor.Check] = []
        async with aclosing(doctor.examine(_source(options))) as checks:
            async for check in checks:
                found.append(check)
                if options.output == "text":
                    sys.stdout.write(printers.as_check(check, colour=_colours()))
                    sys.stdout.flush()
        return found

    found = _loop(work)
    sys.stdout.write(printers.as_checks(found) if options.output == "json" else printers.diagnosis(found))
    sys.stdout.flush()
    return EXIT_ERROR if any(check.state == "problem" for check in found) else EXIT_UNCHANGED


def _demo(options: argparse.Namespace) -> int:
    from toolset import demo

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else the service would outlive us
    _loop(lambda: demo.run(once=options.once, colours=_colours()))
    return EXIT_UNCHANGED


def _colours() -> bool:
    return "NO_COLOR" not in os.environ and (sys.stdout.isatty() or "FORCE_COLOR" in os.environ)


def _settings(options: argparse.Namespace) -> "Settings":
    source = _source(options)
    return source.parse(source.read())


def _source(options: argparse.Namespace) -> "Source":
    from toolset.config.loader import Source

    flags = {name: value for name, value in vars(options).items() if "." in name and value is not None}
    return Source(options.config or os.environ.get("TOOLSET_CONFIG", ""), dict(os.environ), flags)


def _loop(work: Callable[[], Awaitable[T]]) -> T:
    """Run ``work`` on the event loop: asyncio, which aiohttp needs."""
    import anyio

    try:
        return anyio.run(work)
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what went wrong first inside nested groups."""
    error = group.exceptions[0]
    return _first(cast("BaseExceptionGroup[BaseException]", error)) if isinstance(error, BaseExceptionGroup) else error


async def _patiently(work: Awaitable[T]) -> T:
    """Await ``work``; say so on standard error when that takes long."""
    import anyio

    async def say() -> None:
        await anyio.sleep(PATIENCE_S)
        sys.stderr.write("toolset: waiting for the API server and the backends ...\n")
        sys.stderr.flush()

    results: list[T] = []
    async with anyio.create_task_group() as group:
        group.start_soon(say)
        results.append(await work)
        group.cancel_scope.cancel()
    return results[0]


_COMMANDS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "run": _run,
    "plan": _plan,
    "explain": _explain,
    "doctor": _doctor,
    "check-config": _check_config,
    "purge": _purge,
    "demo": _demo,
    "version": _version,
}

"""The `toolset` command: load settings, run a subcommand, map errors to exit codes.

Each command imports what it needs, so that ``--help`` and ``version`` start fast.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Container, Generator, Sequence
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar, cast

from toolset import __version__
from toolset.commands.parser import EXIT_ERROR, parser
from toolset.errors import SettingsError, ToolsetError

if TYPE_CHECKING:
    from toolset.commands.plan import Report
    from toolset.config.loader import Source
    from toolset.config.settings import Settings
    from toolset.core.status.snapshot import ServiceStatus, StatusSnapshot
    from toolset.model import Key

T = TypeVar("T")

EXIT_UNCHANGED: Final = 0
EXIT_CHANGES: Final = 2
PATIENCE_S: Final = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    try:
        with _ended_by(signal.SIGINT), _ended_by(signal.SIGTERM):
            return _command(arguments)
    except ToolsetError as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # the reader of our output went away, as with `| head`
        _drop_output()
        return EXIT_ERROR
    except (MemoryError, RuntimeError) as error:
        if not (lack := _lack(error)):
            raise
        return _failed(lack)
    except _OutputError as error:
        _drop_output()
        return _failed(f"standard output cannot be written: {error}")


def _command(arguments: Sequence[str] | None) -> int:
    try:
        options = parser().parse_args(arguments)
    except SystemExit:
        _print("")  # help and errors are written: make sure that they arrive
        raise
    return _COMMANDS[options.command](options)


def _failed(sentence: str) -> int:
    sys.stderr.write(f"toolset: {' '.join(sentence.split())}\n")
    return EXIT_ERROR


def _lack(error: MemoryError | RuntimeError) -> str:
    """Return, as a sentence, which resource of the process was missing; empty for another error."""
    if isinstance(error, MemoryError):
        return "there is no memory left: raise the memory limit of the process"
    if "can't start new thread" in str(error):
        return "no thread can be started: raise the limit on processes (`pids.max`, `ulimit -u`), or the memory limit"
    return ""


class _OutputError(Exception):
    """Standard output takes nothing, as on a full disk."""


def _print(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _OutputError(error.strerror) from error


def _drop_output() -> None:
    """Let what is still buffered go nowhere: the interpreter writes it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _ended_by(signum: signal.Signals) -> Generator[None]:
    """Let ``signum`` end the process at once inside the block, until an event loop runs.

    An exception would be raised in the midst of an import, and the libraries that are written in C do not bear that:
    one import in fifteen ended in a segmentation fault. And without a handler the first process of a container never
    hears of SIGTERM.
    """
    before = signal.getsignal(signum)
    ours = threading.current_thread() is threading.main_thread()  # who calls us in a thread handles signals itself
    if not ours or before not in {signal.SIG_DFL, signal.default_int_handler}:  # ignored, as under nohup
        yield
        return
    signal.signal(signum, _end)
    try:
        yield
    finally:
        signal.signal(signum, before)


def _run(options: argparse.Namespace) -> int:
    from toolset.service.app import serve

    source = _source(options)
    _loop(lambda: serve(source))
    return EXIT_UNCHANGED


def _end(signum: int, _: object) -> NoReturn:
    """End while nothing runs yet that has to be cleaned up."""
    os._exit(128 + signum)


def _stop(signum: int, _: object) -> NoReturn:
    """End the event loop, which cancels what runs."""
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
    _print(text)
    return EXIT_UNCHANGED if report.change is None else EXIT_CHANGES


def _explain(options: argparse.Namespace) -> int:
    from toolset.commands import explain, manifests, notes, printers
    from toolset.config.options import target_options

    settings = _settings(options)
    if bool(options.file) == bool(options.service):
        raise SettingsError("explain takes either one Service as NAMESPACE/NAME, or manifests with -f FILE")
    if options.file:
        found = manifests.read(options.file)
        notes.write(*found.notes)
        if not found.services:
            raise SettingsError(manifests.without_services(options.file))
        explained = _loop(lambda: _patiently(explain.explain_all(settings, found, probe=options.probe)))
    else:
        key = _service_key(options.service, {backend.name for backend in settings.static})
        explained = _loop(lambda: _patiently(explain.explain_service(settings, key, probe=options.probe)))
    notes.write(*explained.notes)
    if options.output == "json":
        _print(printers.as_lines(explained.services))
    else:
        publishing = target_options(settings)
        overrides = publishing.separate or publishing.target
        _print("".join(printers.explained(each, publishing.prefix, overrides) for each in explained.services))
    return EXIT_UNCHANGED


def _status(options: argparse.Namespace) -> int:
    from toolset.commands import status, status_printers

    settings = _settings(options)
    key = _service_key(options.service) if options.service else None
    server = status.Server(options.server, options.token_file, options.ca_file)

    async def work() -> int:
        async with status.reached(settings, server, options.pods) as client:
            if key is not None:
                return _show_service(options, await status.read_service(client, key))

            def show(found: "StatusSnapshot") -> None:
                wide = options.output == "wide"
                as_json = options.output == "json"
                _print(status_printers.as_json(found) if as_json else status_printers.as_table(found, wide=wide))

            if options.watch:
                await status.watch(client, show)
            show(await _patiently(status.read(client)))
        return EXIT_UNCHANGED

    return _loop(work)


def _show_service(options: argparse.Namespace, found: "ServiceStatus") -> int:
    from datetime import datetime, timezone

    from toolset.commands import status_printers

    text = status_printers.as_text(found, datetime.now(timezone.utc))
    _print(status_printers.as_json(found) if options.output == "json" else text)
    return EXIT_UNCHANGED if found.published else EXIT_CHANGES


def _service_key(text: str, static: Container[str] = ()) -> "Key":
    """Return the key of the Service or the static backend that ``text`` names."""
    from toolset.model import Key

    namespace, slash, name = text.partition("/")
    if text in static:
        return Key("", text)
    if not (namespace and slash and name):
        raise SettingsError(f"`{text}` names no Service: write it as NAMESPACE/NAME")
    return Key(namespace, name)


def _version(_: argparse.Namespace) -> int:
    _print(f"toolset {__version__}\n")
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
    count = len(services) if options.file else None
    _print(printers.as_matches(options.settings, found, services=count, static=len(settings.static)))
    return EXIT_UNCHANGED


def _purge(options: argparse.Namespace) -> int:
    from toolset.commands import purge
    from toolset.config.clients import named
    from toolset.config.options import target_key

    settings = named(_settings(options), dict(os.environ))
    gone = _loop(lambda: _patiently(purge.purge_cluster(settings, dry_run=options.dry_run)))
    place = f"ConfigMap {target_key(settings)}"
    if gone is None:
        _print(f"{place} holds nothing of ours\n")
        return EXIT_UNCHANGED
    verb = "would lose" if options.dry_run else "has lost"
    _print(f"{place} {verb}: {', '.join((*gone.keys, *gone.annotations, *gone.labels))}\n")
    return EXIT_CHANGES if options.dry_run else EXIT_UNCHANGED


def _doctor(options: argparse.Namespace) -> int:
    from toolset.commands import doctor, printers

    async def work() -> "list[doctor.Check]":
        found: list[doctor.Check] = []
        async with aclosing(doctor.examine(_source(options))) as checks:
            async for check in checks:
                found.append(check)
                if options.output == "text":
                    _print(printers.as_check(check, colour=_colours()))
        return found

    found = _loop(work)
    _print(printers.as_checks(found) if options.output == "json" else printers.diagnosis(found))
    return EXIT_ERROR if any(check.state == "problem" for check in found) else EXIT_UNCHANGED


def _demo(options: argparse.Namespace) -> int:
    from toolset import demo

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

    for signum, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, _stop)):
        if signal.getsignal(signum) is _end:  # from here on there is something to clean up
            signal.signal(signum, handler)
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
    "status": _status,
    "doctor": _doctor,
    "check-config": _check_config,
    "purge": _purge,
    "demo": _demo,
    "version": _version,
}

"""The command line: parse, load settings, run, map errors to exit codes.

Everything heavy is imported by the command that needs it, so that help and version answer at once.
"""

import argparse
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar, cast

from typing_extensions import override

from toolset import __version__
from toolset.errors import SettingsError, ToolsetError

if TYPE_CHECKING:
    from toolset.loading import Source
    from toolset.planning import Report
    from toolset.settings import Settings

T = TypeVar("T")

EXIT_UNCHANGED: Final = 0
EXIT_ERROR: Final = 1
EXIT_CHANGES: Final = 2
PATIENCE_S: Final = 1.0

_FLAGS: Final = {
    "kubeconfig": "kube.kubeconfig",
    "context": "kube.context",
    "namespace": "target.namespace",
    "name": "target.name",
    "host": "server.host",
    "port": "server.port",
    "log_level": "log.level",
    "log_format": "log.format",
}


_DEMO: Final = (
    "Starts a small API server and sample backends on loopback, runs the real service against them, changes the "
    "cluster step by step, and shows how the ConfigMap follows."
)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors do not look like the changes of a plan."""

    @override
    def error(self, message: str) -> NoReturn:
        """Say what is wrong and how to go on."""
        self.exit(EXIT_ERROR, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except ToolsetError as error:
        sys.stderr.write(f"toolset: {' '.join(str(error).split())}\n")
        return EXIT_ERROR
    except KeyboardInterrupt:
        return 128 + 2
    except BrokenPipeError:  # the reader of our output went away, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR


def _run(options: argparse.Namespace) -> int:
    from toolset.app import serve  # noqa: PLC0415 - see the module docstring

    source = _source(options)
    _loop(lambda: serve(source))
    return EXIT_UNCHANGED


def _plan(options: argparse.Namespace) -> int:
    from toolset import manifests, output, planning  # noqa: PLC0415 - see the module docstring

    settings = _settings(options)

    async def work() -> "Report":
        if options.file:
            found = manifests.read(options.file)
            return await planning.plan_manifests(settings, found, assume_healthy=options.assume_healthy)
        return await planning.plan_cluster(settings, assume_healthy=options.assume_healthy)

    report = _loop(lambda: _patiently(work()))
    match options.output:
        case "yaml":
            text = output.as_yaml(report)
        case "json":
            text = output.as_json(report)
        case _:
            text = output.as_table(report, colour=_colours())
    sys.stdout.write(text)
    sys.stdout.flush()
    return EXIT_UNCHANGED if report.change is None else EXIT_CHANGES


def _explain(options: argparse.Namespace) -> int:
    from toolset import explaining, manifests, output  # noqa: PLC0415 - see the module docstring
    from toolset.model import Key  # noqa: PLC0415 - as above

    settings = _settings(options)
    if bool(options.file) == bool(options.service):
        raise SettingsError("explain takes either one Service as NAMESPACE/NAME, or manifests with -f FILE")
    if options.file:
        explanations = explaining.explain_manifests(settings, manifests.read(options.file))
    else:
        namespace, slash, name = options.service.partition("/")
        if not (namespace and slash and name):
            raise SettingsError(f"`{options.service}` names no Service: write it as NAMESPACE/NAME")
        explanations = [_loop(lambda: _patiently(explaining.explain_service(settings, Key(namespace, name))))]
    if options.output == "json":
        sys.stdout.write(output.as_lines(explanations))
    else:
        sys.stdout.write(
            "".join(output.explained(explanation, settings.discovery.annotation_prefix) for explanation in explanations)
        )
    sys.stdout.flush()
    return EXIT_UNCHANGED


def _version(_: argparse.Namespace) -> int:
    sys.stdout.write(f"toolset {__version__}\n")
    return EXIT_UNCHANGED


def _check_config(options: argparse.Namespace) -> int:
    from toolset import checking, loading, manifests, output  # noqa: PLC0415 - see the module docstring

    settings = loading.load(loading.read(options.settings), {}, {}, source=options.settings)
    services = manifests.read(options.file).services if options.file else ()
    found = checking.matches(settings, services)
    sys.stdout.write(output.as_matches(options.settings, found, services=len(services) if options.file else None))
    return EXIT_UNCHANGED


def _purge(options: argparse.Namespace) -> int:
    from toolset import purging  # noqa: PLC0415 - see the module docstring
    from toolset.wiring import target_key  # noqa: PLC0415 - as above

    settings = _settings(options)
    gone = _loop(lambda: _patiently(purging.purge_cluster(settings, dry_run=options.dry_run)))
    place = f"ConfigMap {target_key(settings)}"
    if gone is None:
        sys.stdout.write(f"{place} holds nothing of ours\n")
        return EXIT_UNCHANGED
    verb = "would lose" if options.dry_run else "has lost"
    sys.stdout.write(f"{place} {verb}: {', '.join((*gone.keys, *gone.annotations, *gone.labels))}\n")
    return EXIT_CHANGES if options.dry_run else EXIT_UNCHANGED


def _demo(options: argparse.Namespace) -> int:
    from toolset import demo  # noqa: PLC0415 - see the module docstring

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else the service would outlive us
    _loop(lambda: demo.run(once=options.once, colours=_colours()))
    return EXIT_UNCHANGED


def _colours() -> bool:
    return "NO_COLOR" not in os.environ and (sys.stdout.isatty() or "FORCE_COLOR" in os.environ)


def _settings(options: argparse.Namespace) -> "Settings":
    source = _source(options)
    return source.parse(source.read())


def _source(options: argparse.Namespace) -> "Source":
    from toolset.loading import Source  # noqa: PLC0415 - see the module docstring

    flags = {path: value for flag, path in _FLAGS.items() if (value := getattr(options, flag, None)) is not None}
    return Source(options.config or os.environ.get("TOOLSET_CONFIG", ""), dict(os.environ), flags)


def _loop(work: Callable[[], Awaitable[T]]) -> T:
    """Run ``work`` on the event loop: asyncio, which aiohttp needs."""
    import anyio  # noqa: PLC0415 - see the module docstring

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
    import anyio  # noqa: PLC0415 - see the module docstring

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


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="toolset",
        description="Finds the observability backends of a cluster and keeps one ConfigMap of toolsets true.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the service", parents=[_common()])
    run.add_argument("--host", help="address to listen on for health and metrics")
    run.add_argument("--port", type=int, help="port to listen on; 0 lets the system choose")
    run.set_defaults(command=_run)
    plan = commands.add_parser(
        "plan",
        help="show what would be published, and why; writes nothing",
        description="Shows every candidate with its verdict and a diff with the live ConfigMap; writes nothing. "
        "Exit status: 0 nothing would change, 2 something would, 1 error.",
        parents=[_common()],
    )
    plan.add_argument(
        "-f",
        "--file",
        action="append",
        metavar="FILE",
        help="plan from manifests instead of a cluster; - for standard input",
    )
    plan.add_argument("-o", "--output", choices=("table", "yaml", "json"), default="table", help="default: table")
    plan.add_argument("--assume-healthy", action="store_true", help="do not probe; every candidate counts as healthy")
    plan.set_defaults(command=_plan)
    explain = commands.add_parser(
        "explain", help="say why a Service is or is not published; probes nothing", parents=[_common()]
    )
    explain.add_argument("service", nargs="?", metavar="NAMESPACE/NAME", help="one Service of the cluster")
    explain.add_argument(
        "-f", "--file", action="append", metavar="FILE", help="every Service in manifests; - for standard input"
    )
    explain.add_argument("-o", "--output", choices=("text", "json"), default="text", help="json: one object a line")
    explain.set_defaults(command=_explain)
    check = commands.add_parser(
        "check-config", help="check a settings file, and say what its detectors match in manifests"
    )
    check.add_argument("settings", metavar="FILE", help="settings file; - for standard input")
    check.add_argument("-f", "--file", action="append", metavar="FILE", help="manifests with Services")
    check.set_defaults(command=_check_config)
    purge = commands.add_parser(
        "purge",
        help="remove from the ConfigMap what the service wrote, and nothing else; stop the service first",
        parents=[_common()],
    )
    purge.add_argument(
        "--dry-run", action="store_true", help="only say what would go; exit status 2 when something would"
    )
    purge.set_defaults(command=_purge)
    demo = commands.add_parser(
        "demo", help="watch the service work on an embedded cluster; needs nothing else", description=_DEMO
    )
    demo.add_argument("--once", action="store_true", help="end after the story instead of leaving the cluster up")
    demo.set_defaults(command=_demo)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(command=_version)
    return parser


def _common() -> _Parser:
    common = _Parser(add_help=False)
    common.add_argument("--config", metavar="FILE", help="settings file (environment: TOOLSET_CONFIG)")
    common.add_argument("--kubeconfig", metavar="FILE", help="default: the pod's own access, else KUBECONFIG")
    common.add_argument("--context", help="context of the kubeconfig")
    common.add_argument("-n", "--namespace", help="namespace of the ConfigMap")
    common.add_argument("--name", help="name of the ConfigMap")
    common.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
    common.add_argument("--log-format", choices=("auto", "json", "text"))
    return common

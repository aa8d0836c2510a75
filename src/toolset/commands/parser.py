"""The argument parser: subcommands, flags and help."""

import argparse
import re
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, NoReturn

from typing_extensions import override

from toolset import __version__

EXIT_ERROR: Final = 1
VERSION: Final = f"toolset {__version__} (Python {'.'.join(map(str, sys.version_info[:3]))})"

_DEMO: Final = """\
Starts a small API server and sample backends on loopback, runs the real
service against them, changes the cluster step by step, and shows how the
ConfigMap follows.
"""

_PLAN: Final = """\
Shows every candidate with its verdict and a diff with the live ConfigMap;
writes nothing. Exit status: 0 nothing would change, 2 something would, 1
error.
"""

_DOCTOR: Final = """\
Checks, with the current settings, the connection to the API server, every
permission that it needs, other installations and the Lease; writes nothing.
Exit status: 0 no problem, 1 a problem. The permissions are those of the
current user, so run it in the pod:

  kubectl -n kubernaut-system exec deploy/kubernaut-dynamic-toolset -- \\
    toolset doctor --config /etc/toolset/settings.yaml
"""

_COMPLETION: Final = """\
Prints the script with which a shell completes commands and options:

  source <(toolset completion bash)
  toolset completion zsh > "${fpath[1]}/_toolset"
  toolset completion fish > ~/.config/fish/completions/toolset.fish
"""

_EXPLAIN: Final = """\
Shows why a Service is published or not: what detection decides, what
overrides.yaml changes, and what the running service knows of it, if it can be
reached. Name a Service or a file. Exit status: 0 shown, 1 error.
"""

_PURGE: Final = """\
Removes from the ConfigMap what the service wrote, and nothing else; asks
first. Stop the service before. Exit status: 0 removed or nothing to remove,
2 with --dry-run if there is something, 1 error.
"""

_CHECK: Final = """\
Reports every mistake in a settings file with line and column; with -f also
what its detectors match. Exit status: 0 valid, 1 not valid.
"""

_RUN: Final = """\
Runs the service until SIGTERM or SIGINT. Exit status: 0 stopped, 1 the
settings, the credentials or the port do not allow it to start.
"""

_STATUS: Final = """\
Asks the running service: at --server; in a pod of the service, the service
itself; otherwise the leader, through the API server and the kubelet, as
`kubectl port-forward` does, with the rights to get and create pods/portforward.
Exit status: 0 shown, 2 the one Service that was asked for is not published,
1 no running service found, or another error.
"""


_EXAMPLES: Final = {
    "run": (
        "toolset run --context kind-test -n kubernaut-system",
        "toolset run --config settings.yaml --log-level debug",
    ),
    "plan": (
        "toolset plan --assume-healthy -o wide",
        "kubectl get services,namespaces -A -o yaml | toolset plan -f - --assume-healthy",
    ),
    "explain": ("toolset explain monitoring/prometheus", "toolset explain grafana -n monitoring --probe"),
    "status": ("toolset status -o wide", "toolset status --watch"),
    "doctor": ("toolset doctor --context production", "toolset doctor -o json"),
    "check-config": ("toolset check-config settings.yaml", "toolset check-config settings.yaml -f services.yaml"),
    "purge": ("toolset purge --dry-run", "toolset purge --context kind-test --yes"),
    "demo": ("toolset demo --once", "toolset demo"),
}

_FLAG: Final = re.compile(r"--[a-z-]+")
_UNKNOWN: Final = re.compile(r"(argument COMMAND: invalid choice: |unrecognized arguments: )'?([^\s'=]+)")


class Parser(argparse.ArgumentParser):
    """A parser that suggests names, and whose exit status for errors differs from that of a plan with changes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.subcommands: dict[str, argparse.ArgumentParser] = {}

    @override
    def error(self, message: str) -> NoReturn:
        """Exit with the error and a pointer to ``--help``."""
        if wrong := _UNKNOWN.match(message):
            kind = "command" if "COMMAND" in wrong[1] else "option" if wrong[2].startswith("-") else "argument"
            message = f"there is no {kind} {wrong[2]}{_nearest(wrong[2], self._names())}"
        self.exit(EXIT_ERROR, f"{self.prog}: {message}; see {self.prog} --help\n")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Return the parsed ``arguments``; an unknown one is an error of its subcommand."""
        found, unknown = self.parse_known_args(arguments)
        if unknown:
            self.subcommands[found.command].error(f"unrecognized arguments: {unknown[0]}")
        return found

    def _names(self) -> Collection[str]:
        texts = (each.format_help() for each in (self, *self.subcommands.values()))
        return {name for text in texts for name in _FLAG.findall(text)} | self.subcommands.keys()


def _nearest(name: str, known: Collection[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - needed for errors only

    near = get_close_matches(name, known, n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""


def parser() -> Parser:
    """Return the argument parser.

    ``command`` holds the subcommand; the destination of a flag that is a setting is the dotted path of the setting.
    """
    made = Parser(
        prog="toolset",
        description="Finds the observability backends of a cluster and keeps one ConfigMap of toolsets up to date.",
    )
    made.add_argument("-V", "--version", action="version", version=VERSION, help="print the version")
    commands = made.add_subparsers(required=True, metavar="COMMAND", dest="command")
    run = commands.add_parser("run", help="run the service", description=_RUN, parents=[_common()])
    run.add_argument("--host", dest="server.host", metavar="HOST", help="address to listen on for health and metrics")
    run.add_argument(
        "--port",
        dest="server.port",
        metavar="PORT",
        type=int,
        help="port to listen on; 0 lets the system choose",
    )
    _add_questions(commands.add_parser)
    purge = commands.add_parser(
        "purge",
        help="remove from the ConfigMap only what the service wrote; stop the service first",
        description=_PURGE,
        parents=[_common()],
    )
    purge.add_argument(
        "--dry-run", action="store_true", help="only show what would be removed; exit status 2 if there is anything"
    )
    purge.add_argument("-y", "--yes", action="store_true", help="do not ask")
    purge.add_argument("--force", action="store_true", help="remove it although a service is running")
    demo = commands.add_parser(
        "demo", help="run the service on an embedded cluster; needs nothing else", description=_DEMO
    )
    demo.add_argument("--once", action="store_true", help="exit at the end instead of keeping the cluster running")
    commands.add_parser("version", help="print the version")
    completion = commands.add_parser(
        "completion",
        help="print the script with which a shell completes commands and options",
        description=_COMPLETION,
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    made.subcommands.update(commands.choices)
    for command, examples in _EXAMPLES.items():
        made.subcommands[command].epilog = "\n  ".join(("examples:", *examples))
    return made


def _add_questions(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the read-only subcommands."""
    plan = add(
        "plan",
        help="show what would be published, and why; writes nothing",
        description=_PLAN,
        parents=[_common()],
    )
    plan.add_argument(
        "-f",
        "--file",
        action="append",
        metavar="FILE",
        help="plan from manifests instead of a cluster; - for standard input",
    )
    plan.add_argument(
        "-o", "--output", choices=("table", "wide", "yaml", "json"), default="table", help="default: table"
    )
    plan.add_argument("--assume-healthy", action="store_true", help="do not probe; every candidate counts as healthy")
    explain = add(
        "explain",
        help="show why a Service is or is not published",
        description=_EXPLAIN,
        parents=[_about_services()],
    )
    explain.add_argument(
        "service", nargs="?", metavar="SERVICE", help="NAMESPACE/NAME, NAME with -n, or the NAME of a static backend"
    )
    explain.add_argument(
        "-f", "--file", action="append", metavar="FILE", help="every Service in manifests; - for standard input"
    )
    explain.add_argument("-o", "--output", choices=("text", "json"), default="text", help="json: one object a line")
    explain.add_argument("--probe", action="store_true", help="probe it once; without this nothing is probed")
    status = add(
        "status",
        help="show what the running service publishes, what it does not publish and why, and problems",
        description=_STATUS,
        parents=[_about_services()],
    )
    status.add_argument(
        "service", nargs="?", metavar="SERVICE", help="one Service instead of all: NAMESPACE/NAME, or NAME with -n"
    )
    status.add_argument("-o", "--output", choices=("table", "wide", "json"), default="table", help="default: table")
    status.add_argument("-w", "--watch", action="store_true", help="show it again whenever it has changed")
    status.add_argument("--server", metavar="URL", default="", help="for example http://127.0.0.1:8081")
    status.add_argument("--token-file", metavar="FILE", default="", help="bearer token for a --server with https")
    status.add_argument("--ca-file", metavar="FILE", default="", help="authority of that server's certificate")
    status.add_argument(
        "--pods", metavar="NAMESPACE", default="", help="namespace of the pods, if not that of the ConfigMap"
    )
    doctor = add(
        "doctor",
        help="check the connection and each permission, with remedies; writes nothing",
        description=_DOCTOR,
        parents=[_common()],
    )
    doctor.add_argument("-o", "--output", choices=("text", "json"), default="text", help="default: text")
    check = add(
        "check-config",
        help="check a settings file, and show what its detectors match in manifests",
        description=_CHECK,
    )
    check.add_argument("settings", metavar="FILE", help="settings file; - for standard input")
    check.add_argument("-f", "--file", action="append", metavar="FILE", help="manifests with Services")


def _common() -> Parser:
    common = _settings_flags()
    common.add_argument(
        "-n",
        "--namespace",
        "--target-namespace",
        dest="target.namespace",
        metavar="NAMESPACE",
        help="namespace of the ConfigMap",
    )
    return common


def _about_services() -> Parser:
    """Return the flags of a command about a Service: -n is its namespace, as in kubectl."""
    about = _settings_flags()
    about.add_argument("-n", "--namespace", metavar="NAMESPACE", help="namespace of the Service")
    about.add_argument(
        "--target-namespace", dest="target.namespace", metavar="NAMESPACE", help="namespace of the ConfigMap"
    )
    return about


def _settings_flags() -> Parser:
    common = Parser(add_help=False)
    common.add_argument("--config", metavar="FILE", help="settings file (environment: TOOLSET_CONFIG)")
    common.add_argument(
        "--kubeconfig",
        dest="kube.kubeconfig",
        metavar="FILE",
        help="default: KUBECONFIG, the access of the pod, ~/.kube/config",
    )
    common.add_argument("--context", dest="kube.context", metavar="CONTEXT", help="context of the kubeconfig")
    common.add_argument("--name", dest="target.name", metavar="NAME", help="name of the ConfigMap")
    common.add_argument("--log-level", dest="log.level", choices=("debug", "info", "warning", "error"))
    common.add_argument("--log-format", dest="log.format", choices=("auto", "json", "text"))
    return common

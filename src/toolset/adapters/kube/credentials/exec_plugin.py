"""Run an exec plugin of a kubeconfig, by the API ``client.authentication.k8s.io``."""

import math
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

import anyio
import anyio.abc
import msgspec

from toolset.adapters.kube.credentials.kubeconfig_file import decoded
from toolset.adapters.kube.credentials.kubeconfig_schema import EXEC_EXTENSION, Cluster, Exec

TIMEOUT_S: Final = 120.0
"""Long enough for a person to log in where a plugin asks for it, seconds."""

OUTPUT_LIMIT_BYTES: Final = 2**20
_SAID_LIMIT: Final = 200


class ExecStatus(msgspec.Struct, frozen=True, rename="camel"):
    """The credentials that a plugin returns."""

    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: datetime | None = None

    def lives_s(self) -> float:
        """Return how long they are valid, seconds; infinite if they do not say."""
        end = self.expiration_timestamp
        if end is None:
            return math.inf
        aware = end if end.tzinfo else end.replace(tzinfo=timezone.utc)
        return (aware - datetime.now(timezone.utc)).total_seconds()


class _ExecCredential(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str = ""
    kind: str = ""
    status: ExecStatus | None = None


class ExecPlugin:
    """One plugin, run whenever credentials are needed."""

    def __init__(self, plugin: Exec, folder: Path, cluster: Cluster, authority: bytes) -> None:
        """Create it.

        Args:
            plugin: What the kubeconfig says.
            folder: Of the kubeconfig; a command with a slash starts there.
            cluster: For which cluster the credentials are.
            authority: Of the cluster, in PEM.
        """
        self._plugin = plugin
        self._folder = folder
        self._cluster = cluster
        self._authority = authority

    async def run(self) -> ExecStatus:
        """Return the credentials; a plugin that takes longer than TIMEOUT_S is killed, with its child processes.

        Raises:
            ValueError: It returns none; the message says why.
        """
        command, interactive = self._command(), self._interactive()
        ended = await _finished([command, *self._plugin.args], self._environment(interactive), interactive)
        if ended.returncode:
            raise ValueError(f"the exec plugin {command} failed with exit code {ended.returncode}{_said(ended.stderr)}")
        return self._status(command, ended.stdout)

    def _command(self) -> str:
        named = self._plugin.command
        found = shutil.which(str(self._folder / named) if os.sep in named else named)
        if found is None:
            hint = " ".join(self._plugin.install_hint.split())
            raise ValueError(f"the exec plugin {named} is not there, or cannot be executed{hint and f': {hint}'}")
        return found

    def _interactive(self) -> bool:
        """Return whether the plugin may prompt a person."""
        mode, terminal = self._plugin.interactive_mode, sys.stdin is not None and sys.stdin.isatty()
        if mode == "Always" and not terminal:
            raise ValueError(f"the exec plugin {self._plugin.command} asks a person, and standard input is no terminal")
        return mode != "Never" and terminal

    def _environment(self, interactive: bool) -> dict[str, str]:
        spec: dict[str, object] = {"interactive": interactive}
        if self._plugin.provide_cluster_info:
            spec["cluster"] = self._cluster_info()
        info = {"kind": "ExecCredential", "apiVersion": self._plugin.api_version, "spec": spec}
        own = {variable.name: variable.value for variable in self._plugin.env}
        try:
            text = msgspec.json.encode(info).decode()
        except (TypeError, ValueError, OverflowError, RecursionError) as error:  # as for keys that are no text
            raise ValueError("what the extension of its cluster holds cannot be written as JSON") from error
        return {**os.environ, **own, "KUBERNETES_EXEC_INFO": text}

    def _cluster_info(self) -> dict[str, object]:
        cluster = self._cluster
        config = next((each.extension for each in cluster.extensions if each.name == EXEC_EXTENSION), None)
        info: dict[str, object] = {
            "server": cluster.server,
            "tls-server-name": cluster.tls_server_name,
            "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
            "certificate-authority-data": self._authority,  # as base64
            "disable-compression": cluster.disable_compression,
        }
        return {key: value for key, value in info.items() if value} | {"config": config}

    def _status(self, command: str, output: bytes) -> ExecStatus:
        try:
            credential = decoded(output, _ExecCredential, "ExecCredential")
        except ValueError as error:
            raise ValueError(f"the exec plugin {command} printed no credentials: {error}") from error
        if (credential.kind, credential.api_version) != ("ExecCredential", self._plugin.api_version):
            raise ValueError(f"the exec plugin {command} printed no ExecCredential of {self._plugin.api_version}")
        status = credential.status or ExecStatus()
        if bool(status.client_certificate_data) != bool(status.client_key_data):
            raise ValueError(f"the exec plugin {command} gave a certificate or a key, but not both")
        if not status.token and not status.client_key_data:
            raise ValueError(f"the exec plugin {command} gave neither a token nor a certificate")
        return status


async def _finished(
    command: list[str], environment: dict[str, str], interactive: bool
) -> subprocess.CompletedProcess[bytes]:
    """Run a program; it and its child processes never outlive this call.

    An interactive one keeps this process's terminal, and so its process group, and shows its standard error.
    """
    process = await _started(command, environment, interactive)
    output, said = bytearray(), bytearray()
    ended = False
    try:
        with anyio.fail_after(TIMEOUT_S):
            async with anyio.create_task_group() as group:
                group.start_soon(_read, process.stdout, output)
                group.start_soon(_read, process.stderr, said)
            returncode = await process.wait()
        ended = True
    except TimeoutError as error:
        raise ValueError(f"the exec plugin {command[0]} did not end within {TIMEOUT_S:g} s") from error
    finally:
        if not ended:
            _kill(process, alone=interactive)
        with anyio.CancelScope(shield=True):
            await process.aclose()
    return subprocess.CompletedProcess(command, returncode, bytes(output), bytes(said))


async def _started(command: list[str], environment: dict[str, str], interactive: bool) -> anyio.abc.Process:
    try:
        with anyio.CancelScope(shield=True):  # cancelled half way, it would kill the program alone
            return await anyio.open_process(
                command,
                env=environment,
                stdin=None if interactive else subprocess.DEVNULL,
                stderr=None if interactive else subprocess.PIPE,
                start_new_session=not interactive,
            )
    except (OSError, ValueError) as error:  # no execute permission, no such interpreter, a null byte in an argument
        reason = error.strerror if isinstance(error, OSError) else "its arguments or variables are not valid"
        raise ValueError(f"the exec plugin {command[0]} cannot be started: {reason}") from error
    raise AssertionError("nothing cancels a scope that is shielded")


async def _read(stream: anyio.abc.ByteReceiveStream | None, into: bytearray) -> None:
    """Read everything, and keep the last OUTPUT_LIMIT_BYTES."""
    if stream is not None:
        async for chunk in stream:
            into += chunk
            del into[:-OUTPUT_LIMIT_BYTES]


def _kill(process: anyio.abc.Process, *, alone: bool) -> None:
    """Kill a process and, unless ``alone``, its process group."""
    with suppress(ProcessLookupError):
        if alone:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


def _said(stderr: bytes) -> str:
    """Return the last line of a program's output, as text that can be shown."""
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    text = "".join(letter if letter.isprintable() else " " for letter in lines[-1]).strip() if lines else ""
    return f": {text[-_SAID_LIMIT:]}" if text else ""

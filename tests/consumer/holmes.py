"""The real HolmesGPT in an environment of its own: ask it to load a file, and read what became of it."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final, Self

import msgspec

ROOT: Final = Path(__file__).resolve().parents[2]
DEFAULTS: Final = frozenset(
    {"core_investigation", "internet", "connectivity_check", "bash", "skills", "kubernetes/logs"}
)
"""What HolmesGPT turns on by itself, whatever a file says or does not say."""

Call = tuple[str, str, Mapping[str, str]]


class Instance(msgspec.Struct, frozen=True):
    """One of several instances of a toolset."""

    name: str
    healthy: bool
    reason: str | None = None


class Toolset(msgspec.Struct, frozen=True):
    """What became of a toolset."""

    name: str
    enabled: bool
    type: str | None
    status: str
    error: str | None
    tools: list[str]
    commands: list[str | None]
    instances: list[Instance]
    instructions: str
    undeclared: list[str]
    config: object = None


class Answer(msgspec.Struct, frozen=True):
    """What a tool answered."""

    status: str
    error: str | None
    data: str | None


class Loaded(msgspec.Struct, frozen=True):
    """What became of a file."""

    error: str | None
    toolsets: list[Toolset]
    calls: list[Answer]
    commands: list[list[str]]
    seconds: float = 0.0
    tokens: int = 0

    def toolset(self, name: str) -> Toolset:
        return next(each for each in self.toolsets if each.name == name)


def interpreter() -> Path:
    """Return the interpreter of its environment, which may not be there."""
    done = subprocess.run([ROOT / "hack" / "consumer", "--where"], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip())


class Holmes:
    """A process with HolmesGPT; use it as a context manager."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self._home = home
        (home / "bin").mkdir()
        kubectl = home / "bin" / "kubectl"  # only asked for its version
        kubectl.write_text("#!/bin/sh\necho 'Client Version: v1.36.0'\n", "utf-8")
        kubectl.chmod(0o755)
        self._environment = {
            "HOME": str(home),
            "HOLMES_CONFIGPATH_DIR": str(home),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PATH": f"{kubectl.parent}{os.pathsep}/usr/bin{os.pathsep}/bin",
            **environment,
        }

    def __enter__(self) -> Self:
        self._log = (self._home / "log").open("wb")
        self._process = subprocess.Popen(
            [interpreter(), ROOT / "hack" / "holmesgpt_loader.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=self._environment,
            cwd=self._home,
        )
        self._read()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe(self._process.stdin).close()
        self._process.wait(30)
        self._pipe(self._process.stdout).close()
        self._log.close()

    def load(
        self,
        text: str,
        *,
        connect_to: Mapping[str, str],
        elsewhere: str | None = None,
        calls: Sequence[Call] = (),
        variables: Mapping[str, str] | None = None,
        tokens: bool = False,
    ) -> Loaded:
        """Let its server load ``text`` as its file of custom toolsets, and call tools.

        Args:
            text: The file.
            connect_to: Where a host and port really is.
            elsewhere: Where all others are; nowhere when ``None``.
            calls: Toolset, tool and parameters.
            variables: Environment variables.
            tokens: Whether to count the tokens that all toolsets take in each request to a model.
        """
        path = self._home / "custom_toolset.yaml"
        path.write_text(text, "utf-8")
        request = {
            "path": str(path),
            "connect_to": connect_to,
            "elsewhere": elsewhere,
            "calls": calls,
            "env": variables or {},
            "tokens": tokens,
        }
        pipe = self._pipe(self._process.stdin)
        pipe.write(msgspec.json.encode(request) + b"\n")
        pipe.flush()
        return msgspec.json.decode(self._read(), type=Loaded)

    def _read(self) -> bytes:
        line = self._pipe(self._process.stdout).readline()
        assert line, f"HolmesGPT ended: {(self._home / 'log').read_text('utf-8')[-2000:]}"
        return line

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe

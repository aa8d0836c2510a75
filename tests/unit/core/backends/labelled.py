"""The labelled Services of ``services.txt``."""

from pathlib import Path
from typing import Final

import msgspec

from toolset.core.candidate import Candidate
from toolset.model import Service, ServiceMeta, ServicePort, ServiceSpec

FILE: Final = Path(__file__).parent / "services.txt"
_KEYS: Final = {
    "n": "app.kubernetes.io/name",
    "i": "app.kubernetes.io/instance",
    "c": "app.kubernetes.io/component",
    "p": "app.kubernetes.io/part-of",
    "m": "app.kubernetes.io/managed-by",
}
_SELECTING: Final = (*map(_KEYS.__getitem__, "nic"), "app", "name", "release")


class Labelled(msgspec.Struct, frozen=True):
    """One Service and the right answer.

    Attributes:
        service: The Service.
        source: The key of its source.
        wanted: ``(type, port, scheme, path)``; ``None`` for nothing.
        backend: ``namespace/name`` of the Service that stands for its backend.
        opt_in: Whether the answer holds only where the settings enable its detector; else it is nothing.
    """

    service: Service
    source: str
    wanted: tuple[str, int, str, str] | None
    backend: str
    opt_in: bool

    @property
    def name(self) -> str:
        """``namespace/name``."""
        return str(self.service.key)

    def is_met(self, tool: Candidate) -> bool:
        """Return whether ``tool`` is the right answer, port, scheme and path included."""
        return (tool.type, tool.port, tool.scheme, tool.path) == self.wanted


def sources() -> dict[str, tuple[str, ...]]:
    """Return repository, path, commit and licence by key."""
    lines = (line.split() for line in FILE.read_text("utf-8").splitlines() if line.startswith("source "))
    return {key: tuple(fields) for _, key, *fields in lines}


def labelled() -> list[Labelled]:
    """Return all Services, in the order of the file."""
    lines = FILE.read_text("utf-8").splitlines()
    return [_parsed(line) for line in lines if " | " in line and not line.startswith("#")]


def _parsed(line: str) -> Labelled:
    source, name, labels_, ports, answer, *rest = (part.strip() for part in line.split(" | "))
    labels = _pairs(labels_.split())
    flags = rest[0].split() if rest else []
    own = next((flag.removeprefix("sel:") for flag in flags if flag.startswith("sel:")), "")
    selector = _pairs(own.split(",")) if own else {key: value for key, value in labels.items() if key in _SELECTING}
    namespace, _, plain = name.partition("/")
    service = Service(
        ServiceMeta(plain, namespace, labels=labels, creation_timestamp="2025-01-01T00:00:00Z"),
        ServiceSpec(
            cluster_ip="None" if "headless" in flags else "10.96.0.1",
            selector=selector or labels,
            ports=tuple(_port(port) for port in ports.split()),
        ),
    )
    opt_in, words = answer.startswith("?"), answer.removeprefix("?").split()
    if words == ["none"]:
        return Labelled(service, source, None, "", opt_in)
    if words[0] == "of":
        return Labelled(service, source, None, words[1], opt_in)
    kind, port, scheme, path = words
    return Labelled(service, source, (kind, int(port), scheme, path.removeprefix("-")), name, opt_in)


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = (text.partition("=") for text in texts)
    return {_KEYS.get(key, key): value for key, _, value in pairs}


def _port(text: str) -> ServicePort:
    name, _, rest = text.partition(":")
    number, _, target = rest.partition(">")
    return ServicePort(int(number), name, "TCP", target_port=int(target) if target.isdecimal() else target)

"""Backends outside the cluster, from the settings: checked, and converted to candidates like discovered ones."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from toolset.core.candidate import Candidate, Evidence, HealthCheck
from toolset.core.detection.annotations import TypeWord, is_path, is_type
from toolset.core.detection.detector import DEFAULT_CHECK, Detector, effective_check
from toolset.core.dialects.documents import URL_PATTERN, Credentials
from toolset.core.health.http_config import AddressRange, HeaderName, HttpConfig
from toolset.model import Key

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_NAME: Final = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z"


class StaticBackend(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One backend outside the cluster.

    Attributes:
        type: Its type, such as ``prometheus``.
        name: Its name in the documents, the status and ``overrides.yaml``; unique among static backends.
        url: Where it is, with its base path; no user, no query.
        product: Whose detector says how to probe it, such as ``vmselect``; default: the first of the type.
        health_path: What to probe, below ``url``; default: what the detector says.
        priority: Orders the instances of a type; higher first. Without one, static backends come first.
        ca_file: A PEM bundle that its certificate must come from instead of the system's.
        insecure_skip_verify: Whether any certificate is accepted.
        headers_from: Headers of its probes, each with the file that holds its value.
        statuses: Statuses that mean alive in addition to 200 to 299; default: those of the detector.
        allowed_ranges: Address ranges (CIDR) that this backend may have although probes refuse them, such as
            ``127.0.0.0/8``; cloud metadata addresses are refused in any case.
        credentials: The reader's environment variables with its credentials, as in ``output.credentials``.
    """

    type: TypeWord
    name: Annotated[
        str, msgspec.Meta(pattern=_NAME, description="a name of at most 63 lower-case letters, digits and `-`")
    ]
    url: Annotated[
        str, msgspec.Meta(pattern=URL_PATTERN, description="a URL such as `https://metrics.example.com/prometheus`")
    ]
    product: str = ""
    health_path: str = ""
    priority: Annotated[int, msgspec.Meta(ge=-999999, le=999999)] = 0
    ca_file: str = ""
    insecure_skip_verify: bool = False
    headers_from: dict[HeaderName, Annotated[str, msgspec.Meta(min_length=1)]] = {}
    statuses: tuple[Annotated[int, msgspec.Meta(ge=100, le=599)], ...] | None = None
    allowed_ranges: tuple[AddressRange, ...] = ()
    credentials: Credentials = Credentials()

    @property
    def key(self) -> Key:
        """Its key: without a namespace, so that no Service has the same one."""
        return Key("", self.name)

    @property
    def http_config(self) -> HttpConfig:
        """How it is probed; its headers are sent only to it."""
        return HttpConfig(
            ca_file=self.ca_file,
            insecure_skip_verify=self.insecure_skip_verify,
            headers_from=self.headers_from,
            services=(str(self.key),),
            statuses=self.statuses,
        )


def static_candidates(backends: Iterable[StaticBackend], detectors: Sequence[Detector]) -> dict[Key, Candidate]:
    """Return the candidates that ``backends`` are, by key.

    Args:
        backends: Checked with :func:`static_fault`.
        detectors: In order; they say how the products of a type are probed.
    """
    return {backend.key: _candidate(backend, _detector(backend, detectors)) for backend in backends}


def static_credentials(backends: Iterable[StaticBackend]) -> dict[str, Credentials]:
    """Return the credentials of ``backends``, by the name of their key."""
    return {str(backend.key): backend.credentials for backend in backends if backend.credentials.variables}


def static_fault(
    backend: StaticBackend, before: Mapping[str, StaticBackend], detectors: Sequence[Detector]
) -> tuple[str, str] | None:
    """Return the field of ``backend`` that is wrong, and why; ``None`` if none is.

    Args:
        backend: One entry of the list.
        before: The entries before it, by name.
        detectors: Those in force.
    """
    if not is_type(backend.type):
        return "type", f"`{backend.type}` is taken; choose another word"
    if backend.name in before:
        return "name", f"another static backend is called `{backend.name}`; each needs a name of its own"
    if not _has_usable_port(backend.url):
        return "url", f"`{backend.url}`: the port must be 1 to 65535"
    if any((other.type, _plain(other.url)) == (backend.type, _plain(backend.url)) for other in before.values()):
        return "url", f"`{backend.url}` is listed twice as {backend.type}"
    if backend.health_path and not is_path(backend.health_path):
        return "health_path", f"`{backend.health_path}`: expected an absolute path"
    products = [detector.product for detector in detectors if detector.type == backend.type]
    if backend.product and backend.product not in products:
        known = f"known are {', '.join(products)}" if products else "leave it out"
        return "product", f"no detector of the type `{backend.type}` is called `{backend.product}`; {known}"
    if backend.ca_file and backend.insecure_skip_verify:
        return "ca_file", "it means nothing with `insecure_skip_verify`"
    return None


def _candidate(backend: StaticBackend, detector: Detector | None) -> Candidate:
    parts = urlsplit(backend.url)
    host = parts.hostname or ""
    check = effective_check(detector) if detector else DEFAULT_CHECK
    if backend.health_path:
        check = HealthCheck(backend.health_path, check.statuses)
    is_literal = _is_address(host)
    return Candidate(
        key=backend.key,
        type=backend.type,
        product=detector.product if detector else backend.type,
        evidence=Evidence.SETTINGS,
        scheme=parts.scheme,
        host=f"[{host}]" if ":" in host else host,
        port=parts.port or _DEFAULT_PORTS[parts.scheme],
        path=parts.path.rstrip("/"),
        check=check,
        address=host if is_literal else "",
        asked=True,
        admin_priority=backend.priority,
    )


def _detector(backend: StaticBackend, detectors: Sequence[Detector]) -> Detector | None:
    of_type = [detector for detector in detectors if detector.type == backend.type]
    named = [detector for detector in of_type if detector.product == backend.product]
    return next(iter(named or of_type), None)


def _plain(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    return f"{parts.scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}"


def _has_usable_port(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True

"""The verdict of detection: a candidate, or rejected with a reason."""

from enum import Enum
from typing import Annotated

import msgspec

from toolset.model import Key

Selector = frozenset[tuple[str, str]]


class Backend(msgspec.Struct, frozen=True):
    """What of a Service decides whether another one leads to the same backend; see ``duplicates``.

    Attributes:
        selector: The pairs that the pods must have. Replicas of one StatefulSet are not told apart. Empty where nobody
            knows what is behind the Service, which then is a backend of its own.
        port: Number or name of the port on the pods.
        installation: What the Services of the parts of one installation have in common; empty where the Service
            names no part.
        part: The rank of the part among those that answer for the whole installation; lower is better.
        governing: Whether an operator made the Service for its StatefulSets, of which it may have several.
    """

    selector: Selector = frozenset()
    port: int | str = 0
    installation: str = ""
    part: int = 0
    governing: bool = False


UNKNOWN_BACKEND = Backend()
"""Of a Service with which no other one shares its backend."""


class Evidence(Enum):
    """Why a Service is taken for a tool, strongest first."""

    SETTINGS = "settings"
    ANNOTATION = "annotation"
    LABEL = "label"
    NAME = "name"
    PORT = "port"


class Reason(Enum):
    """Why a Service is not published; the value is the sentence for people."""

    NO_MATCH = "no detector recognises it"
    OPTED_OUT = "its annotation opts it out"
    NAMESPACE_EXCLUDED = "its namespace is excluded by the settings"
    NOT_OPTED_IN = "the settings take it only if its annotation opts in"
    UNTRUSTED = "its namespace is not trusted, and the settings take nothing from there"
    PENDING = "it waits for an admin's approval"
    TYPE_MISSING = "it opts in but names no type, and no detector recognises it"
    BAD_ANNOTATION = "one of its annotations is not valid"
    NO_USABLE_PORT = "it has no usable port"
    DENIED = "a rule of its detector speaks against it"
    EXTERNAL_NAME = "it is of type ExternalName, which could point anywhere"
    SELECTORLESS = "it has no selector, so its endpoints could be anything"
    TERMINATING = "it is being deleted"
    DUPLICATE = "another Service leads to the same backend"
    UNHEALTHY = "its health check fails"
    IDENTITY_MISMATCH = "what answers there is something else"
    UNPROBED = "its health is not known yet"
    SUPPRESSED = "an override hides it"
    OVER_LIMIT = "there are more tools than may be published"
    NAME_TAKEN = "its name is already in use"
    EXTERNAL_HOST = "credentials are configured for it, but its host is not its own"

    @property
    def word(self) -> str:
        """The one word used in tables, logs and metrics, for example ``NoMatch``."""
        return self.name.title().replace("_", "")

    @property
    def of_candidates(self) -> bool:
        """Whether it is said of Services that a detector recognises."""
        return self in _OF_CANDIDATES


_OF_CANDIDATES = frozenset(
    {
        Reason.PENDING,
        Reason.DUPLICATE,
        Reason.UNHEALTHY,
        Reason.IDENTITY_MISMATCH,
        Reason.UNPROBED,
        Reason.SUPPRESSED,
        Reason.OVER_LIMIT,
        Reason.NAME_TAKEN,
        Reason.EXTERNAL_HOST,
    }
)


class HealthCheck(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to tell that a tool lives.

    Attributes:
        path: Begins with ``/``; asked below the tool's own base path.
        statuses: Answers that mean alive beside 200 to 299.
        identity: A text in the body that proves what answers; empty when nothing has to be proven.
    """

    path: str
    statuses: tuple[Annotated[int, msgspec.Meta(ge=100, le=599)], ...] = ()
    identity: Annotated[str, msgspec.Meta(max_length=256)] = ""


class Candidate(msgspec.Struct, frozen=True):
    """A Service that a detector recognises.

    Attributes:
        key: The Service; a static backend has a key without a namespace.
        type: ``prometheus``, ``grafana``, ``jaeger``, ``elasticsearch`` or a custom word.
        product: What its detector recognises, for example ``thanos-query``; the type when an annotation alone names it.
        evidence: The strongest evidence found.
        url: ``scheme://host:port/base``, without a trailing slash.
        check: How to probe it.
        host: The host in ``url``.
        port: The Service's port in ``url``.
        scheme: The scheme in ``url``.
        path: The base path in ``url``; empty or ``/...`` without a trailing slash.
        address: The Service's cluster IP, which is dialled so that DNS cannot lead elsewhere; empty when headless.
        created: When the Service was made, RFC 3339.
        priority: What its annotation says; orders the instances of a type within its namespace, higher first.
        backend: What decides whether another Service leads to the same backend; see ``duplicates``.
        headless: Whether the Service is headless.
        asked: Whether the Service's owner asked for it to be published.
        external: Whether an annotation or an ExternalName chooses the host, so that it may be any host at all; no
            credential is sent to it.
        trusted: Whether its namespace is trusted; those come first.
        admin_priority: What the admin says; orders all instances of a type, higher first.
    """

    key: Key
    type: str
    evidence: Evidence
    scheme: str
    host: str
    port: int
    path: str
    check: HealthCheck
    address: str = ""
    created: str = ""
    priority: int = 0
    backend: Backend = UNKNOWN_BACKEND
    headless: bool = False
    product: str = ""
    asked: bool = False
    external: bool = False
    trusted: bool = True
    admin_priority: int = 0

    @property
    def url(self) -> str:
        """``scheme://host:port/base``, without a trailing slash."""
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"


class Rejected(msgspec.Struct, frozen=True):
    """A Service that is not a candidate.

    Attributes:
        reason: Why.
        detail: What exactly, for people; never text from the Service that was not checked.
        type: The type it nearly was; empty when none.
        asked: Whether the Service's owner asked for it to be published.
    """

    reason: Reason
    detail: str = ""
    type: str = ""
    asked: bool = False

    @property
    def sentence(self) -> str:
        """Why, for people: the reason's sentence with its detail."""
        if self.reason is Reason.DUPLICATE:
            return f"{self.reason.value}: {self.detail.removeprefix('of ')}"
        return f"{self.reason.value} ({self.detail})" if self.detail else self.reason.value


Verdict = Candidate | Rejected

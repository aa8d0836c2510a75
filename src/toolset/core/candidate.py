"""The verdict of detection: a candidate, or rejected with a reason."""

from enum import Enum
from typing import Annotated

import msgspec

from toolset.model import Key

Selector = frozenset[tuple[str, str]]


class Backend(msgspec.Struct, frozen=True):
    """The properties of a Service that decide whether another one leads to the same backend; see ``duplicates``.

    Attributes:
        selector: The pairs that the pods must have. Replicas of one StatefulSet are not distinguished. Empty if the
            pods are unknown; the Service is then a separate backend.
        port: Number or name of the port on the pods.
        installation: What the Services of the parts of one installation have in common; empty if the Service names
            no part.
        part: The rank of the part among those that answer for the whole installation; lower is better.
        governing: Whether an operator created the Service for its StatefulSets, of which it may have several.
    """

    selector: Selector = frozenset()
    port: int | str = 0
    installation: str = ""
    part: int = 0
    governing: bool = False


UNKNOWN_BACKEND = Backend()
"""For a Service that shares its backend with no other one."""


class Evidence(Enum):
    """Why a Service is recognised as a tool, strongest first."""

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
    NOT_OPTED_IN = "the settings require an annotation that opts it in"
    UNTRUSTED = "its namespace is not trusted, and the settings refuse untrusted ones"
    PENDING = "it awaits an admin's approval"
    TYPE_MISSING = "it opts in but names no type, and no detector recognises it"
    BAD_ANNOTATION = "one of its annotations is not valid"
    NO_USABLE_PORT = "it has no usable port"
    DENIED = "a rule of its detector excludes it"
    EXTERNAL_NAME = "it is of type ExternalName, which could point anywhere"
    SELECTORLESS = "it has no selector, so its endpoints could be anything"
    TERMINATING = "it is being deleted"
    DUPLICATE = "another Service leads to the same backend"
    UNHEALTHY = "its health check fails"
    AUTH_REQUIRED = "it answers only with credentials, and none are configured for it"
    IDENTITY_MISMATCH = "another product answers there"
    UNPROBED = "its health is not known yet"
    SUPPRESSED = "an override hides it"
    OVER_LIMIT = "there are more tools than may be published"
    NAME_TAKEN = "its name is already in use"
    EXTERNAL_HOST = "credentials are configured for it, but its URL names another host"
    CREDENTIALS_WITHHELD = (
        "credentials are configured for it, but it answers at another scheme or port than it declares"
    )

    __hash__ = object.__hash__  # that of Enum is a Python function, and 10,000 Services are counted by reason

    @property
    def word(self) -> str:
        """The one word used in tables, logs and metrics, for example ``NoMatch``."""
        return self.name.title().replace("_", "")

    @property
    def of_candidates(self) -> bool:
        """Whether it applies to Services that a detector recognises."""
        return self in _OF_CANDIDATES


_OF_CANDIDATES = frozenset(
    {
        Reason.PENDING,
        Reason.DUPLICATE,
        Reason.UNHEALTHY,
        Reason.AUTH_REQUIRED,
        Reason.IDENTITY_MISMATCH,
        Reason.UNPROBED,
        Reason.SUPPRESSED,
        Reason.OVER_LIMIT,
        Reason.NAME_TAKEN,
        Reason.EXTERNAL_HOST,
        Reason.CREDENTIALS_WITHHELD,
    }
)


FieldWish = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(=.+)?\Z",
        max_length=128,
        description="a field of a JSON answer as `name` or `name=value`, with dots into inner objects",
    ),
]


class HealthCheck(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to verify that a tool is alive, and that it is the product of its detector.

    Attributes:
        path: Begins with ``/``, and may end with a query; requested below the tool's base path.
        statuses: Statuses that mean alive in addition to 200 to 299.
        identity: A text in the body that proves the product; empty proves nothing.
        body: The whole body, without surrounding whitespace, that proves the product; empty proves nothing.
        fields: Fields of the JSON body that prove the product: ``name``, or ``name=value`` for a text; dots lead into
            inner objects.
        challenge: Texts of which a 401 or 403 of the product itself contains one, in its body or in the header
            ``WWW-Authenticate``; empty accepts any.
        publish_unauthorized: Whether a tool that answers 401 or 403 is published without credentials for it.
        backend_id: The field of the body that names the backend, to detect two Services of one backend.
    """

    path: str
    statuses: tuple[Annotated[int, msgspec.Meta(ge=100, le=599)], ...] = ()
    identity: Annotated[str, msgspec.Meta(max_length=256)] = ""
    body: Annotated[str, msgspec.Meta(max_length=256)] = ""
    fields: Annotated[tuple[FieldWish, ...], msgspec.Meta(max_length=8)] = ()
    challenge: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=256)], ...] = ()
    publish_unauthorized: bool = False
    backend_id: Annotated[str, msgspec.Meta(max_length=64)] = ""

    @property
    def proves(self) -> bool:
        """Whether an answer must prove the product."""
        return bool(self.identity or self.body or self.fields)


class Variant(msgspec.Struct, frozen=True):
    """One way to reach a Service.

    Attributes:
        scheme: ``http`` or ``https``.
        port: A port of the Service.
        path: The base path; empty or ``/...`` without a trailing slash.
    """

    scheme: str
    port: int
    path: str


class Candidate(msgspec.Struct, frozen=True):
    """A Service that a detector recognises.

    If nothing on the Service decides how it is reached, it has several variants, and the probe chooses one.

    Attributes:
        key: The Service; a static backend has a key without a namespace.
        type: ``prometheus``, ``grafana``, ``jaeger``, ``elasticsearch`` or a custom word.
        product: What its detector recognises, for example ``thanos-query``; the type if only an annotation names it.
        evidence: The strongest evidence found.
        url: ``scheme://host:port/base``, without a trailing slash.
        check: How to probe it.
        host: The host in ``url``.
        port: The Service's port in ``url``.
        scheme: The scheme in ``url``.
        path: The base path in ``url``; empty or ``/...`` without a trailing slash.
        alternatives: The other likely variants, the likeliest first.
        fallbacks: Unlikely variants, which are requested only if an answer leads to them.
        origin: The variant that detection names first, if ``url`` is another one.
        health_path: An additional path that its annotation requests to probe; empty if there is none.
        address: The Service's cluster IP, which is dialled so that DNS cannot point elsewhere; empty if headless.
        created: When the Service was created, RFC 3339.
        priority: The annotation's priority; orders the instances of a type within its namespace, higher first.
        backend: What decides whether another Service leads to the same backend; see ``duplicates``.
        headless: Whether the Service is headless.
        asked: Whether the Service's owner asked for it to be published.
        external: Whether an annotation or an ExternalName chooses the host, so that it may be any host; no credential
            is sent to it.
        trusted: Whether its namespace is trusted; those come first.
        admin_priority: The admin's priority; orders all instances of a type, higher first.
        unauthorized: Whether its last probe was answered with 401 or 403.
        wants_tenant: Whether that answer asked for the name of a tenant.
        unverified: Whether readers must not verify its certificate, by the admin's decision.
        unread: Which of its annotations are not read although they were probably meant to be; empty if none.
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
    alternatives: tuple[Variant, ...] = ()
    fallbacks: tuple[Variant, ...] = ()
    origin: Variant | None = None
    health_path: str = ""
    unauthorized: bool = False
    wants_tenant: bool = False
    unverified: bool = False
    unread: str = ""

    @property
    def url(self) -> str:
        """``scheme://host:port/base``, without a trailing slash."""
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"

    @property
    def variant(self) -> Variant:
        """The variant in ``url``."""
        return Variant(self.scheme, self.port, self.path)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The likely variants: the one in ``url`` first."""
        return (self.variant, *self.alternatives)

    @property
    def readers_path(self) -> str:
        """The health path below ``url`` for readers of a custom tool: without a query."""
        return self.health_path or self.check.path.partition("?")[0]

    @property
    def has_moved(self) -> bool:
        """Whether ``url`` has another scheme or port than detection names first: probes send no credential there."""
        return self.origin is not None and (self.origin.scheme, self.origin.port) != (self.scheme, self.port)

    @property
    def is_upgraded(self) -> bool:
        """Whether ``url`` is HTTPS while the variant that detection names first is not."""
        return self.origin is not None and (self.origin.port, self.scheme) == (self.port, "https")

    def at(self, variant: Variant) -> "Candidate":
        """Return the candidate with ``variant`` in its URL; the others stay as they are."""
        here = self.variant
        if variant == here:
            return self
        origin = self.origin or here
        return msgspec.structs.replace(
            self,
            scheme=variant.scheme,
            port=variant.port,
            path=variant.path,
            alternatives=tuple(each for each in self.variants if each != variant),
            fallbacks=tuple(each for each in self.fallbacks if each != variant),
            origin=None if variant == origin else origin,
        )

    def alone(self) -> "Candidate":
        """Return the candidate with the variant in its URL and no other."""
        if not self.alternatives and not self.fallbacks:
            return self
        return msgspec.structs.replace(self, alternatives=(), fallbacks=())


class Rejected(msgspec.Struct, frozen=True):
    """A Service that is not a candidate.

    Attributes:
        reason: Why.
        detail: What exactly, for people; never text from the Service that was not checked.
        type: The type that it nearly matched; empty if none.
        asked: Whether the Service's owner asked for it to be published, or tried to.
        unread: As for a :class:`Candidate`.
    """

    reason: Reason
    detail: str = ""
    type: str = ""
    asked: bool = False
    unread: str = ""

    @property
    def sentence(self) -> str:
        """Why, for people: the reason's sentence with its detail."""
        if self.reason is Reason.DUPLICATE:
            return f"{self.reason.value}: {self.detail.removeprefix('of ')}"
        return f"{self.reason.value} ({self.detail})" if self.detail else self.reason.value


Verdict = Candidate | Rejected

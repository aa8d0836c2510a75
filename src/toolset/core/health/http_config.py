"""How the candidates of a detector are reached, as configured by an admin; checked when it is read."""

import ipaddress
from typing import Annotated

import msgspec

HeaderName = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]{1,64}\Z", description="the name of a header: letters, digits and `-`")
]
ServiceGlob = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z0-9*-]+/[a-z0-9*.-]+\Z", description="Services as `namespace/name`, in which `*` may stand"
    ),
]


class AddressRange(str):
    """A range of IP addresses in CIDR notation, or one address."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> "AddressRange":
        """Return the range in ``text``.

        Raises:
            ValueError: It is not a range.
        """
        try:
            return cls(ipaddress.ip_network(text if isinstance(text, str) else ""))
        except ValueError:
            raise ValueError("expected a range of addresses such as `10.0.0.0/8` or `fd00::/8`") from None


class HttpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the candidates of one detector are reached.

    Attributes:
        ca_file: A PEM bundle to verify certificates with instead of the system's; read again when it changes.
        insecure_skip_verify: Whether any certificate is accepted.
        headers_from: By header, the file that holds its value; read again when it changes.
        services: Globs of ``namespace/name``: the Services that get those headers; a label or an annotation must not
            suffice to receive a credential.
        statuses: Statuses that mean alive in addition to 200 to 299; ``None`` leaves them to the detector.
        publish_unauthorized: Whether a tool that answers 401 or 403 is published although ``output.credentials`` has
            none for it; ``None`` leaves it to the detector.
        publish_verify: Whether readers verify the certificates; ``False`` writes that they must not. ``None`` lets them
            verify, with a warning if ``ca_file`` or ``insecure_skip_verify`` suggests that they may fail.
    """

    ca_file: str = ""
    insecure_skip_verify: bool = False
    headers_from: dict[HeaderName, Annotated[str, msgspec.Meta(min_length=1)]] = {}
    services: tuple[ServiceGlob, ...] = ()
    statuses: tuple[Annotated[int, msgspec.Meta(ge=100, le=599)], ...] | None = None
    publish_unauthorized: bool | None = None
    publish_verify: bool | None = None

    @property
    def leaves_readers_failing(self) -> bool:
        """Whether probes trust certificates that readers may not trust, and ``publish_verify`` is not set."""
        return self.publish_verify is None and bool(self.ca_file or self.insecure_skip_verify)

    def __post_init__(self) -> None:
        """Reject headers for no Service, and contradictions.

        Raises:
            ValueError: There is one.
        """
        if self.headers_from and not self.services:
            raise ValueError("`headers_from` needs `services`, globs of `namespace/name` that may be sent them")
        if self.ca_file and self.insecure_skip_verify:
            raise ValueError("`ca_file` means nothing with `insecure_skip_verify`")

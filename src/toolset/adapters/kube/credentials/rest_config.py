"""What one request needs of credentials, and whose they are."""

import ssl

import msgspec
from typing_extensions import override


class Origin(msgspec.Struct, frozen=True):
    """Which cluster is reached, by which context, as whom; for people.

    Attributes:
        cluster: Its name, and its address.
        context: Of the kubeconfig; ``in-cluster`` for the credentials of a pod.
        identity: The user, and whom it impersonates.
    """

    cluster: str = ""
    context: str = ""
    identity: str = ""

    @override
    def __str__(self) -> str:
        """Return all three in one line."""
        return f"cluster {self.cluster}, context {self.context}, identity {self.identity}"


class RestConfig(msgspec.Struct, frozen=True):
    """What one request needs.

    Attributes:
        base_url: Scheme, host and port, without a trailing slash.
        tls: The TLS context; ``None`` for plain HTTP.
        headers: The authorization, if there is any, and who is impersonated; a name may be there more than once.
        server_name: What the server's certificate has to name instead of the host; empty for the host.
        origin: Which cluster that is, and who is asking.
    """

    base_url: str
    tls: ssl.SSLContext | None
    headers: tuple[tuple[str, str], ...]
    server_name: str = ""
    origin: Origin = Origin()

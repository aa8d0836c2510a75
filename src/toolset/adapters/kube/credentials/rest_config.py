"""The credentials that one request needs, and their origin."""

import ssl

import msgspec
from typing_extensions import override


class Origin(msgspec.Struct, frozen=True):
    """The cluster, the context and the user, for people.

    Attributes:
        cluster: Its name, and its address.
        context: Of the kubeconfig; ``in-cluster`` for the credentials of a pod.
        identity: The user, and the user it impersonates.
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
        headers: The authorization, if any, and the impersonation headers; a name may occur more than once.
        server_name: The name required in the server's certificate instead of the host; empty for the host.
        origin: The cluster and the user.
    """

    base_url: str
    tls: ssl.SSLContext | None
    headers: tuple[tuple[str, str], ...]
    server_name: str = ""
    origin: Origin = Origin()

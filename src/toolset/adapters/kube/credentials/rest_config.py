"""What one request needs of credentials."""

import ssl

import msgspec


class RestConfig(msgspec.Struct, frozen=True):
    """What one request needs.

    Attributes:
        base_url: Scheme, host and port, without a trailing slash.
        tls: The TLS context; ``None`` for plain HTTP.
        headers: With the authorization, if there is any.
        server_name: What the server's certificate has to name instead of the host; empty for the host.
    """

    base_url: str
    tls: ssl.SSLContext | None
    headers: dict[str, str]
    server_name: str = ""

"""The limits of one health probe, and of concurrent ones.

How many run at once and how long one may take are settings (``health.concurrency``, ``health.timeout``). Which of them
may wait for slow backends is decided in :mod:`toolset.reconciler.bulkhead`.
"""

from typing import Final

PER_HOST: Final = 2
"""Maximum number of concurrent probes of one host."""

LOOKUPS: Final = 8
"""Maximum number of concurrent DNS look-ups; a thread whose DNS hangs stays busy until the system resolver gives up."""

ADDRESSES_TRIED: Final = 4
"""Maximum number of addresses of one host that are tried."""

EYEBALLS_DELAY_S: Final = 0.25
"""Delay between connection attempts to the addresses of one host, seconds (RFC 8305)."""

HEAD_LIMIT_BYTES: Final = 16 * 1024
"""Maximum size of the status line and headers of a response."""

HEADERS_LIMIT: Final = 100
"""Maximum number of headers of a response."""

BODY_LIMIT_BYTES: Final = 64 * 1024
"""Maximum size that is read of a body."""

PIECES_LIMIT: Final = 128
"""Maximum number of chunks of a body: each costs the reader far more than its sender."""

WIRE_LIMIT_BYTES: Final = 256 * 1024
"""Maximum size that is read below TLS: handshake with certificates, head and body. OpenSSL silently skips any number
of unsolicited records."""

READ_BYTES: Final = 16 * 1024
"""Maximum size of one read from a connection."""

HEADER_FILE_LIMIT_BYTES: Final = 16 * 1024
"""Maximum size that is read of a file with the value of a request header."""

"""The limits of one health probe, and of all that run at once.

How many run at once and how long one may take are settings (``health.concurrency``, ``health.timeout``). Which of them
may wait for slow backends is decided in :mod:`toolset.reconciler.bulkhead`.
"""

from typing import Final

PER_HOST: Final = 2
"""Probes of one host at once."""

LOOKUPS: Final = 8
"""Names that are resolved at once; a thread whose DNS hangs stays busy until the system's resolver gives up."""

ADDRESSES_TRIED: Final = 4
"""Addresses of one host that are tried."""

EYEBALLS_DELAY_S: Final = 0.25
"""How long one address may keep the next waiting, seconds (RFC 8305)."""

HEAD_LIMIT_BYTES: Final = 16 * 1024
"""Status line and headers of a response."""

HEADERS_LIMIT: Final = 100
"""Headers of a response."""

BODY_LIMIT_BYTES: Final = 64 * 1024
"""What is read of a body."""

PIECES_LIMIT: Final = 128
"""Pieces in which a body may come: each costs the reader far more than its sender."""

WIRE_LIMIT_BYTES: Final = 256 * 1024
"""What is read from the wire below TLS: a handshake with its certificates, head and body. OpenSSL passes over records
that nobody asked for, without end and without a word to its caller."""

READ_BYTES: Final = 16 * 1024
"""What one read takes from a connection."""

HEADER_FILE_LIMIT_BYTES: Final = 16 * 1024
"""What is read of a file that holds the value of a request header."""

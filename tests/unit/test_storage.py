"""Objects are encoded as the API server stores them; tests/integration/test_seeding.py compares with a real one."""

from typing import Final

import pytest

from seeding import stored_address
from storage import encoded

NAME: Final = "n" * 130  # longer than a length of one byte can say


def test_object_is_protobuf_in_an_envelope() -> None:
    parent = {"resource": "services", "namespace": "shop", "name": NAME}

    data = encoded({"kind": "IPAddress", "apiVersion": "networking.k8s.io/v1", "spec": {"parentRef": parent}})

    reference = b"\x12\x08services\x1a\x04shop\x22\x82\x01" + NAME.encode()
    spec = b"\x0a\x95\x01" + reference
    raw = b"\x12\x98\x01" + spec
    assert data == b"k8s\0\x0a\x21\x0a\x14networking.k8s.io/v1\x12\x09IPAddress\x12\x9b\x01" + raw + b"\x1a\0\x22\0"


def test_unknown_field_is_an_error() -> None:
    address = stored_address("10.97.0.0", "shop", "checkout", "2026-11-30T00:00:00Z")
    address["metadata"]["finalizers"] = ["kubernetes"]

    with pytest.raises(KeyError, match="finalizers"):
        encoded(address)

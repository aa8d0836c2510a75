import msgspec
import pytest

from toolset.core.health.http_config import AddressRange, HttpConfig


def convert(**fields: object) -> HttpConfig:
    return msgspec.convert(fields, HttpConfig)


def test_nothing_set_is_the_systems_certificates_and_no_header() -> None:
    assert convert() == HttpConfig(ca_file="", insecure_skip_verify=False, headers_from={}, services=(), statuses=None)


@pytest.mark.parametrize("glob", ["logging/*", "*/grafana", "team-a1/es.http-9", "*/*"])
def test_services_are_globs_of_namespace_and_name(glob: str) -> None:
    assert convert(services=[glob]).services == (glob,)


@pytest.mark.parametrize("glob", ["", "grafana", "a/", "/b", "A/b", "a/B", "a.b/c", "a/b/c", "x a/b", "a/b ", "a/b\n"])
def test_what_is_no_glob_of_namespace_and_name_is_refused(glob: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        convert(services=[glob])


@pytest.mark.parametrize("name", ["Authorization", "x-api-key9", "A" * 64])
def test_headers_are_named_by_letters_digits_and_dashes(name: str) -> None:
    assert convert(headers_from={name: "/key"}, services=["a/b"]).headers_from == {name: "/key"}


@pytest.mark.parametrize("name", ["", "X Y", "a:b", "A" * 65, "a_b", "X\n"])
def test_what_is_no_name_of_a_header_is_refused(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        convert(headers_from={name: "/key"}, services=["a/b"])


def test_a_header_needs_a_file() -> None:
    with pytest.raises(msgspec.ValidationError):
        convert(headers_from={"Authorization": ""}, services=["a/b"])
    assert convert(headers_from={"Authorization": "k"}, services=["a/b"]).headers_from == {"Authorization": "k"}


@pytest.mark.parametrize(("status", "valid"), [(99, False), (100, True), (599, True), (600, False)])
def test_statuses_are_those_of_http(status: int, valid: bool) -> None:
    if valid:
        assert convert(statuses=[status]).statuses == (status,)
        return
    with pytest.raises(msgspec.ValidationError):
        convert(statuses=[status])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param(
            {"headers_from": {"X": "/key"}},
            "`headers_from` needs `services`, globs of `namespace/name` that may be sent them",
            id="headers for nobody",
        ),
        pytest.param(
            {"ca_file": "/ca", "insecure_skip_verify": True},
            "`ca_file` means nothing with `insecure_skip_verify`",
            id="certificates that are not checked",
        ),
    ],
)
def test_contradictions_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        convert(**fields)
    assert str(error.value) == message


@pytest.mark.parametrize("text", ["10.0.0.0/8", "fd00::/8"])
def test_a_range_of_addresses_is_kept_as_written(text: str) -> None:
    assert AddressRange.parse(text) == text


def test_one_address_is_a_range() -> None:
    assert AddressRange.parse("10.1.2.3") == "10.1.2.3/32"


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "a", 7, None])
def test_what_is_no_range_of_addresses_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"^expected a range of addresses such as `10.0.0.0/8` or `fd00::/8`$"):
        AddressRange.parse(text)

"""Common parts of all dialects: YAML output, faults, and references to credentials."""

from collections.abc import Mapping
from typing import Annotated, Final, TypeAlias, cast

import msgspec
import yaml
from typing_extensions import override

from toolset.core.json_values import Document, Json

URL_PATTERN: Final = (
    r"^https?://([A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]{0,512})?\Z"
)
"""No user, no query, no fragment, nothing that a template or a shell could interpret."""
Url: TypeAlias = Annotated[str, msgspec.Meta(pattern=URL_PATTERN, description="a URL such as `http://host:9090/path`")]
VARIABLE_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]{0,127}\Z"
Variable: TypeAlias = Annotated[
    str, msgspec.Meta(pattern=VARIABLE_PATTERN, description="the name of an environment variable")
]


class Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The names of a reader's environment variables; the values are in its Secrets, never here.

    Attributes:
        api_key: Holds an API key; for Grafana and Elasticsearch.
        bearer_token: Holds a bearer token; for every type but Elasticsearch.
        username: Holds a user name; together with ``password``, for every type but Prometheus.
        password: Holds a password.
    """

    api_key: Variable | None = None
    bearer_token: Variable | None = None
    username: Variable | None = None
    password: Variable | None = None

    @property
    def variables(self) -> frozenset[str]:
        """The variables that are named."""
        named = (self.api_key, self.bearer_token, self.username, self.password)
        return frozenset(name for name in named if name)


def to_yaml(document: Mapping[str, Json]) -> str:
    """Return ``document`` as YAML, in its own order, without aliases."""
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=2**16, default_flow_style=False)
    assert isinstance(text, str)  # noqa: S101 - without a stream yaml returns text; its types say Any
    return text


class _Dumper(yaml.CSafeDumper):
    """Writes duplicates in full, because readers may reject aliases."""

    @override
    def ignore_aliases(self, data: object) -> bool:
        return True


def from_struct(value: msgspec.Struct) -> Document:
    """Return a typed document as plain values, its tuples as lists."""
    return cast("Document", msgspec.json.decode(msgspec.json.encode(value)))

"""The format of kubeconfigs, as far as it is read (``k8s.io/client-go/tools/clientcmd/api/v1``)."""

import msgspec

EXEC_EXTENSION = "client.authentication.k8s.io/exec"
"""The extension of a cluster that exec plugins are given."""


class Extension(msgspec.Struct, frozen=True):
    """A vendor's extension."""

    name: str = ""
    extension: object = None


class Cluster(msgspec.Struct, frozen=True, rename="kebab"):
    """How a cluster is reached; ``*_data`` is base64, possibly in several lines."""

    server: str = ""
    tls_server_name: str = ""
    insecure_skip_tls_verify: bool = False
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    proxy_url: str = ""
    disable_compression: bool = False
    extensions: tuple[Extension, ...] = ()


class Variable(msgspec.Struct, frozen=True):
    """An environment variable of an exec plugin."""

    name: str = ""
    value: str = ""


class Exec(msgspec.Struct, frozen=True, rename="camel"):
    """An exec plugin: a program that prints credentials."""

    command: str = ""
    args: tuple[str, ...] = ()
    env: tuple[Variable, ...] = ()
    api_version: str = ""
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: str = ""


class AuthProvider(msgspec.Struct, frozen=True):
    """An authentication provider built into client-go; only ``oidc`` is left."""

    name: str = ""
    config: dict[str, str] = {}


class User(msgspec.Struct, frozen=True, rename="kebab"):
    """The credentials of a user; ``*_data`` is base64, possibly in several lines."""

    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    token: str = ""
    token_file: str = msgspec.field(default="", name="tokenFile")
    as_user: str = msgspec.field(default="", name="as")
    as_uid: str = ""
    as_groups: tuple[str, ...] = ()
    as_user_extra: dict[str, tuple[str, ...]] = {}
    username: str = ""
    password: str = ""
    auth_provider: AuthProvider | None = None
    exec: Exec | None = None


class Context(msgspec.Struct, frozen=True):
    """A user of a cluster."""

    cluster: str = ""
    user: str = ""


class NamedCluster(msgspec.Struct, frozen=True):
    """An entry of ``clusters``."""

    name: str = ""
    entry: Cluster = msgspec.field(default=Cluster(), name="cluster")


class NamedUser(msgspec.Struct, frozen=True):
    """An entry of ``users``."""

    name: str = ""
    entry: User = msgspec.field(default=User(), name="user")


class NamedContext(msgspec.Struct, frozen=True):
    """An entry of ``contexts``."""

    name: str = ""
    entry: Context = msgspec.field(default=Context(), name="context")


class KubeconfigFile(msgspec.Struct, frozen=True, rename="kebab"):
    """One file."""

    kind: str = ""
    api_version: str = msgspec.field(default="", name="apiVersion")
    clusters: tuple[NamedCluster, ...] = ()
    users: tuple[NamedUser, ...] = ()
    contexts: tuple[NamedContext, ...] = ()
    current_context: str = ""

"""A kubeconfig means to us what it means to kubectl: who connects as whom, and who refuses and why.

Both ask a server on loopback that notes who asked. Where we differ on purpose, the case says so.
"""

import base64
import json
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias, cast

import anyio
import msgspec
import pytest
import trustme
import yaml
from aiohttp import web
from anyio.from_thread import start_blocking_portal
from cryptography import x509
from cryptography.x509.oid import NameOID

from controlplane import ControlPlane
from support.tls import server_tls
from toolset.adapters.kube.credentials.providers import KubeconfigCredentials
from toolset.adapters.kube.reviews import whoami
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.wire import Request
from toolset.errors import ToolsetError

pytestmark = pytest.mark.integration

EXEC_API: Final = "client.authentication.k8s.io/v1"
Node: TypeAlias = object


class Seen(msgspec.Struct, frozen=True):
    """Who asked, as the server saw it."""

    authorization: str = ""
    certificate: str = ""
    impersonate: tuple[tuple[str, str], ...] = ()
    path: str = "/version"


class Recorder:
    """Two servers that note who asks, one with TLS and one without."""

    def __init__(self, authority: trustme.CA) -> None:
        self._authority = authority
        self.seen: list[Seen] = []
        self.tls = ""
        self.plain = ""

    async def start(self) -> web.ServerRunner:
        """Serve until the runner is cleaned up."""
        context = server_tls(self._authority)
        context.load_verify_locations(cadata=self._authority.cert_pem.bytes().decode())
        context.verify_mode = ssl.CERT_OPTIONAL
        runner = web.ServerRunner(web.Server(self._handle))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.tls, self.plain = (f"127.0.0.1:{port}" for _, port in runner.addresses)
        return runner

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        shown = request.get_extra_info("ssl_object")
        der = shown.getpeercert(binary_form=True) if isinstance(shown, ssl.SSLObject) else None
        names = x509.load_der_x509_certificate(der).subject if der else ()
        common_names = [str(name.value) for name in names if name.oid == NameOID.COMMON_NAME]
        headers = sorted((name.lower(), value) for name, value in request.headers.items())
        self.seen.append(
            Seen(
                request.headers.get("Authorization", ""),
                "".join(common_names),
                tuple((name, value) for name, value in headers if name.startswith("impersonate-")),
                request.path,
            )
        )
        return web.json_response({"major": "1", "minor": "37"})


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def recorder(authority: trustme.CA) -> Iterator[Recorder]:
    made = Recorder(authority)
    with start_blocking_portal("asyncio") as portal:
        runner = portal.call(made.start)
        yield made
        portal.call(runner.cleanup)


class Case(msgspec.Struct, frozen=True):
    """One kubeconfig, or several.

    Attributes:
        seen: As whom both connect; ``None`` where both refuse.
        user: The user of its context; ``None`` for a context without one.
        cluster: Of its cluster, apart from server and CA.
        text: The whole file instead.
        more: Further files, by name.
        listed: What KUBECONFIG lists; the file alone is given by flag.
        context: A context by flag.
        kubectl: What kubectl has to say when it refuses.
        ours: What we have to say.
    """

    seen: Seen | None
    user: Mapping[str, Node] | None = {}
    cluster: Mapping[str, Node] = {}
    text: str = ""
    more: Mapping[str, str] = {}
    listed: tuple[str, ...] = ()
    context: str = ""
    kubectl: str = ""
    ours: str = ""


def token(text: str, **others: object) -> Seen:
    return Seen(f"Bearer {text}", **others)  # type: ignore[arg-type]


def plugin(status: str, **settings: Node) -> dict[str, Node]:
    answer = f'{{"kind": "ExecCredential", "apiVersion": "{EXEC_API}", "status": {status}}}'
    return {"exec": command(f"print({answer!r})", **settings)}


def command(program: str, **settings: Node) -> dict[str, Node]:
    interpreter = {"command": sys.executable, "args": ["-c", program], "interactiveMode": "Never"}
    return {"apiVersion": EXEC_API, **interpreter, **settings}


ECHO: Final = f"""
import json, os
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
spec = info["spec"]
cluster = spec.get("cluster", {{}})
data = cluster.pop("certificate-authority-data", "")
said = json.dumps([spec["interactive"], sorted(cluster), bool(data), cluster.get("config"), os.environ.get("OWN")])
print(json.dumps({{"kind": "ExecCredential", "apiVersion": "{EXEC_API}",
                  "status": {{"token": said.replace(" ", "").replace(chr(34), "_")}}}}))
"""
PRINTED: Final = f'{{"kind": "ExecCredential", "apiVersion": "{EXEC_API}", "status": {{"token": "p"}}}}'
NOISE: Final = "import sys\nsys.stderr.write('x' * 2**20)\n"
SCRIPT: Final = f"""#!/bin/sh
echo '{{"kind": "ExecCredential", "apiVersion": "{EXEC_API}", "status": {{"token": "script"}}}}'
"""
JWT: Final = "e30." + base64.urlsafe_b64encode(b'{"exp": 4000000000}').decode().rstrip("=") + ".x"
OLD_JWT: Final = "e30." + base64.urlsafe_b64encode(b'{"exp": 1000000000}').decode().rstrip("=") + ".x"
OIDC: Final = {"client-id": "c", "idp-issuer-url": "https://127.0.0.1:1"}

EVERYTHING: Final = {"as-groups": ["one", "two"], "as-user-extra": {"a/b%": ["read", "write"]}}
BASE: Final = """
clusters: [{name: one, cluster: {server: "https://TLS", certificate-authority: ca.pem}}]
contexts: [{name: here, context: {cluster: one, user: me}}]
current-context: here
"""

CONNECT: Final = {
    "a token": Case(token("t"), {"token": "t"}),
    "a token file": Case(token("file"), {"tokenFile": "token"}),
    "a token file and a token": Case(token("file"), {"token": "stale", "tokenFile": "token"}),
    "a missing token file and a token": Case(token("t"), {"token": "t", "tokenFile": "gone"}),
    "an empty token file and a token": Case(token("t"), {"token": "t", "tokenFile": "empty"}),
    "a password": Case(Seen("Basic bWU6c2VjcmV0"), {"username": "me", "password": "secret"}),
    "a certificate in files": Case(Seen("", "me"), {"client-certificate": "me.pem", "client-key": "me.key"}),
    "a certificate as data": Case(Seen("", "me"), {"client-certificate-data": "ME", "client-key-data": "ME_KEY"}),
    "a certificate and a token": Case(
        token("t", certificate="me"), {"client-certificate": "me.pem", "client-key": "me.key", "token": "t"}
    ),
    "a key without a certificate": Case(token("t"), {"client-key": "gone", "token": "t"}),
    "a plugin's token": Case(token("p"), plugin('{"token": "p"}')),
    "a plugin's certificate": Case(Seen("", "me"), {"exec": command("print(open('plugin.json').read())")}),
    "a plugin in the kubeconfig's folder": Case(token("script"), {"exec": command("", command="./login", args=[])}),
    "a plugin of v1beta1": Case(
        token("p"),
        {
            "exec": command(
                'print(\'{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1beta1", '
                '"status": {"token": "p"}}\')',
                apiVersion="client.authentication.k8s.io/v1beta1",
                interactiveMode=None,
            )
        },
    ),
    "a plugin and a token": Case(token("t"), {"token": "t", **plugin('{"token": "p"}')}),
    "a plugin and a certificate": Case(
        Seen("", "me"), {"client-certificate": "me.pem", "client-key": "me.key", **plugin('{"token": "p"}')}
    ),
    "a plugin with a variable": Case(
        token("[false,[],false,null,_yes_]"), {"exec": command(ECHO, env=[{"name": "OWN", "value": "yes"}])}
    ),
    "a plugin that is given the cluster": Case(
        token("[false,[_config_,_server_],true,{_audience_:_x_},null]"),
        {"exec": command(ECHO, provideClusterInfo=True)},
        {"extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}]},
    ),
    "a plugin that is given a cluster without more": Case(
        token("[false,[_config_,_server_],true,null,null]"), {"exec": command(ECHO, provideClusterInfo=True)}
    ),
    "a plugin that writes a megabyte to standard error": Case(
        token("p"),
        {
            "exec": command(NOISE + f"print({PRINTED!r})")
        },
    ),
    "a plugin with null lists": Case(token("script"), {"exec": command("", command="./login", args=None, env=None)}),
    "a plugin whose credentials have ended": Case(
        token("p"), plugin('{"token": "p", "expirationTimestamp": "2001-01-01T00:00:00Z"}')
    ),
    "an ID token": Case(
        token(JWT), {"auth-provider": {"name": "oidc", "config": {**OIDC, "id-token": JWT}}}
    ),
    "an ID token and a token": Case(
        token("t"), {"token": "t", "auth-provider": {"name": "oidc", "config": {**OIDC, "id-token": JWT}}}
    ),
    "impersonation": Case(
        token("t", impersonate=(("impersonate-user", "bob"),)), {"token": "t", "as": "bob"}
    ),
    "impersonation with everything": Case(
        token(
            "t",
            impersonate=(
                ("impersonate-extra-a%2fb%25", "read"),
                ("impersonate-extra-a%2fb%25", "write"),
                ("impersonate-group", "one"),
                ("impersonate-group", "two"),
                ("impersonate-uid", "42"),
                ("impersonate-user", "bob"),
            ),
        ),
        {"token": "t", "as": "bob", "as-uid": "42", **EVERYTHING},
    ),
    "a CA in a file": Case(
        token("t"), {"token": "t"}, {"certificate-authority-data": None, "certificate-authority": "ca.pem"}
    ),
    "a CA with a comment that is not ASCII": Case(
        token("t"), {"token": "t"}, {"certificate-authority-data": None, "certificate-authority": "comment.pem"}
    ),
    "a CA whose last block is cut": Case(
        token("t"), {"token": "t"}, {"certificate-authority-data": None, "certificate-authority": "cut.pem"}
    ),
    "a CA whose base64 has several lines": Case(token("t"), {"token": "t"}, {"certificate-authority-data": "CA_LINES"}),
    "no verification": Case(
        token("t"), {"token": "t"}, {"certificate-authority-data": None, "insecure-skip-tls-verify": True}
    ),
    "another name in the certificate": Case(token("t"), {"token": "t"}, {"tls-server-name": "127.0.0.1"}),
    "a scheme in upper case": Case(token("t"), {"token": "t"}, {"server": "HTTPS://TLS"}),
    "a slash at the end": Case(token("t"), {"token": "t"}, {"server": "https://TLS/"}),
    "a path": Case(token("t", path="/k8s/c-1/version"), {"token": "t"}, {"server": "https://TLS/k8s/c-1/"}),
    "a path and a query": Case(token("t", path="/k8s/version"), {"token": "t"}, {"server": "https://TLS/k8s?a=b#c"}),
    "plain HTTP with a token": Case(Seen(), {"token": "t"}, {"server": "http://PLAIN"}),
    "plain HTTP with a plugin": Case(Seen(), plugin('{"token": "p"}'), {"server": "http://PLAIN"}),
    "plain HTTP without a user": Case(Seen(), None, {"server": "http://PLAIN"}),
    "plain HTTP with impersonation": Case(
        Seen(impersonate=(("impersonate-user", "bob"),)), {"as": "bob"}, {"server": "http://PLAIN"}
    ),
    "no scheme": Case(Seen(), {"token": "t"}, {"server": "PLAIN"}),
    "an empty file in the list": Case(token("t"), {"token": "t"}, listed=("empty", "config")),
    "a missing file in the list": Case(token("t"), {"token": "t"}, listed=("gone", "", "config", "config")),
    "a user in a file of another folder": Case(
        token("elsewhere"),
        None,
        text=BASE,
        more={
            "sub/users": "users: [{name: me, user: {tokenFile: own}}]",
            "sub/own": "elsewhere",
        },
        listed=("config", "sub/users"),
    ),
    "the first user of a name": Case(
        token("t"), {"token": "t"}, more={"other": "users: [{name: me, user: {token: b}}]"}, listed=("config", "other")
    ),
    "the first current context": Case(
        token("b"),
        {"token": "t"},
        more={"other": "users: [{name: me, user: {token: b}}]\ncurrent-context: here"},
        listed=("other", "config"),
    ),
    "null lists and unknown fields": Case(
        token("t"), {"token": "t", "as-groups": None, "unknown": 1}, {"extensions": None, "proxy-url": None}
    ),
    "only the first document": Case(token("t"), text=BASE + "users: [{name: me, user: {token: t}}]\n---\na: [\n"),
    "a name that looks like a date": Case(
        token("t"), text=BASE.replace("me}", "2024-01-01}") + "users: [{name: 2024-01-01, user: {token: t}}]"
    ),
    "JSON": Case(token("t"), text=json.dumps(yaml.safe_load(BASE + "users: [{name: me, user: {token: t}}]"))),
}  # fmt: skip

REFUSE: Final = {
    "nothing at all": Case(None, text="{}", kubectl="localhost:8080", ours="no context in it is current"),
    "no current context": Case(
        None, text="contexts: [{name: a, context: {}}]", kubectl="localhost:8080", ours="no context in it is current"
    ),
    "a context that is not there": Case(
        None, context="other", kubectl='context "other" does not exist', ours="there is no context `other`"
    ),
    "a current context that is not there": Case(
        None, text="current-context: gone", kubectl="context was not found", ours="there is no context `gone`"
    ),
    "a cluster that is not there": Case(
        None,
        text="current-context: a\ncontexts: [{name: a, context: {cluster: gone}}]",
        kubectl="localhost:8080",
        ours="there is no cluster `gone`",
    ),
    "a user that is not there": Case(
        None, None, text=BASE, kubectl="EOF", ours="there is no user `me`"
    ),
    "a token and a password": Case(
        None, {"token": "t", "username": "me"}, kubectl="more than one authentication method", ours="are both set"
    ),
    "a token file and a password": Case(
        None, {"tokenFile": "token", "username": "me"}, kubectl="may be set, but not both", ours="are both set"
    ),
    "a certificate without a key": Case(
        None, {"client-certificate": "me.pem"}, kubectl="client-key must be specified", ours="has no client-key"
    ),
    "a certificate twice": Case(
        None,
        {"client-certificate": "me.pem", "client-certificate-data": "ME", "client-key": "me.key"},
        kubectl="both specified",
        ours="both set",
    ),
    "a key twice": Case(
        None,
        {"client-certificate": "me.pem", "client-key-data": "ME_KEY", "client-key": "me.key"},
        kubectl="both specified",
        ours="both set",
    ),
    "a certificate that is missing": Case(
        None,
        {"client-certificate": "gone.pem", "client-key": "me.key"},
        kubectl="gone.pem: no such file or directory",
        ours="gone.pem cannot be read (No such file or directory)",
    ),
    "a key of another certificate": Case(
        None,
        {"client-certificate": "me.pem", "client-key": "other.key"},
        kubectl="does not match",
        ours="key values mismatch",
    ),
    "a CA that is missing": Case(
        None,
        {"token": "t"},
        {"certificate-authority-data": None, "certificate-authority": "gone.pem"},
        kubectl="gone.pem: no such file or directory",
        ours="gone.pem cannot be read (No such file or directory)",
    ),
    "a CA that is none": Case(
        None,
        {"token": "t"},
        {"certificate-authority-data": "YQ=="},
        kubectl="unable to load root certificates",
        ours="no certificate of an authority can be read",
    ),
    "a CA twice": Case(
        None, {"token": "t"}, {"certificate-authority": "ca.pem"}, kubectl="both specified", ours="both set"
    ),
    "a CA without verification": Case(
        None, {"token": "t"}, {"insecure-skip-tls-verify": True}, kubectl="insecure", ours="insecure-skip-tls-verify"
    ),
    "another CA": Case(
        None,
        {"token": "t"},
        {"certificate-authority-data": "OTHER_CA"},
        kubectl="unknown authority",
        ours="its certificate is not accepted",
    ),
    "the system's CAs": Case(
        None, {"token": "t"}, {"certificate-authority-data": None}, kubectl="unknown authority", ours="not accepted"
    ),
    "a wrong name": Case(
        None, {"token": "t"}, {"tls-server-name": "example.org"}, kubectl="failed to verify", ours="not accepted"
    ),
    "groups without a user": Case(
        None, {"token": "t", "as-groups": ["a"]}, kubectl="without impersonating a user", ours="need `as`"
    ),
    "a plugin of v1 that does not say whether it asks": Case(
        None,
        {"exec": command("", interactiveMode=None)},
        kubectl="interactiveMode must be specified",
        ours="interactiveMode must be",
    ),
    "a plugin that asks without a terminal": Case(
        None,
        {"exec": command("", interactiveMode="Always")},
        kubectl="standard input is not a terminal",
        ours="standard input is no terminal",
    ),
    "a plugin of v1alpha1": Case(
        None,
        {"exec": command("", apiVersion="client.authentication.k8s.io/v1alpha1")},
        kubectl="invalid apiVersion",
        ours="apiVersion must be",
    ),
    "a plugin without a command": Case(
        None, {"exec": command("", command="")}, kubectl="command must be specified", ours="command is not set"
    ),
    "a plugin that is not there": Case(
        None, {"exec": command("", command="gone")}, kubectl="executable gone not found", ours="gone is not there"
    ),
    "a plugin that fails": Case(
        None, {"exec": command("raise SystemExit(3)")}, kubectl="exit code 3", ours="exit code 3"
    ),
    "a plugin that prints no JSON": Case(
        None, {"exec": command("print('x y')")}, kubectl="decoding stdout", ours="printed no credentials"
    ),
    "a plugin of another version than it says": Case(
        None,
        plugin('{"token": "t"}', apiVersion="client.authentication.k8s.io/v1beta1"),
        kubectl="plugin returned version",
        ours="printed no ExecCredential of client.authentication.k8s.io/v1beta1",
    ),
    "a plugin without a status": Case(
        None, plugin("null"), kubectl="didn't return a status", ours="neither a token nor a certificate"
    ),
    "a plugin with an empty status": Case(
        None, plugin("{}"), kubectl="didn't return a token", ours="neither a token nor a certificate"
    ),
    "a plugin with half a pair": Case(
        None, plugin('{"clientKeyData": "k"}'), kubectl="not both", ours="but not both"
    ),
    "a plugin and an auth-provider": Case(
        None,
        {"auth-provider": {"name": "oidc", "config": OIDC}, **plugin('{"token": "t"}')},
        kubectl="authProvider cannot be provided in combination",
        ours="exec and auth-provider are both set",
    ),
    "the auth-provider of gcp": Case(
        None, {"auth-provider": {"name": "gcp"}}, kubectl="has been removed", ours="only oidc is supported"
    ),
    "an OIDC user without an issuer": Case(
        None, {"auth-provider": {"name": "oidc"}}, kubectl="Must provide idp-issuer-url", ours="issuer-url is not set"
    ),
    "an ID token that has ended": Case(
        None,
        {"auth-provider": {"name": "oidc", "config": {**OIDC, "id-token": OLD_JWT}}},
        kubectl="cannot refresh without refresh-token",
        ours="there is no refresh-token",
    ),
    "a token file that is missing": Case(
        None, {"tokenFile": "gone"}, kubectl="gone: no such file or directory", ours="tokenFile gone is missing"
    ),
    "a token file that is empty": Case(
        None, {"tokenFile": "empty"}, kubectl="EOF", ours="tokenFile empty is missing or empty"
    ),
    "a token of two lines": Case(
        None, {"token": "a\nb"}, kubectl="invalid header field value", ours="cannot be sent"
    ),
    "a token that is a number": Case(
        None, {"token": 5}, kubectl="cannot unmarshal number", ours="expected `str`, got `int`"
    ),
    "a context without a server": Case(
        None, {"token": "t"}, {"server": ""}, kubectl="", ours="its cluster has no server"
    ),
    "a path without a scheme": Case(
        None, {"token": "t"}, {"server": "example.org/a"}, kubectl="must be a URL", ours="must be a URL"
    ),
    "a scheme that is none": Case(
        None, {"token": "t"}, {"server": "ftp://TLS"}, kubectl="unsupported protocol scheme", ours="must be a URL"
    ),
    "two users of a name": Case(
        None, text="users: [{name: a}, {name: a}]", kubectl="duplicate name", ours="two of its users have the same name"
    ),
    "another kind": Case(None, text="kind: Secret\napiVersion: v1", kubectl='no kind "Secret"', ours="no kubeconfig"),
    "another version": Case(None, text="kind: Config\napiVersion: v2", kubectl="v2", ours="no kubeconfig"),
    "no YAML": Case(None, text="a: [", kubectl="yaml: ", ours="this is not valid YAML"),
    "a list": Case(None, text="[1]", kubectl="cannot unmarshal array", ours="expected `object`, got `array`"),
    "no base64": Case(
        None, {"token": "t"}, {"certificate-authority-data": "%"}, kubectl="illegal base64", ours="is not base64"
    ),
    "no base64 in what nobody uses": Case(
        None,
        {"token": "t"},
        more={"other": "users: [{name: other, user: {client-key-data: '%'}}]"},
        listed=("config", "other"),
        kubectl="illegal base64",
        ours="is not base64",
    ),
    "a broken file in the list": Case(
        None, {"token": "t"}, more={"other": "a: ["}, listed=("config", "other"), kubectl="other", ours="other: "
    ),
    "a folder in the list": Case(
        None, {"token": "t"}, more={"sub/x": ""}, listed=("config", "sub"), kubectl="is a directory", ours="a directory"
    ),
}  # fmt: skip

LIKE_CONTROLLERS: Final = {
    "a context without a user": Case(Seen(), None, kubectl="EOF"),
    "a user without credentials": Case(Seen(), {}, kubectl="EOF"),
}
"""kubectl asks for a name and a password on standard input; controllers, and we, are anonymous."""


def _filled(value: Node, words: Mapping[str, str]) -> Node:
    """Return ``value`` with the words of the cases replaced."""
    if isinstance(value, str):
        return re.sub("TLS|PLAIN", lambda found: words[found[0]], words.get(value, value))
    if isinstance(value, Mapping):
        return {key: _filled(each, words) for key, each in cast("Mapping[str, Node]", value).items()}
    return [_filled(each, words) for each in cast("list[Node]", value)] if isinstance(value, list) else value


@pytest.fixture
def words(recorder: Recorder, authority: trustme.CA) -> Mapping[str, str]:
    """Return what the cases cannot know."""

    def data(content: bytes) -> str:
        return base64.b64encode(content).decode()

    pem, mine = authority.cert_pem.bytes(), authority.issue_cert("me@example.org", common_name="me")
    return {
        "TLS": recorder.tls,
        "PLAIN": recorder.plain,
        "CA": data(pem),
        "CA_LINES": base64.encodebytes(pem).decode(),
        "OTHER_CA": data(trustme.CA().cert_pem.bytes()),
        "ME": data(mine.cert_chain_pems[0].bytes()),
        "ME_KEY": data(mine.private_key_pem.bytes()),
    }


@pytest.fixture
def folder(tmp_path: Path, words: Mapping[str, str]) -> Path:
    """Return a folder with all that kubeconfigs of the cases name."""
    ca, mine, key = (base64.b64decode(words[name]) for name in ("CA", "ME", "ME_KEY"))
    status = {"clientCertificateData": mine.decode(), "clientKeyData": key.decode()}
    contents = {
        "token": b"file\n",
        "empty": b"",
        "ca.pem": ca,
        "comment.pem": "# Zertifizierungsstelle für Prüfungen\n".encode() + ca,
        "cut.pem": ca + ca[: len(ca) // 2],
        "me.pem": mine,
        "me.key": key,
        "other.key": trustme.CA().issue_cert("other").private_key_pem.bytes(),
        "login": SCRIPT.encode(),
        "plugin.json": json.dumps({"kind": "ExecCredential", "apiVersion": EXEC_API, "status": status}).encode(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "login").chmod(0o700)
    return tmp_path


def _write(case: Case, folder: Path, words: Mapping[str, str]) -> None:
    context = {"cluster": "one"} | ({} if case.user is None else {"user": "me"})
    cluster = {"server": "https://TLS", "certificate-authority-data": "CA", **case.cluster}
    content: dict[str, Node] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": context}],
        "clusters": [{"name": "one", "cluster": cluster}],
        "users": None if case.user is None else [{"name": "me", "user": dict(case.user)}],
    }
    whole = str(_filled(case.text, words)) if case.text else yaml.safe_dump(_filled(content, words))
    for name, text in {"config": whole, **case.more}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, "utf-8")


class Asks:
    """Asks the server as kubectl and as we do, with one case."""

    def __init__(self, case: Case, folder: Path, kubectl: Path) -> None:
        self._case = case
        self._folder = folder
        self._kubectl = kubectl
        listed = os.pathsep.join(str(folder / name) if name else "" for name in case.listed)
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "KUBECONFIG": listed}
        self._path = "" if case.listed else str(folder / "config")

    def kubectl(self) -> str:
        """Return why kubectl refuses; empty when it does not."""
        flags = [f"--kubeconfig={self._path}"] if self._path else []
        flags += [f"--context={self._case.context}"] if self._case.context else []
        done = subprocess.run(
            [str(self._kubectl), *flags, "get", "--raw", "/version"],
            env=self.environment,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stderr if done.returncode else ""

    async def ours(self) -> str:
        """Return why we refuse; empty when we do not."""
        try:
            async with KubeTransport(KubeconfigCredentials(self._path, self._case.context), "test/1") as transport:
                await transport.send(Request("GET", "/version"))
        except ToolsetError as error:
            return str(error)
        return ""


@pytest.fixture
def asks(
    request: pytest.FixtureRequest,
    folder: Path,
    words: Mapping[str, str],
    assets: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Asks:
    case: Case = request.param
    _write(case, folder, words)
    made = Asks(case, folder, assets / "kubectl")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    return made


def cases(table: Mapping[str, Case]) -> pytest.MarkDecorator:
    both = [pytest.param(case, case, id=name) for name, case in table.items()]
    return pytest.mark.parametrize(("asks", "case"), both, indirect=["asks"])


@cases(CONNECT)
def test_we_connect_as_whom_kubectl_connects(asks: Asks, case: Case, recorder: Recorder) -> None:
    refused: dict[str, str] = {}
    seen: dict[str, list[Seen]] = {}
    for name, ask in (("kubectl", asks.kubectl), ("ours", partial(anyio.run, asks.ours))):
        recorder.seen.clear()
        refused[name] = ask()
        seen[name] = recorder.seen.copy()

    assert refused == {"kubectl": "", "ours": ""}
    assert seen == {"kubectl": [case.seen], "ours": [case.seen]}


@cases(REFUSE)
def test_we_refuse_what_kubectl_refuses_and_for_the_same_reason(asks: Asks, case: Case, recorder: Recorder) -> None:
    recorder.seen.clear()
    assert case.kubectl in (refused := asks.kubectl())
    assert refused
    said = anyio.run(asks.ours)

    assert case.ours in said
    assert said.isprintable()
    assert recorder.seen == []


@cases(LIKE_CONTROLLERS)
def test_without_credentials_we_are_anonymous_where_kubectl_asks_a_person(
    asks: Asks, case: Case, recorder: Recorder
) -> None:
    recorder.seen.clear()
    assert case.kubectl in asks.kubectl()

    assert anyio.run(asks.ours) == ""
    assert recorder.seen == [case.seen]


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ({}, "admin"),
        ({"as": "bob"}, "bob"),
        (
            {"as": "system:serviceaccount:default:default", "as-groups": ["a", "b"]},
            "system:serviceaccount:default:default",
        ),
    ],
    ids=["itself", "another", "a ServiceAccount"],
)
def test_the_api_server_knows_us_by_the_name_by_which_it_knows_kubectl(
    control_plane: ControlPlane, tmp_path: Path, assets: Path, user: Mapping[str, str], name: str
) -> None:
    content = yaml.safe_load(control_plane.kubeconfig.read_text("utf-8"))
    content["users"][0]["user"] |= user
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(content), "utf-8")
    command = [str(assets / "kubectl"), f"--kubeconfig={file}", f"--cache-dir={tmp_path}"]
    theirs = subprocess.run(
        [*command, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"],
        capture_output=True,
        text=True,
        check=True,
    )

    async def ours() -> str:
        async with KubeTransport(KubeconfigCredentials(str(file), ""), "test/1") as transport:
            return await whoami(transport)

    assert (theirs.stdout, anyio.run(ours)) == (name, name)


def test_a_plan_has_the_rights_of_whom_the_user_impersonates_and_says_whose(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    content = yaml.safe_load(control_plane.kubeconfig.read_text("utf-8"))
    content["users"][0]["user"] |= {"as": "bob"}
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(content), "utf-8")
    plan = [sys.executable, "-m", "toolset", "plan", "--assume-healthy", "--kubeconfig", str(file)]
    done = subprocess.run(plan, capture_output=True, text=True, check=False)

    first, *others = done.stderr.splitlines()
    assert first == f"toolset: cluster local ({control_plane.url}), context local, identity local as bob"
    assert done.returncode == 1
    assert 'User "bob" cannot list' in others[-1]

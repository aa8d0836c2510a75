"""Find kubeconfigs, read them, and merge them as client-go does.

No message quotes what a file holds: it may be a secret.
"""

import binascii
import errno
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar, cast

import msgspec
import yaml

from toolset.adapters.kube.credentials.kubeconfig_schema import Cluster, Context, KubeconfigFile, User
from toolset.errors import SettingsError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

REMEDY: Final = "name another file with --kubeconfig"
_PATH_LIMIT: Final = 1024
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"


class Placed(msgspec.Struct, Generic[T], frozen=True):
    """An entry, and the folder of its file: relative paths in it start there."""

    entry: T
    folder: Path


class Merged(msgspec.Struct, frozen=True):
    """Several files as one: the first entry of each name counts, and the first current context."""

    place: str
    clusters: dict[str, Placed[Cluster]]
    users: dict[str, Placed[User]]
    contexts: dict[str, Placed[Context]]
    current_context: str


class _Named(Protocol[T_co]):
    @property
    def name(self) -> str: ...
    @property
    def entry(self) -> T_co: ...


class _Loader(yaml.CSafeLoader):
    """Reads dates as text, as Go does."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - declared so by PyYAML
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def read(path: str, environment: Mapping[str, str]) -> Merged:
    """Return the merged kubeconfigs; a file that ``KUBECONFIG`` names may be missing or empty.

    Args:
        path: The file; empty means ``KUBECONFIG``, else ``~/.kube/config``.
        environment: The variables.

    Raises:
        SettingsError: There is none, or one cannot be read.
    """
    names = _names(path, environment)
    read_files = {name: file for name in names if (file := _file(name)) is not None}
    if not read_files:
        source = "--kubeconfig" if path else "KUBECONFIG"
        if _is_content(path or environment.get("KUBECONFIG", "")):
            raise SettingsError(f"{source} holds a kubeconfig itself; write that to a file, and name the file instead")
        place = os.pathsep.join(names) or source
        raise SettingsError(f"{place}: there is no such file; name a kubeconfig with --kubeconfig")
    found = [(Path(name).absolute().parent, file) for name, file in read_files.items()]
    return Merged(
        os.pathsep.join(read_files),
        _merged((folder, file.clusters) for folder, file in found),
        _merged((folder, file.users) for folder, file in found),
        _merged((folder, file.contexts) for folder, file in found),
        next((file.current_context for _, file in found if file.current_context), ""),
    )


def is_kubeconfig_set(environment: Mapping[str, str]) -> bool:
    """Return whether ``KUBECONFIG`` counts: if it names only missing files, kubectl falls back too."""
    return any(name and not _is_missing(name) for name in environment.get("KUBECONFIG", "").split(os.pathsep))


def decoded(content: bytes, kind: type[T], noun: str) -> T:
    """Return the content of YAML or JSON, in which an absent value is the same as ``null``.

    Args:
        content: The text.
        kind: The required type.
        noun: Its name, for messages.

    Raises:
        ValueError: It says something else; the message quotes nothing.
    """
    try:
        value = next(iter(yaml.load_all(content, Loader=_Loader)), None)
        return msgspec.convert(_without_nulls({} if value is None else value), kind)
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"this is not valid YAML{line}") from error
    except msgspec.ValidationError as error:
        raise ValueError(f"this is no {noun}: {_lowered(str(error))}") from error
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError("this is not valid YAML") from error  # PyYAML lets all of them out for tags that do not fit


def base64_decoded(text: str) -> bytes:
    """Return decoded base64, which may contain line breaks, as in Go.

    Raises:
        ValueError: It is not base64; the message quotes nothing.
    """
    try:
        return binascii.a2b_base64(text.replace("\r", "").replace("\n", ""), strict_mode=True)
    except ValueError as error:
        raise ValueError("not base64") from error


def _names(path: str, environment: Mapping[str, str]) -> Sequence[str]:
    if path:
        return (os.path.expanduser(path),)  # noqa: PTH111 - Path.expanduser raises if there is no home
    if listed := environment.get("KUBECONFIG"):
        return tuple(dict.fromkeys(name for name in listed.split(os.pathsep) if name))
    if home := environment.get("HOME"):
        return (str(Path(home, ".kube", "config")),)
    raise SettingsError("neither KUBECONFIG nor HOME is set, so there is no kubeconfig; name one with --kubeconfig")


def _is_content(text: str) -> bool:
    """Return whether that looks like the content of a file, plain or in base64, and not like its path."""
    return len(text) > _PATH_LIMIT or not text.isprintable() or "{" in text or ": " in text


def _is_missing(name: str) -> bool:
    """Return whether there is no such file; one without read permission counts as present."""
    try:
        Path(name).stat()
    except ValueError:  # a null byte
        return True
    except OSError as error:
        return error.errno in {errno.ENOENT, errno.ENAMETOOLONG}
    return False


def _file(name: str) -> KubeconfigFile | None:
    if _is_missing(name):
        return None
    try:
        content = Path(name).read_bytes()
    except OSError as error:
        raise SettingsError(f"{name}: it cannot be read ({error.strerror}); {REMEDY}") from error
    try:
        return _checked(decoded(content, KubeconfigFile, "kubeconfig"))
    except ValueError as error:
        raise SettingsError(f"{name}: {error}; {REMEDY}") from error


def _checked(file: KubeconfigFile) -> KubeconfigFile:
    """Return ``file``; raise ValueError for what client-go cannot decode."""
    if file.kind not in {"", "Config"} or file.api_version not in {"", "v1"}:
        raise ValueError("this is no kubeconfig: kind and apiVersion must be Config and v1")
    for field, entries in (("clusters", file.clusters), ("users", file.users), ("contexts", file.contexts)):
        if any(count > 1 for count in Counter(each.name for each in entries).values()):
            raise ValueError(f"two of its {field} have the same name")
    for cluster in file.clusters:
        _check_data("clusters", cluster.name, {"certificate-authority": cluster.entry.certificate_authority_data})
    for user in file.users:
        data = {"client-certificate": user.entry.client_certificate_data, "client-key": user.entry.client_key_data}
        _check_data("users", user.name, data)
    return file


def _check_data(field: str, name: str, data: Mapping[str, str]) -> None:
    for key, text in data.items():
        try:
            base64_decoded(text)
        except ValueError as error:
            raise ValueError(f"{field}[{name}]: {key}-data is {error}") from error


def _merged(found: Iterable[tuple[Path, Sequence[_Named[T]]]]) -> dict[str, Placed[T]]:
    entries: dict[str, Placed[T]] = {}
    for folder, named in found:
        for each in named:
            entries.setdefault(each.name, Placed(each.entry, folder))
    return entries


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        items = cast("dict[object, object]", value).items()
        return {key: _without_nulls(each) for key, each in items if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in cast("list[object]", value)]
    return value

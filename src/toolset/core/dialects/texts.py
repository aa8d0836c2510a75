"""What a text in a document may contain, so that no reader expands, runs or obeys untrusted text."""

import re
from typing import Final

import msgspec

from toolset.core.faults import Fault
from toolset.core.json_values import Document, Json, Path, leaves

_REFERENCES: Final = re.compile(r"(?<!\{)\{\{ env\.([A-Za-z_][A-Za-z0-9_]*) \}\}(?!\})|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PLAIN: Final = re.compile(
    r"[A-Za-z0-9 _-]{0,4096}|https?://[A-Za-z0-9_.-]{1,512}(:[0-9]{1,5})?[A-Za-z0-9/._~-]{0,512}"
)
"""Most texts: without special characters."""
_TEMPLATE: Final = ("{{", "}}", "{%", "%}", "{#", "#}", "${")
_CONTROL: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
"""Control characters except tab and line feed, and characters that hide text or change its direction."""
_USER_IN_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s]*@")
TEXT_LIMIT: Final = 4096

UNSAFE_KEYS: Final = frozenset(
    {
        "additional_instructions",
        "args",
        "client_cert",
        "client_cert_path",
        "client_key",
        "client_key_path",
        "command",
        "extra_headers",
        "mcp_servers",
        "prerequisites",
        "script",
        "tools",
        "transformers",
    }
)
"""Keys with which HolmesGPT runs commands, connects to other tools, reads files, or renders templates."""
UNSAFE_TOOLSETS: Final = frozenset({"bash"})
"""Built-in toolsets that run commands of the model."""
_UNSAFE_VALUES: Final = {"type": frozenset({"mcp", "custom", "customized"}), "mode": frozenset({"stdio"})}


class Policy(msgspec.Struct, frozen=True):
    """What the settings allow.

    Attributes:
        variables: The environment variables that a document may refer to.
        unsafe: Whether keys are allowed that make a reader run commands or read files.
    """

    variables: frozenset[str] = frozenset()
    unsafe: bool = False


def text_fault(text: str, policy: Policy) -> str:
    """Return why ``text`` is not allowed in a document; empty if it is."""
    if _PLAIN.fullmatch(text):
        return ""
    if len(text) > TEXT_LIMIT:
        return f"a text has at most {TEXT_LIMIT} characters"
    if _CONTROL.search(text):
        return "it holds control characters"
    if _USER_IN_URL.search(text):
        return "a URL must not hold a user name or password; name environment variables in output.credentials"
    if not policy.unsafe and "file://" in text.lower():
        return "file:// would let the reader open its own files; output.allow_unsafe_overrides allows it"
    return _template_fault(text, policy)


def references(node: Json) -> frozenset[str]:
    """Return the environment variables that ``node`` refers to."""
    texts = (leaf for _, leaf in leaves(node) if isinstance(leaf, str))
    return frozenset(found[1] or found[2] for text in texts for found in _REFERENCES.finditer(text))


def _template_fault(text: str, policy: Policy) -> str:
    for found in _REFERENCES.finditer(text):
        name = found[1] or found[2]
        if name not in policy.variables:
            return f"the settings name no environment variable {name}; see output.variables"
    rest = _REFERENCES.sub("", text)
    if any(mark in rest for mark in _TEMPLATE):
        return "it holds a template; only {{ env.NAME }} of a variable that the settings name is allowed"
    return ""


def value_fault(node: Json, policy: Policy, path: Path = (), *, nulls: bool = False) -> Fault | None:
    """Return the first value in ``node`` that is not allowed in a document, and why.

    Args:
        node: A document or a part of it.
        policy: What the settings allow.
        path: The path of ``node``.
        nulls: Whether a null is allowed, as it is in a merge patch.
    """
    for inner, leaf in leaves(node, path):
        for name in inner[len(path) :]:
            if problem := text_fault(name, Policy()):
                return Fault(path, f"a key is not allowed: {problem}")  # not quoted: it may contain anything
        if leaf is None and not nulls:
            return Fault(inner, "null is not a value here")
        if isinstance(leaf, str) and (problem := text_fault(leaf, policy)):
            return Fault(inner, problem)
    return None


def unsafe_fault(patch: Document, policy: Policy, path: Path = ()) -> Fault | None:
    """Return the first key in ``patch`` that could make a reader run commands, and why; ``None`` if allowed."""
    if policy.unsafe:
        return None
    for inner, leaf in leaves(patch, path):
        own = inner[len(path) :]
        for depth, name in enumerate(own, len(path) + 1):
            if name in UNSAFE_KEYS:
                return Fault(inner[:depth], f"`{name}` is not safe; output.allow_unsafe_overrides allows it")
        if own and isinstance(leaf, str) and leaf in _UNSAFE_VALUES.get(own[-1], frozenset[str]()):
            return Fault(inner, f"`{own[-1]}: {leaf}` is not safe; output.allow_unsafe_overrides allows it")
    return None

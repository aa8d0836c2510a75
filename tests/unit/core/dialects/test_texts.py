import pytest

from toolset.core.dialects.texts import (
    TEXT_LIMIT,
    UNSAFE_KEYS,
    UNSAFE_TOOLSETS,
    Policy,
    references,
    text_fault,
    unsafe_fault,
    value_fault,
)
from toolset.core.json_values import Document, Json

KNOWN = Policy(frozenset({"TOKEN"}))
UNSAFE = Policy(unsafe=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "http://a.b:9090/c",
        "two\nlines and\ta tab",
        "{{ env.TOKEN }}",
        "Bearer {{ env.TOKEN }}",
        "${TOKEN}",
        'tags={"error":"true"}&x=1',
        "größe 100 %, 5 $",
        "a" * TEXT_LIMIT,
    ],
)
def test_a_text_that_means_itself_is_fine(text: str) -> None:
    assert text_fault(text, KNOWN) == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("a" * (TEXT_LIMIT + 1), "a text has at most 4096 characters", id="too long"),
        pytest.param("a\x00", "it holds control characters", id="control"),
        pytest.param("a\x1b[31m", "it holds control characters", id="terminal"),
        pytest.param("a\u202eb", "it holds control characters", id="direction"),
        pytest.param("a\u2028b", "it holds control characters", id="line separator"),
        pytest.param(
            "postgres://user:word@host/db",
            "a URL must not hold a user name or password; name environment variables in output.credentials",
            id="user in a URL",
        ),
        pytest.param(
            "see FILE:///etc/passwd",
            "file:// would let the reader open its own files; output.allow_unsafe_overrides allows it",
            id="file",
        ),
        pytest.param(
            "{{ env.OTHER }}",
            "the settings name no environment variable OTHER; see output.variables",
            id="variable of nobody",
        ),
        pytest.param(
            "${HOME}", "the settings name no environment variable HOME; see output.variables", id="variable of a shell"
        ),
        pytest.param(
            "{{env.TOKEN}}",
            "it holds a template; only {{ env.NAME }} of a variable that the settings name is allowed",
            id="written otherwise",
        ),
        pytest.param(
            "{{ env.TOKEN | upper }}",
            "it holds a template; only {{ env.NAME }} of a variable that the settings name is allowed",
            id="filter",
        ),
        pytest.param(
            "{{ request_context.headers }}",
            "it holds a template; only {{ env.NAME }} of a variable that the settings name is allowed",
            id="request",
        ),
        pytest.param(
            "{% raw %}",
            "it holds a template; only {{ env.NAME }} of a variable that the settings name is allowed",
            id="statement",
        ),
        pytest.param(
            "{# note #}",
            "it holds a template; only {{ env.NAME }} of a variable that the settings name is allowed",
            id="comment",
        ),
        pytest.param(
            "${TOKEN:-x}",
            "it holds a template; only {{ env.NAME }} of a variable that the settings name is allowed",
            id="default",
        ),
        pytest.param(
            "a }} b",
            "it holds a template; only {{ env.NAME }} of a variable that the settings name is allowed",
            id="end alone",
        ),
        pytest.param(
            "{{{ env.TOKEN }}}",
            "it holds a template; only {{ env.NAME }} of a variable that the settings name is allowed",
            id="nested",
        ),
    ],
)
def test_a_text_that_could_mean_more_is_refused(text: str, why: str) -> None:
    assert text_fault(text, KNOWN) == why


def test_settings_may_allow_files_and_nothing_else() -> None:
    assert text_fault("file:///etc/prompt.txt", UNSAFE) == ""
    assert text_fault("{{ x }}", UNSAFE) != ""


def test_what_holmesgpt_would_run_connect_to_read_or_render_is_unsafe() -> None:
    """The names of its fields, as `holmesgpt.md` and its source have them."""
    assert " ".join(sorted(UNSAFE_KEYS)) == (
        "additional_instructions args client_cert client_cert_path client_key client_key_path command extra_headers "
        "mcp_servers prerequisites script tools transformers"
    )
    assert " ".join(UNSAFE_TOOLSETS) == "bash"


@pytest.mark.parametrize("key", sorted(UNSAFE_KEYS))
def test_an_unsafe_key_is_found_at_any_depth(key: str) -> None:
    patch: Document = {"config": {"a": [{key: []}]}}
    problem = unsafe_fault(patch, KNOWN, ("toolsets", "x"))
    assert problem is not None
    assert problem.path == ("toolsets", "x", "config", "a", "0", key)
    assert unsafe_fault(patch, UNSAFE) is None


@pytest.mark.parametrize("value", [("type", "mcp"), ("type", "custom"), ("type", "customized"), ("mode", "stdio")])
def test_a_value_that_starts_something_is_found(value: tuple[str, str]) -> None:
    assert unsafe_fault({"a": {value[0]: value[1]}}, KNOWN) is not None
    assert unsafe_fault({"a": {value[0]: "http"}}, KNOWN) is None
    assert unsafe_fault({}, KNOWN) is None


@pytest.mark.parametrize(
    ("node", "path"),
    [
        pytest.param({"a": None}, ("a",), id="null"),
        pytest.param({"a": ["x", "${B}"]}, ("a", "1"), id="text"),
        pytest.param({"a": {"b\x00": 1}}, (), id="key"),
        pytest.param({"{{ env.TOKEN }}": 1}, (), id="reference as a key"),
    ],
)
def test_a_value_that_must_not_be_there_is_found(node: Json, path: tuple[str, ...]) -> None:
    problem = value_fault(node, KNOWN)
    assert problem is not None
    assert problem.path == path


def test_a_merge_patch_may_hold_nulls() -> None:
    assert value_fault({"a": None, "b": 1.5}, KNOWN, nulls=True) is None


def test_references_are_found() -> None:
    assert references({"a": ["{{ env.A }} ${B}", 1], "b": "C"}) == {"A", "B"}

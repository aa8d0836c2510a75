from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Final

import orjson
import pytest
import yaml

from support.api_server import Answer, ScriptedApiServer, Stream, status_error
from toolset.commands import printers
from toolset.commands.doctor import Check, examine
from toolset.config.settings import Settings
from toolset.config.source import Source
from toolset.service.permissions import needed

NAMESPACE: Final = "namespace kubernaut-system"
CONFIG_MAP: Final = "ConfigMap kubernaut-system/kubernaut-toolset-config"
LEASE: Final = "Lease kubernaut-system/kubernaut-dynamic-toolset"
VERSION: Final = Answer(b'{"gitVersion": "v1.36.0"}')
USER: Final = Answer(b'{"status": {"userInfo": {"username": "jane"}}}', 201)
THERE: Final = Answer(b"{}")
ABSENT: Final = status_error(404, "NotFound")
FORBIDDEN: Final = status_error(403, "Forbidden")
BROKEN: Final = status_error(503)
ALLOWED: Final = Answer(b'{"status": {"allowed": true}}', 201)
DENIED: Final = Answer(b'{"status": {"allowed": false}}', 201)
COUNT: Final = len(needed(Settings()))
ELECTION: Final = {"TOOLSET_ELECTION__ENABLED": "true", "TOOLSET_ELECTION__RETRY_PERIOD": "1ms"}


async def examined(
    folder: Path,
    *,
    version: Answer | Stream = VERSION,
    user: Answer = USER,
    namespace: Answer = THERE,
    config_map: Answer = ABSENT,
    overrides: tuple[Answer, ...] = (),
    leases: tuple[Answer, ...] = (ABSENT,),
    environment: Mapping[str, str] | None = None,
    reviews: tuple[Answer, ...] = (),
) -> dict[str, Check]:
    """Return what the doctor finds where the API server answers like this; by default it allows everything."""
    given = dict(environment or {})
    answers = reviews or (ALLOWED,) * len(needed(Source(environment=given).parse("")))
    server = ScriptedApiServer(version, user, namespace, *answers, config_map, *overrides, *leases)
    async with server.serve():
        config = folder / "kubeconfig"
        content = {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "one", "user": "me"}}],
            "clusters": [{"name": "one", "cluster": {"server": server.url}}],
            "users": [{"name": "me", "user": {"token": "secret"}}],
        }
        config.write_text(yaml.safe_dump(content))
        source = Source(environment=given | {"TOOLSET_KUBE__KUBECONFIG": str(config)})
        return {each.subject: each async for each in examine(source)}


def at(seconds: float) -> str:
    return format_datetime(datetime.now(timezone.utc) + timedelta(seconds=seconds), usegmt=True)


def dated(date: str) -> Answer:
    return Answer(VERSION.body, headers={"Date": date})


def config_map(**annotations: str) -> Answer:
    named = {f"kubernaut.io/{name.replace('_', '-')}": text for name, text in annotations.items()}
    return Answer(orjson.dumps({"metadata": {"name": "kubernaut-toolset-config", "annotations": named}}))


def lease(version: str = "1", *, renewed_s: float = 0.0, holder: str = "pod-1", renewed: str = "") -> Answer:
    then = datetime.now(timezone.utc) + timedelta(seconds=renewed_s)
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": 15,
        "renewTime": renewed or then.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    name = {"name": "kubernaut-dynamic-toolset", "namespace": "kubernaut-system", "resourceVersion": version}
    return Answer(orjson.dumps({"metadata": name, "spec": spec}))


async def test_where_nothing_is_wrong_every_check_says_so(tmp_path: Path) -> None:
    found = await examined(tmp_path)
    assert [*found][:6] == ["settings", "API server", "Kubernetes", "clock", "credentials", NAMESPACE]
    assert [*found][6 + COUNT :] == [CONFIG_MAP, LEASE]
    assert {check.state for check in found.values()} == {"ok"}
    assert found["API server"].detail.startswith("it answers within ")
    assert found["Kubernetes"].detail == "version v1.36.0"
    assert found["credentials"].detail == "authenticated as jane"


@pytest.mark.parametrize(
    ("seconds", "state", "detail"),
    [
        pytest.param(0.0, "ok", "it agrees with that of the API server", id="the same"),
        pytest.param(3.0, "ok", "it agrees with that of the API server", id="nearly the same"),
        pytest.param(-60.0, "problem", "s ahead of that of the API server", id="ahead"),
        pytest.param(60.0, "problem", "s behind that of the API server", id="behind"),
    ],
)
async def test_a_clock_that_differs_is_a_problem(tmp_path: Path, seconds: float, state: str, detail: str) -> None:
    clock = (await examined(tmp_path, version=dated(at(seconds))))["clock"]
    assert (clock.state, detail in clock.detail) == (state, True)


async def test_a_server_that_does_not_say_the_time_leaves_that_open(tmp_path: Path) -> None:
    assert (await examined(tmp_path, version=dated("yesterday")))["clock"].state == "unknown"


@pytest.mark.parametrize("body", [b"<html>", b"{}", b""], ids=["a login page", "no version", "nothing"])
async def test_what_answers_everything_and_is_not_an_api_server_is_a_problem(tmp_path: Path, body: bytes) -> None:
    found = await examined(tmp_path, version=Answer(body))
    assert [*found] == ["settings", "API server", "Kubernetes", "clock"]
    assert (found["API server"].state, found["Kubernetes"].state) == ("ok", "problem")
    assert "login page" in found["Kubernetes"].remedy


async def test_a_version_that_is_not_shown_to_everybody_is_unknown(tmp_path: Path) -> None:
    found = await examined(tmp_path, version=FORBIDDEN)
    assert (found["API server"].state, found["Kubernetes"].state) == ("ok", "unknown")
    assert "the API server answered 403" in found["Kubernetes"].detail
    assert found["credentials"].state == "ok"


async def test_a_server_that_does_not_answer_ends_the_examination(tmp_path: Path) -> None:
    found = await examined(tmp_path, version=Stream([], end="cut"))
    assert [*found] == ["settings", "API server"]
    assert found["API server"].state == "problem"
    assert "network policy" in found["API server"].remedy


@pytest.mark.parametrize(
    ("user", "state", "detail", "goes_on"),
    [
        pytest.param(ABSENT, "ok", "accepted by the API server", True, id="before Kubernetes 1.28"),
        pytest.param(status_error(401), "problem", "the API server answered 401", False, id="refused"),
        pytest.param(BROKEN, "unknown", "the API server answered 503", True, id="broken"),
    ],
)
async def test_credentials_that_are_refused_end_the_examination(
    tmp_path: Path, user: Answer, state: str, detail: str, goes_on: bool
) -> None:
    found = await examined(tmp_path, user=user)
    assert (found["credentials"].state, found["credentials"].detail.startswith(detail)) == (state, True)
    assert (NAMESPACE in found) is goes_on


ACCOUNT: Final = Answer(b'{"status": {"userInfo": {"username": "system:serviceaccount:kubernaut-system:us"}}}', 201)


@pytest.mark.parametrize(
    ("user", "namespace", "state", "detail"),
    [
        pytest.param(USER, THERE, "ok", "it exists", id="there"),
        pytest.param(USER, ABSENT, "problem", "it does not exist", id="absent"),
        pytest.param(ACCOUNT, FORBIDDEN, "ok", "it exists: this ServiceAccount is in it", id="seen from within"),
        pytest.param(USER, FORBIDDEN, "unknown", "these credentials may not read Namespaces", id="not to be seen"),
        pytest.param(USER, BROKEN, "unknown", "the API server answered 503", id="broken"),
    ],
)
async def test_the_namespace_has_to_be_there(
    tmp_path: Path, user: Answer, namespace: Answer, state: str, detail: str
) -> None:
    check = (await examined(tmp_path, user=user, namespace=namespace))[NAMESPACE]
    assert (check.state, check.detail.startswith(detail)) == (state, True)
    assert (check.remedy == "kubectl create namespace kubernaut-system") is (state == "problem")


@pytest.mark.parametrize(
    ("answer", "instance", "state", "detail"),
    [
        pytest.param(ABSENT, "", "ok", "it does not exist yet; the service creates it", id="none"),
        pytest.param(config_map(), "green", "ok", "it exists", id="nobody's"),
        pytest.param(config_map(instance="green"), "green", "ok", "owned by the installation green", id="ours"),
        pytest.param(
            config_map(instance="blue"), "", "problem", "it belongs to another installation", id="ours has no name"
        ),
        pytest.param(
            config_map(instance="blue"), "green", "problem", "it belongs to another installation", id="another's"
        ),
        pytest.param(config_map(overrides_error="line 1"), "", "problem", "overrides: line 1", id="error"),
        pytest.param(FORBIDDEN, "", "unknown", "the API server answered 403", id="not to be seen"),
        pytest.param(Answer(b"<html>"), "", "unknown", "JSON is malformed", id="a proxy's page"),
    ],
)
async def test_the_config_map_says_who_keeps_it(
    tmp_path: Path, answer: Answer, instance: str, state: str, detail: str
) -> None:
    check = (await examined(tmp_path, config_map=answer, environment={"TOOLSET_OUTPUT__INSTANCE": instance}))[
        CONFIG_MAP
    ]
    assert (check.state, check.detail.startswith(detail)) == (state, True)
    assert bool(check.remedy) is (state == "problem")


async def test_a_process_without_a_name_learns_how_to_check_the_installation_that_has_one(tmp_path: Path) -> None:
    check = (await examined(tmp_path, config_map=config_map(instance="blue")))[CONFIG_MAP]
    assert check.detail.endswith("this one has no name, and would write nothing")
    assert check.remedy.endswith("or with TOOLSET_OUTPUT__INSTANCE=blue")


def overrides(text: str | None) -> Answer:
    return Answer(
        orjson.dumps({"metadata": {"name": "mine"}, "data": {} if text is None else {"overrides.yaml": text}})
    )


@pytest.mark.parametrize(
    ("answer", "state", "detail"),
    [
        pytest.param(overrides("suppress: [a/b]"), "ok", "valid", id="valid"),
        pytest.param(overrides(""), "ok", "valid", id="empty"),
        pytest.param(overrides("supress: []"), "problem", "overrides.yaml, line 1, column 1: supress", id="not valid"),
        pytest.param(overrides(None), "problem", "it has no overrides.yaml", id="no key"),
        pytest.param(ABSENT, "problem", "it does not exist, and without it nothing is written", id="none"),
        pytest.param(FORBIDDEN, "unknown", "the API server answered 403", id="not to be seen"),
        pytest.param(Answer(b"<html>"), "unknown", "JSON is malformed", id="a proxy's page"),
    ],
)
async def test_overrides_in_a_config_map_of_the_admins_own_are_checked(
    tmp_path: Path, answer: Answer, state: str, detail: str
) -> None:
    given = {"TOOLSET_OUTPUT__OVERRIDES_FROM": "mine"}
    found = await examined(tmp_path, overrides=(answer,), environment=given)
    check = found["overrides in ConfigMap kubernaut-system/mine"]
    assert (check.state, check.detail.startswith(detail)) == (state, True)
    assert bool(check.remedy) is (state == "problem")
    assert found[LEASE].state == "ok"


@pytest.mark.parametrize(
    ("answers", "elects", "state", "detail"),
    [
        pytest.param(lambda: (lease(),), True, "ok", "pod-1 holds it; renewed ", id="held"),
        pytest.param(lambda: (lease(holder=""),), True, "ok", "it has no holder", id="released"),
        pytest.param(lambda: (FORBIDDEN,), True, "unknown", "the API server answered 403", id="not to be seen"),
        pytest.param(lambda: (FORBIDDEN,), False, "ok", "not used: `election.enabled` is off", id="not used"),
        pytest.param(lambda: (lease(),), False, "problem", "pod-1 holds it", id="held though there is no election"),
        pytest.param(
            lambda: (lease(renewed_s=-60), lease("2")), True, "ok", "pod-1 holds it", id="a holder whose clock is wrong"
        ),
        pytest.param(
            lambda: (lease(renewed_s=-60), lease()), True, "problem", "pod-1 renewed it ", id="its holder is gone"
        ),
        pytest.param(lambda: (lease(renewed_s=-60), ABSENT), True, "problem", "pod-1 renewed it ", id="and so is it"),
        pytest.param(
            lambda: (lease(renewed_s=-60), BROKEN),
            True,
            "unknown",
            "the API server answered 503",
            id="not to be seen again",
        ),
        pytest.param(
            lambda: (lease(renewed_s=-60), lease()), False, "ok", "its last holder has stopped", id="left behind"
        ),
        pytest.param(
            lambda: (lease(renewed="noon"), lease()),
            True,
            "problem",
            "pod-1 renewed it at an unknown time",
            id="no time",
        ),
    ],
)
async def test_a_lease_shows_whether_its_holder_lives(
    tmp_path: Path, answers: Callable[[], tuple[Answer, ...]], elects: bool, state: str, detail: str
) -> None:
    given = ELECTION | {"TOOLSET_ELECTION__ENABLED": str(elects).lower()}
    check = (await examined(tmp_path, leases=answers(), environment=given))[LEASE]
    assert (check.state, check.detail.startswith(detail)) == (state, True)
    assert bool(check.remedy) is (state == "problem")


async def test_what_was_answered_counts_though_the_next_question_is_not(tmp_path: Path) -> None:
    found = await examined(tmp_path, reviews=(ALLOWED, DENIED, BROKEN))
    first, second, third = [*found.values()][6:9]
    assert (first.state, second.state, bool(second.remedy)) == ("ok", "problem", True)
    unseen = f"{COUNT - 2} of them cannot be checked: the API server answered 503"
    assert (third.subject, third.state, third.detail.startswith(unseen)) == ("permissions", "unknown", True)


@pytest.mark.parametrize(
    ("environment", "subjects"),
    [
        pytest.param({"TOOLSET_HEALTH__TIMEOUT": "soon"}, ["settings"], id="a value"),
        pytest.param({"TOOLSET_ELECTION__LEASE_DURATION": "1s"}, ["settings"], id="values that do not fit"),
        pytest.param({"TOOLSET_KUBE__KUBECONFIG": "/nowhere"}, ["settings", "credentials"], id="no credentials"),
    ],
)
async def test_without_settings_or_credentials_nothing_is_asked(
    environment: Mapping[str, str], subjects: list[str]
) -> None:
    found = [each async for each in examine(Source(environment=environment))]
    assert [each.subject for each in found] == subjects
    assert (found[-1].state, bool(found[-1].remedy)) == ("problem", True)


def test_a_check_is_one_line_and_its_remedy_another() -> None:
    well = Check("clock", "ok", "agrees")
    ill = Check("may \x1b[2J", "problem", "not\nallowed", "add")
    assert printers.as_check(well, colour=False) == "ok       clock: agrees\n"
    assert printers.as_check(ill, colour=True) == (
        "\x1b[31mproblem\x1b[0m  may \\x1b[2J: not\\x0aallowed\n         remedy: add\n"
    )
    unseen = Check("namespace", "unknown", "cannot be seen")
    assert printers.diagnosis([well]) == "\n1 check, no problem\n"
    assert printers.diagnosis([well, unseen]) == "\n2 checks, no problem, 1 that could not be seen\n"
    assert printers.diagnosis([well, ill, ill]) == "\n3 checks, 2 problems\n"
    assert orjson.loads(printers.as_checks([well])) == [
        {"subject": "clock", "state": "ok", "detail": "agrees", "remedy": ""}
    ]

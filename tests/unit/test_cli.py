"""The commands inside this process: no sockets."""

import argparse
import io
import os
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import yaml

from support.command_line import SERVICE, alone, one_sentence
from toolset import __version__, cli
from toolset.core.backends.catalog import DETECTORS


@pytest.fixture(autouse=True)
def manifests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    return alone(monkeypatch, tmp_path)


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version"]) == 0
    assert capsys.readouterr().out.startswith(f"toolset {__version__} (Python 3.")


@pytest.mark.parametrize(
    "arguments",
    [[], ["unknown"], ["plan", "--unknown"], ["plan", "-o", "xml"], ["run", "--port", "many"]],
    ids=["no command", "command", "flag", "choice", "number"],
)
def test_a_wrong_command_line_is_one_sentence_and_no_change(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)

    assert caught.value.code == 1  # 2 would say that something would change
    text = capsys.readouterr().err
    assert one_sentence(text)
    assert "--help" in text


def test_a_plan_with_changes_exits_with_2(manifests: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "-f", manifests, "--assume-healthy"]) == 2
    text = capsys.readouterr().out
    assert "monitoring/prometheus" in text
    assert "ConfigMap kubernaut-system/kubernaut-toolset-config would change:" in text
    assert "\x1b" not in text


def test_a_plan_of_what_is_applied_exits_with_0(
    manifests: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plan", "-f", manifests, "--assume-healthy", "-o", "yaml"]) == 2
    applied = tmp_path / "applied.yaml"
    applied.write_text(capsys.readouterr().out)

    assert cli.main(["plan", "-f", manifests, "-f", str(applied), "--assume-healthy"]) == 0
    assert capsys.readouterr().out.endswith("is up to date\n")


def test_a_plan_may_be_json(manifests: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["plan", "-f", manifests, "--assume-healthy", "-o", "json", "-n", "spaces", "--name", "tools"])

    content = orjson.loads(capsys.readouterr().out)
    assert (content["target"], content["changes"]) == ("spaces/tools", True)


@pytest.mark.parametrize(
    ("given", "about", "problem"),
    [
        ("pln", "toolset", "there is no command pln; did you mean plan?"),
        ("nothing-like-it", "toolset", "there is no command nothing-like-it"),
        ("plan --assume-health", "toolset plan", "there is no option --assume-health; did you mean --assume-healthy?"),
        (
            "plan --asume-healthy=y",
            "toolset plan",
            "there is no option --asume-healthy; did you mean --assume-healthy?",
        ),
        ("plan --prob", "toolset plan", "there is no option --prob"),  # explain has --probe
        ("version now", "toolset version", "there is no argument now"),
        ("", "toolset", "the following arguments are required: COMMAND"),
    ],
)
def test_what_is_misspelt_is_named_with_the_nearest_name(
    given: str, about: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(given.split())
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"{about}: {problem}; see {about} --help\n"


@pytest.mark.parametrize("given", ["help", "help plan", "--version", "-V", "plan --help"])
def test_help_and_version_are_written_to_standard_output(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(given.split())
    assert ended.value.code == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.startswith("toolset " if "V" in given or "version" in given else "usage: toolset ")
    assert ("--assume-healthy" in printed.out) == ("plan " in f"{given} ")


def test_a_plan_of_no_service_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("kind: Deployment", "utf-8")
    assert cli.main(["plan", "-f", str(file), "--assume-healthy"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"toolset: {file} holds no Service; give what `kubectl get services -A -o yaml` prints\n"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (["-"], "standard input holds no Service; "),
        (["-", os.devnull], f"standard input, {os.devnull} hold no Service; "),
    ],
)
def test_files_without_a_service_are_named(
    files: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert cli.main(["explain", *(part for file in files for part in ("-f", file))]) == 1
    assert sentence in capsys.readouterr().err


def test_a_plan_may_come_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(SERVICE))

    assert cli.main(["plan", "-f", "-", "--assume-healthy", "-o", "yaml"]) == 2
    assert "prometheus-toolset.yaml" in yaml.safe_load(capsys.readouterr().out)["data"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        pytest.param(["plan", "-f", "/nowhere"], "/nowhere: No such file or directory; name a file", id="manifest"),
        pytest.param(
            ["plan", "--config", "/nowhere"], "/nowhere: there is no such file; name another one", id="settings"
        ),
        pytest.param(["plan", "--config", "/"], "/: cannot be read (Is a directory); name another", id="no file"),
        pytest.param(["plan", "--kubeconfig", "/nowhere"], "/nowhere: there is no such file", id="kubeconfig"),
        pytest.param(["plan"], "no-kubeconfig: there is no such file", id="no cluster"),
        pytest.param(["run"], "no-kubeconfig: there is no such file", id="run without a cluster"),
        pytest.param(["plan", "-n", "Not_A_Name"], "target.namespace", id="namespace"),
        pytest.param(["run", "--port", "99999"], "server.port", id="port"),
    ],
)
def test_a_mistake_is_one_sentence_and_exits_with_1(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*arguments, "--log-level", "error"]) == 1
    text = capsys.readouterr().err
    assert one_sentence(text)
    assert problem in text


def test_explain_says_why_a_service_of_a_manifest_is_published(
    manifests: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["explain", "-f", manifests]) == 0
    assert "monitoring/prometheus is recognised as prometheus" in capsys.readouterr().out

    assert cli.main(["explain", "-f", manifests, "-o", "json"]) == 0
    assert orjson.loads(capsys.readouterr().out)["type"] == "prometheus"


@pytest.mark.parametrize("arguments", [[], ["a/b", "-f", "x"], ["no-slash"], ["/name"], ["namespace/"]])
def test_explain_takes_one_service_or_manifests(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", *arguments]) == 1
    assert one_sentence(capsys.readouterr().err)


def test_explain_without_a_cluster_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "monitoring/prometheus"]) == 1
    assert "there is no such file" in capsys.readouterr().err


def test_settings_are_checked_and_their_detectors_tried_on_manifests(
    manifests: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "toolset.yaml"
    file.write_text("discovery: {detectors: [{product: mine, type: prometheus, phrases: [prometheus]}]}", "utf-8")
    assert cli.main(["check-config", str(file)]) == 0
    assert capsys.readouterr().out == f"{file} is valid; detectors: 1 of your own, {len(DETECTORS)} built in\n"
    assert cli.main(["check-config", str(file), "-f", manifests]) == 0
    mine = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("mine"))
    assert mine.split() == ["mine", "prometheus", "settings", "monitoring/prometheus"]


def test_settings_that_are_wrong_get_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "toolset.yaml"
    file.write_text("healt: {}", "utf-8")
    assert cli.main(["check-config", str(file)]) == 1
    assert capsys.readouterr().err == f"toolset: {file}:1:1: `healt`: unknown name; did you mean `health`?\n"


@pytest.mark.parametrize("command", [["check-config"], ["plan", "--assume-healthy", "--config"]], ids=" ".join)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(
            "election: {lease_duration: 5s, renew_deadline: 10s}", "settings `election`: a leader", id="election"
        ),
        pytest.param(
            "output: {base_toolsets: {bash: {config: {x: null}}}}",
            "bash > config > x: null is not a value here",
            id="documents",
        ),
        pytest.param(
            "shutdown: {delay: 30s}",
            "settings `shutdown`: the delay (30 s) must not be longer than the timeout (24 s), which includes it",
            id="shutdown",
        ),
    ],
)
def test_settings_that_run_would_refuse_are_refused_by_every_command_that_reads_them(
    command: list[str], text: str, words: str, tmp_path: Path, manifests: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "toolset.yaml"
    file.write_text(text, "utf-8")
    assert cli.main([*command, str(file), "-f", manifests]) == 1
    captured = capsys.readouterr()
    assert one_sentence(captured.err)
    assert words in captured.err
    assert not captured.out


def test_a_settings_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check-config", "/nowhere"]) == 1
    assert capsys.readouterr().err == "toolset: /nowhere: there is no such file; name another one\n"


def test_settings_that_are_no_text_are_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "toolset.yaml"
    file.write_bytes(b"\xff\xfe\xff")
    assert cli.main(["check-config", str(file)]) == 1
    assert capsys.readouterr().err == f"toolset: {file}: this is not UTF-8 text\n"


def test_settings_come_from_file_environment_and_flags(
    tmp_path: Path, manifests: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("target: {namespace: from-file, name: from-file}\n")
    monkeypatch.setenv("TOOLSET_CONFIG", str(file))
    monkeypatch.setenv("TOOLSET_TARGET__NAME", "from-environment")

    cli.main(["plan", "-f", manifests, "--assume-healthy", "-o", "json"])
    assert orjson.loads(capsys.readouterr().out)["target"] == "from-file/from-environment"

    cli.main(["plan", "-f", manifests, "--assume-healthy", "-o", "json", "--name", "from-flag"])
    assert orjson.loads(capsys.readouterr().out)["target"] == "from-file/from-flag"


@pytest.mark.parametrize(
    ("content", "flag"),
    [
        pytest.param("apiVersion: v1\nusers: [{user: {token: secret}}]\n", False, id="YAML"),
        pytest.param('{"users":[{"user":{"token":"secret"}}]}', False, id="JSON"),
        pytest.param("YXBpVmVyc2lvbjogdjEK/secret" * 60, False, id="base64"),
        pytest.param("users: [{user: {token: secret}}]", True, id="a flag"),
        pytest.param("secret\0", True, id="a null byte"),
    ],
)
def test_a_kubeconfig_in_place_of_its_path_is_never_shown(
    content: str, *, flag: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not flag:
        monkeypatch.setenv("KUBECONFIG", content)

    assert cli.main(["plan", *(["--kubeconfig", content] if flag else [])]) == 1
    source = "--kubeconfig" if flag else "KUBECONFIG"
    assert capsys.readouterr().err == (
        f"toolset: {source} holds a kubeconfig itself; write that to a file, and name the file instead\n"
    )


def test_a_broken_kubeconfig_is_never_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config"
    for content in ("users: [{user: {token: secret", "users: [{user: {token: [secret]}}]", "token: *secret", "secret"):
        file.write_text(content)
        assert cli.main(["plan", "--kubeconfig", str(file)]) == 1
        text = capsys.readouterr().err
        assert one_sentence(text)
        assert "secret" not in text


def test_a_kubeconfig_that_may_not_be_read_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config"
    file.touch()
    monkeypatch.setenv("KUBECONFIG", str(file / "below"))

    assert cli.main(["plan"]) == 1
    reason = "it cannot be read (Not a directory); name another file with --kubeconfig"
    assert capsys.readouterr().err == f"toolset: {file / 'below'}: {reason}\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("can't start new thread"), "toolset: no thread can be started: raise the limit on processes"),
        (MemoryError(), "toolset: there is no memory left: raise the memory limit"),
    ],
)
def test_a_lack_of_threads_or_memory_is_one_sentence(
    error: Exception, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cli._COMMANDS, "version", failing(error))
    assert cli.main(["version"]) == 1
    assert capsys.readouterr().err.startswith(said)


def test_another_error_of_the_runtime_is_a_bug_and_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli._COMMANDS, "version", failing(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["version"])


def failing(error: Exception) -> Callable[[argparse.Namespace], int]:
    def fail(_: argparse.Namespace) -> int:
        raise error

    return fail

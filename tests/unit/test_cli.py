import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest
import yaml

from toolset import __version__, cli

SERVICE = """
kind: Service
metadata: {name: prometheus, namespace: monitoring}
spec: {clusterIP: 10.0.0.1, selector: {app: prometheus}, ports: [{port: 9090}]}
"""
HEAVY = ("aiohttp", "anyio", "httpx", "kubernetes", "msgspec", "opentelemetry", "orjson", "prometheus_client", "yaml")
IMPORTED = """
import sys
from toolset.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
loaded = {name.partition(".")[0] for name in sys.modules}
print("exit", code, *sorted(loaded & set(%r)))
"""


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the environment's own settings out."""
    for name in [*os.environ]:
        if name.startswith(("TOOLSET_", "KUBE", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "no-kubeconfig"))


@pytest.fixture
def manifests(tmp_path: Path) -> str:
    file = tmp_path / "services.yaml"
    file.write_text(SERVICE)
    return str(file)


def toolset(
    *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "toolset", *arguments],
        input=stdin,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def one_sentence(stderr: str) -> bool:
    return stderr.startswith("toolset") and stderr.count("\n") == 1 and "Traceback" not in stderr


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["run", "--help"], ["plan", "--help"]])
def test_help_and_version_load_nothing_heavy(arguments: list[str]) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", IMPORTED % (HEAVY,), *arguments], capture_output=True, text=True, check=True
    )

    assert finished.stdout.splitlines()[-1] == "exit 0"


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version"]) == 0
    assert capsys.readouterr().out == f"toolset {__version__}\n"


def test_the_module_is_the_command() -> None:
    finished = toolset("version")

    assert (finished.returncode, finished.stdout) == (0, f"toolset {__version__}\n")


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


def test_a_plan_of_no_service_says_so_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("kind: Deployment", "utf-8")
    assert cli.main(["plan", "-f", str(file), "--assume-healthy"]) == 2
    printed = capsys.readouterr()
    assert "0 Services: 0 candidates" in printed.out
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


def test_a_plan_may_be_piped_through(manifests: str) -> None:
    finished = toolset("plan", "-f", "-", "--assume-healthy", stdin=Path(manifests).read_text("utf-8"))

    assert (finished.returncode, finished.stderr) == (2, "")


def test_a_plan_whose_reader_goes_away_is_no_traceback(manifests: str) -> None:
    command = [sys.executable, "-m", "toolset", "plan", "-f", manifests, "--assume-healthy"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


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


def kubeconfig(folder: Path, port: int) -> str:
    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
    }
    file = folder / "config"
    file.write_text(yaml.safe_dump(content))
    return str(file)


def test_an_api_server_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    assert cli.main(["plan", "--kubeconfig", kubeconfig(tmp_path, port)]) == 1
    text = capsys.readouterr().err
    assert one_sentence(text)
    assert "the API server did not answer" in text


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "kafka"}, "OTEL_EXPORTER_OTLP_PROTOCOL: `kafka` is not supported"),
        ({"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"}, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT must be a non-negative integer"),
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_COMPRESSION": "zip"},
            'Invalid value "zip" for compression envvar OTEL_EXPORTER_OTLP_COMPRESSION',
        ),
    ],
    ids=["protocol", "limit", "compression"],
)
def test_a_variable_of_traces_that_means_nothing_is_one_sentence(variables: dict[str, str], words: str) -> None:
    finished = toolset("run", environment={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", **variables})

    assert finished.returncode == 1
    assert one_sentence(finished.stderr)
    assert words in finished.stderr


def test_sigterm_counts_from_the_first_moment_on(tmp_path: Path) -> None:
    slow = tmp_path / "settings.yaml"
    os.mkfifo(slow)
    command = [sys.executable, "-m", "toolset", "run", "--config", str(slow)]
    with subprocess.Popen(command) as process, slow.open("wb"):  # opened once it has begun to read
        process.terminate()
        assert process.wait(10) == 128 + signal.SIGTERM


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finished = toolset(
            "run", "--kubeconfig", kubeconfig(tmp_path, port), "--host", "127.0.0.1", "--port", str(port)
        )

    assert finished.returncode == 1
    assert one_sentence(finished.stderr)
    assert f"cannot listen on 127.0.0.1:{port}: " in finished.stderr
    assert "choose another port with --port" in finished.stderr


def test_explain_says_why_a_service_of_a_manifest_is_published(
    manifests: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["explain", "-f", manifests]) == 0
    assert "monitoring/prometheus is taken for prometheus" in capsys.readouterr().out

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
    assert capsys.readouterr().out == f"{file} is valid; detectors: 1 of your own, 12 built in\n"
    assert cli.main(["check-config", str(file), "-f", manifests]) == 0
    mine = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("mine"))
    assert mine.split() == ["mine", "prometheus", "settings", "monitoring/prometheus"]


def test_settings_that_are_wrong_get_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "toolset.yaml"
    file.write_text("healt: {}", "utf-8")
    assert cli.main(["check-config", str(file)]) == 1
    assert capsys.readouterr().err == f"toolset: {file}: unknown setting `healt`; did you mean `health`?\n"


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
def test_settings_that_run_would_refuse_are_refused_by_whoever_looks_at_them(
    command: list[str], text: str, words: str, tmp_path: Path, manifests: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "toolset.yaml"
    file.write_text(text, "utf-8")
    assert cli.main([*command, str(file), "-f", manifests]) == 1
    captured = capsys.readouterr()
    assert one_sentence(captured.err)
    assert words in captured.err
    assert not captured.out


def test_a_product_that_is_nearly_a_known_one_is_valid_but_in_doubt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "toolset.yaml"
    file.write_text("health: {detectors: {elasticsaerch: {ca_file: /ca.pem}, grafana: {}}}", "utf-8")
    doubt = "`health.detectors.elasticsaerch` counts only for a custom type of that name; did you mean `elasticsearch`?"
    assert cli.main(["check-config", str(file)]) == 0
    captured = capsys.readouterr()
    assert captured.err == f"toolset: {file}: {doubt}\n"
    assert captured.out.startswith(f"{file} is valid")

    log = [orjson.loads(line) for line in toolset("run", "--config", str(file)).stderr.splitlines() if line[0] == "{"]
    assert [(line["message"], line["problem"]) for line in log] == [("setting in doubt", doubt)]


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


def test_a_long_wait_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "PATIENCE_S", 0.05)
    file = tmp_path / "services.yaml"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        moved = orjson.dumps({"prometheus.monitoring.svc.cluster.local:9090": place}).decode()
        monkeypatch.setenv("TOOLSET_TEST_CONNECT_TO", moved)
        monkeypatch.setenv("TOOLSET_HEALTH__TIMEOUT", "500ms")
        file.write_text(SERVICE)
        cli.main(["plan", "-f", str(file)])

    captured = capsys.readouterr()
    assert captured.err == "toolset: waiting for the API server and the backends ...\n"
    assert "Unhealthy: no answer within 0.5 s" in captured.out


def test_an_interrupt_exits_with_130_and_no_traceback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        command = [sys.executable, "-m", "toolset", "plan", "--kubeconfig", kubeconfig(tmp_path, port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                _, stderr = process.communicate()

    assert process.returncode == 130
    assert stderr in {b"", b"toolset: waiting for the API server and the backends ...\n"}

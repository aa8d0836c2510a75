"""The program as a process, and commands that open connections."""

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

from support.command_line import ANNOUNCED, SERVICE, alone, complaints, one_sentence
from toolset import __version__, cli
from toolset.commands import process

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
def manifests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    return alone(monkeypatch, tmp_path)


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


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["run", "--help"], ["plan", "--help"]])
def test_help_and_version_load_nothing_heavy(arguments: list[str]) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", IMPORTED % (HEAVY,), *arguments], capture_output=True, text=True, check=True
    )

    assert finished.stdout.splitlines()[-1] == "exit 0"


def test_the_module_is_the_command() -> None:
    finished = toolset("version")

    assert finished.returncode == 0
    assert finished.stdout.startswith(f"toolset {__version__} (Python ")


def test_a_plan_may_be_piped_through(manifests: str) -> None:
    finished = toolset("plan", "-f", "-", "--assume-healthy", stdin=Path(manifests).read_text("utf-8"))

    assert (finished.returncode, complaints(finished.stderr)) == (2, "")


def test_a_plan_whose_reader_goes_away_is_no_traceback(manifests: str) -> None:
    command = [sys.executable, "-m", "toolset", "plan", "-f", manifests, "--assume-healthy"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert complaints(process.stderr.read().decode()) == ""
    assert process.returncode == 1


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
    with socket.socket() as closed:  # bound and not listening: it refuses, and nobody else can take its port
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        assert cli.main(["plan", "--kubeconfig", kubeconfig(tmp_path, port)]) == 1
    where, problem = complaints(capsys.readouterr().err).splitlines()
    assert where == f"toolset: cluster c (http://127.0.0.1:{port}), context c, identity anonymous"
    assert problem.startswith("toolset: the API server did not answer: ")


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
            *("run", "--kubeconfig", kubeconfig(tmp_path, port), "--host", "127.0.0.1", "--port", str(port)),
            *("--log-level", "error"),
        )

    assert finished.returncode == 1
    assert one_sentence(finished.stderr)
    assert f"cannot listen on 127.0.0.1:{port}: " in finished.stderr
    assert "choose another port with --port" in finished.stderr


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


def test_a_long_wait_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(process, "PATIENCE_S", 0.05)
    file = tmp_path / "services.yaml"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        moved = orjson.dumps({"prometheus.monitoring.svc.cluster.local:9090": place}).decode()
        monkeypatch.setenv("TOOLSET_TEST_CONNECT_TO", moved)
        monkeypatch.setenv("TOOLSET_HEALTH__TIMEOUT", "500ms")
        file.write_text(SERVICE)
        cli.main(["plan", "-f", str(file)])

    captured = capsys.readouterr()
    assert captured.err == ANNOUNCED
    assert "Unhealthy  prometheus  no answer within 0.5 s" in captured.out


def test_an_interrupt_exits_with_130_and_no_traceback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        toolset = [sys.executable, "-m", "toolset", "plan", "--kubeconfig", kubeconfig(tmp_path, port)]
        command = ["env", "--default-signal", *toolset]  # who started the tests may have had SIGINT ignored
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                _, stderr = process.communicate()

    assert process.returncode == 130
    (where,) = complaints(stderr.decode()).splitlines()
    assert where.startswith("toolset: cluster c (")


FULL = Path("/dev/full")


@pytest.mark.parametrize(
    "arguments", [["version"], ["--help"], ["plan", "--help"], ["plan", "--assume-healthy", "-f"], ["check-config"]]
)
def test_a_full_disk_behind_standard_output_is_one_sentence(
    arguments: list[str], manifests: str, tmp_path: Path
) -> None:
    settings = tmp_path / "toolset.yaml"
    settings.touch()
    file = {"-f": [manifests], "check-config": [str(settings)]}.get(arguments[-1], [])
    with FULL.open("w") as full:
        finished = subprocess.run(
            [sys.executable, "-m", "toolset", *arguments, *file],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert finished.returncode == 1
    assert finished.stderr == "toolset: standard output cannot be written: No space left on device\n"


def test_without_a_home_and_a_name_for_us_there_is_no_kubeconfig(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    command = [sys.executable, "-m", "toolset", "plan"]
    finished = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert finished.returncode == 1
    assert finished.stderr == (
        "toolset: neither KUBECONFIG nor HOME is set, so there is no kubeconfig; name one with --kubeconfig\n"
    )

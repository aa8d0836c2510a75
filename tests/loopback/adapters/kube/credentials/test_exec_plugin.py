import base64
import os
import sys
import threading
from pathlib import Path

import anyio
import msgspec
import pytest
from anyio.lowlevel import checkpoint

from support.kubeconfigs import EXEC_API, plugin
from toolset.adapters.kube.credentials import exec_plugin
from toolset.adapters.kube.credentials.exec_plugin import ExecPlugin, ExecStatus
from toolset.adapters.kube.credentials.kubeconfig_schema import Cluster, Exec, Extension

CREDENTIAL = f'{{"kind": "ExecCredential", "apiVersion": "{EXEC_API}", "status": %s}}'
SAYS = "import os, sys\nprint('" + CREDENTIAL.replace("'", '"') + "')\n"


def command(program: str, folder: Path, **settings: object) -> Exec:
    return msgspec.convert(plugin(folder, program, **settings)["exec"], Exec)


async def run(program: str, folder: Path, cluster: Cluster | None = None, **settings: object) -> ExecStatus:
    return await ExecPlugin(command(program, folder, **settings), folder, cluster or Cluster(), b"CA").run()


async def test_a_token_and_its_end_are_read(tmp_path: Path) -> None:
    status = await run(SAYS % '{"token": "t", "expirationTimestamp": "2001-02-03T04:05:06Z"}', tmp_path)

    assert status.token == "t"
    assert status.lives_s() < 0


async def test_a_megabyte_on_both_pipes_holds_nothing_up(tmp_path: Path) -> None:
    noise = "import sys\nsys.stderr.write('x' * 2**20)\nsys.stdout.write(' ' * 2**19)\n"

    assert (await run(noise + SAYS % '{"token": "t"}', tmp_path)).token == "t"


async def test_a_command_with_a_slash_starts_at_the_kubeconfigs_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "bin" / "login"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\n" + SAYS % '{"token": "t"}')
    script.chmod(0o700)
    monkeypatch.chdir("/")

    assert (await run("", tmp_path, command="./bin/login", args=[])).token == "t"


async def test_a_command_without_a_slash_is_looked_for_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "toolset-login"
    script.write_text(f"#!{sys.executable}\n" + SAYS % '{"token": "t"}')
    script.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    assert (await run("", tmp_path, command="toolset-login", args=[])).token == "t"


SAYS_WHY = "import sys\nprint('a\\nwrong\\x1bpassword', file=sys.stderr)\nsys.exit(3)"

INFO = """
import json, os, pathlib, sys
pathlib.Path(sys.argv[1]).write_text(os.environ["KUBERNETES_EXEC_INFO"] + "\\n" + os.environ["OWN"])
"""


async def test_a_plugin_is_given_its_variables_and_the_cluster_only_where_it_asks(tmp_path: Path) -> None:
    cluster = Cluster(
        server="https://a:6443",
        tls_server_name="api",
        extensions=(Extension("client.authentication.k8s.io/exec", {"audience": "x"}), Extension("other", 1)),
    )
    variables = [{"name": "OWN", "value": "yes"}]
    await run(INFO + SAYS % '{"token": "t"}', tmp_path, cluster, env=variables)
    first, own = (tmp_path / "runs").read_text("utf-8").split("\n")
    await run(INFO + SAYS % '{"token": "t"}', tmp_path, cluster, env=variables, provideClusterInfo=True)
    second, _ = (tmp_path / "runs").read_text("utf-8").split("\n")

    assert own == "yes"
    head = {"kind": "ExecCredential", "apiVersion": EXEC_API}
    assert msgspec.json.decode(first) == head | {"spec": {"interactive": False}}
    info = {
        "server": "https://a:6443",
        "tls-server-name": "api",
        "certificate-authority-data": base64.b64encode(b"CA").decode(),
        "config": {"audience": "x"},
    }
    assert msgspec.json.decode(second) == head | {"spec": {"interactive": False, "cluster": info}}


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        pytest.param(SAYS_WHY, "failed with exit code 3: wrong password", id="exit code"),
        pytest.param("import os\nos.kill(os.getpid(), 9)", "failed with exit code -9", id="killed"),
        pytest.param("print('no JSON')", "printed no credentials: this is no ExecCredential", id="no JSON"),
        pytest.param("print('a: [')", "printed no credentials: this is not valid YAML", id="broken"),
        pytest.param("print('{}')", "printed no ExecCredential of client.authentication.k8s.io/v1", id="empty"),
        pytest.param("", "printed no ExecCredential of client.authentication.k8s.io/v1", id="nothing"),
        pytest.param(SAYS % "null", "gave neither a token nor a certificate", id="no status"),
        pytest.param(SAYS % '{"clientKeyData": "k"}', "gave a certificate or a key, but not both", id="half a pair"),
        pytest.param((SAYS % '{"token": "t"}').replace("/v1", "/v2"), "printed no ExecCredential of", id="version"),
        pytest.param(SAYS % '{"token": 5}', "printed no credentials: this is no ExecCredential", id="a number"),
    ],
)
async def test_a_plugin_that_gives_no_credentials_is_one_sentence(tmp_path: Path, program: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"^the exec plugin ") as caught:
        await run(program, tmp_path)

    assert reason in str(caught.value)
    assert str(caught.value).isprintable()


async def test_what_a_plugin_prints_is_never_shown(tmp_path: Path) -> None:
    for program in ("print('secret')", SAYS % '{"token": ["secret"]}', "print('secret: [')"):
        with pytest.raises(ValueError, match=r"^the exec plugin ") as caught:
            await run(program, tmp_path)
        assert "secret" not in str(caught.value)


async def test_a_plugin_that_is_not_there_says_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the exec plugin nowhere-to-be-found is not there, .*: brew install it$"):
        await run("", tmp_path, command="nowhere-to-be-found", installHint="brew\ninstall it")


async def test_a_plugin_that_cannot_be_started_is_one_sentence(tmp_path: Path) -> None:
    script = tmp_path / "login"
    script.write_text("#!/nowhere/python\n")
    script.chmod(0o700)

    with pytest.raises(ValueError, match=r"cannot be started: No such file or directory$"):
        await run("", tmp_path, command="./login")
    with pytest.raises(ValueError, match=r"cannot be started: its arguments or variables are not valid$"):
        await run("", tmp_path, args=["a\0b"])


async def test_a_plugin_that_asks_a_person_needs_a_terminal(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"asks a person, and standard input is no terminal$"):
        await run("", tmp_path, interactiveMode="Always")


CHILDREN = 'sleep 600 & echo $$ $! > "$0"; %s'
"""A shell is up in a few milliseconds, also on a busy machine, so that it has long started when its time is over."""


async def run_children(last: str, folder: Path) -> ExecStatus:
    """Run a plugin that starts a child, and does ``last``."""
    return await run("", folder, command="sh", args=["-c", CHILDREN % last, str(folder / "runs")])


async def both_gone(folder: Path) -> bool:
    """Return whether plugin and child have ended, within a second."""
    pids = [int(pid) for pid in (folder / "runs").read_text("utf-8").split()]
    for _ in range(100):
        if not any(alive(pid) for pid in pids):
            return True
        await anyio.sleep(0.01)
    return False


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_plugin_that_hangs_is_killed_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exec_plugin, "TIMEOUT_S", 1.5)
    with pytest.raises(ValueError, match=r"did not end within 1\.5 s"):
        await run_children("wait", tmp_path)

    assert await both_gone(tmp_path)


async def test_a_plugin_whose_child_keeps_its_output_open_is_killed_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exec_plugin, "TIMEOUT_S", 1.5)
    with pytest.raises(ValueError, match=r"did not end within 1\.5 s"):
        await run_children("", tmp_path)

    assert await both_gone(tmp_path)


async def test_a_plugin_does_not_outlive_who_started_it(tmp_path: Path) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(run_children, "wait", tmp_path)
        for _ in range(1000):
            if (tmp_path / "runs").exists() and (tmp_path / "runs").read_text("utf-8"):
                break
            await anyio.sleep(0.01)
        group.cancel_scope.cancel()

    assert await both_gone(tmp_path)


async def test_a_plugin_that_is_cancelled_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(run_children, "wait", tmp_path)
        for _ in range(2):  # anyio has one checkpoint before it starts a process
            await checkpoint()
        for _ in range(1000):  # no other task runs meanwhile, so that the start has not ended
            if (tmp_path / "runs").exists() and (tmp_path / "runs").read_text("utf-8"):
                break
            threading.Event().wait(0.01)
        group.cancel_scope.cancel()

    assert await both_gone(tmp_path)

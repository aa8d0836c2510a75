"""What `hack/release/build` makes of a clean clone is complete and reproducible, and its wheel works on its own."""

import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tarfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.charts import Helm
from deploy.manifests import NAME, PROJECT, Manifest, built, kubectl, overlay, pod, validated
from support.command_line import complaints
from support.lacking import lack
from toolset import __version__

pytestmark = pytest.mark.timeout(180)

IMAGE: Final = f"registry.example:5000/team/toolset@sha256:{'0a' * 32}"
REPOSITORY: Final = "https://code.example/team/toolset"
PARAMETERS: Final = {"IMAGE": IMAGE, "REPOSITORY": REPOSITORY}
MANIFESTS: Final = {name: f"install-{name}.yaml" for name in ("base", "openshift", "production")}
CHART: Final = f"{NAME}-{__version__}.tgz"
PACKAGES: Final = {
    CHART,
    f"kubernaut_dynamic_toolset-{__version__}-py3-none-any.whl",
    f"kubernaut_dynamic_toolset-{__version__}.tar.gz",
}
LONGER: Final = 5.0
"""At most this many times the processor time of an interpreter that imports argparse; 2.3 times as measured."""


def run(*command: str | Path, cwd: Path = PROJECT) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def release(clone: Path, given: dict[str, str], umask: int = 0o022) -> subprocess.CompletedProcess[str]:
    """Run the script in ``clone`` with ``given`` in its environment, and return how it ended."""
    base = {name: value for name, value in os.environ.items() if name not in {"IMAGE", "REPOSITORY", "PYTHONPATH"}}
    tools = {"PYTHON": sys.executable, "KUBECTL": shutil.which(kubectl()) or "kubectl"}
    command = [clone / "hack" / "release" / "build"]
    env = base | tools | given
    return subprocess.run(command, cwd="/", env=env, umask=umask, capture_output=True, text=True, check=False)


def cloned(folder: Path) -> Path:
    """Clone what is committed in this checkout."""
    if not (PROJECT / ".git").exists():
        lack("this checkout is no clone: a release is built from a commit")
    run("git", "clone", "--quiet", PROJECT, folder)
    return folder


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cloned(tmp_path_factory.mktemp("release") / "clone")


@pytest.fixture(scope="module")
def released(clone: Path) -> Path:
    """Return the folder with the files of a release."""
    done = release(clone, PARAMETERS)
    assert (done.returncode, done.stderr) == (0, "")
    return clone / "dist"


def contents(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file."""
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in folder.iterdir()}


def test_a_release_is_complete_and_its_checksums_are_right(released: Path) -> None:
    found = contents(released)
    del found["SHA256SUMS"]
    listed = (line.split("  ") for line in (released / "SHA256SUMS").read_text("utf-8").splitlines())
    assert {name: digest for digest, name in listed} == found
    assert found.keys() == PACKAGES | {*MANIFESTS.values(), "RELEASE_NOTES.md", "sbom.cdx.json"}


def test_a_second_release_of_the_commit_has_the_same_bytes(released: Path, tmp_path: Path) -> None:
    other = cloned(tmp_path / "another-place")
    ways = {"TZ": "Asia/Kathmandu", "LANG": "tr_TR.UTF-8", "PYTHONHASHSEED": "7"}
    done = release(other, PARAMETERS | ways, umask=0o077)
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(other / "dist") == contents(released)


def container(things: list[Manifest]) -> Manifest:
    """Return the one container of the Deployment."""
    (found,) = pod(things)["containers"]
    only: Manifest = found
    return only


def test_the_overlay_for_production_names_the_image_of_this_version() -> None:
    assert container(built(overlay("production")))["image"] == f"{NAME}:{__version__}"


def test_manifests_are_valid_and_differ_from_the_overlay_in_the_image_only(tools: Path, released: Path) -> None:
    for name, file in MANIFESTS.items():
        text = (released / file).read_text("utf-8")
        assert text.count(f"runbook_url: {REPOSITORY}") == text.count("runbook_url: ")
        things = list(yaml.safe_load_all(text.replace(f"{REPOSITORY}/blob/v{__version__}/docs/", "docs/")))
        assert container(things)["image"] == IMAGE
        unreleased = built(overlay(name))
        container(unreleased)["image"] = IMAGE
        assert things == unreleased
    assert validated(tools, [released / file for file in MANIFESTS.values()]) == ""


def test_the_chart_renders_the_image_and_the_absolute_urls(helm: Helm, released: Path) -> None:
    things = helm.objects({"monitoring": {"enabled": True}}, chart=released / CHART)
    assert container(things)["image"] == IMAGE
    (rules,) = (thing["spec"]["groups"] for thing in things if thing["kind"] == "PrometheusRule")
    assert all(rule["annotations"]["runbook_url"].startswith(REPOSITORY) for group in rules for rule in group["rules"])
    unreleased = helm.objects({"monitoring": {"enabled": True}, "image": {"digest": IMAGE.partition("@")[2]}})
    assert [thing["metadata"] for thing in things] == [thing["metadata"] for thing in unreleased]


def test_the_list_of_packages_is_valid_and_that_of_the_lock(released: Path) -> None:
    text = (released / "sbom.cdx.json").read_text("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.replace('"purl"', '"url"')) is not None
    listed = json.loads(text)
    assert listed["metadata"]["component"]["version"] == __version__
    lock = (PROJECT / "requirements" / "image.txt").read_text("utf-8")
    wanted = {f"pkg:pypi/{name}@{version}" for name, version in re.findall(r"^(\S+)==(\S+)", lock, re.MULTILINE)}
    assert {each["purl"] for each in listed["components"]} == wanted
    hashes = [digest["content"] for each in listed["components"] for digest in each["hashes"]]
    assert sorted(hashes) == sorted(re.findall(r"sha256:(\w+)", lock))


def test_a_lock_of_another_form_is_refused_and_no_package_left_out(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("aiohttp==3.14.5 ; sys_platform == 'linux'\n")
    command = (sys.executable, PROJECT / "hack" / "release" / "sbom.py", "toolset", __version__, tmp_path / "lock")
    env = os.environ | {"SOURCE_DATE_EPOCH": "0"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "expected NAME==VERSION with sha256 hashes" in done.stderr


def without_targets(page: str) -> str:
    """Return a page without the targets of its links, which are absolute in a release."""
    return re.sub(r"\]\([^)\s]+\)", "]", page)


def test_the_notes_are_what_the_changelog_says_of_the_version(released: Path) -> None:
    notes = (released / "RELEASE_NOTES.md").read_text("utf-8")
    assert notes.startswith(f"# Dynamic Toolset Service {__version__}\n\nImage: {IMAGE}\n")
    changelog = (PROJECT / "CHANGELOG.md").read_text("utf-8")
    sections: dict[str, str] = dict(
        re.findall(r"^## \[([^]]+)\][^\n]*\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    )
    changes = sections.get(__version__, sections["Unreleased"]).strip()
    assert changes
    assert without_targets(notes).endswith(f"\n\n{without_targets(changes)}\n")


@pytest.fixture(scope="module")
def metadata(released: Path) -> Message:
    """Return the metadata of the wheel, with the README as its payload."""
    (wheel,) = released.glob("*.whl")
    with ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(archive.read(name).decode())


def test_the_metadata_is_complete(metadata: Message) -> None:
    assert metadata["Version"] == __version__
    assert metadata["Author"] == "The Dynamic Toolset Service authors"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert "kubernetes" in metadata["Keywords"].split(",")
    assert len(metadata.get_all("Classifier", [])) > 5
    urls = dict(each.split(", ") for each in metadata.get_all("Project-URL", []))
    assert urls.keys() == {"Homepage", "Documentation", "Changelog", "Issues"}
    assert all(url.startswith(REPOSITORY) for url in urls.values())


def test_links_of_the_readme_work_outside_of_the_repository(metadata: Message) -> None:
    readme = str(metadata.get_payload())
    ours = {
        link.split("#")[0]
        for link in re.findall(r"\]\(([^)\s]+)\)", (PROJECT / "README.md").read_text("utf-8"))
        if "://" not in link and not link.startswith("#")
    }
    links = {link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", readme)} - {""}
    at = {link: f"{'raw' if link.endswith('.svg') else 'blob'}/v{__version__}" for link in ours}
    assert {f"{REPOSITORY}/{place}/{link}" for link, place in at.items()} <= links
    assert all("://" in link for link in links)


def test_the_sdist_has_the_pages_that_its_readme_links_to(released: Path) -> None:
    (sdist,) = released.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md", "docs/install.md", "src/toolset/cli.py"} <= names


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        pytest.param({"IMAGE": "registry.example/toolset:1.0"}, "expected REGISTRY/NAME@sha256:DIGEST", id="tag"),
        pytest.param({"REPOSITORY": "team/toolset"}, "expected https://HOST/OWNER/NAME", id="repository"),
        pytest.param({"KUBECTL": "/nowhere/kubectl"}, "there is no kubectl here", id="kubectl"),
    ],
)
def test_a_wrong_parameter_is_refused(clone: Path, given: dict[str, str], complaint: str) -> None:
    done = release(clone, given)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert complaint in done.stderr


def test_a_tree_with_changes_is_refused(tmp_path: Path) -> None:
    dirty = cloned(tmp_path / "dirty")
    (dirty / "note").write_text("not committed")
    done = release(dirty, PARAMETERS)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "the working tree has changes that are not committed: commit or remove them first\n"
    assert not (dirty / "dist").exists()


@pytest.fixture(scope="module")
def installed(released: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the commands of an environment that has the wheel, what the lock names, and nothing else."""
    venv = tmp_path_factory.mktemp("wheel") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    pip = (sys.executable, "-m", "pip", "--python", venv / "bin" / "python")
    install = (*pip, "install", "--quiet", "--no-compile", "--no-deps")
    run(*install, "--require-hashes", "--requirement=requirements/run.txt")
    (wheel,) = released.glob("*.whl")
    run(*install, wheel)
    run(*pip, "check")
    return venv / "bin"


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        pytest.param("version", f"toolset {__version__} ", id="version"),
        pytest.param("--version", f"toolset {__version__} ", id="--version"),
        pytest.param("--help", "usage: toolset ", id="help"),
    ],
)
def test_the_installed_command_answers_at_once(installed: Path, argument: str, expected: str) -> None:
    times: list[float] = []
    bare: list[float] = []
    for _ in range(5):
        began = processor_time()
        run(installed / "python", "-I", "-c", "import argparse")
        bare.append(processor_time() - began)
        assert run(installed / "toolset", argument).startswith(expected)
        times.append(processor_time() - began - bare[-1])

    assert min(times) < LONGER * min(bare)


def processor_time() -> float:
    """Return the processor time of the commands that ended, seconds: it does not depend on what else runs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_the_lock_has_everything_that_a_plan_needs(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "service.yaml").write_text(
        "{apiVersion: v1, kind: Service, metadata: {name: grafana, namespace: team-a},"
        " spec: {selector: {app: grafana}, ports: [{name: service, port: 3000}]}}"
    )
    command = (installed / "toolset", "plan", "--assume-healthy", f"--file={tmp_path / 'service.yaml'}")

    planned = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (planned.returncode, complaints(planned.stderr)) == (2, "")
    assert "http://grafana.team-a.svc.cluster.local:3000" in planned.stdout

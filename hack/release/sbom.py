"""Write the CycloneDX list of the Python packages that the image installs, from their lock.

Usage: sbom.py NAME VERSION LOCK >sbom.cdx.json

The time is SOURCE_DATE_EPOCH and the serial number comes from the content, so that the same lock gives the same bytes.
The hashes of a component are those of all files of that release; pip installs the one that suits the machine.
"""

import json
import os
import re
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Final
from uuid import NAMESPACE_OID, uuid5

PACKAGE: Final = re.compile(r"^([a-z0-9.-]+)==(\S+)((?: \\\n +--hash=sha256:[0-9a-f]{64})+)\n", re.MULTILINE)
HASH: Final = re.compile(r"sha256:([0-9a-f]{64})")


def component(name: str, version: str) -> dict[str, object]:
    """Return what identifies a Python package."""
    purl = f"pkg:pypi/{name}@{version}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def packages(lock: str) -> list[dict[str, object]]:
    """Return each package of ``lock``, which has the form that `make lock` writes.

    Raises:
        SystemExit: A line has another form, so that a package would be missing.
    """
    if rest := PACKAGE.sub("", lock).strip():
        raise SystemExit(f"{rest.splitlines()[0]!r} in the lock: expected NAME==VERSION with sha256 hashes")
    return [
        component(name, version) | {"hashes": [{"alg": "SHA-256", "content": each} for each in HASH.findall(hashes)]}
        for name, version, hashes in PACKAGE.findall(lock)
    ]


def bom(name: str, version: str, lock: str, made: datetime) -> dict[str, object]:
    """Return the list for the program ``name``, which needs everything in ``lock``."""
    root = component(name, version) | {"type": "application", "licenses": [{"expression": "Apache-2.0"}]}
    components = packages(lock)
    needed = [each["bom-ref"] for each in components]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid5(NAMESPACE_OID, f"{root['purl']}\n{made.isoformat()}\n{lock}").urn,
        "version": 1,
        "metadata": {"timestamp": made.isoformat(), "component": root},
        "components": components,
        "dependencies": [{"ref": root["bom-ref"], "dependsOn": needed}, *({"ref": each} for each in needed)],
    }


def main() -> None:
    """Read, convert, write."""
    name, version, lock = sys.argv[1:]
    made = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), timezone.utc)
    print(json.dumps(bom(name, version, Path(lock).read_text("utf-8"), made), indent=1))


if __name__ == "__main__":
    main()

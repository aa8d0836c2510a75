"""Add the Debian packages of an image to the list of its Python packages: CycloneDX on standard input and output.

Runs in the build of the image, in an environment of its own, and checks the result against CycloneDX's schema.
"""

import json
import sys
from email.parser import HeaderParser
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

STATUS = Path("/var/lib/dpkg/status")


def debian_packages(status: str) -> list[Component]:
    """Return what dpkg has installed.

    Args:
        status: dpkg's database: paragraphs of headers, as in mail.
    """
    parser = HeaderParser()
    packages = [parser.parsestr(paragraph) for paragraph in status.split("\n\n") if paragraph.strip()]
    return [
        Component(
            type=ComponentType.LIBRARY,
            name=package["Package"],
            version=package["Version"],
            bom_ref=f"deb:{package['Package']}",
            purl=PackageURL("deb", "debian", package["Package"], package["Version"], {"arch": package["Architecture"]}),
        )
        for package in packages
        if package["Status"].endswith(" installed")
    ]


def main() -> None:
    """Read, add, check, write."""
    bom = Bom.from_json(json.load(sys.stdin))
    bom.components.update(debian_packages(STATUS.read_text("utf-8")) if STATUS.exists() else ())
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise SystemExit(f"the list of packages is not valid: {error}")
    print(text)


if __name__ == "__main__":
    main()

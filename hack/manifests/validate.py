"""Check Kubernetes objects against the schemas of several releases, strictly: an unknown field is an error.

Runs in the environment of ``build``, which has the schemas. Prints one line a problem and ends with 1 when there is
one.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from cloudcoil.models.prometheus_operator import v1 as operator

OPERATOR = "monitoring.coreos.com/v1"


def strict(schema: Any, *, top: bool = True) -> Any:
    """Return a schema made from a model such that null and fields that no model has are refused.

    Args:
        schema: A JSON schema as pydantic writes it: it takes null for everything that is optional.
        top: Whether it is the whole schema, whose ``metadata`` is not the operator's own.
    """
    if isinstance(schema, list):
        return [strict(each, top=False) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(each, top=False) for key, each in schema.items() if key != "default"}
    if isinstance(made.get("anyOf"), list):
        made["anyOf"] = [each for each in made["anyOf"] if each != {"type": "null"}]
    if isinstance(made.get("properties"), dict):
        made.setdefault("additionalProperties", False)
        if top:
            made["properties"]["metadata"] = {"type": "object"}
    return made


def problems(thing: dict[str, Any], releases: list[str]) -> Iterator[str]:
    """Yield what is wrong with an object, in each release that finds something."""
    name = f"{thing['kind']}/{thing['metadata']['name']}"
    if thing["apiVersion"] == OPERATOR:
        model = getattr(operator, thing["kind"], None)
        if model is None:
            yield f"{name}: {OPERATOR} has no such kind"
            return
        validator = jsonschema.Draft202012Validator(strict(model.model_json_schema(by_alias=True)))
        for error in validator.iter_errors(thing):
            yield f"{name}: {error.json_path}: {error.message[:200]}"
        return
    for release in releases:
        try:
            kubernetes_validate.validate(thing, release, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{name} in {release}: {'.'.join(map(str, error.path))}: {error.message[:200]}"
        except kubernetes_validate.SchemaNotFoundError:
            yield f"{name} in {release}: there is no {thing['apiVersion']} {thing['kind']}"


def main() -> int:
    """Check files; return the exit code."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--release", action="append", required=True, help="of Kubernetes, for example 1.29")
    parser.add_argument("files", type=Path, nargs="+")
    arguments = parser.parse_args()
    wrong = 0
    for file in arguments.files:
        for thing in yaml.safe_load_all(file.read_text("utf-8")):
            for problem in problems(thing, arguments.release):
                print(f"{file.name}: {problem}")
                wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

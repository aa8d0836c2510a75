"""Write the settings into the schema of the Helm chart's values, from the types of the settings.

``python hack/docs/chart.py`` writes them; a test fails when they are stale.
"""

import json
from pathlib import Path
from typing import Any, Final

from msgspec import inspect

from toolset.config.settings import Settings

SCHEMA: Final = Path(__file__).parents[2] / "deploy" / "helm" / "values.schema.json"
_NAMES: Final[dict[type[inspect.Type], str]] = {
    inspect.BoolType: "boolean",
    inspect.IntType: "integer",
    inspect.StrType: "string",
    inspect.CustomType: "string",  # durations and address ranges
    inspect.NoneType: "null",
}


def schema(kind: inspect.Type) -> dict[str, Any]:
    """Return the schema of a type: names and kinds of values, without limits, which the service checks."""
    match kind:
        case inspect.Metadata():
            return schema(kind.type)
        case inspect.StructType():
            fields = {field.encode_name: schema(field.type) for field in kind.fields}
            return {"type": "object", "additionalProperties": False, "properties": fields}
        case inspect.VarTupleType() | inspect.FrozenSetType():
            return {"type": "array", "items": schema(kind.item_type)}
        case inspect.DictType():
            return {"type": "object", "additionalProperties": schema(kind.value_type)}
        case inspect.LiteralType():
            return {"enum": list(kind.values)}
        case inspect.UnionType():
            return {"anyOf": [schema(each) for each in kind.types]}
        case inspect.AnyType():
            return {}
        case _:
            return {"type": _NAMES[type(kind)]}


def page(written: str) -> str:
    """Return the file ``written`` with the settings as they are now."""
    content = json.loads(written)
    content["properties"]["settings"] = schema(inspect.type_info(Settings))
    return json.dumps(content, indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(page(SCHEMA.read_text("utf-8")), encoding="utf-8")

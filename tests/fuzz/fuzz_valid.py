"""Documents to start a search from, made from the models themselves, so that a new one has some.

Each model gives two: the *least* has the required members alone, the *full* has every member.
What a model's own checks ask for beyond its schema is not met by all of them; a document that is
refused for that is still close to a valid one, which is what a search needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

_SCHEMA_OF_KEY = "PublicKey"
_TEXTS = (
    "a",
    "0.1",
    "1.0.0",
    "DE",
    "0" * 64,
    "0" * 16,
    "urn:uuid:3f0c5a60-0000-4000-8000-000000000001",
    "2026-06-01T12:00:00Z",
    "2026-06-01",
    "P1D",
    "https://example.org/a",
    "text/plain",
    "AAAA",
    "A",
    "00000000000000000001",
)
"""One of these fits every pattern in use; where none does, the seed is only nearly valid."""


def examples(model: type[BaseModel], *, key: Mapping[str, Any]) -> dict[str, Any]:
    """The least and the full document of one model.

    Args:
        model: the document's class.
        key: a valid public key, since an identifier that is derived cannot be guessed.
    """
    schema = model.model_json_schema(by_alias=True)
    maker = _Maker(schema.get("$defs", {}), key)
    return {"least": maker.make(schema, full=False), "full": maker.make(schema, full=True)}


class _Maker:
    def __init__(self, definitions: dict[str, Any], key: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._key = key

    def make(self, schema: dict[str, Any], *, full: bool) -> Any:
        """One value that the schema allows."""
        if reference := schema.get("$ref"):
            name = reference.rpartition("/")[2]
            known = dict(self._key) if name == _SCHEMA_OF_KEY else None
            return known or self.make(self._definitions[name], full=full)
        choices = [one for one in self._choices(schema) if one.get("type") != "null"]
        if choices:
            return self.make(choices[0], full=full)
        return self._plain(schema, full=full)

    @staticmethod
    def _choices(schema: dict[str, Any]) -> list[dict[str, Any]]:
        return schema.get("anyOf") or schema.get("oneOf") or []

    def _plain(self, schema: dict[str, Any], *, full: bool) -> Any:
        kind = schema.get("type")
        if "const" in schema or "enum" in schema:
            made: Any = schema.get("const", schema.get("enum", [None])[0])
        elif kind == "object":
            made = self._object(schema, full=full)
        elif kind == "array":
            made = self._array(schema, full=full)
        elif kind == "string":
            made = self._text(schema)
        elif kind == "boolean":
            made = False
        else:
            made = schema.get("minimum", 0)
        return made

    def _object(self, schema: dict[str, Any], *, full: bool) -> dict[str, Any]:
        members = schema.get("properties", {})
        wanted = members if full else schema.get("required", [])
        made = {name: self.make(members[name], full=full) for name in wanted}
        others = schema.get("additionalProperties")
        if isinstance(others, dict) and not members:
            names = schema.get("propertyNames", {})
            name = self.make(names, full=full) if names else "a"
            made[str(name)] = self.make(others, full=full)
        return made

    def _array(self, schema: dict[str, Any], *, full: bool) -> list[Any]:
        if fixed := schema.get("prefixItems"):
            return [self.make(item, full=full) for item in fixed]
        count = max(schema.get("minItems", 0), 1 if full else 0)
        return [self.make(schema.get("items", {}), full=full) for _ in range(count)]

    @staticmethod
    def _text(schema: dict[str, Any]) -> str:
        if schema.get("format") == "date-time":
            return "2026-06-01T12:00:00Z"
        pattern = re.compile(schema.get("pattern", ""))
        fitting = (
            text
            for text in _TEXTS
            if pattern.search(text)
            and schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", len(text))
        )
        return next(fitting, "a" * schema.get("minLength", 1))

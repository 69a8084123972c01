"""Schemas, values that fit each, and values that do not."""
# ruff: noqa: E501 - schemas are easier to compare on one line

from __future__ import annotations

from typing import Any

CASES: list[tuple[Any, list[Any], list[Any]]] = [
    (True, [1, None], []),
    ({"not": False}, [1, None], []),
    ({"type": ["integer", "null"]}, [1, 1.0, None], [1.5, True, "1"]),
    ({"const": 1}, [1, 1.0], [True, "1"]),
    ({"enum": [[1, {"a": False}]]}, [[1, {"a": False}]], [[1, {"a": 0}], [1]]),
    ({"minimum": 1, "maximum": 2}, [1, 2, 1.5, "0"], [0, 3]),
    ({"exclusiveMinimum": 1, "exclusiveMaximum": 2}, [1.5, "1"], [1, 2]),
    ({"multipleOf": 0.25}, [0.75, 1, "a"], [0.3]),
    ({"minLength": 1, "maxLength": 2, "pattern": "^a"}, ["a", "ab", 3], ["", "abc", "b"]),
    ({"format": "date"}, ["2026-01-02", 3], ["2026-1-2", "a"]),
    ({"format": "uuid"}, ["12345678123456781234567812345678"], ["1234"]),
    ({"format": "email"}, ["anything"], []),
    ({"prefixItems": [{"type": "null"}], "items": {"type": "integer"}}, [[], [None, 1], "a"], [[1], [None, "a"]]),
    ({"minItems": 1, "maxItems": 2, "uniqueItems": True}, [[1], [1, True]], [[], [1, 2, 3], [1, 1.0]]),
    ({"properties": {"a": {"type": "null"}}, "required": ["a"]}, [{"a": None, "b": 1}, 3], [{}, {"a": 1}]),
    (
        {"properties": {"a": True}, "patternProperties": {"^x": {"type": "null"}}, "additionalProperties": {"type": "integer"}},
        [{"a": "b", "xy": None, "c": 1}],
        [{"xy": 1}, {"c": None}],
    ),
    ({"additionalProperties": False}, [{}], [{"a": 1}]),
    ({"minProperties": 1, "maxProperties": 1, "propertyNames": {"maxLength": 1}}, [{"a": 1}], [{}, {"a": 1, "b": 2}, {"ab": 1}]),
    ({"oneOf": [{"type": "integer"}, {"minimum": 2}]}, [1, 2.5, "a"], [2, 1.5]),
    ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, [1], [0, 3]),
    ({"anyOf": [{"type": "null"}, {"items": {"type": "null"}, "type": "array"}]}, [None, [None]], [1, [1]]),
    ({"if": {"type": "integer"}, "then": {"minimum": 1}, "else": {"type": "null"}}, [1, None], [0, "a"]),
    ({"$defs": {"a/b": {"items": {"$ref": "#/$defs/a~1b"}, "type": "array"}}, "$ref": "#/$defs/a~1b"}, [[], [[[]]]], [1, [[1]]]),
    ({"items": {"$ref": "#"}, "type": "array"}, [[[[]]]], [[1]]),
]  # fmt: skip

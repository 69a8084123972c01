"""What is made and decided here, judged by the ``jsonschema`` package."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from milepost.schema import json_schema, plain
from schema_cases import CASES
from typed_values import typed_values


@settings(max_examples=200)
@given(typed_values())
def test_every_schema_is_valid_and_takes_the_values_of_its_type(typed):
    kind, value = typed
    schema = json.loads(json.dumps(json_schema(kind)))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(json.loads(json.dumps(plain(value))))


@pytest.mark.parametrize(("schema", "good", "bad"), CASES)
def test_our_validator_agrees(schema, good, bad):
    judge = Draft202012Validator(schema)
    if isinstance(schema, dict) and "format" in schema:
        bad = []  # the judge takes every format as a remark
    assert all(judge.is_valid(value) for value in good)
    assert not any(judge.is_valid(value) for value in bad)

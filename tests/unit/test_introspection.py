"""What a workflow says of its input, its result and its context."""

from __future__ import annotations

import dataclasses

import pydantic

from milepost import entrypoint


@dataclasses.dataclass
class Order:
    number: int
    notes: list[str] = dataclasses.field(default_factory=list)


class Receipt(pydantic.BaseModel):
    paid: bool


@entrypoint(context_schema=Order)
def buy(order: Order, previous: int | None = None) -> entrypoint.final[Receipt, int]:
    return entrypoint.final(value=Receipt(paid=True), save=order.number)


@entrypoint
def plain(topic: str) -> dict[str, int]:
    return {topic: 1}


@entrypoint(name="any thing")
def unsaid(topic):
    return topic


ORDER = {
    "title": "Order",
    "type": "object",
    "properties": {"number": {"type": "integer"}, "notes": {"type": "array", "items": {"type": "string"}}},
    "additionalProperties": False,
    "required": ["number"],
}


def test_a_workflow_describes_its_input_by_its_annotation():
    assert buy.get_input_jsonschema() == ORDER
    assert plain.get_input_jsonschema() == {"title": "topic", "type": "string"}
    assert unsaid.get_input_jsonschema() == {"title": "topic"}


def test_a_workflow_describes_what_it_returns_not_what_it_saves():
    assert buy.get_output_jsonschema() == {
        "title": "Receipt",
        "type": "object",
        "properties": {"paid": {"title": "Paid", "type": "boolean"}},
        "required": ["paid"],
    }
    assert plain.get_output_jsonschema() == {
        "title": "plain",
        "type": "object",
        "additionalProperties": {"type": "integer"},
    }
    assert unsaid.get_output_jsonschema() == {"title": "any thing"}


def test_a_workflow_describes_its_context_where_it_has_one():
    assert buy.get_context_jsonschema() == ORDER
    assert plain.get_context_jsonschema() is None

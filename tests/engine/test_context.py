"""What a run is told beside its input: ``context=`` and the config, at its start and at every resume."""

from __future__ import annotations

import dataclasses
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest

import milepost
from milepost import Command, Runtime, entrypoint, get_config, get_runtime, interrupt, task
from milepost._config import metadata
from milepost.errors import ContextChanged, InvalidConfig, InvalidContext, NotSerializable


@dataclasses.dataclass
class User:
    name: str
    limits: dict[str, int] = dataclasses.field(default_factory=dict)


class Model(pydantic.BaseModel):
    name: str
    level: int = pydantic.Field(default=1, ge=1)


class Struct(msgspec.Struct):
    name: str


class Typed(TypedDict):
    name: str


class Client:
    """What cannot be kept."""


@dataclasses.dataclass
class WithClient:
    client: Client


def asking(schema: Any):
    @task
    def seen(runtime: Runtime) -> str:
        return repr(runtime.context)

    @entrypoint(context_schema=schema)
    def flow(given: str, runtime: Runtime) -> list[str]:
        answer = interrupt("go on?")
        return [repr(runtime.context), seen().result(), repr(get_runtime().context), answer]

    return flow


@pytest.mark.parametrize(
    ("schema", "instance"),
    [(User, User("ada")), (Model, Model(name="ada")), (Struct, Struct("ada")), (Typed, {"name": "ada"})],
    ids=["dataclass", "model", "struct", "typeddict"],
)
@pytest.mark.parametrize("form", ["dict", "instance"])
def test_w25_a_context_is_on_record_and_a_resume_has_it_without_passing_it(engine, schema, instance, form):
    flow = asking(schema)
    flow.invoke("x", thread_id="t", context={"name": "ada"} if form == "dict" else instance)
    ended = flow.invoke(Command(resume="yes"), thread_id="t")
    assert ended == [repr(instance)] * 3 + ["yes"]


def test_w25_a_resume_may_pass_the_same_context_again(engine):
    flow = asking(User)
    flow.invoke("x", thread_id="t", context=User("ada", {"b": 1, "a": 2}))
    ended = flow.invoke(
        Command(resume="yes"), thread_id="t", context={"name": "ada", "limits": {"b": 1, "a": 2}}
    )
    assert ended[0] == repr(User("ada", {"b": 1, "a": 2}))


def test_another_context_at_a_resume_is_an_error_that_changes_nothing(engine):
    flow = asking(User)
    flow.invoke("x", thread_id="t", context=User("ada"))
    with pytest.raises(ContextChanged, match="leave context= out, or start a new run"):
        flow.invoke(Command(resume="yes"), thread_id="t", context=User("eve"))
    with pytest.raises(ContextChanged):
        flow.invoke(None, thread_id="t", context=User("eve"))
    assert flow.get_state(thread_id="t").status == "interrupted"
    assert flow.invoke(Command(resume="yes"), thread_id="t")[0] == repr(User("ada"))


def test_a_run_that_began_without_a_context_takes_none_later(engine):
    flow = asking(User)
    flow.invoke("x", thread_id="t")
    with pytest.raises(ContextChanged, match="began without one"):
        flow.invoke(Command(resume="yes"), thread_id="t", context=User("ada"))
    assert flow.invoke(Command(resume="yes"), thread_id="t") == ["None", "None", "None", "yes"]


@pytest.mark.parametrize("context", [None, User("eve")])
@pytest.mark.parametrize("first", ["__input__", "__copy__"])
def test_a_run_that_update_state_recorded_begins_with_the_context_it_is_given(engine, first, context):
    """As in LangGraph, where a context belongs to a call; there ``update_state`` has none to give."""
    flow = asking(User)
    flow.invoke("x", thread_id="t", context=User("ada"))
    config = {"configurable": {"thread_id": "t"}}
    flow.update_state(config, "y" if first == "__input__" else None, as_node=first)
    recorded = None if first == "__input__" else User("ada")
    flow.invoke(None, config, context=context)
    with pytest.raises(ContextChanged):
        flow.invoke(None, config, context=User("bob"))
    ended = flow.invoke(Command(resume="yes"), config)
    assert ended == [repr(context or recorded)] * 3 + ["yes"]


def test_a_finished_run_gives_its_result_whatever_context_is_passed_and_a_new_run_takes_its_own(engine):
    @entrypoint(context_schema=User)
    def flow(given: str, runtime: Runtime[User]) -> str:
        return runtime.context.name

    assert flow.invoke("x", thread_id="t", context=User("ada")) == "ada"
    assert flow.invoke(None, thread_id="t", context=User("eve")) == "ada"
    assert flow.invoke("x", thread_id="t", context=User("eve")) == "eve"


@pytest.mark.parametrize(
    ("context", "path"),
    [
        ({"name": 3}, "$.name"),
        ({"nme": "ada"}, "$"),
        ({}, "$"),
        ({"name": "ada", "limits": {"a": "b"}}, "$.limits.a"),
        ("ada", "$"),
        (Typed(name="ada", extra=1), "$"),
        (Model(name="ada"), "$"),
    ],
)
def test_a_wrong_context_is_a_typed_error_before_anything_is_recorded(engine, context, path):
    flow = asking(User)
    with pytest.raises(InvalidContext, match="'flow'") as caught:
        flow.invoke("x", thread_id="t", context=context)
    assert caught.value.path == path
    assert flow.get_state(thread_id="t").status is None


def test_a_model_says_itself_what_it_refuses(engine):
    with pytest.raises(InvalidContext, match="greater than or equal to 1"):
        asking(Model).invoke("x", thread_id="t", context={"name": "ada", "level": 0})


def test_a_context_that_cannot_be_kept_is_refused_and_the_text_says_what_to_do(engine):
    flow = asking(WithClient)
    with pytest.raises(NotSerializable) as caught:
        flow.invoke("x", thread_id="t", context=WithClient(Client()))
    assert caught.value.path == "$.client"
    assert "in a module of yours" in caught.value.__notes__[0]
    assert flow.get_state(thread_id="t").status is None


def test_without_a_checkpointer_a_context_is_handed_over_as_it_is(plain_engine):
    context = WithClient(Client())

    @entrypoint(context_schema=WithClient)
    def flow(given: str, runtime: Runtime[WithClient]) -> bool:
        return runtime.context is context

    assert flow.invoke("x", context=context)


def test_without_a_schema_a_context_is_plain_data(engine):
    @entrypoint
    def flow(given: str, runtime: Runtime) -> Any:
        return runtime.context

    assert flow.invoke("x", thread_id="t", context={"name": ("ada", 1)}) == {"name": ("ada", 1)}


def test_a_stream_takes_a_context(engine):
    flow = asking(User)
    list(flow.stream("x", thread_id="t", context={"name": "ada"}))
    chunks = list(flow.stream(Command(resume="yes"), thread_id="t"))
    assert chunks[-1]["flow"][0] == repr(User("ada"))


# -- nested workflows ------------------------------------------------------------------------------------------------


def test_a_nested_workflow_has_the_context_of_the_run_around_it_or_its_own(engine):
    @entrypoint(context_schema=User)
    def inner(given: str, runtime: Runtime[User]) -> str:
        return f"{given} {runtime.context.name}"

    @entrypoint(context_schema=User)
    def outer(given: str, runtime: Runtime[User]) -> list[str]:
        own = inner.invoke("own", context={"name": "eve"})
        interrupt("go on?")
        return [inner.invoke("around"), own, runtime.context.name]

    outer.invoke("x", thread_id="t", context=User("ada"))
    assert outer.invoke(Command(resume=1), thread_id="t") == ["around ada", "own eve", "ada"]


def test_a_nested_call_with_another_context_is_another_call(engine):
    names = ["eve"]

    @entrypoint(context_schema=User)
    def inner(given: str, runtime: Runtime[User]) -> str:
        return runtime.context.name

    @entrypoint
    def outer(given: str) -> str:
        found = inner.invoke("x", context=User(names[0]))
        interrupt("go on?")
        return found

    outer.invoke("x", thread_id="t")
    names[0] = "ada"
    with pytest.raises(milepost.errors.DivergenceError, match="call 0 is on record"):
        outer.invoke(Command(resume=1), thread_id="t")


def test_a_context_goes_to_another_thread_where_that_workflow_declares_one(engine):
    @entrypoint(context_schema=User)
    def declares(given: str, runtime: Runtime[User]) -> str:
        return f"{runtime.context.name} {interrupt('go on?')}"

    @entrypoint
    def does_not(given: str, runtime: Runtime) -> Any:
        return runtime.context

    @entrypoint(context_schema=User)
    def outer(given: str) -> list[Any]:
        return [declares.invoke("x", thread_id="there"), does_not.invoke("x", thread_id="elsewhere")]

    outer.invoke("x", thread_id="t", context=User("ada"))
    assert outer.get_state(thread_id="t").values[1] is None
    assert declares.invoke(Command(resume="on"), thread_id="there") == "ada on"


def test_a_context_around_that_a_nested_workflow_cannot_take_is_an_error(engine):
    @entrypoint(context_schema=Typed)
    def inner(given: str, runtime: Runtime[Typed]) -> str:
        return runtime.context["name"]

    @entrypoint(context_schema=User)
    def outer(given: str) -> str:
        return inner.invoke("x")

    with pytest.raises(InvalidContext, match="'inner'"):
        outer.invoke("x", thread_id="t", context=User("ada"))


# -- config ----------------------------------------------------------------------------------------------------------

CONFIG = {
    "tags": ["a", "b"],
    "metadata": {"user": "ada", "when": (1, 2)},
    "run_name": "first",
    "run_id": "mine",
    "configurable": {"thread_id": "t", "color": "red", "n": 1, "__secret": "s", "client": Client()},
}


@entrypoint
def configured(given: str) -> dict[str, Any]:
    interrupt("go on?")
    config = get_config()
    return {name: config.get(name) for name in ("tags", "metadata", "run_name", "configurable")}


def started(engine):
    _, batch = next(iter(engine._checkpointer.read("t")))
    return batch.records[0]


def test_tags_metadata_and_scalars_of_a_config_are_on_record_and_a_resume_finds_them(engine):
    configured.invoke("x", CONFIG)
    assert configured.invoke(Command(resume=1), thread_id="t") == {
        "tags": ["a", "b"],
        "metadata": {"user": "ada", "when": (1, 2)},
        "run_name": "first",
        "configurable": {"thread_id": "t", "color": "red", "n": 1},
    }


def test_what_a_resume_says_itself_wins(engine):
    configured.invoke("x", CONFIG)
    own = {"tags": ["c"], "metadata": {"user": "eve"}, "configurable": {"thread_id": "t", "n": 2}}
    ended = configured.invoke(Command(resume=1), own)
    assert ended["tags"] == ["c"]
    assert ended["metadata"] == {"user": "eve", "when": (1, 2)}
    assert ended["configurable"] == {"thread_id": "t", "color": "red", "n": 2}


def test_the_metadata_of_a_run_are_its_scalars_its_metadata_and_its_tags(engine):
    configured.invoke("x", CONFIG)
    assert metadata(started(engine)) == {
        "color": "red",
        "n": 1,
        "user": "ada",
        "when": (1, 2),
        "tags": ["a", "b"],
        "run_name": "first",
    }


def test_a_run_without_a_config_records_none(engine):
    configured.invoke("x", thread_id="t")
    assert started(engine).config is None
    assert metadata(started(engine)) == {}


@pytest.mark.parametrize(
    "config", [{"tags": "a"}, {"tags": [1]}, {"metadata": ["a"]}, {"metadata": {1: 2}}, {"run_name": 3}]
)
def test_a_config_of_a_wrong_type_is_an_error_before_anything_is_recorded(engine, config):
    with pytest.raises(InvalidConfig):
        configured.invoke("x", config, thread_id="t")
    assert configured.get_state(thread_id="t").status is None


def test_metadata_that_cannot_be_kept_are_refused(engine):
    with pytest.raises(NotSerializable, match=r"the config of workflow 'configured'.*\$\.metadata\.client"):
        configured.invoke("x", {"metadata": {"client": Client()}}, thread_id="t")


def test_a_workflow_with_a_config_uses_it_unless_a_call_says_otherwise(engine):
    mine = configured.with_config(
        {"tags": ["z"], "metadata": {"user": "zoe"}, "configurable": {"color": "blue"}}
    )
    assert (mine.name, mine.func) == (configured.name, configured.func)
    mine.invoke("x", {"tags": ["a"], "metadata": {"n": 1}, "configurable": {"color": "red"}}, thread_id="t")
    assert mine.invoke(Command(resume=1), thread_id="t") == {
        "tags": ["z", "a"],
        "metadata": {"user": "zoe", "n": 1},
        "run_name": None,
        "configurable": {"thread_id": "t", "color": "red"},
    }
    mine.invoke("x", thread_id="u")
    ended = mine.invoke(Command(resume=1), thread_id="u")
    assert (ended["tags"], ended["configurable"]) == (["z"], {"thread_id": "u", "color": "blue"})
    configured.invoke("x", thread_id="v")
    assert configured.invoke(Command(resume=1), thread_id="v")["tags"] is None


def test_a_copy_with_a_config_shares_the_backend_and_may_name_the_thread():
    @entrypoint(checkpointer="memory://")
    def count(given: int, previous: int | None = None) -> int:
        return given + (previous or 0)

    with milepost.Engine() as engine:
        count.invoke(1, thread_id="t")
        assert count.with_config({"configurable": {"thread_id": "t"}}).invoke(2) == 3
    engine.close()


def test_with_config_checks_what_it_is_given():
    with pytest.raises(InvalidConfig):
        configured.with_config({"tags": "a"})

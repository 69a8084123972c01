"""What bodies and tasks may ask for by name: ``config``, ``previous``, ``store`` and ``writer``."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping  # noqa: TC003 - annotations are looked at when tests run
from typing import TYPE_CHECKING, Annotated, Any, Optional, Union

import pytest

import milepost
from milepost import (
    BaseStore,
    Command,
    InMemoryStore,
    RunnableConfig,
    StreamWriter,
    entrypoint,
    get_config,
    get_store,
    get_stream_writer,
    interrupt,
    task,
)
from milepost.errors import InvalidDefinition, NoStore, OutsideWorkflow

if TYPE_CHECKING:
    from milepost.nowhere import TypingOnlyConfig, TypingOnlyStore, TypingOnlyWriter

Config = RunnableConfig
Notes = BaseStore
StoreOrNot = BaseStore | None
Writer = milepost.StreamWriter


class MyConfig:
    """A user's own idea of a config."""

    color = "blue"


class MyStore(InMemoryStore):
    """A user's own store."""


def as_is(given, *, config, store, writer):
    return [config, store, writer]


def named(given, *, config: RunnableConfig, store: BaseStore, writer: StreamWriter):
    return [config, store, writer]


def aliased(given, *, config: Config, store: Notes, writer: Writer):
    return [config, store, writer]


def optional(given, *, config: RunnableConfig | None, store: BaseStore | None, writer: StreamWriter | None):
    return [config, store, writer]


def old_optional(
    given,
    *,
    config: Optional[RunnableConfig],  # noqa: UP045 - the old form must work
    store: Union[BaseStore, None] = None,  # noqa: UP007 - likewise
    writer: Optional[StreamWriter],  # noqa: UP045
):
    return [config, store, writer]


def alias_of_optional(given, *, config: "Config | None", store: StoreOrNot, writer: "Writer | None"):  # noqa: UP037
    return [config, store, writer]


def typing_only(given, *, config: TypingOnlyConfig, store: TypingOnlyStore, writer: TypingOnlyWriter):
    return [config, store, writer]


def qualified(
    given, *, config: milepost.RunnableConfig, store: milepost.BaseStore, writer: milepost.StreamWriter
):
    return [config, store, writer]


def anything(given, *, config: Any, store: Any, writer: typing.Any):
    return [config, store, writer]


def general(given, *, config: Mapping[str, Any], store: InMemoryStore, writer: Callable[[Any], None]):
    return [config, store, writer]


def annotated(
    given, *, config: Annotated[dict, "config"], store: Annotated[BaseStore, 1], writer: StreamWriter
):
    return [config, store, writer]


def positional(given, config: RunnableConfig, store: BaseStore, writer: StreamWriter):
    return [config, store, writer]


SHAPES = [
    as_is,
    named,
    aliased,
    optional,
    old_optional,
    alias_of_optional,
    typing_only,
    qualified,
    anything,
    general,
    annotated,
    positional,
]


def checked(function, seen):
    """Return a function of the same signature that notes what it was given."""
    import functools

    @functools.wraps(function)
    def noting(*args, **kwargs):
        seen.append(function(*args, **kwargs))

    return noting


@pytest.mark.parametrize("function", SHAPES, ids=lambda function: function.__name__)
@pytest.mark.parametrize("kind", ["body", "task"])
def test_every_way_to_write_the_annotation_is_filled_in(engine, function, kind):
    seen, store = [], MyStore()
    noting = checked(function, seen)
    if kind == "body":
        workflow = entrypoint(noting, store=store)
    else:
        step = task(noting)

        @entrypoint(store=store)
        def workflow(given):
            step(given).result()

    list(workflow.stream(1, {"configurable": {"thread_id": "t", "color": "red"}}, stream_mode="custom"))
    config, given_store, writer = seen[0]
    assert config["configurable"] == {"thread_id": "t", "color": "red"}
    assert given_store is store
    assert callable(writer)


def test_annotations_without_future_import_are_filled_in(engine):
    seen = []

    def body(given, *, config, store):
        seen.append((config["configurable"]["thread_id"], store))

    body.__annotations__.update(config=RunnableConfig, store=BaseStore | None)
    entrypoint(body).invoke(1, thread_id="t")
    assert seen[0] == ("t", None)


def test_a_parameter_of_the_users_own_type_is_left_alone(engine):
    seen = []

    @task
    def step(config: MyConfig, writer: str = "mine", store: dict | None = None) -> str:
        seen.append((config.color, writer, store))
        return config.color

    @entrypoint
    def body(given, *, config: MyConfig = MyConfig(), writer: str = "default"):  # noqa: B008
        return [step(config).result(), writer]

    assert body.invoke(1, thread_id="t") == ["blue", "default"]
    assert seen[0] == ("blue", "mine", None)


def test_a_required_parameter_of_the_users_own_type_is_refused_at_decoration():
    def body(given, *, config: MyConfig):
        return config.color

    with pytest.raises(InvalidDefinition, match=r"body.*'config'"):
        entrypoint(body)


def test_an_input_named_like_something_injectable_is_the_input(engine):
    @entrypoint
    def from_config(config: dict) -> dict:
        return config

    @entrypoint
    def from_previous(previous) -> int:
        return previous + 1

    assert from_config.invoke({"a": 1}, thread_id="a") == {"a": 1}
    assert from_previous.invoke(41, thread_id="b") == 42


def test_what_the_caller_gives_explicitly_wins(engine):
    mine = InMemoryStore()
    seen = []

    @task
    def step(store: BaseStore, config: RunnableConfig, *, writer: StreamWriter, previous: Any = 5) -> None:
        seen.append([store, config, previous])
        writer("said")

    @entrypoint(store=InMemoryStore())
    def body(given) -> None:
        step(mine, {"tags": ["mine"]}, writer=seen.append, previous=7).result()

    body.invoke(1, thread_id="t")
    assert seen == [[mine, {"tags": ["mine"]}, 7], "said"]


def test_gathered_keywords_get_nothing(engine):
    @task
    def step(**rest) -> list[str]:
        return sorted(rest)

    @entrypoint
    def body(given, **rest):
        return [sorted(rest), step(extra=1).result()]

    assert body.invoke(1, thread_id="t") == [[], ["extra"]]


def test_injected_values_are_no_part_of_a_calls_identity(engine):
    @task
    def step(number: int, config: RunnableConfig) -> str:
        return f"{number} {config['tags']}"

    @entrypoint
    def body(given) -> list[str]:
        return [step(1).result(), interrupt("go on?")]

    body.invoke(1, {"tags": ["first"], "configurable": {"thread_id": "t"}})
    resumed = body.invoke(Command(resume="yes"), {"tags": ["second"], "configurable": {"thread_id": "t"}})
    assert resumed == ["1 ['first']", "yes"]


# -- previous ------------------------------------------------------------------------------------------------------


def test_tasks_see_the_previous_of_their_workflow(engine):
    @task
    def step(previous: int | None) -> int:
        return (previous or 0) + 1

    @entrypoint
    def body(given) -> int:
        return step().result()

    assert [body.invoke(1, thread_id="t") for _ in range(3)] == [1, 2, 3]


def test_the_default_of_previous_holds_on_the_first_run(engine):
    @entrypoint
    def body(given: int, *, previous: int = 100) -> int:
        return previous + given

    assert [body.invoke(1, thread_id="t") for _ in range(2)] == [101, 102]


# -- store ---------------------------------------------------------------------------------------------------------


def test_a_store_that_is_required_and_not_configured_is_an_error_that_says_what_to_do(engine):
    @entrypoint
    def body(given, *, store: BaseStore) -> None: ...

    @task
    def step(store: BaseStore) -> None: ...

    @entrypoint
    def through_task(given) -> None:
        step().result()

    with pytest.raises(NoStore, match=r"body.*store="):
        body.invoke(1, thread_id="a")
    with pytest.raises(NoStore, match=r"step.*store="):
        through_task.invoke(1, thread_id="b")


def test_a_store_that_may_be_missing_is_none(engine):
    @entrypoint
    def body(given, *, store: BaseStore | None) -> bool:
        return store is None

    @entrypoint
    def defaulted(given, *, store: BaseStore = "default") -> str:  # type: ignore[assignment]
        return store

    assert body.invoke(1, thread_id="a") is True
    assert defaulted.invoke(1, thread_id="b") == "default"


def test_what_one_thread_puts_into_the_store_another_thread_gets(engine):
    @entrypoint(store=InMemoryStore())
    def remember(given: dict, *, store: BaseStore) -> Any:
        if "put" in given:
            store.put(("facts",), "name", {"is": given["put"]})
        found = store.get(("facts",), "name")
        return None if found is None else found.value["is"]

    assert remember.invoke({}, thread_id="a") is None
    assert remember.invoke({"put": "Ada"}, thread_id="a") == "Ada"
    assert remember.invoke({}, thread_id="b") == "Ada"


# -- accessors -----------------------------------------------------------------------------------------------------


def test_accessors_reach_config_store_and_writer_anywhere_in_a_run(engine):
    store = InMemoryStore()
    seen = []

    def deep_down() -> None:
        get_stream_writer()("deep")
        seen.append((get_config()["configurable"]["thread_id"], get_store()))

    @task
    def step() -> None:
        deep_down()

    @entrypoint(store=store)
    def body(given) -> None:
        deep_down()
        step().result()

    chunks = list(body.stream(1, thread_id="t", stream_mode="custom"))
    assert chunks == ["deep", "deep"]
    assert set(seen) == {("t", store)}


@pytest.mark.parametrize(
    ("accessor", "name"),
    [
        (get_config, "get_config"),
        (get_store, "get_store"),
        (get_stream_writer, "get_stream_writer"),
        (lambda: interrupt("?"), "interrupt"),
    ],
)
def test_accessors_outside_a_workflow_say_where_to_call_them(accessor, name):
    with pytest.raises(OutsideWorkflow, match=rf"{name}.*@entrypoint"):
        accessor()


def test_get_store_without_a_store_says_what_to_configure(engine):
    @entrypoint
    def body(given) -> None:
        get_store()

    with pytest.raises(NoStore, match="store="):
        body.invoke(1, thread_id="t")


def test_the_config_reaches_body_and_tasks_whole(engine):
    @task
    def tags(config: RunnableConfig) -> list[str]:
        return config["tags"]

    @entrypoint
    def body(given, *, config: RunnableConfig) -> list[Any]:
        return [tags().result(), config["metadata"], config["configurable"]["thread_id"]]

    config = {"tags": ["a"], "metadata": {"k": 1}, "configurable": {"x": 2}}
    assert body.invoke(1, config, thread_id="t") == [["a"], {"k": 1}, "t"]
    assert config == {"tags": ["a"], "metadata": {"k": 1}, "configurable": {"x": 2}}

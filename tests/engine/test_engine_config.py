"""Which engine, checkpointer and store a call uses, who opens and closes them, and how threads are named."""

from __future__ import annotations

import threading
from uuid import UUID

import pytest

import milepost
from backends import parametrized
from milepost import entrypoint, get_config, get_store, task
from milepost.checkpoint import MAX_THREAD_ID_BYTES, Status
from milepost.errors import (
    Closed,
    DriverNotFound,
    EngineClosed,
    InvalidThreadId,
    InvalidURL,
    MissingThreadId,
    NoCheckpointer,
)
from milepost.memory import MemoryCheckpointer, MemoryStore


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch):
    """Begin without engine and environment; end without them."""
    monkeypatch.delenv("MILEPOST_CHECKPOINTER", raising=False)
    monkeypatch.delenv("MILEPOST_STORE", raising=False)
    milepost.set_engine(None)
    yield
    milepost.set_engine(None)


@pytest.fixture
def make_engine():
    """Make engines that are closed when the test ends."""
    made = []

    def make(**options):
        made.append(milepost.Engine(**options))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@entrypoint()
def echo(value):
    return value


def where(workflow=echo):
    """Run a workflow and return the checkpointer that has it on record; None if none is used."""
    engine = milepost._engine.current_engine()
    checkpointer = engine.checkpointer_for(workflow, workflow._options.checkpointer)
    workflow.invoke("x", thread_id="where")
    if checkpointer is not None:
        assert checkpointer.load_head("where").status is Status.DONE
        checkpointer.delete("where")
    return checkpointer


# -- precedence ---------------------------------------------------


def test_the_decorator_comes_before_everything_else(make_engine, monkeypatch):
    own, other = MemoryCheckpointer(), MemoryCheckpointer()
    monkeypatch.setenv("MILEPOST_CHECKPOINTER", "memory://environment")
    milepost.set_engine(make_engine(checkpointer=other))

    @entrypoint(checkpointer=own)
    def workflow(value):
        return value

    assert where(workflow) is own
    with make_engine(checkpointer=other):
        assert where(workflow) is own
    assert other.load_head("where") is None


def test_the_block_comes_before_the_process_and_the_environment(make_engine, monkeypatch):
    of_block, of_process = MemoryCheckpointer(), MemoryCheckpointer()
    monkeypatch.setenv("MILEPOST_CHECKPOINTER", "memory://environment")
    milepost.set_engine(make_engine(checkpointer=of_process))
    with make_engine(checkpointer=of_block):
        assert where() is of_block
    assert where() is of_process


def test_the_process_comes_before_the_environment(make_engine, monkeypatch):
    of_process = MemoryCheckpointer()
    monkeypatch.setenv("MILEPOST_CHECKPOINTER", "memory://environment")
    milepost.set_engine(make_engine(checkpointer=of_process))
    assert where() is of_process


def test_the_environment_comes_last(make_engine, monkeypatch):
    milepost.set_engine(make_engine())
    assert where() is None
    monkeypatch.setenv("MILEPOST_CHECKPOINTER", "memory://environment")
    assert where() is not None
    monkeypatch.setenv("MILEPOST_CHECKPOINTER", "")
    assert where() is None


def test_stores_follow_the_same_order(make_engine, monkeypatch):
    def used(**options):
        @entrypoint(**options)
        def workflow(_):
            return get_store()

        return workflow.invoke("x")

    own, of_block, of_process = MemoryStore(), MemoryStore(), MemoryStore()
    monkeypatch.setenv("MILEPOST_STORE", "memory://environment")
    milepost.set_engine(make_engine())
    of_environment = used()
    assert isinstance(of_environment, MemoryStore)
    milepost.set_engine(make_engine(store=of_process))
    assert used() is of_process
    with make_engine(store=of_block):
        assert used() is of_block
        assert used(store=own) is own


def test_blocks_nest_and_end_in_order(make_engine):
    outer, inner = MemoryCheckpointer(), MemoryCheckpointer()
    with make_engine(checkpointer=outer):
        with make_engine(checkpointer=inner):
            assert where() is inner
        assert where() is outer
        with pytest.raises(ZeroDivisionError), make_engine(checkpointer=inner):
            raise ZeroDivisionError
        assert where() is outer


def test_one_engine_may_be_current_in_several_threads_and_blocks(make_engine):
    checkpointer = MemoryCheckpointer()
    engine, found = make_engine(checkpointer=checkpointer), []
    both = threading.Barrier(2)

    def run(number):
        with engine:
            both.wait()
            with engine:
                echo.invoke(number, thread_id=f"t{number}")
            both.wait()
            echo.invoke(number, thread_id=f"u{number}")
            found.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 1]
    heads, _ = checkpointer.list_heads()
    assert [head.thread for head in heads] == ["t0", "t1", "u0", "u1"]


def test_tasks_in_workers_see_the_engine_of_their_run(make_engine):
    engine = make_engine(checkpointer=MemoryCheckpointer(), workers=2)

    @task
    def look():
        return milepost._engine.current_engine() is engine

    @entrypoint()
    def workflow(_):
        futures = [look() for _ in range(4)]
        while not all(future.done() for future in futures[:1]):
            pass
        return all(future.result() for future in futures)

    with engine:
        assert workflow.invoke("x", thread_id="t") is True


def test_without_any_configuration_a_workflow_runs_and_keeps_nothing():
    assert where() is None
    with pytest.raises(NoCheckpointer):
        echo.get_state(thread_id="t")


# -- decorated first, configured later ----------------------------


def test_a_workflow_decorated_at_import_runs_on_an_engine_set_later(make_engine):
    @entrypoint
    def workflow(value):
        return value

    first, second = MemoryCheckpointer(), MemoryCheckpointer()
    milepost.set_engine(make_engine(checkpointer=first))
    assert where(workflow) is first
    milepost.set_engine(make_engine(checkpointer=second))
    assert where(workflow) is second


def test_nothing_is_opened_before_the_first_use(make_engine, tmp_path):
    path = tmp_path / "later.db"
    threads = threading.active_count()

    @entrypoint(checkpointer=f"sqlite:///{path}")
    def workflow(value):
        return value

    with make_engine(checkpointer=f"sqlite:///{tmp_path}/never.db"):
        assert not path.exists()
        assert workflow.invoke("x", thread_id="t") == "x"
    assert path.exists()
    assert not (tmp_path / "never.db").exists()
    assert threading.active_count() <= threads + 1  # the lease is renewed from one background thread


@pytest.mark.parametrize(
    ("url", "error"), [("nosuch://x", DriverNotFound), ("sqlite:///x.db?nope=1", InvalidURL), ("", None)]
)
def test_a_bad_url_is_an_error_at_the_call_not_at_the_decorator(make_engine, url, error):
    @entrypoint(checkpointer=url)
    def workflow(value):
        return value

    with make_engine():
        if error is None:
            assert workflow.invoke("x") == "x"
        else:
            with pytest.raises(error):
                workflow.invoke("x", thread_id="t")


@pytest.mark.parametrize("name", parametrized())
@pytest.mark.parametrize("way", ["decorator", "block", "process", "environment"])
def test_one_url_means_the_same_thread_in_every_way_of_naming_it(
    name, way, backends, tmp_path, make_engine, monkeypatch
):
    with backends.fresh(name, tmp_path) as url:
        workflow = entrypoint(checkpointer=url if way == "decorator" else None)(lambda value: value)
        engine = make_engine(checkpointer=url if way in {"block", "process"} else None)
        if way == "environment":
            monkeypatch.setenv("MILEPOST_CHECKPOINTER", url)
        if way in {"process", "environment"}:
            milepost.set_engine(engine)
            workflow.invoke("x", thread_id="t")
        else:
            with engine:
                workflow.invoke("x", thread_id="t")
        with milepost.open_checkpointer(url) as driver:
            assert driver.load_head("t").status is Status.DONE


# -- equal URLs, objects ------------------------------------------


def workflows_on(*urls):
    def make(url):
        @entrypoint(checkpointer=url)
        def workflow(value):
            return value

        return workflow

    return [make(url) for url in urls]


def test_equal_urls_share_one_driver_per_engine(make_engine, tmp_path):
    url = f"sqlite:///{tmp_path}/shared.db"
    first, second = workflows_on(url, url)
    engine = make_engine(checkpointer=url)
    with engine:
        assert where(first) is where(second) is where(echo)
    with make_engine(checkpointer=url):
        assert where(first) is not engine.checkpointer_for(first, url)


@pytest.mark.parametrize("url", ["memory://", "memory://?atomic_head=false"])
def test_nameless_memory_is_each_workflows_own(make_engine, url):
    first, second = workflows_on(url, url)
    with make_engine(checkpointer=url):
        assert len({id(where(workflow)) for workflow in (first, second, echo)}) == 3
        assert where(first) is where(first)


def test_nameless_memory_of_an_engine_is_shared_by_the_workflows_that_name_none(make_engine):
    @entrypoint()
    def other(value):
        return value

    with make_engine(checkpointer="memory://"):
        assert where(other) is where(echo)


def test_named_memory_is_shared_between_engines(make_engine):
    (workflow,) = workflows_on("memory://shared-between-engines")
    with make_engine():
        workflow.invoke("kept", thread_id="t")
    with make_engine():
        assert workflow.invoke(None, thread_id="t") == "kept"


def test_closing_an_engine_closes_what_it_opened_and_no_object_it_was_given(make_engine, tmp_path):
    given, store = MemoryCheckpointer(), MemoryStore()
    engine = make_engine(checkpointer=given, store=store)
    (on_url,) = workflows_on(f"sqlite:///{tmp_path}/own.db")
    with engine:
        echo.invoke("x", thread_id="t")
        opened = where(on_url)
    engine.close()
    with pytest.raises(Closed):
        opened.load_head("t")
    assert given.load_head("t").status is Status.DONE
    store.put(("a",), "k", {"v": 1})


def test_a_closed_engine_opens_nothing_again(make_engine):
    engine = make_engine(checkpointer="memory://")
    with engine:
        echo.invoke("x", thread_id="t")
        engine.close()
        with pytest.raises(EngineClosed):
            echo.invoke("x", thread_id="t")
        with pytest.raises(EngineClosed):
            echo.get_state(thread_id="t")


@pytest.mark.parametrize("options", [{"workers": 0}, {"workers": -1}, {"lease": 0}, {"lease": -1.0}])
def test_impossible_settings_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        milepost.Engine(**options)


# -- thread ids ---------------------------------------------------


@pytest.fixture
def engine_here(make_engine):
    with make_engine(checkpointer=MemoryCheckpointer()) as engine:
        yield engine


def kept(engine):
    heads, _ = engine.checkpointer_for(None, None).list_heads()
    return [head.thread for head in heads]


UUID_1 = UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("user 7/chat-é", "user 7/chat-é"),
        (7, "7"),
        (0, "0"),
        (UUID_1, str(UUID_1)),
        ("x" * MAX_THREAD_ID_BYTES, "x" * MAX_THREAD_ID_BYTES),
        ("é" * (MAX_THREAD_ID_BYTES // 2), "é" * (MAX_THREAD_ID_BYTES // 2)),
    ],
    ids=["text", "int", "zero", "UUID", "longest", "longest in UTF-8"],
)
@pytest.mark.parametrize("way", ["keyword", "config"])
def test_text_numbers_and_uuids_name_threads(engine_here, given, name, way):
    if way == "keyword":
        assert echo.invoke("x", thread_id=given) == "x"
    else:
        assert echo.invoke("x", {"configurable": {"thread_id": given}}) == "x"
    assert kept(engine_here) == [name]
    assert echo.get_state(thread_id=name).values == "x"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("", "empty"),
        ("x" * (MAX_THREAD_ID_BYTES + 1), "513 bytes"),
        ("é" * 257, "514 bytes"),
        ("a\ud800", "Unicode"),
        (True, "bool"),
        (1.5, "float"),
        (b"bytes", "bytes"),
        (["t"], "list"),
    ],
    ids=["empty", "too long", "too long in UTF-8", "surrogate", "bool", "float", "bytes", "list"],
)
@pytest.mark.parametrize("call", ["invoke", "stream", "get_state"])
def test_what_cannot_name_a_thread_is_refused_and_nothing_is_kept(engine_here, given, says, call):
    arguments = () if call == "get_state" else ("x",)
    for options in ({"thread_id": given}, {"config": {"configurable": {"thread_id": given}}}):
        with pytest.raises(InvalidThreadId, match=says):
            getattr(echo, call)(*arguments, **options)
    assert kept(engine_here) == []


@pytest.mark.parametrize("config", [None, {}, {"configurable": None}, {"configurable": {"thread_id": None}}])
@pytest.mark.parametrize("call", ["invoke", "stream", "get_state"])
def test_a_missing_thread_id_is_refused(engine_here, config, call):
    arguments = (config,) if call == "get_state" else ("x", config)
    with pytest.raises(MissingThreadId, match="thread_id="):
        getattr(echo, call)(*arguments)


def test_the_keyword_comes_before_the_config_and_the_body_sees_it(engine_here):
    @entrypoint()
    def workflow(_):
        return get_config()["configurable"]

    config = {"configurable": {"thread_id": "config", "user": "me"}}
    assert workflow.invoke("x", config, thread_id="keyword") == {"thread_id": "keyword", "user": "me"}
    assert config == {"configurable": {"thread_id": "config", "user": "me"}}
    assert kept(engine_here) == ["keyword"]


def test_without_a_checkpointer_a_thread_id_is_not_needed_and_not_looked_at(make_engine):
    with make_engine():
        assert echo.invoke("x") == "x"
        assert echo.invoke("x", thread_id="") == "x"

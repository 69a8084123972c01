"""What a run of a workflow leaves in MongoDB: how many documents, and in which form."""

from __future__ import annotations

import json

import pytest

from milepost import Command, Engine, entrypoint, interrupt, task


@task
def double(number: int) -> int:
    return 2 * number


@entrypoint()
def total(count: int) -> int:
    return sum(double(number).result() for number in range(count))


@entrypoint()
def ask(what: str) -> str:
    return f"{what}: {interrupt('really?')}"


@pytest.fixture
def engine(driver):
    made = Engine(checkpointer=driver)
    with made:
        yield made
    made.close()


@pytest.mark.parametrize("count", [0, 1, 10])
def test_a_run_of_n_tasks_in_turn_leaves_n_plus_three_documents(count, engine, database):
    assert total.invoke(count, thread_id="t") == sum(range(count)) * 2
    assert database["milepost_batches"].count_documents({}) == count + 2
    assert database["milepost_heads"].count_documents({}) == 1
    assert database["milepost_chunks"].count_documents({}) == 0


def test_a_journal_can_be_read_as_it_lies(engine, database):
    total.invoke(1, thread_id="orders/7")
    found = list(database["milepost_batches"].find({"thread": "orders/7"}, sort=[("_id", 1)]))
    assert [each["position"] for each in found] == [0, 1, 2]
    assert found[0]["_id"] == "orders%2F7/000000000000"
    kinds = [[record["kind"] for record in json.loads(each["data"])["records"]] for each in found]
    assert kinds == [["started"], ["outcome"], ["finished"]]
    (head,) = database["milepost_heads"].find()
    assert (head["_id"], head["status"]) == ("orders/7", "done")
    assert json.loads(head["data"])["thread"] == "orders/7"


def test_a_question_waits_in_the_database_and_is_found_by_status(engine, database):
    ask.invoke("delete it", thread_id="t")
    assert [each["_id"] for each in database["milepost_heads"].find({"status": "interrupted"})] == ["t"]
    assert ask.invoke(Command(resume="yes"), thread_id="t") == "delete it: yes"
    assert database["milepost_heads"].count_documents({"status": "done"}) == 1


def test_a_thread_goes_on_after_it_was_deleted(engine, driver, database):
    total.invoke(2, thread_id="t")
    driver.delete("t")
    assert total.invoke(3, thread_id="t") == 6
    assert database["milepost_heads"].find_one({"_id": "t"})["floor"] == 5
    assert driver.tail("t") == 10

"""What sections of the program print here that print something else under LangGraph, and why.

``FAULTS`` has what LangGraph does wrong, ``DIFFERENCES`` what is done otherwise on purpose.
"""

from __future__ import annotations

LABELLED = [("updates", {"double": 2}), ("updates", {"workflow": [2, None]}), ("values", [2, None])]

FAULTS = {
    "w01_a_limit_of_one": (
        ["result: [2]"],
        "a body and a task that waits hold no slot, so one is enough",
    ),
    "w02_a_late_answer": (
        [
            "answered: ['first', 'yes']",
            "late answer: 'refused'",
            "next run: {'__interrupt__': [Interrupt('approve second?', id 1)]}",
        ],
        "an answer belongs to one question, and is not kept for another",
    ),
    "w03_none_is_no_answer": (
        [
            "second question: {'__interrupt__': [Interrupt('delete the original?', id 1)]}",
            "none: {'__interrupt__': [Interrupt('delete the original?', id 1)]}",
        ],
        "an answer is used up; going on answers nothing",
    ),
    "w04_parallel_questions": (
        ["shown: 3", "all answered: 'list'"],
        "every question of tasks side by side is shown and can be answered",
    ),
    "w05_two_answers_at_once": (
        ["second answer: 'refused'", "first answer: [1]", "paid: [1]"],
        "a thread has one owner; the second caller is told",
    ),
    "w09_old_values": (
        ["pause: {'__interrupt__': [Interrupt('?', id 1)]}", "values: [{'answer': 'yes'}]"],
        "a pause shows questions alone, and a stream what happens in it alone",
    ),
    "w10_a_retried_body": (
        ["result: 'receipt' ['charged']"],
        "a finished task is on record, for another attempt of the body, too",
    ),
    "w11_questions_nobody_waits_for": (
        [
            "asks: {'__interrupt__': [Interrupt('sure?', id 1)]}",
            "is over: ('asks',)",
            "fails: 'ValueError: unheard'",
        ],
        "what a run has begun is part of it: its questions are asked and its errors are raised",
    ),
    "w12_other_code": (
        ["resumed: 'refused'"],
        "a call with other arguments than the one on record does not get that one's result",
    ),
    "w12_a_caught_failure": (
        [
            "asked: {'__interrupt__': [Interrupt('ConnectionError: the first time; go on?', id 1)]}",
            "resumed: ['yes', 'ConnectionError: the first time']",
        ],
        "a failure that the body caught is an outcome: the branch it took is taken again",
    ),
    "w12_another_workflow": (
        ["other: 'refused'", "mine: 'yes'"],
        "a thread belongs to its workflow",
    ),
    "w13_a_swallowed_question": (
        ["result: {'__interrupt__': [Interrupt('sure?', id 1)]}"],
        "a pause is no Exception",
    ),
    "w14_closures_in_a_cache": (
        ["result: [20, 30]"],
        "what a function closes over is part of the cache's key",
    ),
    "w14_one_call_at_a_time": (
        ["result: [1, 1, 1, 1]", "made once: True"],
        "equal calls at the same moment wait for the first",
    ),
    "w15_timeouts_of_functions": (
        ["result: 'too late'"],
        "the caller goes on and the late outcome is discarded",
    ),
    "w17_types_after_a_pause": (
        ["seen: (1, (2, 3)) (1, (2, 3))"],
        "a value comes back in value and type",
    ),
    "w17_values_that_cannot_be_kept": (
        ["asked: {'__interrupt__': [Interrupt('go on?', id 1)]}"],
        "the error is raised at result(), where the body can handle it",
    ),
    "w21_commands": (
        [
            "an empty command: 'InvalidCommand'",
            "None is an answer: [None]",
            "a command on a fresh thread: 'refused'",
        ],
        "a command is never an input, and None is an answer like others",
    ),
    "w21_mistakes": (
        [
            "a stream mode: 'refused'",
            "no stream mode: 'refused'",
            f"modes in a tuple: {LABELLED}",
            "a durability: 'refused'",
            "a checkpoint: 'refused'",
            "a question without a checkpointer: 'refused'",
        ],
        "a word that nobody knows is an error, and so is a dead end",
    ),
    "w22_tasks_on_record": (
        ["double is there: True"],
        "a snapshot shows the calls of the run",
    ),
    "w22_ends_of_replayed_tasks": (
        ["without an end: []"],
        "starts and ends balance, after an answer, too",
    ),
    "w23_when_an_item_was_created": (
        ["stays: True"],
        "putting an item again changes when it was updated, not when it was created",
    ),
    "w23_what_readers_do": (
        ["value: {'n': [1]}", "namespaces: [('a',)]", "after deleting: []"],
        "a reader gets a copy and leaves no trace",
    ),
    "w25_context_after_a_pause": (
        ["after the pause: 'large'"],
        "the context is recorded with the run",
    ),
    "w25_custom_events_again": (
        ["before: ['begun']", "after: []"],
        "what was written before a pause is not written again",
    ),
}

DIFFERENCES = {
    "d_names": (
        ["name: 'workflow'", "doc: True"],
        "a record and a picture name the workflow that ran",
    ),
    "d_definitions": (
        ["a task that generates: 'refused'", "a second input: 'refused'"],
        "a generator cannot be recorded, and a second input would be missing in each call",
    ),
    "d_default_of_previous": (
        ["first run: 101"],
        "a default is what holds when nothing is given",
    ),
    "d_parameters": (
        ["a store that may be missing: True"],
        "X | None, aliases and postponed annotations mean what they say",
    ),
    "d_context_variables": (
        ["body and task: ['ann', 'nobody']"],
        "after a pause the caller is another one: what a task needs is an argument, or in the run's context",
    ),
    "d_where_the_body_runs": (
        ["in the caller's thread: True"],
        "so a body needs no worker, and Ctrl-C reaches it",
    ),
    "d_classes": (
        ["as good as before: [False, True]"],
        "nothing on record names code to import: a class is known by an annotation or a registration",
    ),
    "d_copies": (
        ["the same object: False"],
        "the first time and every other time the body gets an object of its own",
    ),
    "d_unknown_threads": (
        ["values: None"],
        "a dict would say that a workflow had returned one",
    ),
    "d_history": (
        ["input: 4 ()", "input: 2 ()"],
        "a run is one thing, from its input to its result",
    ),
    "d_streamed_tasks": (
        ["fail: None 'ValueError: odd'", "double: 2 'None'", "workflow: 2 'None'"],
        "channels are not part of the Functional API, and an event can be sent on as JSON",
    ),
    "d_namespaces": (
        ["namespace: ['inner'] 'inside'"],
        "the workflow that an event comes from is the one to name",
    ),
    "d_errors_of_mistakes": (
        [
            "a task outside: ['OutsideWorkflow', True]",
            "no thread id: ['MissingThreadId', True]",
            "none on a fresh thread: ['UnknownThread', True]",
        ],
        "an error has a class for each remedy, under MilepostError",
    ),
}

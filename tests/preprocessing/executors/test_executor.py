"""What executors have in common, and the one without processes."""

import pickle

import pytest
from upath import UPath

from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.executors import Inline, Lost, open_executor
from manylabel.preprocessing.executors.executor import Losses, batches
from manylabel.preprocessing.executors.outcomes import Done, Raised, attempt, attempt_each
from tests.preprocessing.executors import contract


def open_with(**settings):
    catalog = {"path": "labels.csv"}
    config = PreprocessingConfig.model_validate({"catalog": catalog, **settings})
    return open_executor(config, "mine", [UPath("images")], UPath("plan"))


def test_inline_works_in_this_process():
    with open_with(executor="inline") as executor:
        assert isinstance(executor, Inline)
        seen: list[int] = []
        next(executor.map(seen.append, [1, 2], 10))
        assert seen == [1], "not before it is asked for"


def test_inline_keeps_the_promises_of_an_executor():
    contract.gives_results_in_order(Inline())
    contract.reads_ahead(Inline(), at_most=0)
    contract.raises_at_its_turn(Inline())


def test_as_many_processes_as_are_set():
    code = "(__import__('time').sleep(0.05), __import__('os').getpid())[1]"
    with open_with(executor="processes", runner={"processes": 3}) as executor:
        assert len(set(executor.map(eval, [code] * 60, 1))) == 3


def test_batches_are_read_as_they_are_asked_for():
    items = iter(range(5))
    cut = batches(items, 2)
    assert next(cut) == [0, 1]
    assert next(items) == 2
    assert list(cut) == [[3, 4]]


class NeedsMore(Exception):
    """Pickled, it knows its text alone, and that is not enough to make it again."""

    def __init__(self, text, *, more):
        super().__init__(text)
        self.more = more


def fail(item):
    raise NeedsMore("of no", more="use")


def test_an_exception_that_cannot_be_made_again_arrives_as_its_text():
    outcome = pickle.loads(attempt(fail, 1))
    assert isinstance(outcome, Raised)
    assert type(outcome.error) is PreprocessingError
    assert str(outcome.error) == "NeedsMore: of no"


def test_losses_in_a_row_end_a_job():
    losses, lost = Losses(), Lost("its process ended three times")
    for number in range(9):
        losses.note(f"bad-{number}.jpg", lost)
    losses.note("good.jpg", Done(1))
    for number in range(9):
        losses.note(f"bad-{number}.jpg", lost)
    losses.note("broken.jpg", Raised(ValueError()))
    for number in range(9):
        losses.note(f"bad-{number}.jpg", lost)
    with pytest.raises(PreprocessingError, match=r"10 items in a row .* 'last.jpg': its process"):
        losses.note("last.jpg", lost)


class Told:
    """A function that remembers what it is told of, and what it is called with."""

    def __init__(self):
        self.heard = []

    def expect(self, items):
        self.heard.append(list(items))

    def __call__(self, item):
        self.heard.append(item)


class Deaf(Told):
    def expect(self, items):
        fail(items)


def test_a_function_is_told_of_each_batch_before_its_first_item():
    told = Told()
    assert list(Inline().map(told, range(5), 2)) == [None] * 5
    assert told.heard == [[0, 1], 0, 1, [2, 3], 2, 3, [4], 4]
    told = Told()
    assert len(list(attempt_each(told, [7, 8]))) == 2
    assert told.heard == [[7, 8], 7, 8]


def test_what_is_raised_when_a_function_is_told_stands_for_the_first_item():
    (outcome,) = attempt_each(Deaf(), [7, 8])
    assert isinstance(pickle.loads(outcome), Raised)

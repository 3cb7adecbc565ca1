"""Decisions are kept one by one; the newest names the champion."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from manylabel.eval.errors import EvaluationError
from manylabel.eval.store.names import EvaluationName
from manylabel.eval.store.promotions import (
    PromotedCheckpoint,
    Promotion,
    newest_promotion,
    read_promotions,
    record_promotion,
)
from manylabel.storage.errors import DocumentError


def decision(number, run="first", step=1200, person="ada"):
    return Promotion(
        number=number,
        person=person,
        decided_at=datetime(2026, 1, 2, tzinfo=UTC),
        reason="better on rare labels",
        candidate=PromotedCheckpoint(run=run, step=step, checkpoint_digest="c" * 64),
        replaced=None,
        evidence=None,
        checks_passed=(),
        checks_overridden=(),
        dataset_digest="d" * 64,
        code_version="1",
    )


def raise_it(error):
    raise error


def test_the_newest_decision_names_the_champion_and_all_are_kept(tmp_path):
    assert newest_promotion(tmp_path) is None
    assert read_promotions(tmp_path, raise_it) == []
    decisions = [decision(1), decision(2, "second", 900), decision(3)]  # The last rolls back.
    for each in decisions:
        record_promotion(tmp_path, each)
    assert newest_promotion(tmp_path) == decisions[2]
    assert read_promotions(tmp_path, raise_it) == decisions
    assert decisions[1].candidate.name == EvaluationName("second", 900)


def test_of_two_who_promote_at_once_one_wins_and_the_others_are_told(tmp_path):
    def attempt(person):
        try:
            record_promotion(tmp_path, decision(1, person=person))
        except EvaluationError as error:
            return str(error)
        return None

    people = [f"person {n}" for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(attempt, people))
    (winner,) = [person for person, answer in zip(people, answers, strict=True) if answer is None]
    promotion = newest_promotion(tmp_path)
    assert promotion is not None
    assert promotion.person == winner
    told = {answer for answer in answers if answer}
    assert len(told) == 1
    assert f"{winner} has promoted first@1200 meanwhile" in told.pop()


def test_a_damaged_decision_hides_no_other_and_lets_no_earlier_one_be_champion(tmp_path):
    for number in (1, 2):
        path = record_promotion(tmp_path, decision(number))
    path.write_text(path.read_text()[:40])
    problems: list[DocumentError] = []
    assert read_promotions(tmp_path, problems.append) == [decision(1)]
    assert str(path) in str(problems[0])
    with pytest.raises(DocumentError, match=r"00000002\.json: not a promotion.*put back a copy"):
        newest_promotion(tmp_path)


@pytest.mark.parametrize("text", ["first", "first@", "@12", "first@x", "first@-1", "first@1.5", ""])
def test_a_name_is_a_run_and_a_step(text):
    with pytest.raises(EvaluationError, match="expected RUN@STEP"):
        EvaluationName.parse(text)


@pytest.mark.parametrize("name", [EvaluationName("first", 0), EvaluationName("a@b", 1200)])
def test_a_name_comes_back(name):
    assert EvaluationName.parse(str(name)) == name


@pytest.mark.parametrize(
    "name", ["00000001~.json", "00000002x.json", "2.json", "00000002.json.bak"]
)
def test_an_editors_backup_is_no_decision(tmp_path, name):
    path = record_promotion(tmp_path, decision(1))
    path.with_name(name).write_bytes(decision(2, "other").to_bytes())
    assert newest_promotion(tmp_path) == decision(1)
    assert read_promotions(tmp_path, raise_it) == [decision(1)]

"""Workers hold analyses for a while, whatever kind of database the records lie in."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from app.storage.leases import Leases
from app.storage.records import Records
from tests.unit.storage.test_records import request

LONG_S, OVER_S = 60.0, -1.0


def leases(records: Records, lease_s: float = LONG_S) -> Leases:
    return Leases(records.engine, lease_s)


def fill(records: Records, **asked: object) -> list[str]:
    """Queue an analysis per name, interactive where its value is ``now``, of the owner else."""
    for id, wish in asked.items():
        owner = None if wish == "now" else wish
        records.add(id, replace(request(id), interactive=wish == "now", owner=owner))
    return list(asked)


def test_who_is_waited_for_goes_ahead_of_all_others(records: Records) -> None:
    fill(records, a="anna", b="anna", c="now")
    taken = [leases(records).take("w").id for _ in range(3)]
    assert taken == ["c", "a", "b"]
    assert leases(records).take("w") is None


def test_callers_take_turns(records: Records) -> None:
    fill(records, a1="anna", a2="anna", a3="anna", b1="bert", b2="bert")
    taken = [leases(records).take("w").id for _ in range(5)]
    assert taken == ["a1", "b1", "a2", "b2", "a3"]


def test_an_analysis_is_taken_once_however_many_ask(open_records: Callable[[], Records]) -> None:
    stores = [open_records() for _ in range(4)]
    names = fill(stores[0], **{f"a{n}": "anna" for n in range(40)})
    taken, broken = [], []

    def take_all(store: Records) -> None:
        try:
            while record := leases(store).take("w"):
                taken.append(record.id)
        except Exception as error:
            broken.append(error)

    threads = [threading.Thread(target=take_all, args=(store,)) for store in stores]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not broken
    assert sorted(taken) == sorted(names)


def test_a_lease_that_is_renewed_does_not_expire(records: Records) -> None:
    fill(records, a="now")
    held = leases(records, OVER_S).take("w")
    assert [record.id for record in leases(records).expired()] == ["a"]
    assert leases(records).renew("a", held.holder, "segment", 0.25) == "held"
    assert not leases(records).expired()
    shown = records.get("a")
    assert (shown.stage, shown.fraction) == ("segment", 0.25)


def test_an_expired_lease_is_queued_again_by_one_of_many(records: Records) -> None:
    fill(records, a="now")
    leases(records, OVER_S).take("w")
    again = [leases(records).requeue_expired("a") for _ in range(3)]
    assert [record is not None for record in again] == [True, False, False]
    assert (again[0].status, again[0].attempts, again[0].holder) == ("queued", 1, None)


def test_who_lost_a_lease_changes_nothing(records: Records) -> None:
    fill(records, a="now")
    first = leases(records, OVER_S).take("w1")
    leases(records).requeue_expired("a")
    second = leases(records).take("w2")
    assert leases(records).renew("a", first.holder, "segment", 0.9) == "lost"
    assert records.succeed("a", 1.0, first.holder) is None
    assert records.fail("a", "too_short", "…", first.holder) is None
    assert records.requeue("a", counts=False, holder=first.holder) is None
    assert records.get("a") == second
    assert records.succeed("a", 1.0, second.holder).status == "succeeded"


def test_who_lost_a_lease_changes_nothing_though_the_same_process_has_it_again(
    records: Records,
) -> None:
    """A machine that slept past its lease, and is the only worker that there is."""
    fill(records, a="now")
    first = leases(records, OVER_S).take("w")
    leases(records).requeue_expired("a")
    second = leases(records).take("w")
    assert leases(records).renew("a", first.holder, "segment", 0.9) == "lost"
    assert records.succeed("a", 1.0, first.holder) is None
    assert leases(records).renew("a", second.holder, "segment", 0.1) == "held"


def test_a_cancelled_analysis_is_seen_to_be_by_its_holder(records: Records) -> None:
    fill(records, a="now")
    held = leases(records).take("w")
    records.cancel("a")
    assert leases(records).renew("a", held.holder, None, None) == "cancelled"
    assert not leases(records, OVER_S).expired()


@pytest.mark.parametrize("acknowledged", [True, False])
def test_an_analysis_that_is_given_up_says_why(records: Records, acknowledged: bool) -> None:
    records.add("a", request(acknowledged=acknowledged))
    leases(records, OVER_S).take("w")
    assert leases(records).fail_expired("a", "internal_error", "Too often.") is not None
    assert leases(records).fail_expired("a", "internal_error", "Again.") is None
    found = records.get("a")
    assert (found.status, found.error_detail) == ("failed", "Too often.")
    assert [record.id for record in records.page(9)] == (["a"] if acknowledged else [])


def test_what_was_not_sent_is_claimed_once(records: Records) -> None:
    fill(records, a="now", b="anna", c="anna")
    assert leases(records).waits(30)
    leases(records).note_sent("b")
    assert sorted(leases(records).claim_unsent(30, 9)) == [("a", True), ("c", False)]
    assert leases(records).claim_unsent(30, 9) == []
    assert not leases(records).waits(30)
    assert len(leases(records).claim_unsent(0, 2)) == 2, "no more than asked for"


def test_what_runs_is_not_sent_again(records: Records) -> None:
    fill(records, a="now")
    leases(records).take("w")
    assert not leases(records).waits(0)
    assert leases(records).claim_unsent(0, 9) == []


def test_the_load_counts_both_lines_and_the_workers_seen_lately(records: Records) -> None:
    fill(records, a="now", b="anna", c="anna")
    for name, busy in (("w1", 1), ("w2", 2), ("w2", 3)):
        leases(records).announce(name, 4, busy)
    load = leases(records).load(60)
    assert load.queued == {"interactive": 1, "bulk": 2}
    assert (load.workers, load.slots, load.busy) == (2, 8, 4)
    assert leases(records).load(0).workers == 0
    leases(records).dismiss("w1")
    assert leases(records).load(60).workers == 1
    leases(records).dismiss("", silent_s=0)
    assert leases(records).load(60).workers == 0

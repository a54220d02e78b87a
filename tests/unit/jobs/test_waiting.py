"""Whose turn it is."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.waiting import Waiting


@dataclass(eq=False)
class Job:
    name: str
    owner: str | None = None
    interactive: bool = False
    alone: bool = False


def order(*jobs: Job) -> list[str]:
    waiting: Waiting[Job] = Waiting()
    for job in jobs:
        waiting.add(job)
    return [waiting.take().name for _ in range(len(waiting))]


def test_owners_take_turns() -> None:
    jobs = [Job(f"a{n}", "a") for n in range(4)] + [Job("b0", "b"), Job("c0"), Job("b1", "b")]
    assert order(*jobs) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_those_that_are_waited_for_go_first() -> None:
    jobs = [Job("bulk", "a"), Job("x0", "a", True), Job("x1", "a", True), Job("y0", "b", True)]
    assert order(*jobs) == ["x0", "y0", "x1", "bulk"]


def test_what_runs_alone_goes_before_all() -> None:
    assert order(Job("x", interactive=True), Job("s", alone=True), Job("t", alone=True)) == [
        "s",
        "t",
        "x",
    ]


def test_an_owner_who_comes_later_waits_one_turn_only() -> None:
    waiting: Waiting[Job] = Waiting()
    for n in range(100):
        waiting.add(Job(f"a{n}", "a"))
    assert waiting.take().name == "a0"
    waiting.add(Job("b0", "b"))
    assert [waiting.take().name for _ in range(2)] == ["a1", "b0"]


kinds = st.tuples(st.sampled_from([None, "a", "b"]), st.booleans(), st.booleans())


@given(st.lists(kinds), st.data())
def test_every_job_is_taken_once_or_removed(jobs: list[tuple], data: st.DataObject) -> None:
    waiting: Waiting[Job] = Waiting()
    added = [Job(str(n), *kind) for n, kind in enumerate(jobs)]
    for job in added:
        waiting.add(job)
    removed = data.draw(st.lists(st.sampled_from(added), unique=True)) if added else []
    assert all(waiting.remove(job) for job in removed)
    assert not any(waiting.remove(job) for job in removed)
    taken = [waiting.take() for _ in range(len(waiting))]
    assert sorted(map(id, [*taken, *removed])) == sorted(map(id, added))
    with pytest.raises(IndexError):
        waiting.take()
    for owner in (None, "a", "b"):
        mine = [j for j in taken if j.owner == owner and not j.interactive and not j.alone]
        assert [j.name for j in mine] == sorted((j.name for j in mine), key=int)

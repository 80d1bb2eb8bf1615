"""Equal work once, by many callers, in every order of coming and going; and the asyncio side of the queue."""

from collections.abc import Callable

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuntyard.errors import ModelUnavailable
from shuntyard.serving.schedule import Call, Once, Scheduler

pytestmark = pytest.mark.anyio


class Work:
    """Says ``a``, waits until it is let go, says ``b``."""

    def __init__(self, *, fails: bool = False) -> None:
        self.go = anyio.Event()
        self.begun = 0
        self.ended = 0
        self.fails = fails

    async def __call__(self, hear: Callable[[str], None]) -> str:
        self.begun += 1
        try:
            hear("a")
            await self.go.wait()
            hear("b")
            if self.fails:
                raise ModelUnavailable("gone")
            return "ab"
        finally:
            self.ended += 1


async def settle() -> None:
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


async def test_followers_hear_all_of_it_and_it_is_computed_once() -> None:
    once: Once[str] = Once(len, most=100)
    work = Work()
    heard: dict[int, list[str]] = {n: [] for n in range(3)}
    got: list[tuple[str, bool]] = []

    async def ask(n: int) -> None:
        got.append(await once.share("k", work, heard[n].append))

    async with anyio.create_task_group() as group:
        for n in range(3):
            group.start_soon(ask, n)
            await settle()
        work.go.set()
    assert work.begun == 1
    assert sorted(got) == [("ab", False), ("ab", True), ("ab", True)]
    assert all("".join(pieces) == "ab" for pieces in heard.values())
    assert once.kept("k") == "ab"


async def test_a_cancelled_leader_does_not_take_its_followers_along() -> None:
    once: Once[str] = Once(len, most=0)
    work = Work()
    got: list[str] = []
    leader = anyio.CancelScope()

    async def lead() -> None:
        with leader:
            await once.share("k", work, None)

    async def follow() -> None:
        got.append((await once.share("k", work, None))[0])

    async with anyio.create_task_group() as group:
        group.start_soon(lead)
        await settle()
        group.start_soon(follow)
        await settle()
        leader.cancel()
        await settle()
        assert work.ended == 0
        work.go.set()
    assert leader.cancelled_caught
    assert (work.begun, got) == (1, ["ab"])


async def test_when_the_last_caller_goes_the_work_ends_before_it_returns() -> None:
    once: Once[str] = Once(len, most=100)
    work = Work()
    with anyio.move_on_after(0.01) as scope:
        await once.share("k", work, None)
    assert scope.cancelled_caught
    assert (work.begun, work.ended) == (1, 1)
    work.go.set()
    assert await once.share("k", work, None) == ("ab", False), "a new caller begins anew"


async def test_a_failure_is_everybodys_and_not_kept() -> None:
    once: Once[str] = Once(len, most=100)
    work = Work(fails=True)
    failed = 0

    async def ask() -> None:
        nonlocal failed
        with pytest.raises(ModelUnavailable):
            await once.share("k", work, None)
        failed += 1

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        group.start_soon(ask)
        await settle()
        work.go.set()
    assert (work.begun, failed) == (1, 2)
    assert once.kept("k") is None


async def test_a_caller_that_cannot_hear_fails_alone() -> None:
    once: Once[str] = Once(len, most=100)
    work = Work()
    got: list[str] = []

    def broken(text: str) -> None:
        raise ValueError(text)

    async def deaf() -> None:
        with pytest.raises(ValueError, match="a"):
            await once.share("k", work, broken)

    async def follow() -> None:
        got.append((await once.share("k", work, None))[0])

    async with anyio.create_task_group() as group:
        group.start_soon(deaf)
        group.start_soon(follow)
        await settle()
        work.go.set()
    assert got == ["ab"]


async def test_a_caller_that_cannot_hear_and_is_cancelled_at_once_leaves_nothing_behind() -> None:
    once: Once[str] = Once(len, most=0)
    work = Work()
    scope = anyio.CancelScope()

    def broken(text: str) -> None:
        scope.cancel()
        raise ValueError(text)

    with scope:
        await once.share("k", work, broken)
    assert scope.cancelled_caught
    assert work.ended == 1


async def test_what_is_kept_is_bounded_and_the_newest() -> None:
    once: Once[str] = Once(len, most=10)
    for key in "abcdef":

        async def work(hear: object, key: str = key) -> str:
            return key * 4

        await once.share(key, work, None)
    assert once.weight == 8
    assert [once.kept(key) for key in "def"] == [None, "eeee", "ffff"]

    async def big(hear: object) -> str:
        return "x" * 11

    await once.share("big", big, None)
    assert once.kept("big") is None and once.weight == 8


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=25), st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_cancelling_anywhere_leaves_no_stuck_slot(calls: list[tuple[int, bool]], slots: int) -> None:
    """Each call is cancelled after some turns of the loop, or runs to its end; then all slots must be free."""

    async def main() -> None:
        scheduler = Scheduler(slots, grace=0.0)
        busy: set[int] = set()
        ended: list[int] = []

        async def work(slot: int) -> int:
            assert slot not in busy
            busy.add(slot)
            try:
                for _ in range(3):
                    await anyio.lowlevel.checkpoint()
                return slot
            finally:
                busy.discard(slot)

        async def ask(number: int, scope: anyio.CancelScope) -> None:
            with scope:
                await scheduler.run(Call(f"app{number % 3}", arrived=number % 3), work)
                ended.append(number)

        async with anyio.create_task_group() as group:
            scopes = []
            for number, (turns, stays) in enumerate(calls):
                scopes.append(anyio.CancelScope())
                group.start_soon(ask, number, scopes[-1])
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                if not stays:
                    scopes[number // 2].cancel()
        assert not busy
        assert (scheduler.waiting, scheduler.running) == (0, 0)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                for number in range(slots):
                    group.start_soon(ask, 1000 + number, anyio.CancelScope())
        assert len([number for number in ended if number >= 1000]) == slots

    anyio.run(main)


async def test_the_queue_passes_failures_on() -> None:
    scheduler = Scheduler(1)

    async def work(slot: int) -> None:
        raise ModelUnavailable("gone")

    for _ in range(3):
        with pytest.raises(ModelUnavailable):
            await scheduler.run(Call("app"), work)
    assert scheduler.running == 0


async def test_the_queue_runs_an_application_through_before_the_next() -> None:
    scheduler = Scheduler(1, grace=0.5)
    order: list[str] = []

    async def application(name: str) -> None:
        for step in range(3):

            async def work(slot: int, step: int = step) -> None:
                await anyio.sleep(0.001)
                order.append(f"{name}{step}")

            await scheduler.run(Call(name, follows=step < 2), work)
            await anyio.sleep(0.002)

    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(application, name)
    assert order == [f"{name}{step}" for name in "abc" for step in range(3)]

import asyncio

from kfunc.pages.shared import FRESH_S, Shared


class Work:
    """Counts how often it was done; `now` is the time."""

    def __init__(self) -> None:
        self.done = 0
        self.now = 0.0

    async def do(self) -> int:
        await asyncio.sleep(0)
        self.done += 1
        return self.done


def test_viewers_who_come_together_cost_one_look_and_the_next_second_another() -> None:
    async def main() -> None:
        work = Work()
        shared = Shared(work.do, lambda: work.now)
        assert await asyncio.gather(*[shared.get() for _ in range(5)]) == [1] * 5
        work.now = FRESH_S / 2
        assert await shared.get() == 1
        work.now = FRESH_S
        assert await shared.get() == 2

    asyncio.run(main())


def test_a_viewer_who_leaves_takes_nothing_from_the_others() -> None:
    async def main() -> None:
        work = Work()
        shared = Shared(work.do, lambda: work.now)
        leaving, staying = asyncio.ensure_future(shared.get()), asyncio.ensure_future(shared.get())
        await asyncio.sleep(0)
        leaving.cancel()
        assert await staying == 1

    asyncio.run(main())

import asyncio
import threading

import pytest

from fxexplore.notebook.background import Background


def test_the_result_is_handed_over_in_the_asking_thread():
    async def main():
        done = asyncio.Event()
        seen = []

        def deliver(result):
            seen.append((result, threading.current_thread()))
            done.set()

        Background(threading.current_thread, deliver, pytest.fail)
        await asyncio.wait_for(done.wait(), 30)
        return seen[0]

    worker, receiver = asyncio.run(main())
    assert receiver is threading.current_thread()
    assert worker is not receiver
    assert worker.daemon


def test_waiting_hands_over_once():
    async def main():
        seen = []
        background = Background(lambda: 1, seen.append, pytest.fail)
        assert background.wait(30)
        assert not background.is_pending
        await asyncio.sleep(0.01)
        assert background.wait(0)
        return seen

    assert asyncio.run(main()) == [1]


def test_waiting_is_bounded_and_what_is_cancelled_is_dropped():
    async def main():
        hold = threading.Event()
        seen = []
        background = Background(hold.wait, seen.append, pytest.fail)
        assert not background.wait(0.01)
        background.cancel()
        hold.set()
        await asyncio.sleep(0.05)
        return seen

    assert asyncio.run(main()) == []


def test_an_error_is_handed_over_too():
    async def main():
        seen = []
        background = Background(lambda: 1 / 0, pytest.fail, seen.append)
        background.wait(30)
        return seen

    assert isinstance(asyncio.run(main())[0], ZeroDivisionError)


def test_a_loop_that_is_closed_meanwhile_is_no_error(recwarn):
    hold = threading.Event()

    async def main():
        return Background(hold.wait, pytest.fail, pytest.fail)

    background = asyncio.run(main())
    hold.set()
    background._thread.join(30)
    assert not recwarn.list


def test_without_a_loop_there_is_no_background():
    with pytest.raises(RuntimeError):
        Background(int, print, print)

import asyncio
import threading
import types
import weakref

import pytest
import torch
from torch import nn

from fxexplore.notebook.task import Stop, Task, watched


def started(work, ended, **options):
    task = Task(work, ended, **options)
    task.start()
    return task


def nobody(_):
    pytest.fail("nobody is to be told")


async def until(condition):
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError


def test_the_result_is_handed_over_in_the_asking_thread():
    async def main():
        seen = []
        task = started(
            lambda _: threading.current_thread(),
            lambda task: seen.append((task.result(), threading.current_thread())),
        )
        assert not seen
        await until(lambda: not task.is_pending)
        return seen[0]

    worker, receiver = asyncio.run(main())
    assert receiver is threading.current_thread()
    assert worker is not receiver
    assert worker.daemon


@pytest.mark.parametrize("in_loop", [False, True])
def test_what_is_not_for_the_background_is_done_at_once(in_loop):
    async def main():
        seen = []
        started(lambda _: 1, lambda task: seen.append(task.result()), in_background=not in_loop)
        return seen

    if in_loop:
        assert asyncio.run(main()) == [1]
    else:
        with pytest.raises(StopIteration) as outcome:  # a coroutine with no loop around it
            main().send(None)
        assert outcome.value.value == [1]


def test_waiting_hands_over_once():
    async def main():
        seen = []
        task = started(lambda _: 1, lambda task: seen.append(task.result()))
        assert task.is_pending
        assert task.wait(30)
        assert not task.is_pending
        await asyncio.sleep(0.01)
        assert task.wait(0)
        return seen

    assert asyncio.run(main()) == [1]


def test_waiting_is_bounded_and_what_is_cancelled_is_forgotten():
    async def main():
        task = started(lambda progress: progress.stop.wait(30), nobody)
        assert not task.wait(0.01)
        task.cancel()
        await asyncio.sleep(0.05)
        assert task.result()  # the work saw that it was to stop

    asyncio.run(main())


def test_an_error_is_raised_where_the_result_is_asked_for():
    async def main():
        seen = []
        started(lambda _: 1 / 0, seen.append).wait(30)
        with pytest.raises(ZeroDivisionError):
            seen[0].result()

    asyncio.run(main())


def test_an_interrupt_of_work_in_this_thread_is_an_interrupt_of_the_cell():
    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        started(interrupted, lambda task: task.result())


def test_an_event_loop_that_is_closed_meanwhile_is_no_error(recwarn):
    hold = threading.Event()

    async def main():
        return started(lambda _: hold.wait(30), nobody)

    task = asyncio.run(main())
    hold.set()
    assert task.result()
    assert not recwarn.list


def test_progress_is_told_and_a_stop_ends_a_run_at_the_next_module():
    first, second = nn.Identity(), nn.Identity()
    model = nn.Sequential(first, second)
    entered, hold = threading.Event(), threading.Event()

    def waits(*_):
        entered.set()
        assert hold.wait(30)

    first.register_forward_hook(waits)

    def work(progress):
        with watched(model, progress):
            return model(torch.ones(1))

    async def main():
        told, ended = [], []
        task = started(
            work, ended.append, ticked=lambda now: told.append((now.calls, now.total, now.at))
        )
        await until(entered.is_set)
        await until(lambda: (1, 2, "0") in told)
        task.progress.stop.set()
        hold.set()
        await until(lambda: ended)
        with pytest.raises(Stop):
            task.result()

    asyncio.run(main())
    assert not first._forward_pre_hooks
    assert not second._forward_pre_hooks


@pytest.mark.parametrize("another_cell", [False, True], ids=["none", "another"])
def test_random_numbers_drawn_in_the_background_leave_the_random_state(another_cell):
    shell = types.SimpleNamespace(execution_count=1)

    async def main():
        before = torch.get_rng_state()
        task = started(lambda _: torch.rand(1), lambda _: None, shell=shell)
        shell.execution_count += another_cell  # one that ended meanwhile may have drawn
        await until(lambda: not task.is_pending)
        return torch.equal(torch.get_rng_state(), before)

    assert asyncio.run(main()) is not another_cell


def test_work_that_nobody_waits_for_is_stopped_and_its_random_numbers_put_back():
    shell = types.SimpleNamespace(execution_count=1)
    stopped, kept = threading.Event(), nn.Identity()

    def work(progress):
        torch.rand(1)
        assert progress.stop.wait(30)
        stopped.set()

    async def main():
        before = torch.get_rng_state()
        task = started(work, lambda _: kept, shell=shell, ticked=lambda _: kept)
        owner = weakref.ref(task)
        del task
        assert owner() is None
        await until(stopped.is_set)
        await until(lambda: torch.equal(torch.get_rng_state(), before))

    asyncio.run(main())

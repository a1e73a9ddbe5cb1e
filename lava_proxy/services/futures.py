"""Small steps on ``concurrent.futures.Future``: the line's steps follow one another without knowing any event loop."""

from collections.abc import Callable
from concurrent.futures import Future


def done[T](value: T) -> Future[T]:
    """A future that already has its value."""
    future: Future[T] = Future()
    future.set_result(value)
    return future


def then[T, R](before: Future[T], step: Callable[[T], R], *, failed: Callable[[BaseException], R]) -> Future[R]:
    """The value of ``step`` once ``before`` has one, or of ``failed`` where ``before`` or ``step`` raised.

    Both run on whichever thread completes ``before``, so they must be short. What ``failed`` raises is the outcome.
    """
    after: Future[R] = Future()
    after.set_running_or_notify_cancel()

    def run(finished: Future[T]) -> None:
        try:
            after.set_result(step(finished.result()))
        except BaseException as error:  # noqa: BLE001 whatever it was belongs to whoever waits
            _fail(after, failed, error)

    before.add_done_callback(run)
    return after


def _fail[R](after: Future[R], failed: Callable[[BaseException], R], error: BaseException) -> None:
    try:
        after.set_result(failed(error))
    except BaseException as final:  # noqa: BLE001
        after.set_exception(final)


def chain[T, R](
    before: Future[T], step: Callable[[T], R], *, failed: Callable[[BaseException], Future[R]]
) -> Future[R]:
    """The value of ``step``; where ``before`` or ``step`` raised, whatever the future that ``failed`` starts comes to."""
    after: Future[R] = Future()
    after.set_running_or_notify_cancel()

    def run(finished: Future[T]) -> None:
        try:
            after.set_result(step(finished.result()))
        except BaseException as error:  # noqa: BLE001 whatever it was belongs to whoever waits
            try:
                failed(error).add_done_callback(pass_on)
            except BaseException as final:  # noqa: BLE001
                after.set_exception(final)

    def pass_on(finished: Future[R]) -> None:
        error = finished.exception()
        if error is not None:
            after.set_exception(error)
        else:
            after.set_result(finished.result())

    before.add_done_callback(run)
    return after

"""What crews report reaches the main thread once, in order, and nobody waits for ever."""

import threading

import pytest

from jaxopt_course._engine._crews import Listener, Reports


def hand_in(reports, *news):
    def crew():
        for report in news:
            reports.hand_in(report)

    thread = threading.Thread(target=crew)
    thread.start()
    return thread


def test_a_crew_goes_on_when_its_report_was_taken():
    reports, taken = Reports(), []
    crew = hand_in(reports, 1, 2)
    while len(taken) < 2:
        for report in reports.take(timeout=10):
            taken.append(report)
            assert reports._waiting.empty()  # the crew waits
    crew.join()
    assert taken == [1, 2]


def test_what_was_not_taken_is_there_after_the_end():
    reports = Reports()
    crews = [hand_in(reports, name) for name in "ab"]
    reports.close()
    for crew in crews:
        crew.join()
    assert sorted(reports.rest()) == ["a", "b"]


def test_there_may_be_nothing_to_take():
    reports = Reports()
    reports.wake()
    assert list(reports.take(timeout=None)) == []
    assert list(reports.take(timeout=0.01)) == []


def test_a_callback_that_raised_is_not_called_again():
    called = []

    def callback(news):
        called.append(news)
        if news == 2:
            raise KeyboardInterrupt

    listener = Listener(callback)
    listener.tell(1)
    with pytest.raises(KeyboardInterrupt):
        listener.tell(2)
    listener.tell(3)
    assert called == [1, 2]
    Listener(None).tell(1)

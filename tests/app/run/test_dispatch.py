"""Who does what, without any process: a crew that is a list of things that happen."""

from hands import item
from hilum.app.run.dispatch import Ended, outcomes
from hilum.app.run.item import Outcome


class Script:
    """A crew for whom it is written what happens to the n-th item that is given."""

    def __init__(self, count, fates):
        self.count, self.fates = count, list(fates)
        self.given, self.replaced, self.queue = [], [], []

    def give(self, worker, item):
        self.given.append((worker, item.line))
        self.queue.append((worker, self.fates.pop(0) if self.fates else Outcome()))

    def wait(self):
        return self.queue.pop(0)

    def replace(self, worker):
        self.replaced.append(worker)


def test_nobody_is_employed_who_has_nothing_to_do():
    crew = Script(5, [])
    assert len(list(outcomes([item(1), item(2)], crew))) == 2
    assert [worker for worker, _ in crew.given] == [0, 1]


def test_a_lost_item_is_taken_next_and_its_worker_replaced():
    crew = Script(1, [Ended("was lost")])
    found = list(outcomes([item(1), item(2)], crew))
    assert [line for _, line in crew.given] == [1, 1, 2]
    assert crew.replaced == [0]
    assert all(outcome.done for _, outcome in found)


def test_nobody_is_replaced_at_the_end():
    crew = Script(1, [Ended("was lost"), Ended("was lost")])
    [(_, outcome)] = outcomes([item(1)], crew)
    assert not outcome.done
    assert crew.replaced == [0]


def test_the_end_of_an_idle_worker_is_nothing():
    crew = Script(2, [])
    crew.queue = [(1, Ended("was lost"))]
    assert len(list(outcomes([item(1)], crew))) == 1

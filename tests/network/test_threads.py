"""torch's threads: what is chosen by timing, against a machine whose speed is known."""

from collections.abc import Callable

import pytest
import torch
from h2onet.network import threads
from h2onet.network.threads import ThreadTuner, pinned, use_granted_cores


class Machine:
    """A clock that a piece of work moves on by a time that depends on the threads in use."""

    def __init__(self, cores: int, seconds: Callable[[int], float], taken: float = 0.0) -> None:
        self.now, self.using, self.used, self.said = 0.0, 0, [], []
        self.seconds, self._taken = seconds, taken
        self.tuner = ThreadTuner(
            self.said.append, cores=cores, clock=lambda: self.now, use=self.use, core_use=lambda: self
        )

    def taken(self) -> float:
        """As `CoreUse.taken`."""
        return self._taken

    def use(self, count: int) -> None:
        self.using = count
        self.used.append(count)

    def work(self, pieces: int) -> None:
        for _ in range(pieces):
            with self.tuner.timed():
                self.now += self.seconds(self.using)


@pytest.mark.parametrize(
    ("cores", "seconds", "chosen", "most_tried"),
    [
        (1, lambda n: 1.0, 1, 1),
        (2, lambda n: 1.0 / n, 2, 2),
        (2, lambda n: 1.0, 1, 2),  # no gain: fewer threads
        (16, lambda n: 1.0 / n, 16, 16),
        (12, lambda n: 1.0 / n, 12, 12),
        (16, lambda n: 1.0 / n if n <= 4 else 0.3, 4, 8),
        (2, lambda n: 1.0 if n == 1 else 60.0, 1, 2),
    ],
)
def test_the_fastest_number_within_the_cores_is_found(cores, seconds, chosen, most_tried):
    machine = Machine(cores, seconds)
    machine.work(30)
    assert machine.tuner.chosen == machine.using == chosen
    assert max(machine.used) == most_tried
    assert len(machine.said) == 1 and f"torch computes with {chosen} of {cores} granted cores" in machine.said[0]


def test_a_hopeless_number_costs_one_piece_of_work():
    machine = Machine(8, lambda n: 1.0 if n == 1 else 100.0)
    machine.work(4)
    assert machine.tuner.chosen == 1 and machine.now == 103.0


def test_cores_that_others_use_are_not_even_tried_and_it_is_said_once():
    machine = Machine(2, lambda n: 1.0 if n == 1 else 100.0, taken=1.6)
    machine.work(300)
    assert set(machine.used) == {1} and machine.now == 300.0
    (chosen, busy) = machine.said
    assert "torch computes with 1 of 2" in chosen
    assert "other processes use 1.6 of the 2 granted cores (load" in busy and "stop some of them" in busy
    half = Machine(16, lambda n: 1.0 / n, taken=8.2)
    half.work(30)
    assert half.tuner.chosen == 8


def test_work_that_slows_down_is_timed_again_and_single_hitches_are_not():
    machine = Machine(2, lambda n: 1.0 / n)
    machine.work(20)
    before = len(machine.used)
    machine.now += 50.0  # a pause between two pieces of work is nobody's time
    usual, machine.seconds = machine.seconds, lambda n: 9.0
    machine.work(2)
    machine.seconds = usual
    machine.work(20)
    assert machine.using == 2 and len(machine.used) == before
    machine.seconds, machine._taken = (lambda n: 1.5 if n == 1 else 90.0), 1.0
    machine.work(30)
    assert machine.tuner.chosen == machine.using == 1
    assert [line for line in machine.said if "torch computes" in line][-1].startswith("torch computes with 1 of 2")


def test_a_machine_that_becomes_free_is_used():
    machine = Machine(2, lambda n: 1.0 if n == 1 else 20.0, taken=1.0)
    machine.work(50)
    assert machine.using == 1
    machine.seconds, machine._taken = (lambda n: 1.0 / n), 0.0
    machine.work(70)
    assert machine.using == 2


def test_granted_cores_and_pins(monkeypatch, one_thread):
    for name in threads.PINNED_BY:
        monkeypatch.delenv(name, raising=False)
    assert not pinned()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert pinned()
    torch.set_num_threads(6)
    monkeypatch.setattr(threads, "granted_cores", lambda: 4)
    use_granted_cores()
    assert torch.get_num_threads() == 4
    use_granted_cores(processes=3)
    assert torch.get_num_threads() == 1

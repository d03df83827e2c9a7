"""How many threads BLAS takes while a step runs, and that it has its own number back."""

import os
import threading

import numpy as np
import pytest

from portable_nn import Dense, Network, ReLU, get_backend, kernels
from portable_nn.errors import BackendError
from portable_nn.kernels import elementwise
from portable_nn_numpy import NumPyBackend
from portable_nn_numpy import threads as here

OTHERWISE = 3


class Library:
    """Stands for a BLAS of the process: has a number of threads, which can be set."""

    def __init__(self):
        self.threads, self.refused = OTHERWISE, False

    def get_num_threads(self):
        return self.threads

    def set_num_threads(self, threads):
        self.threads = threads


@pytest.fixture
def library(monkeypatch):
    found = Library()
    monkeypatch.setattr(here, "_libraries", lambda: [found])
    monkeypatch.setattr(here, "_measured", lambda: False)
    monkeypatch.setattr(here, "_known", [-10.0, False])
    monkeypatch.setattr(here, "_before", [])
    monkeypatch.setattr(here, "_holders", set())
    monkeypatch.setattr(here, "_cores", lambda: 8)
    return found


def looking(look):
    """A layer that changes nothing and calls a function when it runs."""

    @elementwise()
    def back(xp, grad):
        look()
        return grad * 1.0

    @elementwise(backward=lambda call, grads: [kernels.Gradient((0,), tuple(grads), back)])
    def through(xp, z):
        return z * 1.0

    class Looking:
        def forward(self, builder, x, mode):
            return builder.call(through, x)

    return Looking()


def seen_in_training(library, width, threads=None, rows=64):
    """Threads of the BLAS inside each step of an epoch, and of the steps one by one."""
    seen = []
    layers = [Dense(width), looking(lambda: seen.append(library.threads)), ReLU(), Dense(1)]
    backend = NumPyBackend(threads)
    training = Network(layers).start(loss="mean_squared_error", batch_size=16, backend=backend)
    x, y = np.ones((rows, width), np.float32), np.zeros(rows, np.float32)
    for _ in training.epoch(x, y, epoch=0):
        pass
    for batch in training.batches(x, y, epoch=1):
        training.step(batch)
    assert library.threads == OTHERWISE
    assert len(seen) == 2 * rows // 16
    assert len(set(seen)) == 1
    return seen[0]


def test_small_products_leave_blas_alone(library):
    assert seen_in_training(library, width=4) == OTHERWISE


def test_products_of_a_middle_size_take_one_thread(library):
    assert seen_in_training(library, width=64) == 1


def test_large_products_take_what_blas_has(library):
    assert seen_in_training(library, width=1024) == OTHERWISE


def test_on_a_busy_machine_large_products_take_one_thread(library, monkeypatch):
    monkeypatch.setattr(here, "_measured", lambda: True)
    assert seen_in_training(library, width=1024) == 1


def test_one_thread_of_blas_is_not_measured(library, monkeypatch):
    monkeypatch.setattr(here, "_measured", lambda: pytest.fail("there is nothing to compare"))
    library.threads = 1
    with here.Threads(None, here.ALL_THREADS):
        assert library.threads == 1


def test_the_load_is_measured_now_and_then(library, monkeypatch):
    now, measured = [100.0], []
    monkeypatch.setattr(here, "perf_counter", lambda: now[0])
    monkeypatch.setattr(here, "_measured", lambda: measured.append(now[0]) or True)
    for seconds in (100.0, 101.0, 101.9, 102.0, 103.5, 104.5):
        now[0] = seconds
        with here.Threads(None, here.ALL_THREADS):
            assert library.threads == 1
    assert measured == [100.0, 102.0, 104.5]


@pytest.mark.parametrize("width", [4, 64, 1024])
def test_a_number_given_holds_for_every_size(library, width):
    assert seen_in_training(library, width, threads=2) == 2


def test_blas_has_its_number_back_after_an_error(library):
    def fail():
        assert library.threads == 2
        raise RuntimeError

    training = Network([Dense(4), looking(fail), Dense(1)]).start(
        loss="mean_squared_error", backend=NumPyBackend(2)
    )
    batch = next(training.batches(np.ones((8, 4)), np.zeros(8), epoch=0))
    with pytest.raises(RuntimeError):
        training.step(batch)
    assert library.threads == OTHERWISE


def test_steps_of_several_threads_put_back_what_was_before_the_first(library):
    both, left = threading.Barrier(2), threading.Barrier(2)

    def first():
        with here.Threads(1, 0):
            both.wait()
        left.wait()

    other = threading.Thread(target=first)
    other.start()
    with here.Threads(2, 0):
        both.wait()
        left.wait()  # the other, that began with us, has ended
        assert library.threads != OTHERWISE
    other.join()
    assert library.threads == OTHERWISE


def test_the_blas_of_numpy_is_told():
    """Not a stand-in: a product inside runs with one thread, and afterwards all is as before."""
    before = [library.get_num_threads() for library in here._libraries()]
    assert before, "NumPy's BLAS here cannot be told; the defaults are then BLAS's own"
    with here.Threads(1, 0):
        assert [library.get_num_threads() for library in here._libraries()] == [1] * len(before)
    assert [library.get_num_threads() for library in here._libraries()] == before


def test_measuring_leaves_blas_as_it_was():
    before = [library.get_num_threads() for library in here._libraries()]
    assert here._measured() in (True, False)
    assert [library.get_num_threads() for library in here._libraries()] == before


def test_get_backend_takes_threads(library):
    backend = get_backend("numpy", threads=2)
    assert (backend.name, backend.threads) == ("numpy", 2)
    assert get_backend("numpy").threads is None
    assert get_backend(backend, threads=1).threads == 1


@pytest.mark.parametrize("threads", [0, -1, 1.0, True, "2", 5000])
def test_threads_are_a_whole_number(threads):
    with pytest.raises(BackendError, match="threads is a whole number, 1 to 1024"):
        get_backend("numpy", threads=threads)


def test_other_backends_are_told_in_their_own_way():
    pytest.importorskip("array_api_strict")
    with pytest.raises(BackendError, match="threads is for NumPy; got threads=2"):
        get_backend("array_api_strict", threads=2)


def test_a_blas_that_cannot_be_told(monkeypatch):
    monkeypatch.setattr(here, "_libraries", list)
    with pytest.raises(BackendError, match="does not let itself be told"):
        NumPyBackend(2)
    with here.Threads(None, here.ALL_THREADS):
        pass


def test_blas_has_its_number_back_after_ctrl_c_on_the_way_in(library, monkeypatch):
    def pressed(threads):
        library.threads = threads
        raise KeyboardInterrupt

    monkeypatch.setattr(library, "set_num_threads", pressed)
    with pytest.raises(KeyboardInterrupt), here.Threads(1, 0):
        pass
    monkeypatch.undo()
    assert here._holders == set()


def test_one_step_in_two_threads_gives_back_what_it_took(library):
    step = here.Threads(1, 0)
    step.__enter__()
    step.__enter__()
    step.__exit__()
    step.__exit__()
    assert (library.threads, here._holders, here._before) == (OTHERWISE, set(), [])


def test_a_thread_that_ended_inside_holds_nothing(library):
    other = threading.Thread(target=here.Threads(1, 0).__enter__)
    other.start()
    other.join()
    assert library.threads == 1
    with here.Threads(2, 0):
        pass
    assert library.threads == OTHERWISE


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # of JAX, if another test runs it
def test_a_child_that_was_forked_meanwhile_has_the_number_of_before(library):
    inside, forked = threading.Event(), threading.Event()

    def hold():
        with here.Threads(1, 0):
            inside.set()
            forked.wait()

    other = threading.Thread(target=hold)
    other.start()
    inside.wait()
    child = os.fork()
    if not child:
        os._exit(library.threads)
    forked.set()
    other.join()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == OTHERWISE
    assert library.threads == OTHERWISE


def test_more_threads_than_cores_are_warned_of(library, monkeypatch):
    monkeypatch.setattr(here, "_cores", lambda: 2)
    get_backend("numpy", threads=2)
    with pytest.warns(UserWarning, match="threads=3, but this process may use 2 cores"):
        get_backend("numpy", threads=3)


def test_the_cores_are_those_this_process_may_use():
    assert 1 <= here._cores() <= os.cpu_count()

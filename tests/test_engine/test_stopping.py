"""Signals end a training in an orderly manner; a dead worker ends it soon."""
import os
import signal
import time

import pytest
from toy_training import assert_same_run, records, train, train_in_child, train_in_children

QUIET = {'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None}


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp('straight')
    train(folder)
    return folder


@pytest.mark.parametrize('signum, workers, group', [
    (signal.SIGTERM, 0, False), (signal.SIGINT, 2, True), (signal.SIGTERM, 2, True)])
def test_signal_finishes_the_iteration_and_saves(straight, tmp_path, capfd, signum, workers, group):
    """A signal to the process group (Ctrl-C, a cluster) reaches the workers of the data loader too."""
    options = {'custom_hooks.0.signal_at': 5, 'custom_hooks.0.signum': int(signum), 'custom_hooks.0.group': group}
    started = time.monotonic()
    assert train_in_child(tmp_path, lambda: os.setpgid(0, 0), workers=workers, options=options) == 128 + signum
    assert time.monotonic() - started < 20
    assert (tmp_path / 'iter_5.pth').is_file() and len(records(tmp_path)) == 5
    said = [line for line in capfd.readouterr().out.splitlines() if 'stopped after iteration' in line]
    assert len(said) == 1 and f'{signum.name}: stopped after iteration 5 of 8; saved {tmp_path}/iter_5.pth' in said[0]
    train(tmp_path, workers=workers, options={'resume': True})
    assert_same_run(straight, tmp_path)


@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGINT])
def test_stop_waits_for_accumulated_gradients(tmp_path, signum):
    """Ten more iterations are needed, more than the workers have fetched when the signal reaches them."""
    options = {'optim_wrapper.accumulative_counts': 12, 'default_hooks.checkpoint.interval': 12, **QUIET,
               'custom_hooks.0.signal_at': 2, 'custom_hooks.0.signum': int(signum), 'custom_hooks.0.group': True}
    assert train_in_child(tmp_path, lambda: os.setpgid(0, 0), workers=2, max_iters=24, options=options) == 128 + signum
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_12.pth')


def test_all_processes_stop_after_the_same_iteration(tmp_path):
    def one_gets_a_signal(rank):
        if rank == 1:
            signal.signal(signal.SIGALRM, lambda *args: os.kill(os.getpid(), signal.SIGTERM))
            signal.setitimer(signal.ITIMER_REAL, 4)

    exit_codes = train_in_children(tmp_path, 2, one_gets_a_signal, batch_size=1, max_iters=10**4,
                                   options={**QUIET, 'default_hooks.checkpoint.interval': 10**4})
    assert exit_codes == [128 + signal.SIGTERM] * 2
    done = [len(records(tmp_path, rank)) for rank in (0, 1)]
    assert done[0] == done[1] and (tmp_path / f'iter_{done[0]}.pth').is_file()


def test_second_signal_stops_at_once(tmp_path):
    def twice():
        signal.signal(signal.SIGALRM, lambda *args: os.kill(os.getpid(), signal.SIGTERM))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)

    assert train_in_child(tmp_path, twice, options=QUIET) == -signal.SIGTERM


def test_handlers_are_given_back(tmp_path):
    before = [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)]
    train(tmp_path / 'good', max_iters=1, options=QUIET)
    with pytest.raises(Exception, match='no_such_metric'):
        train(tmp_path / 'bad', max_iters=1, val_interval=1,
              options={'default_hooks.checkpoint.save_best': 'no_such_metric', 'default_hooks.checkpoint.rule': 'less'})
    assert [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)] == before


def test_dead_worker_is_an_error_within_seconds(tmp_path, capfd):
    started = time.monotonic()
    assert train_in_child(tmp_path, workers=2, options={'train_dataloader.dataset.die_at': 7, **QUIET}) == 1
    assert time.monotonic() - started < 20
    assert 'DataLoader worker' in capfd.readouterr().err

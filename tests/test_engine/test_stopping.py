"""Signals end a training in an orderly manner; a dead worker ends it soon."""
import os
import signal
import threading
import time

import pytest
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS
from toy_training import ToyPairs, assert_same_run, records, train, train_in_child, train_in_children

from mmseg_cicld.engine.comparison_folder import final_metric

QUIET = {'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None}


@HOOKS.register_module()
class SignalInValidation(Hook):
    """Sends a signal to the process, or to its group, in the middle of the validation after an iteration."""

    def __init__(self, iteration: int, signum: int = signal.SIGTERM, group: bool = False) -> None:
        self.iteration, self.signum, self.group = iteration, signum, group

    def before_val_iter(self, runner, batch_idx: int, data_batch: dict | None = None) -> None:
        if runner.iter == self.iteration and batch_idx == 1:
            (os.killpg if self.group else os.kill)(os.getpgid(0) if self.group else os.getpid(), self.signum)


@HOOKS.register_module()
class SignalTwice(Hook):
    """Sends two signals while an iteration runs."""

    def __init__(self, iteration: int, signals: list[int]) -> None:
        self.iteration, self.signals = iteration, signals

    def before_train_iter(self, runner, batch_idx: int, data_batch: dict | None = None) -> None:
        if runner.iter + 1 == self.iteration:
            for signum in self.signals:
                os.kill(os.getpid(), signum)


@DATASETS.register_module()
class SignalWhileReading(ToyPairs):
    """Sends SIGTERM to the process that reads the pair of ``TOY_POSITION`` in its environment; no config shows it."""

    def __getitem__(self, key) -> dict:
        if key.position == int(os.environ.get('TOY_POSITION', -1)):
            os.kill(os.getpid(), signal.SIGTERM)
        return super().__getitem__(key)


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp('straight')
    train(folder)
    return folder


def own_group() -> None:
    """Leaves the group of the tests, which may themselves run under nohup."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize('signum, workers, group', [
    (signal.SIGTERM, 0, False), (signal.SIGINT, 2, True), (signal.SIGTERM, 2, True), (signal.SIGHUP, 0, False),
    (signal.SIGUSR1, 2, True), (signal.SIGUSR2, 0, False), (signal.SIGXCPU, 0, False)])
def test_signal_finishes_the_iteration_and_saves(straight, tmp_path, capfd, signum, workers, group):
    """A signal to the process group (Ctrl-C, a cluster) reaches the workers of the data loader too."""
    options = {'custom_hooks.0.signal_at': 5, 'custom_hooks.0.signum': int(signum), 'custom_hooks.0.group': group}
    started = time.monotonic()
    assert train_in_child(tmp_path, own_group, workers=workers, options=options) == 128 + signum
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


@pytest.mark.parametrize('iteration, workers', [(4, 0), (8, 2)])
def test_signal_in_a_validation_saves_at_once_and_the_validation_is_done_later(straight, tmp_path, iteration, workers):
    hooks = [dict(type='Recorder', file=str(tmp_path / 'record.jsonl')),
             dict(type='SignalInValidation', iteration=iteration, group=True)]
    codes = train_in_child(tmp_path, lambda: os.setpgid(0, 0), workers=workers, save_interval=100,
                           options={'custom_hooks': hooks})
    assert codes == 128 + signal.SIGTERM
    assert [path.name for path in tmp_path.glob('*.pth')] == [f'iter_{iteration}.pth']
    assert final_metric(tmp_path, 'mIoU', iteration) is None
    train(tmp_path, options={'resume': True})
    assert_same_run(straight, tmp_path)
    for done in (4, 8):
        assert final_metric(tmp_path, 'mIoU', done) == final_metric(straight, 'mIoU', done) is not None


def test_a_validation_that_was_due_when_a_training_stopped_is_done(straight, tmp_path):
    """The signal comes in the last iteration: the resumed command trains nothing, and gives the score."""
    options = {'custom_hooks.0.signal_at': 8, 'custom_hooks.0.signum': int(signal.SIGTERM)}
    assert train_in_child(tmp_path, options=options) == 128 + signal.SIGTERM
    assert final_metric(tmp_path, 'mIoU', 8) is None
    runner = train(tmp_path, options={'resume': True})
    assert len(records(tmp_path)) == 8
    assert runner.message_hub.get_scalar('val/mIoU').current() == final_metric(straight, 'mIoU', 8)


def test_signal_while_data_are_read_saves_at_once(straight, tmp_path):
    options = {'train_dataloader.dataset.type': 'SignalWhileReading'}
    code = train_in_child(tmp_path, lambda: os.environ.update(TOY_POSITION='9'), options=options)
    assert code == 128 + signal.SIGTERM
    assert (tmp_path / 'iter_4.pth').is_file() and len(records(tmp_path)) == 4
    train(tmp_path, options=options | {'resume': True})
    assert_same_run(straight, tmp_path)


def test_signal_before_the_first_iteration_saves_nothing(tmp_path, capfd):
    options = {'train_dataloader.dataset.type': 'SignalWhileReading'}
    code = train_in_child(tmp_path, lambda: os.environ.update(TOY_POSITION='1'), options=options)
    assert code == 128 + signal.SIGTERM
    assert not list(tmp_path.glob('*.pth'))
    assert 'stopped after iteration 0 of 8; nothing was trained that is not saved' in capfd.readouterr().out


def test_processes_save_at_once_in_a_validation_and_stop_together(tmp_path):
    options = {'custom_hooks': [dict(type='SignalInValidation', iteration=4)]}
    assert train_in_children(tmp_path, 2, batch_size=1, save_interval=100, options=options) == [143, 143]
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['iter_4.pth', 'iter_5.pth']


def test_nohup_keeps_its_meaning(tmp_path):
    options = {**QUIET, 'custom_hooks.0.signal_at': 5, 'custom_hooks.0.signum': int(signal.SIGHUP)}
    assert train_in_child(tmp_path, lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN), options=options) == 0
    assert len(records(tmp_path)) == 8


@pytest.mark.parametrize('signals', [(signal.SIGTERM, signal.SIGTERM), (signal.SIGUSR1, signal.SIGTERM)])
def test_second_signal_stops_at_once_if_it_is_the_same(tmp_path, signals):
    options = {**QUIET, 'custom_hooks': [dict(type='SignalTwice', iteration=4, signals=[int(signum) for signum in signals])]}
    code = train_in_child(tmp_path, own_group, options=options)
    again = signals[0] == signals[1]
    assert code == (-signal.SIGTERM if again else 128 + signal.SIGUSR1)
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == (['iter_3.pth'] if again else ['iter_3.pth', 'iter_4.pth'])


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


def test_a_training_in_a_thread_runs_to_its_end(tmp_path):
    """Notebooks and services do so; signals cannot be taken over there."""
    failed = []

    def body() -> None:
        try:
            train(tmp_path)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert not failed and (tmp_path / 'iter_8.pth').is_file()

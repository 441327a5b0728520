"""A folder has one owner at a time, who loses it by ending in whatever way."""
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from toy_training import train_in_children

from mmseg_cicld.engine import CheckpointError
from mmseg_cicld.engine.folder_lock import OWNER, locked_folder

FORK = multiprocessing.get_context('fork')


def _hold(folder: Path, held: 'multiprocessing.SimpleQueue[int]') -> None:
    """Holds the folder with a worker of its own, until both are killed."""
    with locked_folder(folder):
        worker = os.fork()
        if worker:
            held.put(worker)
        time.sleep(60)


@pytest.fixture
def holder(tmp_path):
    """A process that holds the folder, and a process that it has forked."""
    held = FORK.SimpleQueue()
    process = FORK.Process(target=_hold, args=(tmp_path / 'folder', held))
    process.start()
    worker = held.get()
    yield process
    process.kill()
    process.join()
    os.kill(worker, signal.SIGKILL)


def test_a_second_owner_is_told_who_the_first_is(holder, tmp_path):
    with pytest.raises(CheckpointError, match=rf'held by process {holder.pid} on .* give another folder'):
        with locked_folder(tmp_path / 'folder'):
            pytest.fail('two owners')
    with locked_folder(tmp_path / 'another'):
        pass


def test_a_killed_owner_holds_nothing_though_its_worker_lives(holder, tmp_path):
    holder.kill()
    holder.join()
    with locked_folder(tmp_path / 'folder'):
        assert (tmp_path / 'folder' / OWNER).read_text().startswith(f'process {os.getpid()} on ')


def test_an_owner_that_ends_with_an_error_leaves_the_folder(tmp_path):
    with pytest.raises(RuntimeError), locked_folder(tmp_path):
        raise RuntimeError
    process = FORK.Process(target=_enter, args=(tmp_path, ))
    process.start()
    process.join()
    assert process.exitcode == 0


def _enter(folder: Path) -> None:
    with locked_folder(folder):
        pass


@pytest.mark.parametrize('launcher, variable', [('pytorch', 'RANK'), ('slurm', 'SLURM_PROCID'),
                                                ('mpi', 'OMPI_COMM_WORLD_RANK')])
def test_processes_of_one_launch_are_one_owner(holder, tmp_path, monkeypatch, launcher, variable):
    monkeypatch.setenv(variable, '1')
    with locked_folder(tmp_path / 'folder', launcher):
        pass
    monkeypatch.setenv(variable, '0')
    with pytest.raises(CheckpointError, match='is held by'), locked_folder(tmp_path / 'folder', launcher):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(CheckpointError, match='running.lock: cannot be written'):
        with locked_folder(tmp_path / 'file'):
            pass


@pytest.mark.parametrize('processes', [0, 2])
def test_a_second_training_in_a_work_dir_changes_nothing_there(holder, tmp_path, capfd, processes):
    before = sorted(path.name for path in (tmp_path / 'folder').iterdir())
    assert train_in_children(tmp_path / 'folder', processes, batch_size=1) == [1] * max(processes, 1)
    said = [line for line in capfd.readouterr().err.splitlines() if 'CheckpointError: ' in line]
    assert len(said) == max(processes, 1) and all(f'is held by process {holder.pid} on ' in line for line in said)
    after = sorted(path.name for path in (tmp_path / 'folder').iterdir() if not path.is_dir())
    assert after == before
    holder.kill()
    holder.join()
    assert train_in_children(tmp_path / 'folder', processes, batch_size=1, max_iters=1) == [0] * max(processes, 1)
    assert not (tmp_path / 'folder' / OWNER).exists()

"""Files appear whole or not at all, also where two processes write the same one."""
import multiprocessing
import os

import pytest

from mmseg_cicld.atomic_files import remove_leftovers, replacing, write_synced

FORK = multiprocessing.get_context('fork')


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    path, contents = tmp_path / 'folder/file', [bytes([letter]) * 200_000 for letter in b'ab']

    def write(content: bytes) -> None:
        for _ in range(40):
            write_synced(path, lambda stream: [stream.write(content[:100_000]), stream.write(content[100_000:])])

    writers = [FORK.Process(target=write, args=(content, )) for content in contents]
    for writer in writers:
        writer.start()
    seen = 0
    while any(writer.is_alive() for writer in writers):
        if path.is_file():
            assert path.read_bytes() in contents
            seen += 1
    assert seen and [writer.exitcode for writer in writers] == [0, 0]
    assert os.listdir(path.parent) == ['file']


def test_what_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / 'file'
    write_synced(path, lambda stream: stream.write(b'old'))
    with pytest.raises(ZeroDivisionError):
        write_synced(path, lambda stream: stream.write(b'new' * (1 // 0)))
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_bytes(b'half')
        raise RuntimeError
    assert path.read_bytes() == b'old' and os.listdir(tmp_path) == ['file']


def test_leftovers_of_killed_programs_are_removed(tmp_path):
    def die() -> None:
        with replacing(tmp_path / 'file') as temporary:
            temporary.write_bytes(b'half')
            os._exit(1)

    process = FORK.Process(target=die)
    process.start()
    process.join()
    (tmp_path / 'mine.tmp').touch()
    assert os.listdir(tmp_path) != ['mine.tmp']
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ['mine.tmp']

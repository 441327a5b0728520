"""The allocator keeps what a training frees: processes of their own, because it stays so."""
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from mmseg_cicld.engine import freed_memory

HUGE_PAGES = Path('/sys/kernel/mm/transparent_hugepage/enabled')
BLOCKS = """
import ctypes, resource, runpy, sys
keep = runpy.run_path(sys.argv[1])['keep_freed_memory']
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]

def faults(size, number):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [library.malloc(size) for _ in range(number)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for block in blocks:
        library.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1])

faults(24 << 20, 6)
fresh = faults(24 << 20, 6)
assert keep()
faults(24 << 20, 6)
kept, before = faults(24 << 20, 6), resident()
faults(64 << 20, 2)
print(fresh, kept, resident() - before)
"""
TENSORS = """
import resource, runpy, sys, torch
assert runpy.run_path(sys.argv[1])['keep_freed_memory']()
torch.ones(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    torch.ones(64 << 18)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only for the allocator of glibc')


def printed(code: str, *arguments: str, **variables: str) -> list[int]:
    output = subprocess.run([sys.executable, '-c', code, *arguments], capture_output=True, text=True, check=True,
                            env=os.environ | variables).stdout
    return list(map(int, output.split()))


@glibc
def test_blocks_are_cleared_by_the_system_only_once_and_large_ones_go_back():
    fresh, kept, more = printed(BLOCKS, freed_memory.__file__)
    assert kept < fresh / 10
    assert more < 1000, 'pages of 4 KiB: two blocks of 64 MiB are 32768'


@glibc
@pytest.mark.skipif(not HUGE_PAGES.exists() or '[never]' in HUGE_PAGES.read_text(), reason='this system has no huge pages')
def test_large_tensors_lie_in_large_pages(monkeypatch):
    monkeypatch.delenv('THP_MEM_ALLOC_ENABLE', raising=False)
    found, = printed(TENSORS, freed_memory.__file__)
    assert found < 4 * 16384 / 10, 'pages of 4 KiB: a tensor of 64 MiB is 16384'


@glibc
def test_large_pages_can_be_turned_off():
    keep = "import os, runpy, sys; runpy.run_path(sys.argv[1])['keep_freed_memory'](); print(os.environ['THP_MEM_ALLOC_ENABLE'])"
    assert printed(keep, freed_memory.__file__, THP_MEM_ALLOC_ENABLE='0') == [0]


def test_other_allocators_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, 'libc_ver', lambda: ('', ''))
    assert not freed_memory.keep_freed_memory()

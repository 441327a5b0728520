"""The allocator keeps what a training frees: a process of its own, because it stays so."""
import platform
import subprocess
import sys

import pytest

from mmseg_cicld.engine import freed_memory

FAULTS = """
import ctypes, resource, runpy, sys
keep = runpy.run_path(sys.argv[1])['keep_freed_memory']
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = library.malloc(64 << 20)
    ctypes.memset(block, 1, 64 << 20)
    library.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
fresh = faults()
assert keep()
faults()
print(fresh, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only for the allocator of glibc')
def test_a_block_is_cleared_by_the_system_only_once():
    output = subprocess.run([sys.executable, '-c', FAULTS, freed_memory.__file__], capture_output=True, text=True,
                            check=True).stdout
    fresh, kept = map(int, output.split())
    assert kept < fresh / 10


def test_other_allocators_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, 'libc_ver', lambda: ('', ''))
    assert not freed_memory.keep_freed_memory()

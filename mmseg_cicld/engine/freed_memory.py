"""Memory that a training on a CPU frees is kept for its next tensors instead of going back to the system."""
import ctypes
import os
import platform

# Parameters of glibc's mallopt (malloc.h), and the largest size at which it may begin to ask the system for a block.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_THRESHOLD = 32 * 2**20


def keep_freed_memory() -> bool:
    """Lets glibc's allocator keep what is freed, up to blocks of 32 MiB; other C libraries are left as they are.

    glibc gives freed memory back, and the system clears each page when it is first touched again. A step makes hundreds
    of feature maps; clearing took as long as computing with them. Larger blocks still go back: kept, they are cut up by
    smaller tensors, and the process grew by 8 %. For them torch asks for pages of 2 MiB, which the system hands out
    and clears faster, unless ``THP_MEM_ALLOC_ENABLE`` is set already. torch reads that with its first tensor.

    Returns:
        Whether the allocator was told so.
    """
    if platform.libc_ver()[0] != 'glibc':
        return False
    os.environ.setdefault('THP_MEM_ALLOC_ENABLE', '1')
    library = ctypes.CDLL(None)
    return bool(library.mallopt(M_MMAP_THRESHOLD, LARGEST_THRESHOLD) and library.mallopt(M_TRIM_THRESHOLD, -1))

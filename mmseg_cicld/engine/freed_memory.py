"""Memory that a training on a CPU frees is kept for its next tensors instead of going back to the system."""
import ctypes
import platform

# Parameters of glibc's mallopt (malloc.h).
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Lets glibc's allocator keep what is freed; other C libraries are left as they are.

    glibc asks the system for every block of 32 MiB and more anew and gives it back at once, and the system clears each
    page when it is first touched. A step makes dozens of feature maps of that size: clearing took as long as computing
    with them. The process holds the memory of its peak from then on, which it needs in every step.

    Returns:
        Whether the allocator was told so.
    """
    if platform.libc_ver()[0] != 'glibc':
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(M_MMAP_MAX, 0) and library.mallopt(M_TRIM_THRESHOLD, -1))

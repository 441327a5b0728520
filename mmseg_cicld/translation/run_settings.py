"""What one translation of a dataset is asked to do, and how it is told apart from another one."""
import copy
import difflib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from mmengine.config import Config

from ..settings import Settings, build_settings
from .errors import TranslationError
from .measurement import ReportSettings
from .quality_filter import FilterThresholds
from .source_images import SourceImages
from .tiling import TileSettings

LABEL_MODES = ('symlink', 'hardlink', 'copy')
REQUIRED = ('source', 'diffusion', 'segmentor', 'translation', 'guidance')
_REVISION = 1  # raised when the same settings give other images


@dataclass(frozen=True)
class RunSettings:
    """The keys of a translation config.

    Args:
        source: Config of a labelled dataset.
        diffusion: Folder (or hub name) of a diffusion model of the target domain, see :class:`ImageDiffusion`.
        segmentor: The guide, ``dict(config=FILE, checkpoint=FILE)``; None without guidance.
        translation: See :class:`TranslationSettings`.
        guidance: See :class:`SemanticGuidance`; None translates unguided.
        batch_size: Number of tiles, or of whole images, that are translated at once.
        tile: ``dict(size=(HEIGHT, WIDTH), overlap=PIXELS)``; None takes images whole.
        working_size: Height and width at which images are translated; they are written in their own size. None: as
            they are stored.
        dtype: Number format of the networks: ``'bfloat16'``, ``'auto'`` (that on a device with units for it), None for
            float32.
        seed: Seed of all noise.
        labels: How labels get into the output: ``'symlink'``, ``'hardlink'`` or ``'copy'``.
        quality_filter: ``dict(segmentor=dict(config, checkpoint), pixel_confidence=..., region_agreement=...,
            image_agreement=...)``, see :class:`FilterThresholds`; None trusts every label.
        report: See :class:`ReportSettings`; None writes no report.

    Raises:
        TranslationError: If a value is out of range or does not fit another one.
    """

    source: dict
    diffusion: str
    segmentor: dict | None
    translation: dict
    guidance: dict | None
    batch_size: int = 1
    tile: dict | None = None
    working_size: tuple[int, int] | None = None
    dtype: str | None = None
    seed: int = 0
    labels: str = 'symlink'
    quality_filter: dict | None = None
    report: dict | None = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.segmentor is None) != (self.guidance is None):
            raise TranslationError('segmentor is the guide of guidance: set both, or both to None (unguided)')
        if self.labels not in LABEL_MODES:
            raise TranslationError(f'labels={self.labels!r}: allowed are {", ".join(map(repr, LABEL_MODES))}')
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise TranslationError(f'batch_size={self.batch_size!r}: give a number of images, 1 or more')
        if self.working_size is not None and (len(self.working_size) != 2 or min(self.working_size) < 1):
            raise TranslationError(f'working_size={self.working_size!r}: give a height and a width in pixels, or None')
        _ = self.tile_settings, self.filter_thresholds, self.report_settings  # wrong ones are refused now

    @classmethod
    def from_config(cls, config: Config | Mapping) -> 'RunSettings':
        """Takes its keys out of a config, which may hold others.

        Raises:
            TranslationError: If a key is missing, or another one looks like a misspelt key.
        """
        config = config.to_dict() if isinstance(config, Config) else copy.deepcopy(dict(config))
        known = [entry.name for entry in fields(cls)]
        missing = [key for key in REQUIRED if key not in config]
        if missing:
            raise TranslationError(f'the config lacks {", ".join(missing)}: a translation needs {", ".join(REQUIRED)} '
                                   '(segmentor=None and guidance=None translate unguided)')
        for key in config.keys() - set(known):
            if alike := difflib.get_close_matches(key, known, n=1, cutoff=0.87):
                raise TranslationError(f'the config has the key {key!r}, which nothing reads: is {alike[0]!r} meant?')
        return cls(**{key: config[key] for key in known if key in config})

    @property
    def tile_settings(self) -> TileSettings | None:
        """How images are cut."""
        return _built(TileSettings, 'tile', self.tile)

    @property
    def filter_thresholds(self) -> FilterThresholds | None:
        """When a label is not trusted."""
        return _built(FilterThresholds, 'quality_filter', _without(self.quality_filter, 'segmentor'))

    @property
    def report_settings(self) -> ReportSettings | None:
        """What is measured and shown."""
        return _built(ReportSettings, 'report', self.report)

    def identity(self, source: SourceImages) -> dict:
        """Describes all that decides over the written images and labels, as plain JSON.

        Networks are described by the content of their files, so that a retrained one counts as another one. How the
        work is shared out (batch size, processes) is no part of it.
        """
        names = ''.join(f'{file.name}\n' for file in source.files)
        content = dict(
            revision=_REVISION,
            source=dict(source.config, data_root=os.path.realpath(source.root)),
            images=dict(count=len(source.files), names=_digest(names.encode())),
            diffusion=_folder_digest(self.diffusion), segmentor=_segmentor_identity(self.segmentor),
            quality_filter=_filter_identity(self.quality_filter),
            **{key: getattr(self, key) for key in ('translation', 'guidance', 'tile', 'working_size', 'dtype', 'seed',
                                                   'labels')})
        return json.loads(json.dumps(content, default=str))

    def report_identity(self) -> dict:
        """Describes all that decides over the report, as plain JSON."""
        settings = self.report_settings
        features = settings.features
        if features is not None:
            features = _segmentor_identity(features) | dict(size=features.get('size'))
        content = dict(segmentor=_segmentor_identity(settings.segmentor), features=features,
                       target=_without(settings.target, 'pipeline'), rows=settings.rows)
        return json.loads(json.dumps(content, default=str))

    def guide_measures(self) -> bool:
        """Whether the report compares labels with predictions of the guide itself."""
        measures = self.report_settings.segmentor
        return measures is not None and _segmentor_identity(measures) == _segmentor_identity(self.segmentor)


def _without(entry: dict | None, key: str) -> dict | None:
    return None if entry is None else {name: value for name, value in entry.items() if name != key}


def _built(kind: type[Settings], key: str, entry: dict | None) -> Settings | None:
    try:
        return None if entry is None else build_settings(kind, entry, key)
    except TypeError as error:  # an argument is missing
        raise TranslationError(f'{key}={entry}: {error}') from error
    except ValueError as error:
        raise TranslationError(str(error)) from error


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open('rb') as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=12)).hexdigest()


def _folder_digest(folder: str) -> str:
    root = Path(folder)
    if not root.is_dir():
        return folder  # a name on the hub
    parts = sorted(path for path in root.rglob('*') if path.suffix in ('.json', '.safetensors', '.bin'))
    return _digest(''.join(f'{path.relative_to(root).as_posix()} {_file_digest(path)}\n' for path in parts).encode())


def _segmentor_identity(entry: dict | None) -> dict | None:
    """Network and weights of ``dict(config, checkpoint)``; what is not there is complained about where it is built."""
    if entry is None:
        return None
    config, checkpoint = entry.get('config'), Path(entry.get('checkpoint') or '')
    if isinstance(config, (str, Path)) and Path(config).is_file():
        config = Config.fromfile(config)
    model = config.get('model') if isinstance(config, Mapping | Config) else config
    return dict(model=_digest(json.dumps(model, sort_keys=True, default=str).encode()),
                checkpoint=_file_digest(checkpoint) if checkpoint.is_file() else str(checkpoint))


def _filter_identity(entry: dict | None) -> dict | None:
    return None if entry is None else dict(entry, segmentor=_segmentor_identity(entry.get('segmentor')))

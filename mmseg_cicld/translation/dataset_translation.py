"""Translates a whole labelled dataset: by several processes, in any number of attempts, with the same result.

Source: SGG (Peng et al., ICCV 2023), section 3; quality filter and report are ours.
"""
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ..datasets.class_statistics import count_pixels
from ..engine.folder_lock import locked_folder
from ..ignore_index import IGNORE_INDEX
from ..models.inference import lean_segmentor
from ..progress import Progress
from ..settings import build_settings
from .dataset_writer import DatasetWriter
from .errors import TranslationError
from .image_diffusion import ImageDiffusion
from .image_translation import ImageTranslation, NamedImage
from .label_agreement import load_segmentor
from .processes import Processes, all_processes
from .quality_filter import QualityFilter
from .report import Reporter
from .reverse_steps import TranslationSettings
from .run_settings import RunSettings
from .segmentation_guide import SegmentationGuide
from .source_images import SourceFile, SourceImage, SourceImages
from .translator import Translator


def translate_dataset(config: Config | Mapping, output: str | Path, report: Callable[[str], None] = print) -> Path:
    """Translates a labelled dataset into a folder that its own config reads with another ``data_root``.

    To be called by all processes of a distributed run. What is finished is kept: after whatever stopped it, the same
    call goes on. The result depends neither on the number of processes nor on stops.

    Args:
        config: With the keys of :class:`RunSettings`; other keys are left alone.
        output: The folder to write.
        report: Takes lines about the progress.

    Returns:
        ``output``.

    Raises:
        TranslationError: If the translation cannot start or go on; the message says why and what to do.
        CheckpointError: If another launch writes to the folder, or a segmentor cannot be read.
    """
    settings = RunSettings.from_config(config)
    init_default_scope('mmseg')
    source = SourceImages(settings.source)
    writer = DatasetWriter(output, source, settings.labels)
    with all_processes() as processes, locked_folder(writer.folder, 'pytorch'):
        if processes.rank == 0:
            writer.open(settings.identity(source))
        processes.wait()
        writer.load_finished()
        todo = unfinished_batches(source.files, writer, settings.batch_size, processes)
        # Faults of its networks show before the work begins.
        reporter = Reporter.prepare(settings, source, writer, device())
        if todo:
            _translate(todo, settings, source, writer, processes, report)
        processes.wait()
        if processes.rank == 0:
            writer.close()
        processes.wait()
        if reporter is not None:
            reporter.measure_and_write(processes, report)
            processes.wait()
    return Path(output)


def unfinished_batches(files: Sequence[SourceFile], writer: DatasetWriter, batch_size: int, processes: Processes
                       ) -> list[Sequence[SourceFile]]:
    """Lists what is left to do for one process.

    Which images share a batch depends neither on the number of processes nor on what is finished: the last bits of an
    image may depend on its batch. So an unfinished batch is translated as a whole, and only what is missing is written.
    """
    batches = [files[start:start + batch_size] for start in range(0, len(files), batch_size)]
    return [batch for batch in batches[processes.rank::processes.count]
            if not all(writer.is_finished(file) for file in batch)]


def device() -> torch.device:
    """The GPU of this process, or the CPU."""
    return torch.device('cuda', torch.cuda.current_device()) if torch.cuda.is_available() else torch.device('cpu')


def _translate(todo: Sequence[Sequence[SourceFile]], settings: RunSettings, source: SourceImages, writer: DatasetWriter,
               processes: Processes, report: Callable[[str], None]) -> None:
    classes = len(source.classes)
    translation, quality_filter = _build_translation(settings, classes), _build_filter(settings, classes)
    title = 'translated' + (f' by process {processes.rank} of {processes.count}' if processes.count > 1 else '')
    progress, done, total = Progress(report), 0, sum(map(len, todo))
    progress.plan(title, title)
    progress.start(title)
    with ThreadPoolExecutor(2) as pool:  # while one batch is translated, the next is read and the last one written
        reading = pool.submit(_read, source, todo[0])
        writing: Future | None = None
        for batch, following in zip(todo, [*todo[1:], None]):
            images = reading.result()
            if following is not None:
                reading = pool.submit(_read, source, following)
            results = translation([NamedImage(file.name, image.image_HW3, image.label_HW)
                                   for file, image in zip(batch, images)])
            finished = [_finish(quality_filter, image, result_HW3) for image, result_HW3 in zip(images, results)]
            if writing is not None:
                writing.result()
            writing = pool.submit(_write, writer, batch, finished)
            done += len(batch)
            progress.update(title, done, total, 'images')
        writing.result()


def _build_translation(settings: RunSettings, classes: int) -> ImageTranslation:
    diffusion = ImageDiffusion.from_folder(settings.diffusion)
    try:
        if settings.tile_settings is not None:
            diffusion.check_size(*settings.tile_settings.size, remedy='change tile.size')
        guide = (None if settings.segmentor is None else SegmentationGuide(lean_segmentor(
            load_segmentor(settings.segmentor, 'segmentor', classes, device()))))
        how = build_settings(TranslationSettings, settings.translation, 'translation')
        translator = Translator(diffusion, guide, how, settings.guidance, settings.dtype)
        translator.to(device(), memory_format=torch.channels_last)
    except ValueError as error:
        raise TranslationError(str(error)) from error
    return ImageTranslation(translator, settings.seed, diffusion.size_multiple, settings.batch_size,
                            settings.tile_settings, settings.working_size, _trained_size(diffusion), device())


def _trained_size(diffusion: ImageDiffusion) -> tuple[int, int] | None:
    """Height and width of the training images in pixels, if the UNet's config has them."""
    size = diffusion.unet.config.sample_size
    if size is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    return height * diffusion.stride, width * diffusion.stride


def _build_filter(settings: RunSettings, classes: int) -> QualityFilter | None:
    if settings.quality_filter is None:
        return None
    segmentor = load_segmentor(settings.quality_filter.get('segmentor'), 'quality_filter.segmentor', classes, device())
    return QualityFilter(segmentor, settings.filter_thresholds, settings.working_size)


@dataclass(frozen=True)
class _Finished:
    """What is written of one image, see :meth:`DatasetWriter.write`."""

    image_HW3: np.ndarray
    stored_HW: np.ndarray | None
    record: dict


def _finish(quality_filter: QualityFilter | None, source: SourceImage, translated_HW3: np.ndarray) -> _Finished:
    labelled = int((source.label_HW != IGNORE_INDEX).sum())
    if quality_filter is None:
        return _Finished(translated_HW3, None, dict(classes=count_pixels(source.label_HW), labelled=labelled, masked=0,
                                                    dropped=False))
    verdict = quality_filter(translated_HW3, source.label_HW)
    masked = int(verdict.untrusted_HW.sum())
    left_HW = np.where(verdict.untrusted_HW, IGNORE_INDEX, source.label_HW)
    record = dict(classes=count_pixels(left_HW), labelled=labelled, masked=masked, dropped=verdict.dropped,
                  agreement=verdict.agreement)
    # Ignored pixels are 255 in label files too, whatever the dataset makes of other numbers.
    stored_HW = np.where(verdict.untrusted_HW, IGNORE_INDEX, source.stored_HW).astype(np.uint8) if masked else None
    return _Finished(translated_HW3, stored_HW, record)


def _read(source: SourceImages, batch: Sequence[SourceFile]) -> list[SourceImage]:
    return [source.read(file) for file in batch]


def _write(writer: DatasetWriter, batch: Sequence[SourceFile], finished: Sequence[_Finished]) -> None:
    for file, result in zip(batch, finished, strict=True):
        if not writer.is_finished(file):
            writer.write(file, result.image_HW3, result.stored_HW, result.record)

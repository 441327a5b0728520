"""The report of a translated dataset: what has become of images and labels, in pictures and numbers."""
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from ..datasets.file_writing import write_bytes
from ..visualization.panel import colorize
from ..visualization.report_parts import (ImageRow, class_section, number_cards, picture_section, table_section,
                                          write_page)
from .dataset_writer import DatasetWriter, explained
from .image_translation import resized
from .label_agreement import predict
from .measurement import Instruments, measure
from .processes import Processes
from .run_settings import RunSettings
from .source_images import SourceFile, SourceImages

BEFORE, AFTER = 'source', 'translated'
_CSS_CLASSES = {BEFORE: 'source', AFTER: 'adapted'}
_PICTURE_WIDTH = 480


@dataclass(frozen=True)
class Reporter:
    """Measures a finished translation and writes ``report.json`` and ``report.html``.

    Args:
        settings: Those of the translation.
        source: What was translated.
        writer: What wrote it.
        instruments: What measures.
    """

    settings: RunSettings
    source: SourceImages
    writer: DatasetWriter
    instruments: Instruments

    @classmethod
    def prepare(cls, settings: RunSettings, source: SourceImages, writer: DatasetWriter, device: torch.device
                ) -> 'Reporter | None':
        """Builds what measures; None if no report is wanted, or if it is there already.

        Raises:
            TranslationError: If a network or the target images are not as they must be.
        """
        if settings.report is None or _asked_before(writer.folder / 'report.json') == settings.report_identity():
            return None
        return cls(settings, source, writer, Instruments.build(settings.report_settings, len(source.classes), device))

    def measure_and_write(self, processes: Processes, report: Callable[[str], None]) -> None:
        """Measures, each process a share, and writes the report in one of them; ``report`` takes a line."""
        records = self.writer.records()
        kept = [file for file, record in zip(self.source.files, records, strict=True) if not record['dropped']]
        share = slice(processes.rank, None, processes.count)
        size = self.settings.working_size
        own = measure(kept, self.source, self.writer.root, size, self.instruments, share,
                      report if processes.rank == 0 else _silent)
        total, *parts = processes.gather(own)
        if processes.rank > 0:
            return
        for part in parts:
            total.merge(part)
        summary = dict(asked=self.settings.report_identity(), **_counts(records), **total.summary(self.source.classes))
        shown = _spread(kept, self.settings.report_settings.rows)
        rows = _rows(shown, self.source, self.writer.root, size, self.instruments)
        page, path = self.writer.folder / 'report.html', self.writer.folder / 'report.json'
        with explained(page):
            write_translation_page(page, summary, rows, self.source.classes, self.source.palette,
                                   self.settings.guide_measures())
            # Written last: it is there only if the page is.
            write_bytes(str(path), (json.dumps(summary, indent=2) + '\n').encode())
        report(f'report: {page}')


def write_translation_page(path: Path, summary: Mapping, rows: Sequence[ImageRow], classes: Sequence[str],
                           palette: Sequence[Sequence[int]], guide_measures: bool) -> None:
    """Writes the HTML page.

    Args:
        path: The file; its folder must exist.
        summary: What is in ``report.json``.
        rows: Pictures.
        classes: Names by class id.
        palette: RGB by class id.
        guide_measures: Whether labels were compared with predictions of the network that guided the translation.
    """
    colors = {name: f'rgb({color[0]},{color[1]},{color[2]})' for name, color in zip(classes, palette)}
    images = summary['images']
    body = ['<p class="eyebrow">mmseg_cicld · image translation</p>\n'
            f'<h1>{images["written"]} of {images["source"]} source images, translated</h1>', _numbers(summary)]
    if 'label_agreement' in summary:
        body.append(_agreement(summary['label_agreement'], colors, guide_measures))
    body.append(picture_section('Before and after', 'Black in labels: ignored. The filtered label is what was written: '
                                'black where the quality filter took the label away.', rows, colors))
    body.append(table_section('What was measured', _tables(summary)))
    write_page(path, 'Image translation', body)


def _silent(line: str) -> None:
    """One process speaks for all, whose shares are alike."""


def _asked_before(path: Path) -> dict | None:
    return json.loads(path.read_text(encoding='utf-8'))['asked'] if path.is_file() else None


def _counts(records: Sequence[Mapping]) -> dict:
    kept = [record for record in records if not record['dropped']]
    labelled, masked = (sum(record[key] for record in kept) for key in ('labelled', 'masked'))
    return dict(images=dict(source=len(records), written=len(kept), dropped=len(records) - len(kept)),
                labelled_pixels=labelled, masked_pixels=masked, masked_share=masked / max(labelled, 1))


def _numbers(summary: Mapping) -> str:
    cards = []
    if 'label_agreement' in summary:
        agreement = summary['label_agreement']
        cards = [(css, f'{100 * agreement[name]["mean_iou"]:.1f}', f'label agreement, {name} (mIoU, %)')
                 for css, name in (('source', 'before'), ('adapted', 'after'))]
    if 'frechet_distance' in summary:
        distance = summary['frechet_distance']
        count = min(distance['images'].values())
        cards += [(css, f'{distance[name]:.4g}', f'Frechet distance to the target, {name} ({count} images)')
                  for css, name in (('source', 'before'), ('adapted', 'after'))]
    return number_cards([*cards, ('loss', f'{100 * summary["masked_share"]:.1f}', 'of labelled pixels masked (%)')])


def _agreement(agreement: Mapping, colors: Mapping[str, str], guide_measures: bool) -> str:
    note = 'IoU (%) of the predictions of a segmentor with the labels of the source, source → translated.'
    if guide_measures:
        note += (' This segmentor guided the translation, so it finds what it put there: for an honest number set '
                 'report.segmentor to another one.')
    percent = {part: {name: None if iou is None else 100 * iou for name, iou in agreement[part]['class_iou'].items()}
               for part in ('before', 'after')}
    values = {name: {BEFORE: percent['before'][name], AFTER: percent['after'][name]} for name in percent['before']}
    return class_section(note, values, colors, _CSS_CLASSES)


def _tables(summary: Mapping) -> dict[str, dict]:
    tables = {'Images': {f'images: {key}': value for key, value in summary['images'].items()}}
    tables['Images'] |= {'labelled pixels': summary['labelled_pixels'],
                         'masked by the filter': summary['masked_pixels']}
    titles = dict(before='source', after='translated', after_filter='translated, labels left by the filter')
    for part, numbers in summary.get('label_agreement', {}).items():
        tables.setdefault('Label agreement', {}).update({
            f'{titles[part]}: pixel accuracy (%)': 100 * numbers['pixel_accuracy'],
            f'{titles[part]}: mIoU (%)': 100 * numbers['mean_iou']})
    if 'frechet_distance' in summary:
        distance = summary['frechet_distance']
        tables['Frechet distance'] = {
            f'Frechet distance, {titles[part]} to target': distance[part] for part in ('before', 'after')}
        tables['Frechet distance'] |= {f'images: {name}': count for name, count in distance['images'].items()}
    return tables


def _spread(files: Sequence[SourceFile], count: int) -> list[SourceFile]:
    places = np.unique(np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int))
    return [files[place] for place in places]


def _rows(files: Sequence[SourceFile], source: SourceImages, output: Path, working_size: tuple[int, int] | None,
          instruments: Instruments) -> list[ImageRow]:
    rows = []
    for file in files:
        before, after = source.read(file), source.read(file.at(output))
        pictures = {'source': before.image_HW3, 'translated': after.image_HW3,
                    'label': colorize(before.label_HW, source.palette)}
        if (before.label_HW != after.label_HW).any():
            pictures['filtered label'] = colorize(after.label_HW, source.palette)
        if instruments.segmentor is not None:
            for name, image in (('source', before), ('translated', after)):
                seen_HW3, _ = resized(image.image_HW3, image.label_HW, working_size)
                prediction_HW, _ = predict(instruments.segmentor, seen_HW3)
                pictures[f'prediction, {name}'] = colorize(prediction_HW, source.palette)
        rows.append(ImageRow({name: _shown(picture) for name, picture in pictures.items()}))
    return rows


def _shown(picture_HW3: np.ndarray) -> np.ndarray:
    """Shrinks what is wider than the page shows."""
    height, width = picture_HW3.shape[:2]
    if width <= _PICTURE_WIDTH:
        return picture_HW3
    return cv2.resize(picture_HW3, (_PICTURE_WIDTH, max(1, round(height * _PICTURE_WIDTH / width))),
                      interpolation=cv2.INTER_AREA)

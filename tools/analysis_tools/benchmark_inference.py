"""Measures how long prediction takes, ours and mmseg's ``MMSegInferencer`` in turn, and prints JSON.

Reported: images a second by processor time and by the clock, the share of each part of ours (reading, resizing, network,
labels, writing), and how many pixels get another label. ``--onnx`` adds a file of export_onnx.py.
"""
import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config

from mmseg_cicld.command_line import one_line_errors
from mmseg_cicld.datasets.file_reading import DataFileError, read_image
from mmseg_cicld.datasets.file_writing import write_png
from mmseg_cicld.engine.prediction import at_test_scale, found_files, load_model, main_head, window_logits
from mmseg_cicld.models.label_rule import LabelRule


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', help='folder that export_segmentor.py wrote, or its .pth file')
    parser.add_argument('images', help='folder of .png or .jpg images, with its sub-folders')
    parser.add_argument('--onnx', help='file of export_onnx.py of the same network, for images of their own size')
    parser.add_argument('--images-used', type=int, default=10, help='the first images of the folder (default: %(default)s)')
    parser.add_argument('--warmup', type=int, default=1, help='images before measuring (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=1, help='CPU threads (default: %(default)s)')
    parser.add_argument('--device', default='cpu', help='(default: %(default)s)')
    return parser


class Parts:
    """Processor time of named parts; the time up to a mark belongs to its name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.process_time()

    def mark(self, name: str) -> None:
        """Ends a part."""
        now = time.process_time()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self.last
        self.last = now


def ours(model: torch.nn.Module, folder: Path, parts: Parts) -> Callable[[Path], np.ndarray]:
    """Returns a function that predicts a file and writes its labels, as tools/predict.py does."""
    rule = LabelRule.of_head(main_head(model))

    @torch.inference_mode()
    def run(file: Path) -> np.ndarray:
        parts.last = time.process_time()
        image_HW3 = read_image(str(file))
        parts.mark('reading')
        scaled_HW3 = at_test_scale(model, image_HW3)
        parts.mark('resizing')
        logits_1CHW = window_logits(model, scaled_HW3)[None]
        parts.mark('network')
        if logits_1CHW.shape[2:] != image_HW3.shape[:2]:
            logits_1CHW = torch.nn.functional.interpolate(logits_1CHW, image_HW3.shape[:2], mode='bilinear',
                                                          align_corners=model.align_corners)
        labels_HW = rule.labels(logits_1CHW)[0].numpy().astype(np.uint8)
        parts.mark('labels')
        write_png(str(folder / f'{file.stem}.png'), labels_HW)
        parts.mark('writing')
        return labels_HW

    return run


def stock(config: Path, weights: Path, folder: Path, device: str) -> Callable[[Path], np.ndarray]:
    """Returns a function that predicts a file with ``MMSegInferencer`` and writes its labels.

    Given a folder it would draw pictures too, which takes longer than predicting; so it is not.
    """
    from mmseg.apis import MMSegInferencer
    cfg = Config.fromfile(config)
    cfg.visualizer = dict(type='SegLocalVisualizer', name='benchmark')
    if cfg.get('test_dataloader') is None:
        steps = cfg.get('test_pipeline') or [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
        cfg.test_dataloader = dict(dataset=dict(pipeline=steps))
    inferencer = MMSegInferencer(cfg, weights=str(weights), device=device)
    inferencer.show_progress = False

    def run(file: Path) -> np.ndarray:
        labels_HW = inferencer(str(file))['predictions'].astype(np.uint8)
        write_png(str(folder / f'{file.stem}.png'), labels_HW)
        return labels_HW

    return run


def onnx(path: str, folder: Path, threads: int) -> Callable[[Path], np.ndarray]:
    """Returns a function that predicts a file with onnxruntime and writes its labels."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])

    def run(file: Path) -> np.ndarray:
        images = read_image(str(file)).transpose(2, 0, 1)[None].astype(np.float32)
        labels_HW = session.run(['labels'], {'images': images})[0][0].astype(np.uint8)
        write_png(str(folder / f'{file.stem}.png'), labels_HW)
        return labels_HW

    return run


def measure(args: argparse.Namespace) -> dict:
    """Predicts all images in turn and returns what is printed."""
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    files = sorted(file for file in Path(args.images).rglob('*') if file.suffix.lower() in ('.png', '.jpg', '.jpeg'))
    files = files[:args.images_used]
    if not files:
        raise DataFileError(f'{args.images} holds no .png or .jpg image: give a folder of images')
    config, weights = found_files(Path(args.model), None)
    parts, seconds, clock, others = Parts(), {}, {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        runs = {'MMSegInferencer': stock(config, weights, Path(scratch) / 'mmseg', args.device),
                'ours': ours(load_model(Path(args.model), None, args.device), Path(scratch) / 'ours', parts)}
        if args.onnx:
            runs['onnx'] = onnx(args.onnx, Path(scratch) / 'onnx', args.threads)
        for number, file in enumerate([files[0]] * args.warmup + files):
            if number == args.warmup:
                parts.seconds.clear()
                seconds, clock, others = ({name: [] for name in runs} for _ in range(3))
            labels = {}
            for name, run in runs.items():
                began, began_clock = time.process_time(), time.perf_counter()
                labels[name] = run(file)
                if number >= args.warmup:
                    seconds[name].append(time.process_time() - began)
                    clock[name].append(time.perf_counter() - began_clock)
                    others[name].append(int((labels[name] != labels['MMSegInferencer']).sum()))
    whole = sum(parts.seconds.values())
    return dict(
        model=args.model, images=len(files), size=list(cv2.imread(str(files[0])).shape[:2]), device=args.device,
        threads=args.threads, torch=torch.__version__,
        cpu_seconds={name: round(statistics.median(values), 4) for name, values in seconds.items()},
        images_per_cpu_second={name: round(1 / statistics.median(values), 3) for name, values in seconds.items()},
        images_per_second={name: round(1 / statistics.median(values), 3) for name, values in clock.items()},
        times_as_many_as_mmseg={name: round(statistics.median(
            there / here for there, here in zip(seconds['MMSegInferencer'], values)), 3) for name, values in seconds.items()},
        pixels_with_another_label={name: sum(counts) for name, counts in others.items()},
        pixels=sum(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE).size for file in files),
        shares={name: round(value / whole, 3) for name, value in parts.seconds.items()})


def main() -> None:
    """Measures and prints."""
    args = make_parser().parse_args()
    with one_line_errors():
        print(json.dumps(measure(args), indent=2))


if __name__ == '__main__':
    main()

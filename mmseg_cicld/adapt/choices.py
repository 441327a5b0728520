"""The rule: what a training is like, as a pure function of the images, the device and the length.

All numbers of the rule stand at the top of this file, each with its reason.
"""
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# --- What the numbers are for -------------------------------------------------------------------------------------
# Side of the crop. Images whose area is not above its square are used whole. 512 is the crop of DACS and DAFormer; a
# CPU takes a quarter of its area, with which it trains a thousand iterations in minutes.
CROP_SIDE = dict(cpu=256, cuda=512)
# Encoders halve the resolution five times.
CROP_MULTIPLE = 32
# How much larger source images may be than target images before they are scaled: GTA5 at 1280 x 720 goes with
# Cityscapes at 1024 x 512 in the published configs.
SOURCE_LARGER = 1.5
# Images of each domain in a batch. On a CPU more images cost time in proportion.
BATCH_ON_CPU = 4
LARGEST_BATCH, SMALLEST_BATCH = 8, 2
# Bytes of the step per pixel of the batch of a domain: tools/analysis_tools/estimate_memory.py gives 4797 MiB for DAFormer
# with four crops of 512 in float32. Relative to it the other methods: MIC 4809 MiB, DiDA 6519; CICLD is a guess.
BYTES_PER_PIXEL = 4800
METHOD_MEMORY = dict(dida=1.4, cicld=1.5)
MEMORY_SHARE = 0.7
# The head. On a CPU a step of DAFormer's takes eight times as long as one of SegFormer's with half its channels.
NETWORK = dict(cpu='segformer_efficientnet-lite0', cuda='daformer_efficientnet-lite0')
HEAD_CHANNELS = dict(cpu=128, cuda=256)
# Iterations of both stages together where nobody says how long.
ITERATIONS = dict(cpu=1000, cuda=20000)
SOURCE_ONLY_SHARE = 0.4
# AdamW. The head starts from random weights, the encoder from those of ImageNet. A thousand iterations need the rates of a
# CPU: 300 source-only ones reach 36 mIoU on the street set with them, 30 with half, 26 with a fifth.
ENCODER_LR = dict(cpu=1e-3, cuda=2e-4)
HEAD_LR_FACTOR, WEIGHT_DECAY = 5.0, 0.01
# A segmentor that is trained already, and that no source label corrects, learns slowly, all of it alike: a sixth, as
# configs/source_free have it.
SOURCE_FREE_LR = {device: round(rate / 6, 6) for device, rate in ENCODER_LR.items()}
WARM_UP_SHARE = 0.1
VALIDATIONS, CHECKPOINTS, LOG_LINES = 6, 12, 50
# The teacher averages over about a tenth of the adaptation; DACS has 0.99, DAFormer 0.999.
MOMENTUM_SPAN, MOMENTUM_RANGE = 10, (0.99, 0.999)
# Confidence of DACS and DAFormer. Without source data each pixel decides for itself, see configs/_base_/uda/source_free.py.
THRESHOLD, METHOD_THRESHOLD = 0.968, dict(source_free=0.9)
# Confident share at the end below which the run says that the adaptation learned little.
LOW_CONFIDENCE = 0.3
# The running statistics of a student's batch norms are those of source and mixed images; those of the teacher come
# from target images.
EVALUATED = 'teacher'
# Rare class sampling: 3000 pixels of 1914 x 1052 in DAFormer. The temperature of 0.01 is for thousands of images.
RARE_PIXEL_SHARE = 0.0015
CLASS_TEMPERATURE = 0.1
# A crop is drawn again while it shows less than half of these pixels, as in DAFormer, which counts them in files of
# 1914 x 1052 and crops at 1280 x 720.
CROP_RATIO = 0.5 * (1914 / 1280)**2
# Blocks that MIC hides: a sixteenth of the crop.
MASK_BLOCKS = 16
# Images that a validation looks at.
VALIDATION_IMAGES = dict(cpu=200, cuda=500)
MOST_WORKERS = 4
# For the first estimate of the remaining time: seconds of a step for each pixel of its batch, guessed
# for two quiet cores and a recent GPU. What is measured takes their place after a few steps.
STEP_SECONDS = dict(cpu=dict(source_only=2.5e-6, adaptation=6e-6), cuda=dict(source_only=5e-8, adaptation=1.2e-7))


@dataclass(frozen=True)
class ImageSizes:
    """Sizes in pixels of the images of a domain.

    Args:
        count: Number of images.
        width: Median width.
        height: Median height.
        largest: Largest area.
    """

    count: int
    width: int
    height: int
    largest: int

    @property
    def short_side(self) -> int:
        """The smaller median."""
        return min(self.width, self.height)


@dataclass(frozen=True)
class Facts:
    """What the rule looks at.

    Args:
        source: Sizes of the source images, None without any: then there is a segmentor that is trained already.
        target: Sizes of the target images.
        labelled: Number of labelled target images.
        most_pixels: For each class that labels show, the most pixels in one label.
        device: ``'cpu'`` or ``'cuda'``.
        memory: Bytes of the GPU, 0 without one.
        cores: CPU cores that may be used.
        method: Name of the method.
        trained_scale: Long and short side that this segmentor resizes its test images into; None: it leaves them.
    """

    source: ImageSizes | None
    target: ImageSizes
    labelled: int
    most_pixels: Mapping[str, int]
    device: str
    memory: int
    cores: int
    method: str
    trained_scale: tuple[int, int] | None = None


@dataclass(frozen=True)
class Settings:
    """What was chosen, all of it written into the configs.

    Args:
        crop_size: Height and width.
        source_scale: Long and short side that source images are resized into, None to leave them as they are.
        target_scale: The same for target images.
        batch_size: Images of each domain.
        num_workers: Processes of the data loader.
        momentum: EMA momentum of the teacher.
        threshold: Confidence in [0, 1] above which pseudo-labels count.
        evaluate: Network that is validated and exported.
        min_pixels: Pixels of a class that make an image count for it.
        min_crop_ratio: Share of them that a crop has to show.
        mask_block: Side of the blocks that MIC hides.
        network: Base config of the network, where the method has none of its own and none is given.
        head_channels: Of that network.
        encoder_lr: Learning rate of the encoder.
        source_only: Iterations of the first stage.
        adaptation: Iterations of the second stage.
        val_every: A validation looks at one in so many labelled images.
    """

    crop_size: tuple[int, int]
    source_scale: tuple[int, int] | None
    target_scale: tuple[int, int] | None
    batch_size: int
    num_workers: int
    momentum: float
    threshold: float
    evaluate: str
    min_pixels: int
    min_crop_ratio: float
    mask_block: int
    network: str
    head_channels: int
    encoder_lr: float
    source_only: int
    adaptation: int
    val_every: int


@dataclass(frozen=True)
class Schedule:
    """What follows from the length of one stage, in iterations."""

    iterations: int
    warm_up: int
    val_interval: int
    checkpoint_interval: int
    log_interval: int

    @classmethod
    def of(cls, iterations: int) -> 'Schedule':
        """Scales with the length."""
        return cls(iterations, max(1, round(WARM_UP_SHARE * iterations)), -(-iterations // VALIDATIONS),
                   -(-iterations // CHECKPOINTS), max(1, iterations // LOG_LINES))


@dataclass(frozen=True)
class Speed:
    """Measured seconds.

    Args:
        step: Of an iteration, by stage.
        validation: Of one validation, 0 without target labels.
    """

    step: Mapping[str, float]
    validation: float


def iterations_in(seconds: float, speed: Speed, method: str) -> int:
    """Returns how many iterations of all stages together fit into a time, with their validations."""
    left = seconds - VALIDATIONS * len(speed.step) * speed.validation
    shares = (1.0, ) if 0 in split_iterations(2, method) else (SOURCE_ONLY_SHARE, 1 - SOURCE_ONLY_SHARE)
    return max(2, int(left / sum(share * step for share, step in zip(shares, speed.step.values()))))


def choose(facts: Facts, stages: tuple[int, int]) -> Settings:
    """Chooses everything that nobody has said.

    Args:
        facts: What is known.
        stages: Iterations of both stages.
    """
    source = facts.source
    target_scale = facts.trained_scale if source is None else _target_scale(facts.target, facts.device)
    target_hw = _scaled(facts.target, target_scale)
    source_scale = None if source is None else _source_scale(source, min(target_hw))
    source_hw = target_hw if source is None else _scaled(source, source_scale)
    crop = _crop(target_hw, source_hw, facts.device)
    source_only, adaptation = stages
    return Settings(
        crop_size=crop, source_scale=source_scale, target_scale=target_scale,
        batch_size=_batch_size(facts, crop), num_workers=max(1, min(MOST_WORKERS, facts.cores)),
        momentum=teacher_momentum(adaptation), threshold=METHOD_THRESHOLD.get(facts.method, THRESHOLD),
        evaluate=EVALUATED, min_pixels=0 if source is None else _min_pixels(source, facts.most_pixels),
        min_crop_ratio=0.0 if source is None else _crop_ratio(source, source_hw),
        mask_block=max(4, min(crop) // MASK_BLOCKS), network=NETWORK[facts.device],
        head_channels=HEAD_CHANNELS[facts.device],
        encoder_lr=(ENCODER_LR if source is not None else SOURCE_FREE_LR)[facts.device],
        source_only=source_only, adaptation=adaptation,
        val_every=max(1, -(-facts.labelled // VALIDATION_IMAGES[facts.device])))


def expected_seconds(settings: Settings, device: str) -> dict[str, float]:
    """Returns about how long each training takes."""
    pixels = settings.batch_size * settings.crop_size[0] * settings.crop_size[1]
    iterations = dict(source_only=settings.source_only, adaptation=settings.adaptation)
    return {stage: number * pixels * STEP_SECONDS[device][stage] for stage, number in iterations.items()}


def split_iterations(iterations: int, method: str) -> tuple[int, int]:
    """Returns the iterations of both stages: without adaptation all are of the first, without source of the second."""
    if method == 'source_only':
        return iterations, 0
    if method == 'source_free':
        return 0, iterations
    source_only = max(1, min(iterations - 1, round(SOURCE_ONLY_SHARE * iterations)))
    return source_only, iterations - source_only


def teacher_momentum(iterations: int) -> float:
    """Lets the teacher average over a fixed share of the adaptation, within what the papers use."""
    low, high = MOMENTUM_RANGE
    return round(min(high, max(low, 1 - MOMENTUM_SPAN / max(1, iterations))), 5)


def _target_scale(sizes: ImageSizes, device: str) -> tuple[int, int] | None:
    side = CROP_SIDE[device]
    return None if sizes.largest <= side * side else _into(side)


def _source_scale(sizes: ImageSizes, target_short_side: int) -> tuple[int, int] | None:
    if target_short_side <= sizes.short_side <= SOURCE_LARGER * target_short_side:
        return None
    return _into(target_short_side)


def _into(short_side: int) -> tuple[int, int]:
    # The long side is no limit but for strips.
    return 4 * short_side, short_side


def _scaled(sizes: ImageSizes, scale: tuple[int, int] | None) -> tuple[int, int]:
    """Returns height and width of an image of the median size."""
    factor = 1.0 if scale is None else min(max(scale) / max(sizes.width, sizes.height),
                                           min(scale) / sizes.short_side)
    return round(sizes.height * factor), round(sizes.width * factor)


def _crop(target_hw: tuple[int, int], source_hw: tuple[int, int], device: str) -> tuple[int, int]:
    """Takes what both domains have: the whole image if it is small, a square of a large one."""
    side = CROP_SIDE[device]
    whole = target_hw[0] * target_hw[1] <= side * side
    height, width = (min(target, source) if whole else min(target, source, side)
                     for target, source in zip(target_hw, source_hw))
    return tuple(max(CROP_MULTIPLE, length // CROP_MULTIPLE * CROP_MULTIPLE)
                 for length in (height, width))  # type: ignore[return-value]


def _batch_size(facts: Facts, crop: tuple[int, int]) -> int:
    if facts.device == 'cpu':
        return BATCH_ON_CPU
    image = BYTES_PER_PIXEL * METHOD_MEMORY.get(facts.method, 1.0) * crop[0] * crop[1]
    return max(SMALLEST_BATCH, min(LARGEST_BATCH, int(MEMORY_SHARE * facts.memory / image)))


def _min_pixels(source: ImageSizes, most_pixels: Mapping[str, int]) -> int:
    """Keeps DAFormer's share of the image, and below what every class that occurs reaches in some image."""
    wanted = round(RARE_PIXEL_SHARE * source.width * source.height)
    return max(0, min([wanted, *(most - 1 for most in most_pixels.values())]))


def _crop_ratio(source: ImageSizes, scaled_hw: tuple[int, int]) -> float:
    return round(CROP_RATIO * scaled_hw[0] * scaled_hw[1] / (source.width * source.height), 4)


def recorded(settings: Mapping[str, Any]) -> Settings:
    """Returns settings that were written to a file."""
    lists = ('crop_size', 'source_scale', 'target_scale')
    values: dict[str, Any] = {name: tuple(value) if name in lists and value is not None else value
                              for name, value in settings.items()}
    return Settings(**values)

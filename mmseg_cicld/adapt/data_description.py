"""What a user says of the data, however it is said: which folders, which classes."""
from dataclasses import dataclass, field
from pathlib import Path

from ..datasets.folder_dataset import IMAGE_SUFFIXES, read_classes
from .pairing import Suffixes, count_pairs, find_suffixes


class DataDescriptionError(ValueError):
    """The data are not where they are said to be, or not enough is said of them."""


@dataclass(frozen=True)
class Images:
    """A folder of images, searched with its sub-folders.

    Args:
        images: The folder.
        labels: Folder of their labels; None for unlabelled images.
        suffixes: How the names of images and labels end.
        some_labels: Whether images without a label are left out.
        count: Number of images that are not left out.
    """

    images: Path
    labels: Path | None = None
    suffixes: Suffixes = field(default_factory=Suffixes)
    some_labels: bool = False
    count: int = 0

    @classmethod
    def found(cls, images: Path, labels: Path | None, role: str, some_labels: bool = False,
              suffixes: Suffixes | None = None) -> 'Images':
        """Looks at both folders and finds out how the names of images and labels belong together.

        Args:
            images: Folder of images.
            labels: Folder of labels, None if there are none.
            role: What messages call them.
            some_labels: Whether a part of the images may be without a label.
            suffixes: How the names end, None to find it out.

        Raises:
            DataDescriptionError: If a folder is missing or empty, or the names do not belong together.
        """
        names = file_names(images, f'{role} images')
        if labels is None:
            return cls(images.resolve(), suffixes=suffixes or Suffixes(), count=len(names))
        label_names = file_names(labels, f'{role} labels')
        suffixes = suffixes or _suffixes(images, names, labels, label_names, some_labels, role)
        return cls(images.resolve(), labels.resolve(), suffixes, some_labels,
                   count_pairs(names, label_names, suffixes))

    def dataset(self, pipeline: object, classes: object, **changes: object) -> dict:
        """Returns the config of a :class:`FolderDataset`."""
        prefix = dict(img_path=str(self.images))
        named: dict[str, object] = {} if self.suffixes.image is None else dict(img_suffix=self.suffixes.image)
        if self.labels is not None:
            prefix['seg_map_path'] = str(self.labels)
            named |= {} if self.suffixes.label == '.png' else dict(seg_map_suffix=self.suffixes.label)
            named |= dict(skip_unlabelled=True) if self.some_labels else {}
        return dict(type='FolderDataset', data_prefix=prefix, **named, metainfo=classes, **changes, pipeline=pipeline)


@dataclass(frozen=True)
class DataDescription:
    """The data of an adaptation.

    Args:
        source: Labelled images; None if a segmentor is given that was trained on them.
        target: Images to adapt to; labels that they have are not used in training.
        validation: Labelled target images for the score; None if there are no labels.
        classes: Names by class id.
        palette: RGB of each class, None for colours of our own choice.
    """

    source: Images | None
    target: Images
    validation: Images | None
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...] | None = None

    @property
    def metainfo(self) -> dict:
        """Classes and palette as mmseg's datasets take them."""
        shown = {} if self.palette is None else dict(palette=[list(color) for color in self.palette])
        return dict(classes=list(self.classes), **shown)


def described(source: tuple[Path, Path] | None, target: Path, classes: Path | dict, target_labels: Path | None = None,
              validation: tuple[Path, Path] | None = None) -> DataDescription:
    """Checks the folders of the command line and returns what is known of the data.

    Args:
        source: Folders of images and labels, None if a trained segmentor is given in their place.
        target: Folder of images.
        classes: A file as :class:`FolderDataset` reads it, or ``metainfo`` with classes and, optional, palette.
        target_labels: Folder of labels of the target images, or of a part of them.
        validation: Folders of images and labels of further target images, which are only scored.

    Raises:
        DataDescriptionError: If a folder is missing or empty, or names do not belong together.
        ValueError: If the file of classes cannot be used.
    """
    labelled = None
    if validation is not None:
        labelled = Images.found(*validation, 'validation')
    elif target_labels is not None:
        labelled = Images.found(target, target_labels, 'target', some_labels=True)
    return with_classes(None if source is None else Images.found(*source, 'source'),
                        Images.found(target, None, 'target'), labelled,
                        classes if isinstance(classes, dict) else dict(classes=str(classes)))


def with_classes(source: Images | None, target: Images, validation: Images | None, metainfo: dict) -> DataDescription:
    """Adds classes and palette, see :func:`read_classes`.

    Raises:
        DataDescriptionError: If there are none, or the palette has another number of colours.
        ValueError: If their file cannot be used.
    """
    metainfo = read_classes(metainfo, '')
    palette = metainfo.get('palette')
    if not metainfo.get('classes'):
        raise DataDescriptionError('there are no classes: give a file with one name a line (--classes), or names')
    if palette is not None and len(palette) != len(metainfo['classes']):
        raise DataDescriptionError(f'the palette has {len(palette)} colours for {len(metainfo["classes"])} classes: give '
                                   'one for each, or none')
    return DataDescription(source, target, validation, tuple(metainfo['classes']),
                           None if palette is None else tuple(tuple(color) for color in palette))


def _suffixes(images: Path, names: list[str], labels: Path, label_names: list[str], some: bool, role: str) -> Suffixes:
    found = find_suffixes(names, label_names, some)
    if not found:
        raise DataDescriptionError(
            f'{len(names)} {role} images in {images} and {len(label_names)} label files in {labels} do not belong '
            f'together by their names, for example {names[0]} and {label_names[0]}: a label has the name of its image, in '
            'the same sub-folder, but for an ending that is the same for all (1.jpg and 1_label.png); rename the files, or '
            'move what has no partner elsewhere')
    if len(found) > 1:
        raise DataDescriptionError(
            f'each {role} image has several files in {labels}, which end with '
            f'{" and ".join(suffixes.label for suffixes in found)}: move all but the labels elsewhere, or say '
            "seg_map_suffix in a file that is given with --data")
    return found[0]


def file_names(folder: Path, what: str) -> list[str]:
    """Lists the image files of a folder and its sub-folders, relative to it, in order.

    Raises:
        DataDescriptionError: If the folder is missing or has none.
    """
    if not folder.is_dir():
        raise DataDescriptionError(f'{what}: {folder} is no folder: give the folder that holds them')
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*')
                   if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not path.name.startswith('.'))
    if not names:
        raise DataDescriptionError(f'{what}: {folder} holds no image file ({", ".join(IMAGE_SUFFIXES)}): give the '
                                   'folder that holds them')
    return names

"""Every kind of image and label file is read with the right values, or refused in one line with its name."""
import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image, TiffImagePlugin
from tiny_datasets import SOURCE_STEPS, folder_config, random_image, random_label, write_folder, write_image

from mmseg_cicld.datasets import DataFileError, LoadImageStrictly, UDADataset, audit_dataset
from mmseg_cicld.datasets.file_reading import read_image, read_label
from mmseg_cicld.datasets.label_audit import audit_sample

SMOOTH = cv2.resize(random_image(3, 6, 10), (40, 24), interpolation=cv2.INTER_CUBIC)
RGB = Image.fromarray(SMOOTH[..., ::-1])
GREY = SMOOTH[..., 1]
SHORT, LONG = 3, 4  # types of TIFF tags


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png(bits: int, numbers_HW: np.ndarray) -> bytes:
    """A grey PNG of 1, 2, 4 or 8 bits a pixel."""
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))
    height, width = numbers_HW.shape
    planes = np.unpackbits(numbers_HW[..., None].astype(np.uint8), axis=2)[..., 8 - bits:]
    rows = np.packbits(planes.reshape(height, -1), axis=1)
    packed = np.pad(rows, ((0, 0), (1, 0))).tobytes()
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, bits, 0, 0, 0, 0))
            + chunk(b'IDAT', zlib.compress(packed)) + chunk(b'IEND', b''))


def tiff(pixels_HWC: np.ndarray, photometric: int) -> bytes:
    """An uncompressed TIFF of any number of bands."""
    height, width, bands = pixels_HWC.shape
    bits = struct.pack(f'<{bands}H', *[pixels_HWC.itemsize * 8] * bands)
    entries = [(256, LONG, 1, width), (257, LONG, 1, height), (259, SHORT, 1, 1), (262, SHORT, 1, photometric),
               (277, SHORT, 1, bands), (278, LONG, 1, height), (279, LONG, 1, pixels_HWC.nbytes), (284, SHORT, 1, 1)]
    end = 8 + 2 + 12 * (len(entries) + 2) + 4
    entries += [(258, SHORT, bands, end if bands > 2 else int.from_bytes(bits, 'little')),
                (273, LONG, 1, end + len(bits))]
    body = bits + pixels_HWC.tobytes()
    head = b'II*\0' + struct.pack('<IH', 8, len(entries))
    head += b''.join(struct.pack('<HHII', *entry) for entry in sorted(entries))
    return head + struct.pack('<I', 0) + body


def place(tmp_path: Path, data: bytes, name: str = 'a.png') -> str:
    (tmp_path / name).write_bytes(data)
    return str(tmp_path / name)


def white_zero(numbers_HW: np.ndarray) -> bytes:
    return tiff(numbers_HW[..., None], 0)


IMAGES = {
    'palette PNG': (encoded(RGB.quantize(200), 'PNG'), np.asarray(RGB.quantize(200).convert('RGB'))[..., ::-1], 0),
    'palette TIFF': (encoded(RGB.quantize(200), 'TIFF'), np.asarray(RGB.quantize(200).convert('RGB'))[..., ::-1], 0),
    'grey and transparency': (encoded(Image.merge('LA', [Image.fromarray(GREY)] * 2), 'PNG'), GREY, 0),
    'transparency': (encoded(Image.merge('RGBA', [*RGB.split(), Image.fromarray(GREY)]), 'PNG'), SMOOTH, 0),
    'CMYK JPEG': (encoded(RGB.convert('CMYK'), 'JPEG', quality=99), SMOOTH, 24),
    'CMYK TIFF': (encoded(RGB.convert('CMYK'), 'TIFF'), SMOOTH, 1),
    'WebP': (encoded(RGB, 'WEBP', lossless=True), SMOOTH, 0),
    'one bit': (png(1, GREY // 128), GREY // 128 * 255, 0),
    'two bits': (png(2, GREY // 64), GREY // 64 * 85, 0),
    'TIFF with a preview': (encoded(RGB, 'TIFF', save_all=True, append_images=[RGB.resize((20, 12))]), SMOOTH, 0),
    'white is 0': (white_zero(GREY), 255 - GREY, 0),
    '16-bit TIFF': (cv2.imencode('.tif', SMOOTH.astype(np.uint16) * 257)[1].tobytes(), SMOOTH, 0),
}


def mark_as_preview(data: bytes) -> bytes:
    """Sets the tag NewSubfileType of the second page, which Pillow cannot write there."""
    pages = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
    stream = io.BytesIO(data)
    stream.seek(pages.next)
    pages.load(stream)
    second = pages.next
    (count,) = struct.unpack_from('<H', data, second)
    # The tag takes the place of an entry that no reader needs, to keep all offsets.
    needed = [struct.unpack_from('<HHII', data, second + 2 + 12 * i) for i in range(count)]
    spare = next(i for i, entry in enumerate(needed) if entry[0] in (305, 284, 339))
    needed[spare] = (254, LONG, 1, 1)
    packed = b''.join(struct.pack('<HHII', *entry) for entry in sorted(needed))
    return data[:second + 2] + packed + data[second + 2 + len(packed):]


@pytest.mark.parametrize('kind', IMAGES)
def test_images_are_read_with_their_colours(tmp_path, kind):
    data, expected, tolerance = IMAGES[kind]
    read = read_image(place(tmp_path, mark_as_preview(data) if 'preview' in kind else data))
    expected = np.broadcast_to(expected[..., None], (24, 40, 3)) if expected.ndim == 2 else expected
    assert read.dtype == np.uint8 and read.shape == (24, 40, 3)
    assert np.abs(read.astype(int) - expected).max() <= tolerance


SEVERAL = dict(save_all=True, append_images=[RGB.rotate(90)])
REFUSED_IMAGES = {
    'float': (cv2.imencode('.tif', np.float32(SMOOTH) / 255)[1].tobytes(), 'holds float32 numbers from .* value_range'),
    'grey float': (encoded(Image.fromarray(np.float32(GREY) / 255), 'TIFF'), 'holds float32 numbers .* value_range'),
    'double': (cv2.imencode('.tif', np.float64(SMOOTH) / 255)[1].tobytes(), 'holds float64 numbers .* value_range'),
    '32 bits': (encoded(Image.fromarray(np.int32(GREY)), 'TIFF'), 'holds int32 numbers .* value_range'),
    'pages': (encoded(RGB, 'TIFF', **SEVERAL), 'holds several pictures .*: save each'),
    'moving GIF': (encoded(RGB, 'GIF', **SEVERAL), 'holds several pictures'),
    'moving WebP': (encoded(RGB, 'WEBP', **SEVERAL), 'holds several pictures'),
    'moving PNG': (encoded(RGB, 'PNG', **SEVERAL), 'holds several pictures'),
    'two 16-bit bands': (tiff(np.dstack([GREY] * 2).astype(np.uint16), 1), 'has 2 bands that are no colours.*tifffile'),
    'four bands': (tiff(np.dstack([SMOOTH, GREY]), 1), 'has 4 bands that are no colours'),
    'eight bands': (tiff(np.dstack([GREY] * 8), 1), 'has 8 bands that are no colours'),
}


@pytest.mark.parametrize('kind', REFUSED_IMAGES)
def test_images_that_would_lose_something_are_refused_by_name(tmp_path, kind):
    data, words = REFUSED_IMAGES[kind]
    path = place(tmp_path, data, 'picture.img')
    with pytest.raises(DataFileError, match=f'picture.img.* {words}') as error:
        read_image(path)
    assert '\n' not in str(error.value)
    (finding,) = audit_sample(dict(img_path=path), 0, False).findings
    assert finding.kind == 'image' and 'picture.img' in finding.text


LABEL = random_label(0)
LABELS = {
    'one bit': (png(1, LABEL % 2), LABEL % 2), 'two bits': (png(2, LABEL % 4), LABEL % 4),
    'four bits': (png(4, LABEL % 16), LABEL % 16), 'eight bits': (png(8, LABEL), LABEL),
    'TIFF': (encoded(Image.fromarray(LABEL), 'TIFF', compression='tiff_lzw'), LABEL),
    '16-bit TIFF': (encoded(Image.fromarray(LABEL.astype(np.uint16)), 'TIFF'), LABEL),
    '32-bit TIFF': (encoded(Image.fromarray(LABEL.astype(np.int32)), 'TIFF'), LABEL),
    'palette of 16 colours': (encoded(Image.fromarray(LABEL % 16).convert('P'), 'PNG', bits=4), LABEL % 16),
    'BMP': (encoded(Image.fromarray(LABEL), 'BMP'), LABEL),
}
REFUSED_LABELS = {
    'float': (encoded(Image.fromarray(LABEL.astype(np.float32)), 'TIFF'), 'holds float32 numbers: save'),
    'colours': (encoded(RGB, 'PNG'), 'has 3 channels'),
    'transparency': (encoded(Image.merge('LA', [Image.fromarray(LABEL)] * 2), 'PNG'), 'has 2 channels'),
    'JPEG': (encoded(Image.fromarray(LABEL), 'JPEG'), 'decoding changes class ids'),
    'lossy WebP': (encoded(RGB, 'WEBP'), 'decoding changes class ids'),
    'white is 0': (white_zero(LABEL), 'decoding changes class ids'),
    'pages': (encoded(Image.fromarray(LABEL), 'TIFF', save_all=True, append_images=[Image.fromarray(LABEL)]),
              'several pictures'),
}


@pytest.mark.parametrize('kind', LABELS)
def test_labels_are_read_with_their_ids(tmp_path, kind):
    data, expected = LABELS[kind]
    np.testing.assert_array_equal(read_label(place(tmp_path, data)), expected)


@pytest.mark.parametrize('kind', REFUSED_LABELS)
def test_labels_whose_ids_would_change_are_refused_by_name(tmp_path, kind):
    data, words = REFUSED_LABELS[kind]
    with pytest.raises(DataFileError, match=f'label .*ids.img .*{words}') as error:
        read_label(place(tmp_path, data, 'ids.img'))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_labels_beyond_the_limit_of_pillow_are_read(tmp_path, suffix, monkeypatch):
    path = write_image(tmp_path / f'big{suffix}', LABEL)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', LABEL.size // 4)  # for files of 24 x 40, as it is for orthophotos
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path).load()
    np.testing.assert_array_equal(read_label(str(path)), LABEL)


@pytest.mark.parametrize('kind', ['BMP', 'palette TIFF'])
def test_large_labels_that_cannot_be_read_are_named(tmp_path, kind, monkeypatch):
    data = LABELS['BMP'][0] if kind == 'BMP' else encoded(Image.fromarray(LABEL).convert('P'), 'TIFF')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', LABEL.size // 4)
    with pytest.raises(DataFileError, match='big.img .*pixels'):
        read_label(place(tmp_path, data, 'big.img'))


@pytest.mark.parametrize('bits', [10, 12, 14])
def test_data_of_fewer_bits_are_found_and_read_once_said(tmp_path, bits):
    root = write_folder(tmp_path / 'data', 3)
    for i in range(3):
        write_image(root / 'images' / f'{i:03}.png', np.uint16(SMOOTH) << bits - 8)
    report = audit_dataset(DATASETS.build(folder_config(root)))
    assert [finding.kind for finding in report.blocking] == ['few bits'] * 3
    assert f'uses {bits} of its bits' in report.findings[0].text
    assert f'value_range=(0, {2**bits - 1}) of LoadImageStrictly' in report.findings[0].text
    said = [dict(SOURCE_STEPS[0], value_range=(0, 2**bits - 1)), SOURCE_STEPS[1]]
    dataset = DATASETS.build(folder_config(root, pipeline=said))
    assert audit_dataset(dataset).ok
    np.testing.assert_allclose(dataset[0]['img'].astype(int), SMOOTH, atol=1)


def test_a_dark_image_among_16_bit_images_is_no_fault(tmp_path):
    root = write_folder(tmp_path / 'data', 2)
    write_image(root / 'images' / '000.png', np.full((24, 40), 1000, np.uint16))
    write_image(root / 'images' / '001.png', np.full((24, 40), 50000, np.uint16))
    assert audit_dataset(DATASETS.build(folder_config(root, pipeline=SOURCE_STEPS))).ok
    black = LoadImageStrictly()(dict(img_path=str(write_image(tmp_path / 'a.png', np.zeros((24, 40), np.uint16)))))
    assert not black['img'].any()


@pytest.mark.parametrize('value_range, low, high', [((0, 1), 0, 1), ((-1, 3), -1, 3)])
def test_floating_point_images_are_scaled(tmp_path, value_range, low, high):
    image = low + (high - low) * np.float32(SMOOTH) / 255
    path = str(write_image(tmp_path / 'a.tif', image))
    np.testing.assert_allclose(read_image(path, value_range=value_range).astype(int), SMOOTH, atol=1)
    grey = read_image(str(write_image(tmp_path / 'g.tif', image[..., 1])), value_range=value_range)
    np.testing.assert_allclose(grey.astype(int), np.dstack([GREY] * 3), atol=1)
    beyond = read_image(str(write_image(tmp_path / 'b.tif', image + 100)), value_range=value_range)
    assert (beyond == 255).all()


def test_numbers_that_have_no_colour(tmp_path):
    image = np.float32(SMOOTH) / 255
    image[0, 0] = np.nan
    with pytest.raises(DataFileError, match='a.tif has 3 numbers that are not finite'):
        read_image(str(write_image(tmp_path / 'a.tif', image)), value_range=(0, 1))
    with pytest.raises(DataFileError, match=r'a.png has 8 bits, which do not go with value_range=\(0, 4095\)'):
        read_image(str(write_image(tmp_path / 'a.png', SMOOTH)), value_range=(0, 4095))


@pytest.mark.parametrize('color_type, shape', [('color', (24, 40, 3)), ('grayscale', (24, 40)),
                                               ('unchanged', (24, 40, 4))])
def test_one_three_and_four_channels(tmp_path, color_type, shape):
    root = write_folder(tmp_path, 2)
    for i in range(2):
        write_image(root / 'images' / f'{i:03}.png', np.dstack([SMOOTH, GREY]))
    config = folder_config(root, pipeline=[dict(SOURCE_STEPS[0], color_type=color_type), SOURCE_STEPS[1],
                                           dict(type='RandomFlip', prob=0.5), dict(type='PackUDAInputs')])
    item = UDADataset(config)[0]['source']
    assert item['inputs'].shape == ((1, 24, 40) if len(shape) == 2 else (shape[2], 24, 40))
    read = read_image(str(root / 'images' / '000.png'), color_type=color_type)
    assert read.shape == shape and (color_type == 'grayscale' or (read[..., :3] == SMOOTH).all())


@pytest.mark.parametrize('settings, words', [(dict(color_type='rgb'), "color_type='rgb'.*color, grayscale, unchanged"),
                                             (dict(value_range=(1, 0)), r'value_range=\(1, 0\)'),
                                             (dict(value_range=(255, )), 'value_range')])
def test_loading_settings_that_do_not_exist(settings, words):
    with pytest.raises(ValueError, match=words):
        LoadImageStrictly(**settings)

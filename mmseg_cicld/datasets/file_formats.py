"""What the heads of image files say and decoders pass over: pages, bands that are no colours, numbers of few bits."""
import io

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

PNG, JPEG, TIFF = b'\x89PNG', b'\xff\xd8\xff', (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
_HEAD = 1024  # bytes in which the formats say that a picture moves, or how it is compressed
_MAX_PAGES = 1000  # of a damaged file whose pages point at each other
_PNG_BITS, _PNG_COLOUR_TYPE, _PNG_GREY, _PNG_COLOUR = 24, 25, 0, 2
# Tags of TIFF 6.0, and values of them.
_SUBFILE_TYPE, _BITS, _PHOTOMETRIC, _BANDS, _EXTRA_BANDS, _NUMBER_FORMAT = _TAGS = 254, 258, 262, 277, 338, 339
_PREVIEW_OR_MASK, _WHITE_IS_ZERO, _GREY, _PALETTE, _ALPHA, _FLOAT = 1 | 4, 0, (0, 1), 3, (1, 2), 3


def is_lossy(data: bytes) -> bool:
    """Whether a file is a JPEG, or a WebP of the lossy kind."""
    return data.startswith(JPEG) or (data[8:12] == b'WEBP' and b'VP8 ' in data[12:_HEAD])


def has_pages(data: bytes) -> bool:
    """Whether a file holds several pictures: a TIFF with pages beside previews and masks, or an animation."""
    if data.startswith(TIFF):
        return sum(not page.get(_SUBFILE_TYPE, (0,))[0] & _PREVIEW_OR_MASK for page in tiff_pages(data)) > 1
    return ((data.startswith(PNG) and b'acTL' in data[:_HEAD]) or (data[8:12] == b'WEBP' and b'ANIM' in data[:_HEAD])
            or (data.startswith(b'GIF') and _moves(data)))


def _moves(gif: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(gif)) as image:
            return image.is_animated
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False  # what is damaged, the decoder says


def small_grey_bits(data: bytes) -> int | None:
    """Returns the bits of a grey PNG or TIFF that has 2 or 4 bits a pixel, which decoders stretch to 255; else None."""
    bits = None
    if data.startswith(PNG) and data[_PNG_COLOUR_TYPE] == _PNG_GREY:
        bits = data[_PNG_BITS]
    elif data.startswith(TIFF) and (page := tiff_pages(data)[0]).get(_PHOTOMETRIC, (None,))[0] in _GREY:
        bits = page.get(_BITS, (1,))[0]
    return bits if bits in (2, 4) else None


def is_plain_grey_png(data: bytes) -> bool:
    """Whether a file is a grey PNG of 8 bits, whose numbers every decoder gives as they are."""
    return data.startswith(PNG) and data[_PNG_BITS:_PNG_COLOUR_TYPE + 1] == bytes((8, _PNG_GREY))


def is_plain_colour_png(data: bytes) -> bool:
    """Whether a file is a PNG of 8-bit colours without transparency or an orientation: three numbers a pixel."""
    return (data.startswith(PNG) and data[_PNG_BITS:_PNG_COLOUR_TYPE + 1] == bytes((8, _PNG_COLOUR))
            and b'tRNS' not in data and b'eXIf' not in data)


def is_white_zero(data: bytes) -> bool:
    """Whether a file is a TIFF whose 0 is white: decoders turn its numbers round."""
    return data.startswith(TIFF) and tiff_pages(data)[0].get(_PHOTOMETRIC, (None,))[0] == _WHITE_IS_ZERO


def is_deep_tiff(data: bytes) -> bool:
    """Whether a file is a TIFF of floating-point or 32-bit numbers."""
    if not data.startswith(TIFF):
        return False
    page = tiff_pages(data)[0]
    return page.get(_NUMBER_FORMAT, (1,))[0] == _FLOAT or page.get(_BITS, (1,))[0] > 16


def bands_without_colour(data: bytes) -> int | None:
    """Returns the number of bands of a TIFF where they are neither grey, colour nor transparency; else None."""
    if not data.startswith(TIFF):
        return None
    page = tiff_pages(data)[0]
    bands = page.get(_BANDS, (1,))[0]
    known = 1 if page.get(_PHOTOMETRIC, (None,))[0] in _GREY else 4
    known += sum(kind in _ALPHA for kind in page.get(_EXTRA_BANDS, ())) if known == 1 else 0
    return bands if bands > known else None


def is_palette_tiff(data: bytes) -> bool:
    """Whether a file is a TIFF whose numbers are places in a palette."""
    return data.startswith(TIFF) and tiff_pages(data)[0].get(_PHOTOMETRIC, (None,))[0] == _PALETTE


def tiff_pages(data: bytes) -> list[dict[int, tuple]]:
    """Reads the tags of each page of a TIFF, up to the first damaged one; never an empty list."""
    stream, found = io.BytesIO(data), []
    try:
        directory = ImageFileDirectory_v2(data[:16] if b'+' in data[2:4] else data[:8])
        while directory.next and len(found) < _MAX_PAGES:
            stream.seek(directory.next)
            directory.load(stream)
            values = {tag: directory[tag] for tag in _TAGS if tag in directory}
            found.append({tag: value if isinstance(value, tuple) else (value,) for tag, value in values.items()})
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, OverflowError):
        pass  # what is damaged, the decoder says
    return found or [{}]

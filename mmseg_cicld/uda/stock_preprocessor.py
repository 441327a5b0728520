"""The ``data_preprocessor`` that stock configs of mmseg set at top level, and mmengine hands to the outermost model."""
from collections.abc import Mapping

TOP, OWN = 'data_preprocessor', 'model.segmentor.data_preprocessor'


def with_preprocessor(segmentor: Mapping, given: Mapping | None) -> dict:
    """Returns the config of a segmentor with the preprocessor of the top level, if it has none of its own.

    Args:
        segmentor: Config of the segmentor.
        given: Config of the preprocessor at top level; None: there is none.

    Raises:
        ValueError: If both are there and differ in a key that both have, or the top level has one more.
    """
    own = segmentor.get('data_preprocessor')
    if given is None or own is None:
        return dict(segmentor) if given is None else dict(segmentor, data_preprocessor=given)
    for key, value in given.items():
        if key not in own or _plain(own[key]) != _plain(value):
            raise ValueError(f'{TOP}.{key} is {value!r} at top level, and {own.get(key, "not set")!r} in {OWN}: make '
                             f'them equal, or set {TOP}=None at top level')
    return dict(segmentor)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, (list, tuple)) else value

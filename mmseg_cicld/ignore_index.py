"""The number of a pixel without a class, where a config does not say ``ignore_index``: mmseg's default everywhere."""
IGNORE_INDEX = 255

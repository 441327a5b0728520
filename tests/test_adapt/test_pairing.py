"""Images and labels of other names belong together by endings."""
import pytest

from mmseg_cicld.adapt.pairing import Suffixes, count_pairs, find_suffixes

CITY = ['a/x_1_leftImg8bit.png', 'b/x_2_leftImg8bit.png']
IDS, COLOURS = (['a/x_1_gtFine_' + end, 'b/x_2_gtFine_' + end] for end in ('labelTrainIds.png', 'color.png'))


@pytest.mark.parametrize(('images', 'labels', 'found'), [
    (['a/1.jpg', 'a/2.JPG'], ['a/1.png', 'a/2.png'], Suffixes()),
    (['1.jpg', '2.jpg'], ['1_label.png', '2_label.png'], Suffixes(None, '_label.png')),
    (['1.png'], ['1.tif', 'other.tif'], Suffixes(None, '.tif')),
    (CITY, IDS, Suffixes('_leftImg8bit.png', '_gtFine_labelTrainIds.png')),
    (['im-1.jpg', 'im-10.jpg'], ['im-1-mask.png', 'im-10-mask.png'], Suffixes(None, '-mask.png')),
])
def test_endings_are_found(images, labels, found):
    assert find_suffixes(images, labels) == [found]
    assert count_pairs(images, labels, found) == len(images)


@pytest.mark.parametrize(('images', 'labels'), [
    (['1.jpg'], ['2.png']), (['1.jpg', '2.jpg'], ['1.png']), (['a/1.jpg'], ['b/1.png']),
    (['image_1.jpg'], ['label_1.png'])])
def test_names_without_a_common_stem_are_not_guessed(images, labels):
    assert find_suffixes(images, labels) == []


def test_several_label_files_of_an_image_are_told():
    assert {suffixes.label for suffixes in find_suffixes(CITY, IDS + COLOURS)} == {
        '_gtFine_labelTrainIds.png', '_gtFine_color.png'}
    assert find_suffixes(CITY, IDS + COLOURS[:1]) == [Suffixes('_leftImg8bit.png', '_gtFine_labelTrainIds.png')]


def test_a_part_of_the_images_may_be_labelled():
    images = ['1.jpg', '2.jpg', '3.jpg']
    assert find_suffixes(images, ['2.png'], some=True) == [Suffixes()] and find_suffixes(images, ['2.png']) == []
    assert count_pairs(images, ['2.png', '9.png'], Suffixes()) == 1

"""Features and logits of whole segmentors equal those recorded from the published implementation."""
import pytest
from parity_comparison import FORWARD_PRECISIONS, FORWARDS, forward_deviations


@pytest.mark.parametrize('precision', FORWARD_PRECISIONS)
@pytest.mark.parametrize('tag', FORWARDS)
def test_features_and_logits(tag, precision):
    assert forward_deviations(tag, precision) >= 11

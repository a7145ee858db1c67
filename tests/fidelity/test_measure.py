"""The measures against numbers that others have published."""

import numpy
import pytest

from tests.fidelity.measure import ciede2000, distance, lab
from tests.imaging.drawn import photo

# Of table 1 of Sharma, Wu and Dalal 2005.
SHARMA = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


@pytest.mark.parametrize("one, other, published", SHARMA)
def test_ciede2000(one, other, published):
    for a, b in ((one, other), (other, one)):
        found = ciede2000(numpy.array(a, float), numpy.array(b, float))
        assert float(found) == pytest.approx(published, abs=5e-5)


def test_lab_of_known_colours():
    found = lab(numpy.array([[255, 255, 255], [255, 0, 0], [0, 0, 0]], float))
    assert found == pytest.approx(
        numpy.array([[100, 0, 0], [53.24, 80.09, 67.20], [0, 0, 0]]), abs=0.02
    )


def test_a_picture_is_itself_and_noise_is_not():
    picture = photo(64, 48).astype(float)
    same = distance(picture, picture)
    assert same.delta_e == 0
    assert same.ssim == pytest.approx(1)
    noisy = distance(picture + numpy.random.default_rng(1).normal(0, 10, picture.shape), picture)
    assert noisy.psnr == pytest.approx(28.1, abs=0.3)
    assert noisy.ssim < 0.95
    assert noisy.delta_e > 2

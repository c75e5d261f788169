import numpy as np
from scipy.ndimage import gaussian_filter

from geoscan.data.deal import renumber
from geoscan.data.neighbours import join, neighbour_groups

SIDE = 64


def landscape(seed, rows, cols, rough=1.5):
    noise = np.random.default_rng(seed).normal(size=(3, rows * SIDE, cols * SIDE))
    smooth = gaussian_filter(noise, (0, rough, rough)) * 40 + gaussian_filter(noise, (0, 20, 20)) * 400
    return np.clip(110 + smooth, 0, 255).astype(np.uint8)


def cut(image):
    _, rows, cols = image.shape
    return [image[:, y : y + SIDE, x : x + SIDE] for y in range(0, rows, SIDE) for x in range(0, cols, SIDE)]


def test_adjoining_chips_are_found_and_others_are_not():
    chips = [*cut(landscape(1, 3, 4)), *cut(landscape(2, 1, 2)), *(landscape(s, 1, 1) for s in range(10, 60))]
    truth = renumber([0] * 12 + [1] * 2 + list(range(2, 52)))
    order = np.random.default_rng(0).permutation(len(chips))
    groups = neighbour_groups(chips[i] for i in order)
    assert (groups == renumber(truth[order])).all()


def test_featureless_and_mirrored_borders_do_not_match():
    cloud = [np.full((3, SIDE, SIDE), 250 + i % 5, np.uint8) for i in range(20)]
    chip = landscape(5, 1, 1)
    noisy = [c + np.random.default_rng(i).integers(0, 2, c.shape, dtype=np.uint8) for i, c in enumerate(cloud)]
    chips = [*noisy, chip, chip[:, ::-1], chip[:, :, ::-1]]
    groups = neighbour_groups(chips)
    assert len(set(groups[:20])) == 20
    assert not set(groups[:20]) & set(groups[20:])


def test_a_brighter_neighbour_is_no_neighbour():
    left, right = cut(landscape(3, 1, 2))
    assert len(set(neighbour_groups([left, right]))) == 1
    assert len(set(neighbour_groups([left, np.clip(right.astype(int) + 12, 0, 255).astype(np.uint8)]))) == 2


def test_identical_chips_are_one_group_and_unreadable_ones_stand_alone():
    chip = landscape(4, 1, 1)
    groups = neighbour_groups([None, chip, landscape(6, 1, 1), None, chip.copy()])
    assert groups.tolist() == [0, 1, 2, 3, 1]
    assert neighbour_groups([]).shape == (0,)
    assert neighbour_groups([None]).tolist() == [0]


def test_join_is_transitive():
    assert join(6, [(0, 1), (4, 1), (3, 5)]).tolist() == [0, 0, 1, 2, 0, 2]
    assert join(3, []).tolist() == [0, 1, 2]

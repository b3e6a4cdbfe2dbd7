import logging

import jax
import numpy as np
import pytest

from bimonn_jax.data.image_files import Reading, write_image
from bimonn_jax.data.image_pairs import Pair, load_pairs, pair_crops, split_pairs, tiles

RNG = np.random.default_rng(0)


def pair(name="a", shape=(20, 40)):
    x, y = RNG.random((2, *shape)) < 0.3
    return Pair(name, x, y, x)


@pytest.fixture
def folders(tmp_path):
    made = {}
    for folder in ("in", "out"):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            made[folder, name] = RNG.random((8, 9)) < 0.5
            write_image(tmp_path / folder / f"{name}.png", made[folder, name])
    return tmp_path, made


def test_images_of_the_same_name_are_paired(folders):
    root, made = folders
    pairs = load_pairs(root / "in", root / "out", Reading())
    assert [p.name for p in pairs] == ["a", "b"]
    for p in pairs:
        # Dark is the foreground.
        np.testing.assert_array_equal(p.x, ~made["in", p.name])
        np.testing.assert_array_equal(p.y, ~made["out", p.name])
        np.testing.assert_array_equal(p.bits, p.x)


def test_two_files_are_a_pair_whatever_their_names(folders):
    root, made = folders
    (found,) = load_pairs(root / "in" / "a.png", root / "out" / "b.png", Reading())
    np.testing.assert_array_equal(found.y, ~made["out", "b"])


def test_gray_input_has_bits_beside_it(folders):
    root, made = folders
    found = load_pairs(root / "in", root / "out", Reading(gray=True))[0]
    np.testing.assert_array_equal(found.x, np.where(made["in", "a"], 0.0, 255.0))
    np.testing.assert_array_equal(found.bits, ~made["in", "a"])


def spoil(root, kind):
    if kind == "unreadable":
        (root / "in" / "a.png").write_bytes(b"")
    elif kind == "alone":
        (root / "out" / "a.png").unlink()
    else:
        write_image(root / "out" / "a.png", np.ones((8, 8), bool), overwrite=True)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("unreadable", r"in/a\.png is not a readable image"),
        ("alone", r"in/a\.png has no target of the same name"),
        ("size", r"in/a\.png is \(8, 9\) pixels.*out/a\.png is \(8, 8\)"),
    ],
)
def test_what_does_not_fit_is_named_and_refused_or_skipped(kind, message, folders, caplog):
    root, _ = folders
    spoil(root, kind)
    with pytest.raises(ValueError, match=message):
        load_pairs(root / "in", root / "out", Reading())
    with caplog.at_level(logging.WARNING):
        pairs = load_pairs(root / "in", root / "out", Reading(), on_error="skip")
    assert [p.name for p in pairs] == ["b"]
    assert "skipped" in caplog.text
    (root / "in" / "b.png").unlink()
    (root / "in" / "c.png").write_bytes(b"")
    with pytest.raises(ValueError, match="no pairs of readable images of equal size"):
        load_pairs(root / "in", root / "out", Reading(), on_error="skip")


def test_targets_without_an_input_are_named(folders, caplog):
    root, _ = folders
    (root / "in" / "b.png").unlink()
    with pytest.raises(ValueError, match=r"out/b\.png has no input of the same name"):
        load_pairs(root / "in", root / "out", Reading())
    assert len(load_pairs(root / "in", root / "out", Reading(), on_error="skip")) == 1
    assert "out/b.png has no input" in caplog.text


def test_few_images_are_split_by_area_and_many_by_image():
    one = pair(shape=(20, 100))
    split = split_pairs([one])
    parts = (*split.training, *split.validation, *split.test)
    assert [p.x.shape[1] for p in parts] == [55, 10, 35]
    np.testing.assert_array_equal(np.concatenate([p.y for p in parts], axis=1), one.y)
    for count in (5, 20):
        pairs = [pair(str(i)) for i in range(count)]
        split = split_pairs(pairs)
        assert (*split.training, *split.validation, *split.test) == tuple(pairs)
        assert min(map(len, (split.training, split.validation, split.test))) >= 1
    assert [len(part) for part in (split.training, split.validation, split.test)] == [11, 2, 7]


def test_tiles_cover_what_fits_once():
    image = np.arange(7 * 9).reshape(7, 9)
    found = np.asarray(tiles([image, image[:3, :3]], 3))
    assert found.shape == (2 * 3 + 1, 3, 3)
    np.testing.assert_array_equal(found[1], image[:3, 3:6])
    np.testing.assert_array_equal(np.sort(found[:6].ravel()), np.sort(image[:6].ravel()))
    with pytest.raises(ValueError, match="no image is 10 x 10"):
        tiles([image], 10)


def test_crops_are_of_both_images_at_the_same_place_and_of_all_images():
    pairs = [pair("a", (6, 9)), pair("b", (8, 5))]
    sample = jax.jit(pair_crops(pairs, 400, 4))
    x, y = (np.asarray(part)[..., 0] for part in sample(jax.random.key(0)))
    known = {}
    for p in pairs:
        for r in range(p.x.shape[0] - 3):
            for c in range(p.x.shape[1] - 3):
                at = np.s_[r : r + 4, c : c + 4]
                known[p.x[at].tobytes() + p.y[at].tobytes()] = 0
    for a, b in zip(x, y, strict=True):
        known[a.tobytes() + b.tobytes()] += 1
    # 18 + 10 places, 400 crops.
    assert len(known) == 28
    assert min(known.values()) > 0


def test_images_smaller_than_a_crop_are_named():
    with pytest.raises(ValueError, match=r"a is \(20, 40\); crops of 21 pixels do not fit"):
        pair_crops([pair()], 1, 21)
    for pairs, batch, size in (([], 1, 4), ([pair()], 0, 4), ([pair()], 1, 0)):
        with pytest.raises(ValueError, match="pairs, batch and size must be at least 1"):
            pair_crops(pairs, batch, size)

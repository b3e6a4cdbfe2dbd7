import itertools
import logging

import jax
import numpy as np
import pytest

from bimonn_jax.data.image_files import Picture, Reading, write_image, writing_pages
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


@pytest.fixture
def one_folder(tmp_path):
    """Pairs told apart by the ends of their names, and a picture beside them."""
    made = {}
    for name in ("a_noisy", "a_clean", "1890/b_noisy", "1890/b_clean", "map"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        made[name] = RNG.random((8, 9)) < 0.5
        write_image(tmp_path / f"{name}.png", made[name])
    return tmp_path, made


@pytest.mark.parametrize("targets", [False, True])
def test_pairs_of_one_folder_are_told_apart_by_the_ends_of_their_names(targets, one_folder, caplog):
    folder, made = one_folder
    with caplog.at_level(logging.WARNING):
        found = load_pairs(
            folder,
            folder if targets else None,
            Reading(),
            suffixes=("_noisy", "_clean"),
            subfolders=True,
        )
    assert [p.name for p in found] == ["1890/b", "a"]
    for p in found:
        np.testing.assert_array_equal(p.x, ~made[f"{p.name}_noisy"])
        np.testing.assert_array_equal(p.y, ~made[f"{p.name}_clean"])
    assert "map.png" in caplog.text


def test_one_of_both_may_have_no_suffix(one_folder):
    """What ends in that of the targets is none of the inputs."""
    folder, made = one_folder
    (folder / "a_noisy.png").rename(folder / "a.png")
    (folder / "map.png").unlink()
    (found,) = load_pairs(folder, None, Reading(), suffixes=("", "_clean"))
    np.testing.assert_array_equal(found.x, ~made["a_noisy"])
    np.testing.assert_array_equal(found.y, ~made["a_clean"])
    (folder / "clean").mkdir()
    (folder / "a_clean.png").rename(folder / "clean" / "a_clean.png")
    (again,) = load_pairs(folder, folder / "clean", Reading(), suffixes=("", "_clean"))
    np.testing.assert_array_equal(again.y, found.y)


def test_names_that_do_not_tell_are_refused(one_folder):
    folder, _ = one_folder
    with pytest.raises(ValueError, match=r"--input_suffix, --target_suffix"):
        load_pairs(folder, folder, Reading())
    with pytest.raises(ValueError, match="ends in '_gt'"):
        load_pairs(folder, None, Reading(), suffixes=("_noisy", "_gt"))
    (folder / "a_clean.png").unlink()
    write_image(folder / "c_clean.png", np.ones((8, 9), bool))
    with pytest.raises(ValueError, match=r"c_clean\.png has no input of the same name"):
        load_pairs(folder, None, Reading(), suffixes=("_noisy", "_clean"))


@pytest.mark.parametrize("at", list(itertools.product(range(3), range(2))))
@pytest.mark.parametrize("smaller", ["in", "out"])
def test_pairs_that_differ_by_a_pixel_or_two_are_cut_where_they_agree(smaller, at, folders):
    root, made = folders
    other = "out" if smaller == "in" else "in"
    for name in ("a", "b"):
        whole = made[other, name]
        part = whole[at[0] :, at[1] :][:6, :8]
        write_image(root / smaller / f"{name}.png", part, overwrite=True)
    with pytest.raises(ValueError, match=r"in/a\.png is .* crop=2 \(--crop_pairs=2\)"):
        load_pairs(root / "in", root / "out", Reading(), crop=1)
    for p in load_pairs(root / "in", root / "out", Reading(), crop=2):
        assert p.x.shape == (6, 8)
        np.testing.assert_array_equal(p.x, p.y)
        np.testing.assert_array_equal(p.bits, p.x)


def test_a_pair_may_each_have_what_the_other_lacks(folders):
    """One is a row taller, the other a column wider."""
    root, made = folders
    whole = made["in", "a"]
    for folder, part in (("in", whole[1:]), ("out", whole[:, :-1])):
        write_image(root / folder / "a.png", part, overwrite=True)
    found = load_pairs(root / "in", root / "out", Reading(), crop=1)[0]
    np.testing.assert_array_equal(found.x, ~whole[1:, :-1])
    np.testing.assert_array_equal(found.y, ~whole[1:, :-1])


def test_pages_are_paired_with_pages(tmp_path):
    images = {name: RNG.random((count, 8, 9)) < 0.5 for name, count in (("in", 3), ("out", 3))}
    for name, pages in images.items():
        with writing_pages(tmp_path / f"{name}.tif") as write:
            for page in pages:
                write(Picture(page))
    found = load_pairs(tmp_path / "in.tif", tmp_path / "out.tif", Reading())
    assert [p.name for p in found] == ["in, page 1", "in, page 2", "in, page 3"]
    np.testing.assert_array_equal([p.x for p in found], ~images["in"])
    np.testing.assert_array_equal([p.y for p in found], ~images["out"])
    write_image(tmp_path / "out.tif", images["out"][0], overwrite=True)
    with pytest.raises(ValueError, match="do not have the same number of pages"):
        load_pairs(tmp_path / "in.tif", tmp_path / "out.tif", Reading())


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

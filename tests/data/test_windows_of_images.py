"""Windows of images, against loops over pixels."""

import numpy as np

from bimonn_jax.data.windows import draw_windows, every_window


def window(image, row, column, size):
    """The pixels around one, row by row, zero outside."""
    found = []
    for r in range(row - (size[0] - 1) // 2, row + size[0] // 2 + 1):
        for c in range(column - (size[1] - 1) // 2, column + size[1] // 2 + 1):
            inside = 0 <= r < image.shape[0] and 0 <= c < image.shape[1]
            found += list(image[r, c]) if inside else [False] * image.shape[2]
    return found


def test_windows_of_all_pixels():
    image = np.random.default_rng(0).random((4, 5, 2)) < 0.5
    for size in ((3, 3), (1, 1), (2, 4), (9, 9)):
        expected = [window(image, r, c, size) for r in range(4) for c in range(5)]
        np.testing.assert_array_equal(every_window(image, size), expected)


def test_drawing_more_than_there_are_gives_all_in_order():
    rng = np.random.default_rng(1)
    xs = [rng.random((4, 5, 1)) < 0.5, rng.random((3, 2, 1)) < 0.5]
    ys = [rng.random((4, 5)) < 0.5, rng.random((3, 2)) < 0.5]
    bits, target = draw_windows(xs, ys, (3, 3), 1000, rng)
    np.testing.assert_array_equal(bits, np.concatenate([every_window(x, (3, 3)) for x in xs]))
    np.testing.assert_array_equal(target, np.concatenate([y.reshape(-1) for y in ys]))


def test_drawn_windows_are_different_pixels():
    # Each pixel is told by its own bits.
    x = (np.arange(64)[:, None] >> np.arange(6) & 1).astype(bool).reshape(8, 8, 6)
    bits, _ = draw_windows([x], [x[..., 0]], (1, 1), 40, np.random.default_rng(2))
    assert len(np.unique(bits, axis=0)) == len(bits) == 40

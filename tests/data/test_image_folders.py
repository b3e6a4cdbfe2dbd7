import logging
import os
import unicodedata
from pathlib import Path

import pytest

from bimonn_jax.data.image_folders import check_distinct, image_files


def test_images_are_found_by_stem(tmp_path):
    for name in ("b.png", "a.TIF", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert list(image_files(tmp_path)) == ["a", "b"]
    assert image_files(tmp_path / "b.png") == {"b": tmp_path / "b.png"}
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"holds a\.TIF and a\.png"):
        image_files(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder or image file"):
        image_files(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no images"):
        image_files(tmp_path / "empty")


def test_what_is_left_out_of_a_folder_is_named(tmp_path, caplog):
    for name in ("a.webp", "b.JFIF", "notes.txt", "scan.heic", ".b.png", ".DS_Store"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "more.png").mkdir()
    with caplog.at_level(logging.WARNING):
        assert list(image_files(tmp_path)) == ["a", "b"]
    (record,) = caplog.records
    named, hint = record.getMessage().removeprefix(f"left out of {tmp_path}: ").split("; ")
    assert named == f".b.png, more.png{os.sep}, notes.txt, scan.heic"
    assert "--subfolders" in hint
    caplog.clear()
    for index in range(30):
        (tmp_path / f"{index}.txt").write_bytes(b"")
    image_files(tmp_path)
    assert " and 14 more; " in caplog.text


def test_accents_may_be_encoded_in_two_ways(tmp_path):
    composed, apart = (unicodedata.normalize(form, "Größe") for form in ("NFC", "NFD"))
    (tmp_path / f"{apart}.png").write_bytes(b"")
    if (tmp_path / f"{composed}.png").exists():
        pytest.skip("this file system takes both for one")
    found = image_files(tmp_path)
    assert list(found) == [composed]
    # The file is the one that is there.
    assert found[composed].exists()
    (tmp_path / f"{composed}.png").write_bytes(b"")
    with pytest.raises(ValueError, match="must be unique"):
        image_files(tmp_path)


@pytest.mark.parametrize(
    ("first", "second"),
    [("a.png", "A.tif"), ("Größe.png", "GRÖSSE.png"), ("\u00e9.png", "E\u0301.png")],
)
def test_results_that_would_be_one_file_on_some_system_are_refused(first, second):
    with pytest.raises(ValueError, match=f"{first} and {second} would be written to one file"):
        check_distinct({path.stem: path for path in map(Path, ("b.png", first, second))})
    check_distinct({path.stem: path for path in map(Path, (first, "ab.png"))})


def test_folders_within_are_taken_if_they_are_asked_for(tmp_path, caplog):
    for name in ("b.png", "1890/a.tif", "1890/b.png", "1890/old/a.jpg", ".trash/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "1891").mkdir()
    # A link back to where it lies has no end.
    (tmp_path / "1890" / "link").symlink_to(tmp_path)
    with caplog.at_level(logging.WARNING):
        found = image_files(tmp_path, subfolders=True)
    assert found == {
        "1890/a": tmp_path / "1890" / "a.tif",
        "1890/b": tmp_path / "1890" / "b.png",
        "1890/old/a": tmp_path / "1890" / "old" / "a.jpg",
        "b": tmp_path / "b.png",
    }
    assert caplog.messages == [f"left out of {tmp_path}: 1890{os.sep}link{os.sep}"]
    assert list(image_files(tmp_path)) == ["b"]
    assert "(--subfolders) takes folders too" in caplog.messages[-1]
    (tmp_path / "b.png").unlink()
    with pytest.raises(ValueError, match=r"holds no images.*--subfolders"):
        image_files(tmp_path)


def test_folders_that_would_be_one_on_some_system_are_refused():
    with pytest.raises(ValueError, match=r"a\.png and b\.png would be written to one file"):
        check_distinct({"X/p": Path("X/a.png"), "x/P": Path("x/b.png")})
    check_distinct({"x/p": Path("x/p.png"), "y/p": Path("y/p.png")})

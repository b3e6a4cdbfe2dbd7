"""The programs on a user's own image files, as a user calls them."""

import json
import os
import sys
import unicodedata
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from bimonn_jax import BooleanNeurons
from bimonn_jax.data.image_files import (
    Picture,
    Reading,
    read_gray,
    read_pages,
    read_resolution,
    write_image,
    writing_pages,
)
from bimonn_jax.data.page import degrade, load_page
from bimonn_jax.networks.kinds import BiSELayer, FlattenLayer, LUILayer, TernaryLayer
from bimonn_jax.networks.saving import load_network, save_network
from bimonn_jax.neurons.heads import TernaryWeights
from experiments import apply, denoise
from experiments.program import InputError, prepare
from tests.support.boolean_networks import network as random_network
from tests.support.programs import ROOT, run, start

# Bytes that are no text, as names of files from elsewhere may be; not every system has them.
ODD = os.fsdecode(b"Gr\xf6\xdfe") if sys.platform == "linux" else "Gr\ufffd\ufffde"


def write_pairs(folder, count):
    """Bad copies of a page and the page, as pictures of dark ink on white paper."""
    page = np.asarray(load_page("page").training)
    for name in ("bad", "good"):
        (folder / name).mkdir()
    for index in range(count):
        bad = np.asarray(degrade(jax.random.key(index), page))
        write_image(folder / "bad" / f"{index}.png", ~bad)
        write_image(folder / "good" / f"{index}.pbm", ~page)
    return page


def test_own_images_in_and_cleaned_images_out(tmp_path):
    """The names are none of ASCII; the folders are given from the home folder."""
    page = write_pairs(tmp_path, 2)
    bad_folder, good_folder = tmp_path / "bad", tmp_path / "good"
    names = ("é", ODD)
    for index, name in enumerate(names):
        bad = ~Reading(127).to_bits(read_gray(bad_folder / f"{index}.png"))
        (bad_folder / f"{index}.png").unlink()
        write_image(bad_folder / f"{name}.png", bad, resolution=(204, 98))
        apart = unicodedata.normalize("NFD", name)
        (good_folder / f"{index}.pbm").rename(good_folder / f"{apart}.pbm")
    (bad_folder / "notes.txt").touch()
    learned, cleaned = tmp_path / f"learned {ODD}", tmp_path / "cleaned"
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    folders = "--input=~/bad", "--target=~/good"
    done = start("denoise", *folders, "--steps=2000", f"--out_dir=~/learned {ODD}", **home)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((learned / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["recipe"] == "filter"
    assert metrics["dice_boolean"] > metrics["dice_best_handmade"] > metrics["dice_noisy"]
    shown = ["é", "Gr\ufffd\ufffde"]
    for part in ("training", "validation", "test"):
        assert sorted(metrics["pairs"][part]) == sorted(shown)
    assert all(name in (learned / "report.html").read_text(encoding="utf-8") for name in shown)

    command = "apply", f"--network=~/learned {ODD}/network.npz", folders[0], "--output=~/cleaned"
    done = start(*command, "--format=tif", **home)
    assert done.returncode == 0, done.stderr
    assert "notes.txt" in done.stderr
    assert {p.name for p in cleaned.iterdir()} == {f"{name}.tif" for name in names}
    for name in names:
        # Dark ink on white paper, as it came in, and as large.
        bad, result = (
            Reading(127).to_bits(read_gray(path))
            for path in (bad_folder / f"{name}.png", cleaned / f"{name}.tif")
        )
        assert (result != page).mean() < 2 / 3 * (bad != page).mean()
        dots = read_resolution(cleaned / f"{name}.tif")
        np.testing.assert_allclose(dots, (204, 98), atol=0.02)

    before = (cleaned / "é.tif").read_bytes()
    (cleaned / f"{ODD}.tif").unlink()
    settings = {"network": learned / "network.npz", "input": bad_folder, "format": "tif"}
    with pytest.raises(InputError, match=r"é\.tif exists \(1 of the results do\): pass --over"):
        run(apply, cleaned, **settings)
    assert [p.name for p in cleaned.iterdir()] == ["é.tif"]
    assert (cleaned / "é.tif").read_bytes() == before
    assert not (ROOT / "~").exists()


def test_gray_levels_are_learned_from_and_read_back(tmp_path):
    """Strokes that are darker than a gradient of the paper: two level sets tell more than one."""
    rng = np.random.default_rng(0)
    for name in ("bad", "good"):
        (tmp_path / name).mkdir()
    clean = np.asarray(load_page("text").training)
    gray = np.where(clean, 70, 200) + rng.normal(0, 35, clean.shape)
    Image.fromarray(gray.clip(0, 255).astype(np.uint8)).save(tmp_path / "bad" / "a.png")
    write_image(tmp_path / "good" / "a.png", ~clean)
    folders = {"input": tmp_path / "bad", "target": tmp_path / "good"}
    metrics = run(denoise, tmp_path / "out", **folders, level_sets=3, steps=1000)
    assert metrics["dice_boolean"] > metrics["dice_noisy"]
    network = tmp_path / "out" / "network.npz"
    run(apply, tmp_path / "cleaned", network=network, input=tmp_path / "bad" / "a.png")
    result = Reading(127).to_bits(read_gray(tmp_path / "cleaned" / "a.png"))
    assert (result != clean).mean() < (Reading().to_bits(gray) != clean).mean()


def copying_network(folder):
    """A network that copies its input; its file says that light pixels are True."""
    neurons = BooleanNeurons(
        np.ones((1, 1, 1, 1), bool), np.ones((1, 1), bool), np.zeros((1, 1), bool)
    )
    layer = BiSELayer("a", padding="SAME", border="zero")
    path = folder / "network.npz"
    metadata = {"reading": Reading(127, "light").to_json()}
    save_network(path, (layer,), {"a": {"bise": neurons}}, metadata=metadata)
    return path


def test_images_that_cannot_be_read_are_named_and_refused_or_skipped(tmp_path):
    network = copying_network(tmp_path)
    images, cleaned = tmp_path / "images", tmp_path / "cleaned"
    images.mkdir()
    shown = np.eye(6, dtype=bool)
    write_image(images / "a.png", shown)
    (images / "b.png").write_bytes(b"no image")
    settings = {"network": network, "input": images}
    with pytest.raises(InputError, match=r"b\.png is not a readable image"):
        run(apply, cleaned, **settings)
    found = run(apply, cleaned, **settings, on_error="skip", overwrite=True)
    assert found == {"images_written": 1, "images_skipped": 1}
    np.testing.assert_array_equal(read_gray(cleaned / "a.png") > 0, shown)
    config = apply.Config(**settings)
    for source in (config, apply.Config(network=network, input=images / "a.png")):
        with pytest.raises(ValueError, match=r"--output=.* holds the images: choose another"):
            prepare(images, sources=source.sources(), flag="output")


def flipping_network(folder):
    """A network of a gate that sees two pixels to the side, so that tiles have margins."""
    footprint = np.zeros((1, 5, 1, 1), bool)
    footprint[0, [0, 4]] = True
    neurons = BooleanNeurons(footprint, np.zeros((1, 1), bool), np.ones((1, 1), bool))
    layers = BiSELayer("a"), BiSELayer("b", border="reflect")
    path = folder / "network.npz"
    metadata = {"reading": Reading(127, "light").to_json()}
    params = {"a": {"bise": neurons}, "b": {"bise": neurons}}
    save_network(path, layers, params, metadata=metadata)
    return path


@pytest.fixture
def scans(tmp_path):
    """Scans as people have them, and what the network makes of each page."""
    rng, folder = np.random.default_rng(0), tmp_path / "scans"
    path = flipping_network(tmp_path)
    network = load_network(path)
    pages = {}

    def page(name, height, width):
        bits = rng.random((height, width)) < 0.4
        pages.setdefault(name, []).append(np.asarray(network(bits[None, ..., None]))[0, ..., 0])
        return bits

    (folder / "1890" / "old").mkdir(parents=True)
    with writing_pages(folder / "1890" / "fax.tif") as write:
        write(Picture(page("1890/fax", 30, 21), (204, 98), "group4"))
        write(Picture(page("1890/fax", 7, 5), (300, 300), "tiff_lzw"))
    write_image(folder / "1890" / f"{ODD}.png", page(f"1890/{ODD}", 9, 40), resolution=(300, 300))
    Image.fromarray(np.uint16(page("1890/old/p", 11, 8)) * 65535).save(
        folder / "1890" / "old" / "p.TIFF", compression="tiff_adobe_deflate"
    )
    # In blocks, of which JPEG loses nothing.
    blocks = np.kron(page("photo", 4, 3), np.ones((16, 16), bool))
    pages["photo"] = [np.asarray(network(blocks[None, ..., None]))[0, ..., 0]]
    colors = np.where(blocks, 255, 0)[..., None].repeat(3, axis=-1).astype(np.uint8)
    Image.fromarray(colors).save(folder / "photo.jpg", dpi=(72, 72))
    return folder, path, pages


@pytest.mark.parametrize("tile", [None, 0, 4])
def test_scans_as_people_have_them(tile, scans, tmp_path):
    """Pages, folders, resolution and compression are kept, whatever the tiles."""
    folder, network, pages = scans
    cleaned = tmp_path / "cleaned"
    found = run(apply, cleaned, network=network, input=folder, subfolders=True, tile=tile)
    assert found == {"images_written": 4, "images_skipped": 0}
    names = {path.relative_to(cleaned).as_posix() for path in cleaned.rglob("*.*")}
    assert names == {"1890/fax.tif", f"1890/{ODD}.png", "1890/old/p.TIFF", "photo.png"}
    for name in names:
        results = list(read_pages(cleaned / name))
        assert len(results) == len(pages[name.rpartition(".")[0]])
        for result, expected in zip(results, pages[name.rpartition(".")[0]], strict=True):
            np.testing.assert_array_equal(result.pixels > 0, expected)
    told = [(p.resolution, p.compression) for p in read_pages(cleaned / "1890" / "fax.tif")]
    assert told == [((204, 98), "group4"), ((300, 300), "tiff_lzw")]
    (page,) = read_pages(cleaned / "1890" / "old" / "p.TIFF")
    assert (page.resolution, page.compression) == (None, "tiff_adobe_deflate")
    np.testing.assert_allclose(read_resolution(cleaned / f"1890/{ODD}.png"), (300, 300), atol=0.02)
    with pytest.raises(InputError, match=r"exists \(4 of the results do\)"):
        run(apply, cleaned, network=network, input=folder, subfolders=True)


def test_what_has_no_place_for_pages_is_refused_or_skipped(scans, tmp_path):
    folder, network, _ = scans
    settings = {"network": network, "input": folder, "subfolders": True, "format": "png"}
    with pytest.raises(InputError, match=r"fax\.tif: .*only a TIFF can \(--format=tif\)"):
        run(apply, tmp_path / "cleaned", **settings)
    found = run(apply, tmp_path / "cleaned", **settings, on_error="skip", overwrite=True)
    assert found == {"images_written": 3, "images_skipped": 1}
    assert not (tmp_path / "cleaned" / "1890" / "fax.png").exists()


def test_results_do_not_go_below_images_whose_folders_are_read(scans):
    folder, network, _ = scans
    config = apply.Config(network=network, input=folder, subfolders=True)
    for below_too in (False, True):
        options = {"sources": config.sources(), "below_too": below_too, "flag": "output"}
        if not below_too:
            assert prepare(folder / "new", **options) == folder / "new"
            continue
        with pytest.raises(ValueError, match="holds the images: choose another"):
            prepare(folder / "new", **options)


def test_large_scans_are_read_if_they_are_asked_for(scans, tmp_path, monkeypatch):
    folder, network, _ = scans
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    settings = {"network": network, "input": folder}
    with pytest.raises(ValueError, match=r"photo\.jpg is not read: .*--max_megapixels"):
        apply.load(apply.Config(**settings))
    found = run(apply, tmp_path / "cleaned", **settings, max_megapixels=1)
    assert found == {"images_written": 1, "images_skipped": 0}


def test_tiles_that_cannot_be_are_refused(tmp_path):
    no = np.zeros((1, 1), bool)
    params = {"a": {"bise": BooleanNeurons(np.ones((3, 3, 1, 1), bool), no, no)}}
    save_network(tmp_path / "wrap.npz", (BiSELayer("a", border="wrap"),), params)
    write_image(tmp_path / "a.png", np.eye(6, dtype=bool))
    settings = {"network": tmp_path / "wrap.npz", "input": tmp_path / "a.png"}
    with pytest.raises(ValueError, match=r"--tile=64: .*border='wrap'"):
        apply.load(apply.Config(**settings, tile=64))
    # Whole images, where nothing else is asked for.
    assert run(apply, tmp_path / "o", **settings)["images_written"] == 1


def test_pairs_of_one_folder_are_found_by_the_ends_of_their_names(tmp_path):
    page = write_pairs(tmp_path, 1)
    write_image(tmp_path / "a_bad.png", ~page[:-1])
    write_image(tmp_path / "a_good.png", ~page)
    settings = {"input": tmp_path, "input_suffix": "_bad", "target_suffix": "_good"}
    with pytest.raises(ValueError, match=r"a_bad\.png is .* \(--crop_pairs=1\)"):
        denoise.load(denoise.Config(**settings))
    task = denoise.load(denoise.Config(**settings, crop_pairs=1))
    assert task.references["dice_noisy"] == 1
    assert task.notes["pairs"]["test"] == ["a"]
    settings = {"network": copying_network(tmp_path), "input": tmp_path, "input_suffix": "_bad"}
    assert run(apply, tmp_path / "out", **settings)["images_written"] == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a_bad.png"]
    with pytest.raises(ValueError, match="ends in '_worse'"):
        apply.load(apply.Config(**settings | {"input_suffix": "_worse"}))


def test_pairs_that_do_not_fit_are_named_before_anything_is_learned(tmp_path):
    write_pairs(tmp_path, 2)
    write_image(tmp_path / "good" / "1.pbm", np.ones((5, 5), bool), overwrite=True)
    folders = {"input": tmp_path / "bad", "target": tmp_path / "good"}
    with pytest.raises(ValueError, match=r"1\.pbm is \(5, 5\)"):
        denoise.load(denoise.Config(**folders))
    with pytest.raises(ValueError, match="--input and --target go together"):
        denoise.Config(input=folders["input"])


def test_a_classifier_writes_its_classes(tmp_path):
    """One class votes with the pixels of the left half, the other with those of the right."""
    left = np.zeros((6, 6, 1), bool)
    left[:, :3] = True
    votes = np.stack([left.ravel(), ~left.ravel()], axis=-1)
    layers = FlattenLayer(rank=3), TernaryLayer("head")
    head = TernaryWeights(jnp.asarray(votes), jnp.zeros_like(votes))
    path = tmp_path / "network.npz"
    save_network(path, layers, {"head": {"head": head}})
    (tmp_path / "in").mkdir()
    for name, bits in (("a", left), (ODD, ~left)):
        write_image(tmp_path / "in" / f"{name}.png", ~bits[..., 0])
    write_image(tmp_path / "in" / "large.png", np.ones((7, 6), bool))
    out, settings = tmp_path / "out", {"network": path, "input": tmp_path / "in"}
    with pytest.raises(InputError, match=r"large\.png: "):
        run(apply, out, **settings)
    # What was found before is kept.
    classes = "file,class\nGr\ufffd\ufffde.png,1\na.png,0\n"
    assert (out / "classes.csv").read_bytes() == classes.encode("utf-8")
    found = run(apply, out, **settings, on_error="skip", overwrite=True)
    assert found == {"images_written": 2, "images_skipped": 1}
    assert (out / "classes.csv").read_bytes() == classes.encode("utf-8")


def test_a_network_of_several_channels_is_refused(tmp_path):
    network, shape = random_network("convolutional")
    save_network(tmp_path / "two.npz", network.architecture, network.params)
    write_image(tmp_path / "a.png", np.eye(*shape[:2], dtype=bool))
    with pytest.raises(ValueError, match="takes 2 channels; got 1"):
        apply.load(apply.Config(network=tmp_path / "two.npz", input=tmp_path / "a.png"))


@pytest.mark.parametrize("reading", [{"threshold": 1}, [], {"gray": 1}])
def test_a_file_that_lies_about_its_reading_is_refused(reading, tmp_path):
    path = copying_network(tmp_path)
    network = load_network(path)
    lie = {"reading": reading}
    save_network(path, network.architecture, network.params, metadata=lie, overwrite=True)
    write_image(tmp_path / "a.png", np.eye(6, dtype=bool))
    with pytest.raises(ValueError, match="does not say properly how images are read"):
        apply.load(apply.Config(network=path, input=tmp_path / "a.png"))


def test_several_output_channels_become_several_pictures(tmp_path):
    """A network that gives its input and the complement of it."""
    neurons = BooleanNeurons(*np.ones((2, 1, 2), bool)[:1], np.ones(2, bool), np.arange(2) == 1)
    path = tmp_path / "network.npz"
    save_network(path, (LUILayer("a"),), {"a": {"lui": neurons}})
    shown = np.eye(6, dtype=bool)
    write_image(tmp_path / "a.png", shown)
    settings = {"network": path, "input": tmp_path / "a.png"}
    (tmp_path / "o").mkdir()
    write_image(tmp_path / "o" / "a_1.png", shown)
    with pytest.raises(InputError, match=r"a_1\.png exists"):
        run(apply, tmp_path / "o", **settings)
    assert len(list((tmp_path / "o").iterdir())) == 1
    run(apply, tmp_path / "o", **settings, overwrite=True)
    for channel, expected in enumerate((shown, ~shown)):
        found = read_gray(tmp_path / "o" / f"a_{channel}.png") > 0
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_megapixels": 2}, "--max_megapixels has no effect without --input"),
        ({"input_suffix": "_a"}, "--input and --target go together"),
        ({"level_sets": 2}, "--level_sets has no effect without --input"),
        ({"data": "page", "steps": 3}, "--steps has no effect with --recipe=search"),
        ({"recipe": "paper", "level_sets": 2}, "--level_sets has no effect with --recipe=paper"),
        ({"regularizer": "exact"}, "--regularizer has no effect with --recipe=boolean"),
        (
            {"data": "page", "input": Path("a"), "target": Path("b")},
            "--data has no effect with --input",
        ),
    ],
)
def test_settings_that_would_be_ignored_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        denoise.Config(**settings)


def test_results_do_not_go_among_the_images(tmp_path):
    write_pairs(tmp_path, 1)
    bad, good = tmp_path / "bad", tmp_path / "good"
    folders = denoise.Config(input=bad, target=good)
    files = denoise.Config(input=bad / "0.png", target=good / "0.pbm")
    for config in (folders, files):
        with pytest.raises(ValueError, match="holds the images: choose another folder"):
            prepare(bad, "metrics.json", sources=config.sources())
    assert len(list(bad.iterdir())) == 1

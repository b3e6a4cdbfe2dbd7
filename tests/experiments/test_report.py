"""The report of a run, also as a browser shows it."""

import base64
import re
import shutil
import subprocess
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from bimonn_jax import BooleanNetwork, BooleanNeurons
from bimonn_jax.networks.kinds import LUILayer
from bimonn_jax.viz import plot_images
from experiments import denoise, sweep
from experiments.report import everything, write_report

PAGE = denoise.Config(data="page")


def picture(images=1):
    half = np.zeros((40, 40), bool)
    half[:, 20:] = True
    return plot_images({str(i): half for i in range(images)})


def report(folder, config=PAGE, images=1, **options):
    options = {"table": [{"dice_boolean": 0.98765, "exact": True, "nothing": None}]} | options
    figures = {"half": ("Half & half", picture(images))}
    write_report(folder, "A <title>", config, figures=figures, **options)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_a_report_says_what_was_run_and_found(tmp_path):
    folder = tmp_path / "a & b"
    folder.mkdir()
    text = report(folder, certificate="exact, <all> of it")
    assert "A &lt;title&gt;" in text
    assert "python -m experiments.denoise --data=page &#39;--out_dir=" in text
    assert "a &amp; b&#39;" in text
    assert '<th scope="row">F-measure (DICE) of the boolean network</th><td>0.9877</td>' in text
    assert re.search("equals the learned one, proven</th><td>yes</td>", text)
    # Those that are as by default are told too.
    assert "--on_error=stop\n" in text
    assert "nothing" not in text
    assert "exact, &lt;all&gt; of it" in text
    assert 'alt="Half &amp; half"' in text
    assert text.count("data:image/png;base64,") == 1
    # The picture in the page is the one beside it.
    assert base64.b64encode((folder / "half.png").read_bytes()).decode() in text
    for package in ("bimonn-jax", "jax", "flax", "numpy", "Python"):
        assert f'<th scope="row">{package}</th>' in text


def test_names_that_are_no_text_are_shown_as_far_as_they_are(tmp_path):
    images = denoise.Config(input=Path("Gr\udcf6n 表"), target=Path("b"))
    text = report(tmp_path, images, table=[{"name": "\udcff"}])
    assert "--input=Gr\ufffdn 表" in text
    assert "<td>\ufffd</td>" in text


def test_passwords_are_left_out(tmp_path):
    text = report(tmp_path, sweep.Config(storage="postgresql://me:secret@host/db"))
    assert text.count("postgresql://me:***@host/db") == 2
    assert "secret" not in text


def test_rows_become_a_table_with_a_column_for_every_name(tmp_path):
    text = report(tmp_path, table=[{"n": 1, "s": 0.5}, {"n": 2000, "error": [1, None]}])
    assert text.count('<th scope="col">') == 3
    assert "<td>2000</td><td></td><td>1, </td>" in text


def test_names_are_words_in_every_table(tmp_path):
    rows = [{"dice_boolean": 0.5, "live_share": 1.0}, {"dice_boolean": 0.6, "live_share": 0.9}]
    for table in (rows, rows[:1]):
        text = report(tmp_path, table=table)
        assert "F-measure (DICE) of the boolean network" in text
        assert "share of neurons that are not constant" in text
        assert "dice_boolean" not in text
    # Units stand beside numbers.
    text = report(tmp_path, table=[{"train_seconds": 3.0, "test_error_boolean": 2.0}])
    assert '<th scope="row">seconds of learning</th><td>3</td>' in text
    assert '<th scope="row">test error of the boolean network, %</th><td>2</td>' in text


def test_pictures_of_all_neurons_are_folded_away(tmp_path):
    text = report(tmp_path, folded={"all": ("All of <them>", picture())})
    shown, folded = text.split("<summary>All of them")
    assert 'alt="Half &amp; half"' in shown
    assert 'alt="All of &lt;them&gt;"' in folded
    assert (tmp_path / "all.png").exists()
    assert "<summary>All of them" not in report(tmp_path)


@pytest.mark.parametrize(("neurons", "is_drawn"), [(8, False), (9, True), (64, True), (65, False)])
def test_all_neurons_are_drawn_where_some_were_left_out_and_not_too_many(neurons, is_drawn):
    footprint = jnp.ones((1, neurons), bool)
    union = BooleanNeurons(footprint, jnp.zeros(neurons, bool), jnp.zeros(neurons, bool))
    network = BooleanNetwork((LUILayer("a"),), {"a": {"lui": union}})
    drawn = everything(network, np.ones((1, 2, 2, 1), bool))
    assert set(drawn) == ({"network_all", "stages_all"} if is_drawn else set())
    if is_drawn:
        _, stages = drawn["stages_all"]
        assert len([axis for axis in stages.axes if axis.images]) == 1 + neurons


@pytest.mark.parametrize("width", [360, 768, 2500])
@pytest.mark.skipif(not shutil.which("chromium"), reason="apt-get install chromium")
def test_a_browser_shows_all_of_it_in_any_window_and_asks_for_nothing_else(tmp_path, width):
    config = denoise.Config(input=Path("a/long/path " * 40), target=Path("b" * 200))
    table = [{"name": "a/layer/of_a_long_name" * 9, "dice": 0.5}]
    report(tmp_path, config, table=table, certificate="what is exact " * 30, images=9)
    # A window has at least 500 pixels; a frame in it is as narrow as it is told to be.
    page, size = tmp_path / "frame.html", (max(width, 500), 1800)
    frame = f'<iframe src="report.html" width="{width}" height="{size[1]}" style="border:0">'
    page.write_text(f'<body style="margin:0">{frame}</iframe></body>')
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}", "--hide-scrollbars",
        "--window-size={},{}".format(*size), f"--screenshot={tmp_path / 'r.png'}", page.as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    shown = np.asarray(Image.open(tmp_path / "r.png").convert("L"))
    assert shown.shape == size[::-1]
    # Nothing runs into the margin of 16 pixels; a wide window has wider ones.
    content = min(width - 32, 72 * 16)
    right = (min(width, shown.shape[1]) + content) // 2
    assert (shown[:, right:width] > 240).all()
    # Text is scattered; pictures that are half black have black rows, here of nine of them in the
    # width of the text.
    black = max(int(row.sum()) for row in shown[:, :width] < 20)
    assert 0.35 * content < black < 0.6 * content
    assert 0.5 < (shown > 240).mean() < 0.99

"""The report of a run, also as a browser shows it."""

import base64
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bimonn_jax.viz import plot_images
from experiments import denoise, sweep
from experiments.report import write_report

PAGE = denoise.Config(data="page")


def report(folder, config=PAGE, **options):
    half = np.zeros((40, 40), bool)
    half[:, 20:] = True
    options = {"table": [{"dice_boolean": 0.98765, "exact": True, "nothing": None}]} | options
    figures = {"half": ("Half & half", plot_images({"a": half}))}
    write_report(folder, "A <title>", config, figures=figures, **options)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_a_report_says_what_was_run_and_found(tmp_path):
    folder = tmp_path / "a & b"
    folder.mkdir()
    text = report(folder, certificate="exact, <all> of it")
    assert "A &lt;title&gt;" in text
    assert "python -m experiments.denoise --data=page &#39;--out_dir=" in text
    assert "a &amp; b&#39;" in text
    assert '<th scope="row">DICE of the boolean network</th><td>0.9877</td>' in text
    assert re.search("equals the learned one</th><td>yes</td>", text)
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


@pytest.mark.skipif(not shutil.which("chromium"), reason="apt-get install chromium")
def test_a_browser_shows_all_of_it_in_a_narrow_window_and_asks_for_nothing_else(tmp_path):
    config = denoise.Config(input=Path("a/long/path " * 40), target=Path("b" * 200))
    table = [{"name": "a/layer/of_a_long_name" * 9, "dice": 0.5}]
    report(tmp_path, config, table=table, certificate="what is exact " * 30)
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,1400", "--hide-scrollbars",
        f"--screenshot={tmp_path / 'r.png'}", (tmp_path / "report.html").as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    shown = np.asarray(Image.open(tmp_path / "r.png").convert("L"))
    assert shown.shape == (1400, 500)
    # Nothing runs into the padding of 13 pixels beside the margin of 16.
    assert (shown[:, 500 - 16 - 11 :] > 150).all()
    # Text is scattered; a picture that is half black has black rows of many pixels.
    dark = shown < 20
    widest = max(int(row.sum()) for row in dark)
    assert widest > 80
    assert 0.5 < (shown > 240).mean() < 0.99

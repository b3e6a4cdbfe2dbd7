import configparser
import dataclasses
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from tempfile import TemporaryDirectory

import jax
import numpy as np
import pytest
from absl import flags

from bimonn_jax.data.image_files import Reading
from bimonn_jax.data.sticks import noisy_sticks
from bimonn_jax.networks.saving import load_network, save_network
from experiments import (
    apply,
    correlation_speed,
    denoise,
    filters,
    inference,
    mnist,
    operators,
    program,
    projection_scaling,
    ranks,
    regularizer_cost,
    sweep,
    sweep_speed,
)
from experiments.output import progress
from experiments.program import InputError, define_flags, from_flags, prepare
from experiments.report import words, write_json
from tests.support.boolean_networks import network as random_network
from tests.support.programs import ROOT, check_report, run, start, written_results

PROGRAMS = (
    apply, correlation_speed, denoise, filters, inference, mnist, operators, projection_scaling,
    ranks, regularizer_cost, sweep, sweep_speed,
)  # fmt: skip
needs_mnist = pytest.mark.skipif(
    not os.environ.get("TFDS_DATA_DIR"), reason="MNIST is not prepared: set TFDS_DATA_DIR"
)
METRICS = {
    "recipe", "dice_float", "dice_boolean", "dice_boolean_unpruned", "dice_target_operator",
    "exact", "activated_share", "channels_used", "train_seconds", "seed",
}  # fmt: skip


def parsed(module, *arguments):
    """The settings that a command line gives."""
    values = flags.FlagValues()
    define_flags(module.Config, values)
    values([sys.argv[0], *arguments])
    return from_flags(module.Config, values)


@pytest.mark.parametrize("module", PROGRAMS, ids=lambda module: module.__name__)
def test_every_setting_is_a_flag_that_help_explains(module):
    values = flags.FlagValues()
    define_flags(module.Config, values)
    shown = values.main_module_help()
    for field in dataclasses.fields(module.Config):
        assert re.search(rf"^  --(\[no\])?{field.name}:", shown, re.MULTILINE)
        assert re.fullmatch(r"[A-Z].*\.", field.metadata["help"])


@pytest.mark.parametrize(
    "module", [m for m in PROGRAMS if m not in (apply, inference)], ids=lambda m: m.__name__
)
def test_no_flags_give_the_settings_by_default(module):
    assert parsed(module) == module.Config()


def test_flags_become_settings_and_settings_the_same_flags_again(tmp_path):
    command = [
        "--operators=opening,closing", "--recipe=search", "--recipe=boolean", "--steps=3",
    ]  # fmt: skip
    config = parsed(operators, *command)
    assert config == operators.Config(
        operators=("opening", "closing"), recipe=("search", "boolean"), steps=3
    )
    assert config.as_flags(with_defaults=False) == [command[0], *command[1:]]
    assert config.command(tmp_path) == (
        f"python -m experiments.operators {' '.join(command)} --out_dir={tmp_path}"
    )
    assert parsed(denoise, "--input=~/a", "--target=b", "--norelative") == denoise.Config(
        input=Path.home() / "a", target=Path("b")
    )
    assert parsed(inference, "--network=n", "--sizes=40,50").sizes == (40, 50)
    assert parsed(mnist, "--convolutions=", "--epochs=0.5").convolutions == ()


@pytest.mark.parametrize(
    ("module", "settings", "message"),
    [
        (mnist, {"convolutions": ("7x256x4",)}, r"\['7x256x4'\]: kernel:features:pool were exp"),
        (mnist, {"regularizer": "acti"}, "--regularizer has no effect with --recipe=boolean"),
        (mnist, {"head": "real", "temperature": 2.0}, "--temperature has no effect with --head=r"),
        (mnist, {"sparse": True}, "--sparse has no effect with --recipe=boolean"),
        (mnist, {"recipe": "rank", "rank_layers": (9, 0)}, r"\[9, 0\]: numbers >= 1 were expected"),
        (mnist, {"batch": 0}, "--batch must be at least 1; got 0"),
        (sweep, {"regularizers": ("none", "ac")}, "--regularizers=none,ac: one or more of none"),
        (sweep, {"method": ("qp",)}, "--method=qp: one or more of constant, "),
        (sweep, {"weights": ()}, "--weights=: one or more of identity, positive, dual were"),
        (denoise, {"recipe": "median"}, "--recipe=median: one of boolean, filter, paper, sea"),
        (denoise, {"seconds": 3.0}, "--seconds has no effect with --recipe=boolean"),
        (denoise, {"recipe": "filter", "window": 4}, "--window must be odd and positive; got 4"),
        (denoise, {"recipe": "filter", "steps": 9, "seconds": 3.0}, "no effect with --steps"),
        (denoise, {"fit_ranks": True}, "--fit_ranks has no effect with --recipe=boolean"),
        (operators, {"operators": ("median",)}, "operator must be one of"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_followed_are_refused(module, settings, message):
    with pytest.raises(ValueError, match=message):
        module.Config(**settings)


def test_numbers_that_are_none_are_named():
    with pytest.raises(ValueError, match="--sizes=40,a: numbers were expected"):
        parsed(inference, "--network=n", "--sizes=40,a")


@pytest.mark.parametrize(
    ("program", "arguments", "message"),
    [
        ("denoise", ["--data=page", "--steps=3"], "--steps has no effect with --recipe=search"),
        ("denoise", ["--steps=3"], "holds metrics.json already: pass --overwrite"),
        # Not the digits: these data were asked for.
        ("mnist", ["--data_dir=/no/such/folder", "--overwrite"], "/no/such/folder"),
    ],
)
def test_what_cannot_be_followed_is_said_without_a_traceback(program, arguments, message, tmp_path):
    write_json(tmp_path / "metrics.json", {})
    done = start(program, *arguments, f"--out_dir={tmp_path}")
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "digits" not in done.stdout


def test_the_scripts_of_the_wheel_start_programs():
    """Their package has another name there, so that they import one another relatively."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    scripts = settings["options.entry_points"]["console_scripts"].split("\n")[1:]
    names = {re.fullmatch(r"bimonn-(\w+) = bimonn_experiments\.\1:main", s)[1] for s in scripts}
    modules = {module.__name__.removeprefix("experiments."): module for module in PROGRAMS}
    assert names == {"apply", "denoise", "mnist", "operators", "sweep"} <= set(modules)
    assert all(callable(module.main) for module in modules.values())
    for path in (ROOT / "experiments").glob("*.py"):
        assert not re.search(r"^\s*(from|import) experiments", path.read_text(), re.MULTILINE)


def test_checkpoints_are_closed_where_training_fails(monkeypatch, tmp_path):
    closed, failure = [], FloatingPointError("the loss is not finite")

    def fail(*arguments, **options):
        raise failure

    monkeypatch.setattr(denoise, "learn", fail)
    monkeypatch.setattr(denoise.Checkpoints, "close", lambda self: closed.append(self))
    with pytest.raises(FloatingPointError):
        run(denoise, tmp_path, steps=1)
    assert len(closed) == 1
    assert not (tmp_path / "metrics.json").exists()


def test_what_is_not_installed_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(program._MODULES, "viz", ("jinja2", "no_such_module"))
    with pytest.raises(InputError, match=r"no_such_module is .* pip install 'bimonn-jax\[viz\]'"):
        denoise.main.refuse_missing()


@pytest.mark.parametrize(
    ("recipe", "data"),
    [
        ("boolean", "sticks"),
        pytest.param("paper", "sticks", marks=pytest.mark.slow),
        pytest.param("boolean", "page", marks=pytest.mark.slow),
        pytest.param("search", "text", marks=pytest.mark.slow),
        pytest.param("filter", "page", marks=pytest.mark.slow),
    ],
)
def test_denoise_takes_a_step_and_writes_everything(recipe, data, tmp_path):
    out = tmp_path / "out"
    settings = {} if recipe == "search" else {"steps": 1}
    if recipe == "paper":
        settings |= {"regularizer": "exact", "coefficient": 0.02, "fit_ranks": True}
    metrics = run(denoise, out, recipe=recipe, data=data, **settings)
    assert metrics == written_results(out / "metrics.json")
    assert set(metrics) >= METRICS
    assert (metrics["dice_float"] is None) == (recipe != "paper")
    assert metrics["exact"] or recipe == "paper"
    assert "as it is" in metrics["verdict"] or "at least as good" in metrics["verdict"]
    for picture in ("images", "network", "stages", "curves"):
        assert (out / f"{picture}.png").stat().st_size > 1000
    check_report(out)
    assert list((out / "events").glob("events.out.tfevents.*"))
    network = load_network(out / "network.npz")
    assert network.metadata["seed"] == 0
    if data == "sticks":
        x, _ = noisy_sticks(jax.random.key(0), 2)
        output = network(x)
        assert output.shape == x.shape
        assert output.dtype == bool
    # Keys are for programs; the page has words, and no lines of what is nothing.
    page = (out / "report.html").read_text()
    assert words("dice_boolean") in page
    assert "dice_" not in page


def test_filters_are_compared_on_their_kinds(tmp_path):
    settings = {"kinds": ("cells",), "seeds": 1, "seconds": 0.1, "training": 1, "test": 1}
    run(filters, tmp_path, **settings)
    found = written_results(tmp_path / "filters.json")
    table = found["medians"]
    methods = [row["method"] for row in table]
    assert methods[0] == "input"
    assert methods[-2:] == ["float CNN 11 x 11", "learn_filter"]
    assert all(0 <= row["F-measure"] <= 1 for row in found["rows"])
    # Half a point is what separating the cells is worth.
    assert table[0]["cells"] > 0.9
    check_report(tmp_path)


@pytest.mark.parametrize("settings", [
    {"recipe": "boolean"},
    {"recipe": "rank", "rank_layers": (30, 20)},
    pytest.param(
        {"head": "popcount", "convolutions": ("3:8:2", "2:8"), "features": 40},
        marks=pytest.mark.slow,
    ),
    pytest.param(
        {"recipe": "paper", "regularizer": "acti", "weights": "dual", "features": 40,
         "refit_steps": 1},
        marks=pytest.mark.slow,
    ),
])  # fmt: skip
def test_mnist_takes_a_step_on_the_digits_and_says_so(settings, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    (tmp_path / "network.npz").write_text("left of a run that was interrupted")
    run(mnist, tmp_path, **settings, epochs=0.1, baseline_epochs=0.1, evaluations=1)
    assert "WARNING: training on 8 x 8 digits instead" in capsys.readouterr().out
    metrics = written_results(tmp_path / "metrics.json")
    assert set(metrics) >= {
        "dataset", "recipe", "head", "bits", "test_error_float", "test_error_boolean",
        "test_error_baseline", "train_seconds", "seed",
    }  # fmt: skip
    assert "embedded" in metrics["dataset"]
    assert (metrics["test_error_float"] is None) == (settings.get("recipe") != "paper")
    assert ("constant, refitted" in metrics["validation_error_by_method"]) == (
        "refit_steps" in settings
    )
    network = load_network(tmp_path / "network.npz")
    assert network.metadata["dataset"] == metrics["dataset"]
    # Digits are light on dark.
    assert Reading.from_json(network.metadata["reading"]).to_input(np.eye(2)).sum() == 2
    assert network(np.zeros((2, 8, 8, 1), np.uint8)).shape == (2, 10)
    assert (tmp_path / "curves.png").stat().st_size > 1000
    check_report(tmp_path)
    assert len(json.loads((tmp_path / "history.json").read_text())) == 1


def test_ranks_compares_every_way_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    (row,) = run(
        ranks, tmp_path, weights=("dual",), regularizers=("normal",), features=6, epochs=0.2,
        evaluations=1, complements=True, fit_images=20, refit_steps=2,
    )["rows"]  # fmt: skip
    ways = {"activable", "rank", "moved", "fitted"}
    assert set(row) > ways | {f"{way}, refitted" for way in ways} | {"float", "ends"}
    assert row["exact as ranks"]
    check_report(tmp_path)


@needs_mnist
@pytest.mark.slow
def test_mnist_from_its_files_to_a_boolean_network_that_reads_digits(tmp_path):
    metrics = run(
        mnist, tmp_path, dataset="mnist", convolutions=("7:32:4",), epochs=2.0,
        baseline_epochs=0.2, evaluations=2,
    )  # fmt: skip
    assert metrics["dataset"] == "mnist"
    assert metrics["exact"]
    assert metrics["test_error_boolean"] < 6
    network = load_network(tmp_path / "network.npz")
    bits = sum(np.asarray(a).size for a in jax.tree.leaves(network.params))
    assert metrics["bits"] == bits <= metrics["bits_as_trained"]


SWEEP = {"weights": ("dual",), "features": 20, "steps": 4, "evaluations": 1, "chunk": 2}


def test_a_sweep_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    rows = []
    for trials in (2, 3):
        # Ways to binarize that compile quickly: `test_sweep` has the other one.
        several = {"regularizers": ("none", "normal"), "method": ("constant", "uniform")}
        found = run(sweep, tmp_path, **SWEEP, **several, trials=trials)
        rows.append(written_results(tmp_path / "sweep.json")["rows"])
    first, second = rows
    assert [row["regularizer"] for row in found["rows"]] == ["none", "normal"]
    # What the trials of a study share is in its title: other data or settings make another study.
    printed = capsys.readouterr().err
    assert "embedded" in printed
    assert "/batch64/relative/constant+uniform/evaluations1/seed0" in printed
    assert [(r["regularizer"], r["trial"]) for r in second] == [
        (name, trial) for name in ("none", "normal") for trial in range(3)
    ]
    assert first == [r for r in second if r["trial"] < 2]
    for name in ("none", "normal"):
        assert len({r["learning_rate"] for r in second if r["regularizer"] == name}) == 3
    assert "embedded" in (tmp_path / "table.txt").read_text()
    assert (tmp_path / "sweep.png").stat().st_size > 1000
    check_report(tmp_path)
    assert list((tmp_path / "events").glob("**/events.out.tfevents.*"))


@contextmanager
def sqlite(tmp_path):
    yield f"sqlite:///{tmp_path}/studies.db"


@contextmanager
def postgresql(tmp_path):
    """A server of its own on a free port, for as long as the context lasts."""
    (initdb,) = glob("/usr/lib/postgresql/*/bin/initdb")[-1:] or [shutil.which("initdb")]
    if initdb is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed: pip install psycopg[binary]")
    folder = Path(initdb).resolve().parent
    # PostgreSQL refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    with socket.socket() as free, TemporaryDirectory(prefix="bimonn") as data:
        if user:
            shutil.chown(data, user)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        new = [initdb, "-D", f"{data}/db", "-A", "trust", "-U", "bimonn"]
        subprocess.run(new, user=user, cwd=data, check=True, capture_output=True)
        options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1"
        control = [folder / "pg_ctl", "-D", f"{data}/db", "-w"]
        start = [*control, "-o", options, "-l", f"{data}/log", "start"]
        subprocess.run(start, user=user, cwd=data, check=True, capture_output=True)
        try:
            yield f"postgresql+psycopg://bimonn@127.0.0.1:{port}/postgres"
        finally:
            stop = [*control, "-m", "immediate", "stop"]
            subprocess.run(stop, user=user, cwd=data, check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize("server", [sqlite, postgresql])
def test_two_processes_share_one_study(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    with server(tmp_path) as url:
        check_two_processes(url, tmp_path)


def check_two_processes(url, tmp_path):
    def count_trials():
        # In a process of its own: Optuna leaves its connections open.
        summaries = f"optuna.get_all_study_summaries({url!r})"
        program = f"import optuna; print([s.n_trials for s in {summaries}])"
        command = [sys.executable, "-c", program]
        return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)

    # Databases are made by the first to come; two at once trip over each other in SQLite.
    assert count_trials() == []
    shared = {**SWEEP, "trials": 4, "regularizers": ("none",), "storage": url}
    arguments = sweep.Config(**shared).as_flags()
    command = [sys.executable, "-m", "experiments.sweep", *arguments]
    both = [subprocess.Popen([*command, f"--out_dir={tmp_path / name}"], cwd=ROOT) for name in "ab"]
    assert [process.wait(timeout=1200) for process in both] == [0, 0]
    # Each took trials of its own; at the end both had some in hand, so there may be more than 4.
    (trials,) = count_trials()
    assert 4 <= trials <= 4 + 2
    # In a process, too, for the connections that Optuna leaves open.
    done = start("sweep", *arguments, f"--out_dir={tmp_path / 'c'}")
    assert done.returncode == 0, done.stderr
    rows = written_results(tmp_path / "c" / "sweep.json")["rows"]
    assert [row["trial"] for row in rows] == [0, 1, 2, 3]


@pytest.mark.slow
def test_projection_scaling_writes_rows_a_plot_and_the_agreement(tmp_path):
    run(
        projection_scaling, tmp_path, inputs=(8, 16), neurons=20, programs=3, exhaustive=(4,),
        compared=3, runs=1,
    )  # fmt: skip
    written = written_results(tmp_path / "projection.json")
    assert [(row["n"], row["method"]) for row in written["rows"]] == [
        (n, method) for n in (8, 16) for method in ("qp", "activable")
    ]
    for row in written["rows"]:
        assert row["extrapolated"] == (row["method"] == "qp")
        assert row["seconds"] * row["ratio_to_qp"] == pytest.approx(
            next(r["seconds"] for r in written["rows"] if r["n"] == row["n"])
        )
    assert all(row["relative_difference"] < 1e-4 for row in written["agreement"])
    assert written["agreement"][0]["same_footprint"] == 3
    assert (tmp_path / "projection.png").stat().st_size > 1000
    check_report(tmp_path)


@pytest.mark.slow
def test_regularizer_cost_gives_both_tables():
    found = run(regularizer_cost, None, small=True, runs=1, steps=2)
    assert "acti, no turns" in [row["regularizer"] for row in found["times"]]
    assert found["effect"][-1]["acti, each neuron"] == "every 32 steps"
    assert all(np.isfinite(row["loss"]) for row in found["effect"])


@pytest.mark.parametrize(
    ("names", "recipes"),
    [
        (["erosion"], ["search"]),
        pytest.param(
            ["erosion", "white_tophat"], ["boolean", "paper", "search"], marks=pytest.mark.slow
        ),
    ],
)
def test_operators_writes_its_table(names, recipes, tmp_path, capsys):
    run(
        operators, tmp_path, operators=tuple(names), footprints=("cross",), size=3, steps=1,
        starts=1, recipe=tuple(recipes),
    )  # fmt: skip
    rows = written_results(tmp_path / "operators.json")["rows"]
    assert [(r["operator"], r["recipe"]) for r in rows] == [(o, r) for o in names for r in recipes]
    assert all(r["dice_boolean"] > 0.9 for r in rows if r["recipe"] == "search")
    assert all(np.isfinite(r["dice_boolean"]) for r in rows)
    check_report(tmp_path)
    assert f"{names[-1]} cross" in " ".join(capsys.readouterr().err.split())


def test_a_folder_that_cannot_be_written_is_refused_first(tmp_path):
    (tmp_path / "file").write_text("")
    # Linux lets nobody, not even root, make folders in /sys.
    read_only = [Path("/sys/out")] if sys.platform == "linux" else []
    for folder in (tmp_path / "file" / "out", *read_only):
        with pytest.raises(ValueError, match=f"--out_dir={folder} cannot be written"):
            prepare(folder, "metrics.json", overwrite=False)
    with pytest.raises(ValueError, match="--out_dir is needed"):
        prepare("", "metrics.json", overwrite=False)


def test_results_are_kept_unless_overwriting_is_asked_for(tmp_path):
    write_json(tmp_path / "metrics.json", {"a": 1})
    (tmp_path / "report.html").write_text("of this program")
    (tmp_path / "events").mkdir()
    with pytest.raises(ValueError, match=r"holds metrics\.json already"):
        prepare(tmp_path, "metrics.json")
    with pytest.raises(ValueError, match=r"holds report\.html already"):
        prepare(tmp_path, "inference.json")
    assert prepare(tmp_path) == tmp_path
    assert (tmp_path / "events").exists()
    assert prepare(tmp_path, "metrics.json", overwrite=True) == tmp_path
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"a": 1}
    assert {p.name for p in tmp_path.iterdir()} == {"metrics.json", "report.html"}


def test_the_progress_bar_follows_and_starts_again(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress(10, "title") as show:
        for step in (5, 10, 5):
            show({"step": step, "loss": 0.25})
    shown = capsys.readouterr().err
    assert "loss=0.2500" in shown
    assert "\r" in shown


def test_without_a_terminal_progress_is_lines(capsys):
    with progress(10, "title") as show:
        for step in (5, 10):
            show({"step": step, "loss": 0.25, "live/a": 1.0})
    lines = [f"title: {step} of 10 steps, loss=0.2500\n" for step in (5, 10)]
    assert capsys.readouterr().err == "".join(lines)


@pytest.mark.slow
def test_sweep_speed_gives_its_table(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    found = run(sweep_speed, None, features=(8,), trials=2, chunks=(1, 2), steps=2, runs=1)
    assert [(row["neurons"], row["at a time"]) for row in found["rows"]] == [(8, 1), (8, 2)]
    assert found["rows"][0]["ratio"] == 1


FIRST = ("float, Flax, jitted", "float, JAX", "OpenCV")


@pytest.mark.parametrize(
    "name", ["convolutional", pytest.param("real head", marks=pytest.mark.slow)]
)
def test_inference_compares_every_runtime(name, tmp_path):
    network, shape = random_network(name)
    metadata = {"input_shape": shape}
    save_network(tmp_path / "n.npz", network.architecture, network.params, metadata=metadata)
    run(inference, tmp_path / "out", network=tmp_path / "n.npz", images=70, sizes=(40,), runs=1)
    rows = written_results(tmp_path / "out" / "inference.json")["rows"]
    assert len(rows) == 5 + 4 + 5 + 3 + 4
    assert all(set(r) == {"task", "runtime", "per_second", "bytes", "ratio"} for r in rows)
    assert [r["ratio"] for r in rows if r["runtime"] in FIRST] == [1] * 5
    assert (tmp_path / "out" / "inference.png").stat().st_size > 1000
    check_report(tmp_path / "out")


@pytest.mark.slow
def test_correlation_speed_gives_its_table():
    rows = run(correlation_speed, None, runs=1)["rows"]
    assert len(rows) == 3
    assert all(row[way] > 0 for row in rows for way in ("grouped", "shifted", "correlate"))

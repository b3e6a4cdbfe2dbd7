"""Files and their names, also as other systems than this one treat them."""

import ast
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bimonn_jax._support.files import printable, refuse_existing, user_path, write_bytes, write_text
from bimonn_jax.deployment.c.writer import export_c
from bimonn_jax.networks.saving import load_network, save_network
from tests.support.boolean_networks import network as random_network

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


def test_the_sign_of_the_home_folder_is_expanded_where_shells_do(home):
    assert user_path("~") == home
    assert user_path(Path("~/a/~")) == home / "a" / "~"
    for path in ("a", "./~", "a~", "~nobody_of_this_name/a"):
        assert user_path(path) == Path(path)


def test_files_are_written_to_the_home_folder(home):
    assert write_text("~/a.txt", "a", overwrite=False) == home / "a.txt"
    assert write_bytes(Path("~/b"), b"b", overwrite=False) == home / "b"
    with pytest.raises(FileExistsError, match=r"a\.txt exists"):
        refuse_existing("~/a.txt", overwrite=False)
    assert sorted(path.name for path in home.iterdir()) == ["a.txt", "b"]


def test_networks_and_exports_go_to_the_home_folder(home):
    network, shape = random_network("one operator")
    save_network("~/a.npz", network.architecture, network.params)
    assert load_network("~/a.npz").architecture == network.architecture
    assert export_c(network, "~/a.c", shape) == home / "a.c"
    assert sorted(path.name for path in home.iterdir()) == ["a.c", "a.h", "a.npz"]


def test_text_is_utf8_with_its_own_line_ends_whatever_the_locale(tmp_path):
    code = (
        "import sys; from bimonn_jax._support.files import write_text; "
        "write_text(sys.argv[1], 'Gr\\u00f6\\u00dfe \\u8868\\r\\n\\n', overwrite=False)"
    )
    # A C locale without UTF-8 mode, for systems whose encoding is another.
    settings = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code, str(tmp_path / "a")]
    subprocess.run(command, env=os.environ | settings, check=True, timeout=600)
    assert (tmp_path / "a").read_bytes() == "Größe 表\r\n\n".encode()


def calls_that_read_or_write_text(path):
    """Line, whether an encoding is given, and keywords: open for text, read_text, write_text."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        # Methods called open are those of other things than files.
        is_open = name == "open" and isinstance(node.func, ast.Name)
        mode = node.args[1].value if is_open and len(node.args) > 1 else "r"
        # The encoding may stand in its place without its name.
        places = {"open": 3, "read_text": 0, "write_text": 1}
        names = {keyword.arg for keyword in node.keywords}
        if (is_open and "b" not in mode) or name in ("read_text", "write_text"):
            yield node.lineno, "encoding" in names or len(node.args) > places[name], names


def test_whatever_reads_or_writes_text_names_the_encoding():
    paths = [*ROOT.glob("bimonn_jax/**/*.py"), *ROOT.glob("experiments/*.py")]
    assert len(paths) > 80
    # Our own write_text, which takes overwrite, always writes UTF-8.
    unnamed = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in paths
        for line, is_named, keywords in calls_that_read_or_write_text(path)
        if not is_named and "overwrite" not in keywords
    ]
    assert unnamed == []


def test_a_file_is_flushed_by_a_handle_that_may_write(tmp_path, monkeypatch):
    """Windows refuses to flush others."""
    fcntl = pytest.importorskip("fcntl")
    flush, flushed = os.fsync, []

    def windows_fsync(descriptor):
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flush(descriptor)
        flushed.append(descriptor)

    monkeypatch.setattr(os, "fsync", windows_fsync)
    write_bytes(tmp_path / "a", b"a", overwrite=False)
    assert len(flushed) == 1
    assert (tmp_path / "a").read_bytes() == b"a"


def test_names_may_be_as_long_as_the_file_system_allows(tmp_path):
    path = tmp_path / ("表" * 80 + ".png")
    write_bytes(path, b"a", overwrite=False)
    assert path.read_bytes() == b"a"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain.png", "plain.png"),
        ("Größe 表 😀", "Größe 表 😀"),
        ("a\udcf6\ud800b", "a\ufffd\ufffdb"),
    ],
)
def test_names_that_are_no_text_can_be_shown(name, shown):
    assert printable(name) == shown
    assert printable(Path(name)) == shown
    printable(name).encode("utf-8")

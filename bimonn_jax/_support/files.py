"""Writing files: never half of one, never over another by accident; paths as users give them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def user_path(path: str | Path) -> Path:
    """The path, with a leading ``~`` or ``~name`` as the home folder, as shells expand it.

    Shells leave it as it is after an equals sign, as in ``--input=~/scans``. A name that no user
    has stays as it is too.

    Examples:
      >>> user_path("~/scans") == Path.home() / "scans"
      True
    """
    return Path(os.path.expanduser(path))


def printable(name: str | Path) -> str:
    r"""The name as text that every encoding of Unicode can hold.

    Names of files may have bytes that are no text in the system's encoding, as those of old
    archives; Python stands surrogates in for them, which cannot be written. They become U+FFFD.

    Examples:
      >>> printable("Gr\udcf6n.png") == "Gr\ufffdn.png"
      True
    """
    return str(name).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def refuse_existing(path: str | Path, *, overwrite: bool) -> Path:
    """The path, where a file may be written; raises FileExistsError if it would be replaced."""
    path = user_path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: pass overwrite=True to replace it")
    return path


@contextmanager
def replacing(path: str | Path, *, overwrite: bool) -> Iterator[Path]:
    """Gives a path to write to, which takes the place of ``path`` when the block ends well.

    Whoever looks at ``path`` sees the old file or the whole new one, also when the process is
    killed or the disk is full; a block that fails leaves nothing behind.

    Args:
      path: of the file.
      overwrite: whether an existing file may be replaced.

    Yields:
      A path in the same folder, with the same ending.

    Raises:
      FileExistsError: if the file exists and ``overwrite`` is False.
    """
    path = refuse_existing(path, overwrite=overwrite)
    # A part of the stem: the whole may be as long as names can be.
    part = path.with_name(f".{path.stem[:32]}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        # Windows refuses to flush what is opened to be read alone.
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: str | Path, text: str, *, overwrite: bool) -> Path:
    """Writes a text file by `replacing`; returns its path.

    It is UTF-8 with the line ends that ``text`` has, whatever the system's encoding and line ends.
    """
    with replacing(path, overwrite=overwrite) as part:
        part.write_text(text, encoding="utf-8", newline="")
    return user_path(path)


def write_bytes(path: str | Path, data: bytes, *, overwrite: bool) -> Path:
    """Writes a file by `replacing`; returns its path."""
    with replacing(path, overwrite=overwrite) as part:
        part.write_bytes(data)
    return user_path(path)

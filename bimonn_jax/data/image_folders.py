"""Which files of a folder are images, and what results named after them are called."""

import logging
import os
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

from bimonn_jax._support.files import printable, user_path
from bimonn_jax.data.image_files import SUFFIXES

_LOG = logging.getLogger(__name__)
# So many files that are left out are named.
_NAMED = 20


def image_files(folder: str | Path, *, subfolders: bool = False) -> dict[str, Path]:
    """The image files of a folder by name, in order of their names.

    Those with an ending of `SUFFIXES`, in capitals or not. What is left out is named in a warning
    of the log: files of other endings, hidden ones that have such an ending (their names begin with
    a dot), and folders within, unless these are asked for; then hidden ones and links to folders.

    Args:
      folder: a folder, or one image file, whatever its ending.
      subfolders: whether images of the folders within, and within these, are taken too.

    Returns:
      Paths by name, which is the stem and, in folders within, begins with their names: "1890/p 1".
      In Unicode's composed form (NFC): names that differ only in how an accent is encoded, as those
      from macOS and from elsewhere do, are the same.

    Raises:
      FileNotFoundError: if there is no such folder or file.
      ValueError: if the folder holds no images, or two of the same name.
    """
    folder = user_path(folder)
    if folder.is_file():
        return {_composed(folder.stem): folder}
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder or image file at {folder}")
    files: dict[str, Path] = {}
    left_out = []
    for path in _walk(folder, subfolders):
        is_hidden, is_image = path.name.startswith("."), path.suffix.lower() in SUFFIXES
        if is_hidden or not is_image or path.is_dir():
            if is_image or not is_hidden:
                left_out.append(path)
            continue
        name = _composed(path.relative_to(folder).with_suffix("").as_posix())
        if name in files:
            raise ValueError(
                f"{path.parent} holds {files[name].name} and {path.name}: results are named after "
                "the stem, which must be unique"
            )
        files[name] = path
    # Of images, not of what else there may be.
    hint = "" if subfolders else _hint(left_out)
    if left_out:
        names = [
            printable(path.relative_to(folder)) + (os.sep if path.is_dir() else "")
            for path in left_out[:_NAMED]
        ]
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        _LOG.warning("left out of %s: %s%s%s", folder, ", ".join(names), more, hint)
    if not files:
        raise ValueError(f"{folder} holds no images ({', '.join(SUFFIXES)}){hint}")
    return files


def _walk(folder: Path, subfolders: bool) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        is_entered = path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
        if subfolders and is_entered:
            yield from _walk(path, subfolders)
        else:
            yield path


def _hint(paths: list[Path]) -> str:
    return (
        "; subfolders=True (--subfolders) takes folders too"
        if any(path.is_dir() for path in paths)
        else ""
    )


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def check_distinct(files: Mapping[str, Path]) -> None:
    """Checks that results named after files stay apart on every system.

    Some do not tell capitals apart, some not how an accent is encoded.

    Args:
      files: paths by name, from `image_files`.

    Raises:
      ValueError: if two would be one, with their names.
    """
    seen: dict[str, Path] = {}
    for name, path in files.items():
        # Small letters may have their accents apart again.
        key = _composed(_composed(name).casefold())
        if key in seen:
            raise ValueError(
                f"{seen[key].name} and {path.name} would be written to one file where capitals "
                "and the encoding of accents do not count: rename one of them"
            )
        seen[key] = path

"""What every program is made of: the settings that become flags, a folder, and ``run``.

A program has a frozen dataclass `Settings` called ``Config``, whose fields are its flags, and a
function ``run(config, data, folder)`` that returns what was found. A notebook calls it as well:

    config = denoise.Config(data="page")
    denoise.run(config, denoise.load(config), Path("out"))

Imports among the programs are relative: installed, their package is ``bimonn_experiments``.
"""

import importlib.util
import io
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from absl import app, flags, logging

from bimonn_jax._support.files import user_path
from bimonn_jax.data.image_files import Foreground, Reading
from bimonn_jax.data.image_pairs import OnError

from .origin import commit
from .report import print_results

# What the extras of setup.cfg bring.
_MODULES = {
    "viz": ("jinja2", "matplotlib", "PIL", "skimage", "tensorboardX"),
    "sweep": ("jinja2", "matplotlib", "optuna", "tensorboardX"),
    "benchmark": (
        "cv2",
        "jinja2",
        "matplotlib",
        "onnx",
        "onnxruntime",
        "skimage",
        "sklearn",
        "tensorboardX",
    ),
}
_DEFINE = {bool: flags.DEFINE_bool, int: flags.DEFINE_integer, float: flags.DEFINE_float}
C = TypeVar("C", bound="Settings")


class InputError(ValueError):
    """What the user gave cannot be used: shown without a traceback."""


def option(help: str, default: Any = MISSING, **limits: Any) -> Any:
    """A field of `Settings` and its text in ``--help``; without a default it must be given.

    Limits are ``at_least``, the smallest number; ``choices``, what a text may be where its type is
    no Literal; ``is_repeated``, whether several values are several flags, not one with commas.
    """
    return field(default=default, metadata={"help": help, **limits})


def _shape(f: Field[Any]) -> tuple[Any, list[str], bool]:
    """The type of one value of a field, what it may be, and whether the field has several."""
    kind: Any = f.type
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (one for one in get_args(kind) if one is not NoneType)
    is_many = get_origin(kind) is tuple
    kind = get_args(kind)[0] if is_many else kind
    if get_origin(kind) is Literal:
        return str, list(get_args(kind)), is_many
    return kind, list(f.metadata.get("choices", ())), is_many


def _texts(value: Any) -> list[str]:
    return [str(one) for one in (value if isinstance(value, tuple) else (value,))]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a run: each field, made by `option`, is a flag.

    Raises:
      ValueError: for settings that cannot be followed, or that would have no effect.
    """

    def __post_init__(self) -> None:
        """Checks the fields, one by one and together."""
        for f in fields(self):
            value, least = getattr(self, f.name), f.metadata.get("at_least")
            _, choices, is_many = _shape(f)
            if value is not None and least is not None and value < least:
                raise ValueError(f"--{f.name} must be at least {least}; got {value}")
            texts = [] if value is None else _texts(value)
            if choices and (value == () or not set(texts) <= set(choices)):
                known = f"{'one or more' if is_many else 'one'} of {', '.join(choices)}"
                given = f"--{f.name}={','.join(texts)}"
                raise ValueError(f"{given}: {known} {'were' if is_many else 'was'} expected")
        self.check()

    def check(self) -> None:
        """Raises ValueError for fields that do not go together."""

    def refuse_unused(self, why: str, *names: str) -> None:
        """Raises ValueError for a field that has no effect and is not as by default."""
        for f in fields(self):
            if f.name in names and getattr(self, f.name) != f.default:
                raise ValueError(f"--{f.name} has no effect {why}: leave it out")

    def sources(self) -> tuple[Path, ...]:
        """The folders or files of images that are read: results do not go among them."""
        return ()

    def as_flags(self, *, with_defaults: bool = True) -> list[str]:
        """The settings as a command line."""
        words = []
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None and (with_defaults or value != f.default):
                texts = _texts(value)
                texts = texts if f.metadata.get("is_repeated") else [",".join(texts)]
                words += [f"--{f.name}={text}" for text in texts]
        return words

    def command(self, folder: Path) -> str:
        """The command that repeats a run."""
        words = [*self.as_flags(with_defaults=False), f"--out_dir={folder}"]
        # Also of a module that was started, as __main__.
        spec = sys.modules[type(self).__module__].__spec__
        name = spec.name if spec else type(self).__module__
        return f"python -m {name} " + " ".join(map(shlex.quote, words))


@dataclass(frozen=True, kw_only=True)
class ImageSettings(Settings):
    """How image files are read."""

    threshold: str | None = option(
        "Rule, otsu or local, or gray level, 0 to 255; otsu by default.", None
    )
    foreground: Foreground | None = option("What counts as set; dark by default, as ink.", None)
    on_error: OnError = option("What happens at files that are unreadable or do not fit.", "stop")
    input_suffix: str = option("What names in --input end in: others are left out.", "")
    subfolders: bool = option("Whether images of folders within are taken too.", False)
    max_megapixels: int | None = option(
        "Largest page that is read; by default Pillow's bound, 89.", None, at_least=1
    )

    @property
    def max_pixels(self) -> int | None:
        """The bound on the pixels of a page, None for Pillow's."""
        return None if self.max_megapixels is None else self.max_megapixels * 10**6

    def reading(self, default: Reading) -> Reading:
        """How images are read: as the settings say, else as ``default``."""
        threshold: float | str = self.threshold or default.threshold
        with suppress(ValueError):  # Others are the names of rules.
            threshold = float(threshold)
        foreground = self.foreground or default.foreground
        return replace(default, threshold=threshold, foreground=foreground)


def define_flags(config: type[Settings], values: flags.FlagValues = flags.FLAGS) -> None:
    """A flag for each field of a program's settings."""
    for f in fields(config):
        kind, choices, is_many = _shape(f)
        default: Any = None if f.default is MISSING else f.default
        rest: dict[str, Any] = {"help": f.metadata["help"], "required": f.default is MISSING}
        define: Any = _DEFINE.get(kind, flags.DEFINE_string)
        if is_many:
            define, default = flags.DEFINE_list, _texts(default)
        if choices and (not is_many or f.metadata.get("is_repeated")):
            define = flags.DEFINE_multi_enum if is_many else flags.DEFINE_enum
            rest["enum_values"] = choices
        define(f.name, default, flag_values=values, **rest)
        _show_in_help(f.name, values)


def _show_in_help(name: str, values: flags.FlagValues) -> None:
    # ``--help`` shows what belongs to the file that was started.
    values.register_key_flag_for_module(sys.argv[0], values[name])


def from_flags(config: type[C], values: flags.FlagValues = flags.FLAGS) -> C:
    """The settings that a command line gives; raises ValueError if they are none."""
    return config(**{f.name: _value(f, values[f.name].value) for f in fields(config)})


def _value(f: Field[Any], given: Any) -> Any:
    kind, _, is_many = _shape(f)
    if not is_many:
        return user_path(given) if kind is Path and given is not None else given
    try:
        return tuple(map(kind, given))
    except ValueError as error:
        raise ValueError(f"--{f.name}={','.join(given)}: numbers were expected") from error


def prepare(
    folder: str | Path | None,
    result: str = "",
    *,
    overwrite: bool = False,
    sources: Iterable[Path] = (),
    below_too: bool = False,
    flag: str = "out_dir",
) -> Path:
    """Makes the results folder and checks that it can be written, before anything is computed.

    Args:
      folder: where results go.
      result: name of the file whose presence means that there are results already; "" for a
        program that goes on with what is there, or looks itself.
      overwrite: whether they, and a report of any program, may be replaced. TensorBoard events of
        the old run are then removed, or its curves would be drawn into the new ones.
      sources: folders or files of images that are read: results do not go among them.
      below_too: whether results do not go into folders within these either.
      flag: what the folder is called in errors.

    Raises:
      ValueError: if there can be no results, or none without ``overwrite``.
    """
    if not folder:
        raise ValueError(f"--{flag} is needed: name a folder for the results")
    folder = user_path(folder)
    for path in (path.resolve() for path in sources):
        of_images = path.parent if path.is_file() else path
        is_below = below_too and of_images in folder.resolve().parents
        if folder.resolve() == of_images or is_below:
            raise ValueError(f"--{flag}={folder} holds the images: choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"--{flag}={folder} cannot be written ({error}): choose another folder"
        ) from error
    for name in (result, "report.html") if result else ():
        if (folder / name).exists() and not overwrite:
            raise ValueError(
                f"--{flag}={folder} holds {name} already: pass --overwrite, or another folder"
            )
    if result and (folder / result).exists():
        shutil.rmtree(folder / "events", ignore_errors=True)
    return folder


@dataclass(frozen=True)
class Program:
    """What starts a program: absl with the flags of its settings.

    Attributes:
      config: the program's settings.
      run: (settings, data, folder) -> what was found, which is printed.
      load: reads the data; what it raises about them is shown without a traceback.
      folder: the flag of the results folder; "" for a program that only prints.
      result: see `prepare`; where there is one there is a flag --overwrite.
      extra: the one of setup.cfg that the program needs.
    """

    config: type[Settings]
    run: Callable[[Any, Any, Any], dict[str, Any]]
    load: Callable[[Any], Any] = lambda config: None
    folder: str = "out_dir"
    result: str = ""
    extra: str = "viz"

    def __call__(self) -> None:
        """Defines the flags and runs, as ``main``."""
        # What ``--help`` begins with names the program as it was started.
        module, is_file = sys.modules[self.config.__module__], sys.argv[0].endswith(".py")
        started = f"python -m {module.__package__}." if is_file else "bimonn-"
        text = str(module.__doc__).replace("python -m experiments.", started)
        sys.modules["__main__"].__doc__ = text
        define_flags(self.config)
        if self.folder:
            flags.DEFINE_string(self.folder, None, "Folder for the results; made if needed.")
            _show_in_help(self.folder, flags.FLAGS)
        if self.result:
            flags.DEFINE_bool("overwrite", False, "Whether results that are there are replaced.")
            _show_in_help("overwrite", flags.FLAGS)
        app.run(self.start)

    def start(self, argv: list[str]) -> None:
        """Runs, once absl has read the flags."""
        if len(argv) > 1:
            raise app.UsageError(f"unexpected arguments: {argv[1:]}")
        if not flags.FLAGS["verbosity"].present:
            # JAX tells of the machines it does not find, and Orbax of every file it writes.
            logging.set_verbosity(logging.WARNING)
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Names that the console's encoding lacks are shown escaped, as they are in errors.
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            self.refuse_missing()
            settings, folder = self.settings_and_folder(flags.FLAGS)
            try:
                data = self.load(settings)
            except (ImportError, OSError, ValueError) as error:
                raise InputError(str(error)) from error
            commit()  # Of the code that runs: it may be another one at the end.
            print_results(self.run(settings, data, folder))
        except InputError as error:
            logging.debug("What led to it:", exc_info=True)
            sys.exit(str(error))
        if folder:
            print(f"results in {folder}")

    def refuse_missing(self) -> None:
        """Raises InputError if a module that the extra brings is not installed."""
        for name in _MODULES.get(self.extra, ()):
            if importlib.util.find_spec(name) is None:
                raise InputError(f"{name} is not installed: pip install 'bimonn-jax[{self.extra}]'")

    def settings_and_folder(self, values: flags.FlagValues) -> tuple[Settings, Path | None]:
        """The settings and the results folder that a command line gives."""
        try:
            settings = from_flags(self.config, values)
            if not self.folder:
                return settings, None
            overwrite = bool(self.result) and values.overwrite
            options: dict[str, Any] = {
                "sources": settings.sources(),
                "below_too": isinstance(settings, ImageSettings) and settings.subfolders,
                "flag": self.folder,
                "overwrite": overwrite,
            }
            return settings, prepare(values[self.folder].value, self.result, **options)
        except ValueError as error:
            raise app.UsageError(str(error)) from error

"""Recipes: everything that steers a training run, as one frozen record, one TOML file and typed overrides.

A recipe says what is trained (network, stage), on what kind of data, for how long and how the run is kept. It never
says where files lie: clips, output folder and initial checkpoint are arguments of `train`. Units: metres, degrees,
epochs, steps.
"""

import dataclasses
import tomllib
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError

PRESETS = Path(__file__).parent / "presets"
DATASETS = {"dexycb": ("dexycb",), "ho3d": ("ho3d-v2", "ho3d-v3"), "any": ()}  # () accepts every dataset
AMP = ("auto", "off", "bf16", "fp16")
ORDERS = ("official", "corrected")
# Keys that may change between a run and its resumption: none of them changes what a step computes.
FREE_ON_RESUME = (
    *("epochs", "num_workers", "checkpoint_every", "log_every", "pictures", "max_steps", "tensorboard"),
    *("skip_limit", "val_batch_size"),
)


@dataclass(frozen=True)
class Recipe:
    """One training run. Source: the authors' final release (docs/training.md).

    `frames` is 1 or 3; `stage` 1 trains the shape in the canonical orientation, 2 adds the orientation losses.
    `batch_size` counts samples per process; with `scale_lr` the learning rate grows linearly with batch_size *
    processes / reference_batch. `amp` "auto" is bf16 on GPUs that know it and off elsewhere. `num_workers` -1 and
    `threads` 0 choose by the machine. `max_steps` 0 means no limit. `jitter` moves the past frames of training
    windows as the authors do.
    """

    name: str
    dataset: str
    frames: int
    stage: int
    epochs: int
    batch_size: int
    lr: float
    milestones: tuple[int, ...]
    init: str = (
        "none"  # what the run is meant to start from: words for the reader and for the warning when --init is missing
    )
    # network
    width: float = 1.0
    occlusion_joint_order: str = "official"
    # optimiser
    gamma: float = 0.1
    clip_norm: float = 0.1
    scale_lr: bool = False
    reference_batch: int = 32
    # windows and augmentation (training only)
    jitter: bool = True
    scale_range: float = 0.25
    rotation_degrees: float = 30.0
    rotation_probability: float = 0.6
    colour_gain: float = 0.2
    # machine
    seed: int = 0
    num_workers: int = -1
    amp: str = "auto"
    deterministic: bool = False
    channels_last: bool = True
    threads: int = 0
    # keeping the run
    max_steps: int = 0
    checkpoint_every: int = 500
    log_every: int = 20
    pictures: int = 6
    tensorboard: bool = True
    val_batch_size: int = 48
    skip_limit: int = 10
    select_on_test: bool = False

    def __post_init__(self) -> None:
        checks = [
            ("dataset", self.dataset in DATASETS, f"one of {', '.join(DATASETS)}"),
            ("frames", self.frames in (1, 3), "1 or 3"),
            ("stage", self.stage in (1, 2), "1 or 2"),
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 2, "at least 2 (batch normalisation needs two samples)"),
            ("lr", 0 < self.lr < 10, "a positive number"),
            ("width", 0 < self.width <= 4, "a number in (0, 4]"),
            ("amp", self.amp in AMP, f"one of {', '.join(AMP)}"),
            ("occlusion_joint_order", self.occlusion_joint_order in ORDERS, f"one of {', '.join(ORDERS)}"),
            ("milestones", all(m >= 1 for m in self.milestones), "epoch numbers"),
            ("clip_norm", self.clip_norm > 0, "a positive number"),
            ("num_workers", self.num_workers >= -1, "-1 (by the machine) or a count"),
            ("skip_limit", self.skip_limit >= 1, "at least 1"),
            ("log_every", self.log_every >= 1, "at least 1"),
            ("val_batch_size", self.val_batch_size >= 1, "at least 1"),
            ("seed", 0 <= self.seed < 2**31, "an integer of 31 bits"),
        ]
        for key, good, expected in checks:
            if not good:
                raise InputError(f"recipe {self.name}: {key} = {getattr(self, key)!r}, expected {expected}")


def preset_names() -> list[str]:
    """Names of the presets that come with the project, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_recipe(name: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe of a preset name or of a TOML file, with `key=value` overrides of the field's own type applied.

    Raises InputError for an unknown preset, an unknown or missing key, a value of another type.
    """
    path = Path(name) if str(name).endswith(".toml") else PRESETS / f"{name}.toml"
    if not path.is_file():
        raise InputError(f"recipe {name}: no such preset or file; presets are {', '.join(preset_names())}")
    try:
        values = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not valid TOML ({error})") from None
    values.setdefault("name", path.stem)
    return override(_from_values(values, str(path)), overrides)


def override(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """The recipe with `key=value` texts applied; values are read as TOML (true, 1e-4, [10, 20]) or, for text fields,
    as is.
    """
    changes: dict[str, Any] = {}
    for text in overrides:
        key, separator, value = text.partition("=")
        key = key.strip()
        if not separator:
            raise InputError(f"--set {text}: expected key=value, for example epochs=5")
        _known(key, f"--set {text}")
        changes[key] = _typed(key, _read(value.strip()), f"--set {text}")
    return dataclasses.replace(recipe, **changes)


def to_toml(recipe: Recipe) -> str:
    """The recipe as TOML text that `load_recipe` reads back to an equal record."""
    return "".join(f"{field.name} = {_write(getattr(recipe, field.name))}\n" for field in dataclasses.fields(recipe))


def differences(old: Recipe, new: Recipe) -> list[str]:
    """Texts `key: old -> new` for the keys that must not change when a run is resumed."""
    keys = [f.name for f in dataclasses.fields(Recipe) if f.name not in FREE_ON_RESUME]
    return [f"{k}: {getattr(old, k)!r} -> {getattr(new, k)!r}" for k in keys if getattr(old, k) != getattr(new, k)]


def _from_values(values: dict[str, Any], where: str) -> Recipe:
    for key in values:
        _known(key, where)
    required = [f.name for f in dataclasses.fields(Recipe) if f.default is dataclasses.MISSING]
    missing = [key for key in required if key not in values]
    if missing:
        raise InputError(f"{where}: missing {', '.join(missing)}")
    return Recipe(**{key: _typed(key, value, where) for key, value in values.items()})


def _known(key: str, where: str) -> None:
    names = [field.name for field in dataclasses.fields(Recipe)]
    if key not in names:
        raise InputError(f"{where}: unknown key {key!r}; known keys are {', '.join(names)}")


def _read(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _typed(key: str, value: Any, where: str) -> Any:
    kind = typing.get_type_hints(Recipe)[key]
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    if kind is bool and isinstance(value, bool):
        return value
    if typing.get_origin(kind) is tuple and isinstance(value, list | tuple | int) and not isinstance(value, bool):
        items = (value,) if isinstance(value, int) else tuple(value)
        if all(isinstance(item, int) and not isinstance(item, bool) for item in items):
            return items
    names = {float: "a number", int: "an integer", str: "text", bool: "true or false"}
    raise InputError(f"{where}: {key} = {value!r}, expected {names.get(kind, 'a list of integers')}")


def _write(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, tuple):
        return f"[{', '.join(str(item) for item in value)}]"
    return repr(value)

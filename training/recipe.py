"""Recipes: everything that steers a training run, as one frozen record, one TOML file and typed overrides.

A recipe says what is trained (network, stage), on what kind of data, for how long and how the run is kept. It never
says where files lie: clips, output folder and initial checkpoint are arguments of `train`. Units: metres, degrees,
epochs, steps.
"""

import dataclasses
import json
import tomllib
import typing
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ..data.loading.windows import SAMPLINGS
from ..errors import InputError, brief, one_line

PRESETS = Path(__file__).parent / "presets"
LARGEST = 2**18  # bytes of a recipe; presets have 2 kB
DATASETS = {"dexycb": ("dexycb",), "ho3d": ("ho3d-v2", "ho3d-v3"), "any": ()}  # () accepts every dataset
AMP = ("auto", "off", "bf16", "fp16")
ORDERS = ("official", "corrected")
WEIGHTED_BY = ("fingers", "joints")
# Keys that may change between a run and its resumption: none of them changes what a step computes.
FREE_ON_RESUME = (
    *("epochs", "num_workers", "checkpoint_every", "log_every", "pictures", "max_steps", "tensorboard"),
    *("skip_limit", "val_batch_size"),
)


@dataclass(frozen=True)
class Recipe:
    """One training run: every key with its type and its meaning, which `describe_keys` hands on.

    Source of the defaults: the authors' final release (docs/training.md).
    """

    name: Annotated[str, "name of the run in messages; a file that does not say has its own name"]
    dataset: Annotated[str, "datasets whose clips it takes: dexycb, ho3d (v2 and v3) or any"]
    frames: Annotated[int, "pictures per sample: 1, or 3 for a frame and two past ones"]
    stage: Annotated[int, "1 learns the shape in the canonical orientation, 2 adds the orientation losses"]
    epochs: Annotated[int, "passes over the training samples"]
    batch_size: Annotated[int, "samples per step and process, at least 2"]
    lr: Annotated[float, "learning rate of Adam in the first epoch"]
    milestones: Annotated[tuple[int, ...], "list of epochs after which the learning rate is multiplied by gamma"]
    starts_from: Annotated[str, "the weights that --init is meant to give, in words for a warning; empty: none"] = ""
    # network
    width: Annotated[float, "channels relative to the paper's network, in steps of 0.125 up to 4"] = 1.0
    occlusion_joint_order: Annotated[
        str, "joints that the occlusion classifier takes for a finger: official (the authors') or corrected"
    ] = "official"
    joint_visibility: Annotated[bool, "add a head that learns which of the 21 joints are seen"] = False
    fusion_weights: Annotated[
        str, "what weighs the frames of a multi-frame network: fingers (its occlusion classifier) or joints (that head)"
    ] = "fingers"
    as_released: Annotated[
        bool, "train the joints' loss, the wrist and the initialisation as the authors' final code does"
    ] = False
    # optimiser
    gamma: Annotated[float, "factor on the learning rate at each milestone"] = 0.1
    given_lr: Annotated[
        float, "factor on the learning rate of the weights that --init gave; new ones have all of it"
    ] = 1.0
    clip_norm: Annotated[float, "norm above which the gradient of a step is scaled down to it"] = 0.1
    keep_norm: Annotated[
        bool, "layers that --init gave normalise by the statistics that they came with, not by those of small batches"
    ] = False
    scale_lr: Annotated[bool, "multiply lr by batch_size x processes / reference_batch"] = False
    reference_batch: Annotated[int, "samples per step that lr is meant for; only scale_lr asks for it"] = 32
    # windows and augmentation (training only)
    sampling: Annotated[
        str, "uniform, or hidden: frames with fingers that are hidden now and were seen before are drawn more often"
    ] = "uniform"
    jitter: Annotated[bool, "vary how far back the past frames of a training window lie, as the authors do"] = True
    scale_range: Annotated[float, "crops are scaled by 1 - this to 1 + this"] = 0.25
    rotation_degrees: Annotated[float, "standard deviation of the crops' rotation, degrees; at most twice that"] = 30.0
    rotation_probability: Annotated[float, "share of the samples that are rotated, 0 to 1"] = 0.6
    colour_gain: Annotated[float, "colour channels are multiplied by 1 - this to 1 + this"] = 0.2
    augment_photo: Annotated[
        bool, "also vary exposure, colours, blur, noise and compression, for photos of other cameras"
    ] = False
    # machine
    seed: Annotated[int, "seed of weights, order and augmentation, 0 or more"] = 0
    num_workers: Annotated[int, "loader processes; -1: up to 8 beside a GPU, none on a CPU"] = -1
    amp: Annotated[
        str, "number format of the forward pass: auto (bf16 on GPUs that compute in it, else off), off, bf16, fp16"
    ] = "auto"
    deterministic: Annotated[bool, "use torch's deterministic algorithms where there are any"] = False
    channels_last: Annotated[bool, "keep feature maps in channels-last layout, which is faster"] = True
    threads: Annotated[int, "CPU threads of torch; 0: found by timing; a number keeps results equal to the bit"] = 0
    # keeping the run
    max_steps: Annotated[int, "stop after so many steps; 0: no limit"] = 0
    checkpoint_every: Annotated[int, "steps from one checkpoint to the next; the end of an epoch also writes one"] = 500
    log_every: Annotated[int, "steps from one line of metrics.jsonl to the next"] = 20
    pictures: Annotated[int, "samples in the picture drawn after every epoch; 0: no picture"] = 6
    tensorboard: Annotated[bool, "write tensorboard/ too"] = True
    val_batch_size: Annotated[int, "samples per batch of the validation"] = 48
    skip_limit: Annotated[int, "skipped steps in a row (loss or gradient not finite) that end the run"] = 10
    select_on_test: Annotated[bool, "let --val-clips be the test split, as the authors did"] = False

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
            ("fusion_weights", self.fusion_weights in WEIGHTED_BY, f"one of {', '.join(WEIGHTED_BY)}"),
            ("sampling", self.sampling in SAMPLINGS, f"one of {', '.join(SAMPLINGS)}"),
            (
                "fusion_weights",
                self.fusion_weights != "joints" or self.joint_visibility,
                "fingers, or joint_visibility = true as well",
            ),
            ("milestones", all(m >= 1 for m in self.milestones), "epoch numbers"),
            ("gamma", 0 < self.gamma < 10, "a positive number below 10"),
            ("given_lr", 0 <= self.given_lr <= 1, "a number from 0 (they stay as they are) to 1"),
            ("clip_norm", self.clip_norm > 0, "a positive number"),
            ("reference_batch", self.reference_batch >= 1, "at least 1"),
            ("scale_range", 0 <= self.scale_range < 1, "a number in [0, 1)"),
            ("rotation_degrees", 0 <= self.rotation_degrees <= 180, "degrees from 0 to 180"),
            ("rotation_probability", 0 <= self.rotation_probability <= 1, "a share from 0 to 1"),
            ("colour_gain", 0 <= self.colour_gain <= 1, "a number from 0 to 1"),
            ("threads", self.threads >= 0, "0 (found by timing) or a count"),
            ("max_steps", self.max_steps >= 0, "0 (no limit) or a count"),
            ("checkpoint_every", self.checkpoint_every >= 1, "at least 1"),
            ("pictures", self.pictures >= 0, "0 (none) or a count"),
            ("num_workers", self.num_workers >= -1, "-1 (by the machine) or a count"),
            ("skip_limit", self.skip_limit >= 1, "at least 1"),
            ("log_every", self.log_every >= 1, "at least 1"),
            ("val_batch_size", self.val_batch_size >= 1, "at least 1"),
            ("seed", self.seed >= 0, "0 or more"),
        ]
        numbers = {name: value for name, value in vars(self).items() if isinstance(value, int)}
        checks += [(name, abs(value) < 2**31, "an integer of 31 bits") for name, value in numbers.items()]
        for key, good, expected in checks:
            if not good:
                raise InputError(f"recipe {self.name}: {key} = {getattr(self, key)!r}, expected {expected}")


def preset_names() -> list[str]:
    """Names of the presets that come with the project, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def describe_keys() -> list[tuple[str, str, str]]:
    """Key, default and meaning of every setting, in order; the default as in a TOML file, or "required"."""
    defaults = {field.name: field.default for field in dataclasses.fields(Recipe)}
    return [
        (key, "required" if default is dataclasses.MISSING else _write(default), _MEANINGS[key])
        for key, default in defaults.items()
    ]


def load_recipe(name: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe of a preset name or of a TOML file, with `key=value` overrides of the field's own type applied.

    Raises InputError for an unknown preset, an unknown or missing key, a value of another type.
    """
    path = Path(name) if str(name).endswith(".toml") else PRESETS / f"{name}.toml"
    if not path.is_file():
        raise InputError(f"recipe {name}: no such preset or file; presets are {', '.join(preset_names())}")
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise ValueError(f"more than {LARGEST >> 10} kB")
        content = tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid TOML ({one_line(error, 160)})") from None
    values = _convert({"name": path.stem} | content, str(path))
    missing = [key for key, default, _ in describe_keys() if default == "required" and key not in values]
    if missing:
        raise InputError(f"{path}: missing {', '.join(missing)}")
    return override(Recipe(**values), overrides)


def override(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """The recipe with `key=value` texts applied.

    Values are read as TOML (true, 1e-4, [10, 20]); for text fields, what is no TOML is taken as it is, and
    for numbers .5 and 1. will do.
    """
    changes: dict[str, Any] = {}
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator:
            raise InputError(f"--set {text}: expected key=value, for example epochs=5")
        key = key.strip()
        changes |= _convert({key: _read(value.strip(), _TYPES.get(key))}, f"--set {text}")
    return dataclasses.replace(recipe, **changes)


def to_toml(recipe: Recipe) -> str:
    """The recipe as TOML text that `load_recipe` reads back to an equal record."""
    return "".join(f"{key} = {_write(value)}\n" for key, value in dataclasses.asdict(recipe).items())


def differences(old: Recipe, new: Recipe) -> list[str]:
    """Texts `key: old -> new` for the keys that must not change when a run is resumed."""
    keys = [f.name for f in dataclasses.fields(Recipe) if f.name not in FREE_ON_RESUME]
    return [f"{k}: {getattr(old, k)!r} -> {getattr(new, k)!r}" for k in keys if getattr(old, k) != getattr(new, k)]


def learning_rate(recipe: Recipe, epoch: int, processes: int = 1) -> float:
    """The learning rate of an epoch (from 0): torch's MultiStepLR.

    With `scale_lr` it is linear in the batch of all processes (Goyal et al., 2017).
    """
    scale = recipe.batch_size * processes / recipe.reference_batch if recipe.scale_lr else 1.0
    return recipe.lr * scale * recipe.gamma ** sum(milestone <= epoch for milestone in recipe.milestones)


_TYPES = typing.get_type_hints(Recipe)
_MEANINGS = {key: hint.__metadata__[0] for key, hint in typing.get_type_hints(Recipe, include_extras=True).items()}
_EXPECTED = {
    float: "a number",
    int: "an integer",
    str: "text",
    bool: "true or false",
    tuple[int, ...]: "a list of integers",
}


def _convert(values: dict[str, Any], where: str) -> dict[str, Any]:
    """The values in their fields' types. InputError, naming `where`, for an unknown key or a value of another type."""
    converted = {}
    for key, value in values.items():
        # Files written before the key had its present name: `init`, with a word for random weights.
        if key == "init":
            key, value = "starts_from", "" if value in ("none", "nothing") else value
        if key not in _TYPES:
            raise InputError(f"{where}: unknown key {brief(key)}; known keys are {', '.join(_TYPES)}")
        kind, given = _TYPES[key], value
        if kind is str and type(value) in (int, float):  # --set name=7
            given = str(value)
        elif kind == tuple[int, ...] and type(value) is int:  # --set milestones=30
            given = [value]
        try:
            converted[key] = msgspec.convert(given, kind)
        except msgspec.ValidationError:
            raise InputError(f"{where}: {key} = {brief(value)}, expected {_EXPECTED[kind]}") from None
    return converted


def _read(text: str, kind: Any) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        with suppress(ValueError):  # .5 and 1. are numbers on every command line, but not in TOML
            return float(text) if kind is float else text
        return text


def _write(value: Any) -> str:
    # Numbers, truth values, lists of numbers and quoted text are the same in JSON and in TOML.
    return json.dumps(value, ensure_ascii=False)

"""Chains of stages: `train_all` runs one after the other, each from the weights of the one before (docs/training.md).

Every stage has its own run folder below the chain's: OUT/<preset>/. A finished stage is not run again, and an
interrupted one goes on where it stopped, so that the same command finishes what was begun.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import InputError
from ..network.checkpoint import read_metadata
from ..network.checkpoints.folder import find_folder
from .distributed import from_environment, process_group
from .inputs import Clips
from .loop import train
from .machine import pick_device
from .recipe import Recipe, load_recipe
from .run import TrainResult

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """One stage of a chain: a preset, the clips it trains on, and which checkpoint of the stage before it starts from.

    The warm-up clips are another dataset's, on which the validation clips say nothing: such a stage has no validation.
    """

    preset: str
    clips: Literal["train", "warmup"] = "train"
    start: Literal["best", "last"] = "best"


# The authors' order: the multi-frame network starts from the single-frame stage 1, not from its stage 2. A warm-up is
# no better or worse by epoch, it only has to be gone through: what follows starts from its last weights.
CHAINS: Mapping[str, tuple[Stage, ...]] = {
    "dexycb-single": (Stage("dexycb-single-stage1"), Stage("dexycb-single-stage2")),
    "dexycb-multi": (Stage("dexycb-single-stage1"), Stage("dexycb-multi-stage1"), Stage("dexycb-multi-stage2")),
    "ho3d-single": (
        Stage("ho3d-single-stage1"),
        Stage("ho3d-single-warmup", clips="warmup"),
        Stage("ho3d-single-stage2", start="last"),
    ),
    "ho3d-multi": (
        Stage("ho3d-single-stage1"),
        Stage("ho3d-multi-stage1"),
        Stage("ho3d-multi-warmup", clips="warmup"),
        Stage("ho3d-multi-stage2", start="last"),
    ),
    "demo-single": (Stage("demo-single-stage1"), Stage("demo-single-stage2")),
    # For minutes on a CPU: the orientation is learned on single frames, which cost a third of a window.
    "demo-multi": (Stage("demo-single-stage1"), Stage("demo-single-stage2"), Stage("demo-multi-stage2")),
}


def train_all(
    name: str,
    clips: Clips,
    out: str | Path,
    *,
    val_clips: Clips | None = None,
    warmup_clips: Clips | None = None,
    init: str | Path | None = None,
    overrides: Iterable[str] = (),
    device: str = "auto",
    mano: str | Path | None = None,
    hierarchy: str | Path | None = None,
) -> list[TrainResult]:
    """Run every stage of a chain into OUT/<preset>; the results of those that ran now, in order.

    init: weights for the first stage (densestack.pth). warmup_clips: DexYCB clips for the warm-up of HO3D's stage 2.
    overrides: key=value for every stage. Raises InputError for an unknown chain or missing warm-up clips; an
    interrupted stage (SIGTERM, Ctrl-C) ends the chain after its checkpoint.
    """
    if name not in CHAINS:
        raise InputError(f"chain {name}: unknown; chains are {', '.join(CHAINS)}")
    stages = CHAINS[name]
    recipes = [load_recipe(stage.preset, overrides) for stage in stages]
    if any(stage.clips == "warmup" for stage in stages) and warmup_clips is None:
        raise InputError(
            f"chain {name}: its stage 2 first trains on DexYCB for a few epochs (because of NaN); give --warmup-clips "
            "with DexYCB clips, or run the presets one by one without the warm-up"
        )
    processes = from_environment()
    results: list[TrainResult] = []
    before: Path | None = None
    # One process group for all stages: a second one on torchrun's address would wait for ever.
    with process_group(processes, pick_device(device, processes.local_rank)):
        for stage, recipe in zip(stages, recipes, strict=True):
            folder = Path(out) / stage.preset
            if is_finished(folder, recipe):
                log.info("%s: finished before, kept", folder)
            else:
                warmup = warmup_clips if stage.clips == "warmup" else None
                result = train(
                    recipe,
                    clips if warmup is None else warmup,
                    folder,
                    val_clips=val_clips if warmup is None else None,
                    init=init if before is None else before / stage.start,
                    resume=True,
                    device=device,
                    mano=mano,
                    hierarchy=hierarchy,
                )
                results.append(result)
                if result.interrupted:
                    break
            before = folder
    return results


def is_finished(folder: Path, recipe: Recipe) -> bool:
    """Has the run in `folder` gone through all epochs or steps of the recipe?"""
    if find_folder(folder / "last") is None:
        return False
    done = read_metadata(folder / "last")
    return done["epoch"] >= recipe.epochs or (recipe.max_steps > 0 and done["step"] >= recipe.max_steps)

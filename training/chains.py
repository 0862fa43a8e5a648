"""Chains of stages: `train_all` runs one after the other, each from the best weights before it (docs/training.md).

Every stage keeps its own run folder below the chain's: OUT/<preset>/. A finished stage is not run again, and an
interrupted one goes on where it stood, so that the same command finishes what was begun.
"""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import InputError
from ..network.checkpoint import read_metadata
from ..network.checkpoints.folder import find_folder
from .distributed import from_environment, joined
from .inputs import Clips
from .loop import train
from .machine import pick_device
from .recipe import Recipe, load_recipe
from .run import TrainResult

log = logging.getLogger(__name__)

# The authors' order: the multi-frame network starts from the single-frame stage 1, not from its stage 2.
CHAINS: Mapping[str, tuple[str, ...]] = {
    "dexycb-single": ("dexycb-single-stage1", "dexycb-single-stage2"),
    "dexycb-multi": ("dexycb-single-stage1", "dexycb-multi-stage1", "dexycb-multi-stage2"),
    "ho3d-single": ("ho3d-single-stage1", "ho3d-single-warmup", "ho3d-single-stage2"),
    "ho3d-multi": ("ho3d-single-stage1", "ho3d-multi-stage1", "ho3d-multi-warmup", "ho3d-multi-stage2"),
    "demo-single": ("demo-single-stage1", "demo-single-stage2"),
    # For minutes on a CPU: the orientation is learned on single frames, which cost a third of a window.
    "demo-multi": ("demo-single-stage1", "demo-single-stage2", "demo-multi-stage2"),
}
WARMUP = "warmup"


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
    recipes = [load_recipe(stage, overrides) for stage in stages]
    if any(stage.endswith(WARMUP) for stage in stages) and warmup_clips is None:
        raise InputError(
            f"chain {name}: its stage 2 first trains on DexYCB for a few epochs (because of NaN); give --warmup-clips "
            "with DexYCB clips, or run the presets one by one without the warm-up"
        )
    processes = from_environment()
    # One process group for all stages: a second one on torchrun's address would wait for ever.
    with joined(processes, pick_device(device, processes.local_rank)):
        return _run_stages(recipes, clips, Path(out), val_clips, warmup_clips, init, device, mano, hierarchy)


def _run_stages(
    recipes: list[Recipe],
    clips: Clips,
    out: Path,
    val_clips: Clips | None,
    warmup_clips: Clips | None,
    init: str | Path | None,
    device: str,
    mano: str | Path | None,
    hierarchy: str | Path | None,
) -> list[TrainResult]:
    results, start = [], init
    for recipe in recipes:
        folder = out / recipe.name
        if _finished(folder, recipe):
            log.info("%s: finished before, kept", folder)
        else:
            warming = recipe.name.endswith(WARMUP)
            result = train(
                recipe,
                warmup_clips if warming and warmup_clips is not None else clips,
                folder,
                val_clips=None if warming else val_clips,
                init=start,
                resume=True,
                device=device,
                mano=mano,
                hierarchy=hierarchy,
            )
            results.append(result)
            if result.interrupted:
                break
        # The warm-up is no better or worse by epoch: what counts is that it has been gone through.
        start = folder / ("last" if recipe.name.endswith(WARMUP) else "best")
    return results


def _finished(folder: Path, recipe: Recipe) -> bool:
    if find_folder(folder / "last") is None:
        return False
    done = read_metadata(folder / "last")
    return done["epoch"] >= recipe.epochs or (recipe.max_steps > 0 and done["step"] >= recipe.max_steps)

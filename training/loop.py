"""`train`: one stage from clips to checkpoints. It checks and opens everything, then hands over to `training.run`.

Read this first; each part it calls is a module of its own: the run folder is training/runfolder.py, what a run is
given and what is refused training/inputs.py, the loop training/run.py, one step training/steps.py.
"""

from contextlib import ExitStack
from pathlib import Path

from ..data.clips import ClipStore
from ..data.loading.batches import loader
from ..errors import InputError
from ..evaluation.truth import load_truth_hand
from ..network.checkpoint import load_checkpoint, load_training_state
from . import inputs, machine
from .distributed import barrier, from_environment, process_group
from .recipe import Recipe
from .run import Run, TrainResult
from .runfolder import RunFolder
from .signals import StopSignals


def train(
    recipe: Recipe,
    clips: inputs.Clips,
    out: str | Path,
    *,
    val_clips: inputs.Clips | None = None,
    init: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    mano: str | Path | None = None,
    hierarchy: str | Path | None = None,
    overwrite: bool = False,
) -> TrainResult:
    """Train one stage on clips.zarr stores into a run folder; under torchrun, as one of several processes.

    val_clips choose the best checkpoint; without them the training loss does (the checkpoint says which).
    init: weights only, from a checkpoint folder, an official .pth or densestack.pth. resume: go on from `out/last`,
    or start where there is no checkpoint yet. mano: where the hand of the clips lies now, checked by its hash.
    hierarchy: transform.pkl, instead of one built from the hand's mesh. Raises InputError for input that does not
    fit, TrainingStopped by the guard; SIGTERM and Ctrl-C save a checkpoint and return.
    """
    processes = from_environment()
    if processes.world > 1 and ":" in device:
        raise InputError(f"--device {device}: torchrun gives every process a GPU of its own; use --device cuda")
    chosen = machine.pick_device(device, processes.local_rank)
    dtype = machine.autocast_dtype(recipe.amp, chosen)
    folder = RunFolder(out)
    resumed = folder.check(recipe, resume=resume, overwrite=overwrite)
    samples = inputs.training_clips(recipe, clips)
    validation = inputs.validation_clips(recipe, val_clips, clips)
    if validation is not None and len(validation) < processes.world:
        raise InputError(f"--val-clips: {len(validation)} samples for {processes.world} processes, expected one each")
    paths = [*samples.paths, *(validation.paths if validation else [])]
    hand = load_truth_hand([ClipStore.open(path) for path in paths], mano)
    machine.prepare(recipe, chosen, processes.rank)
    batches = loader(
        samples,
        recipe.batch_size,
        shuffle=True,
        num_workers=machine.worker_count(recipe, chosen, processes.world),
        seed=recipe.seed,
        drop_last=True,
        rank=processes.rank,
        world=processes.world,
        pin_memory=chosen.type == "cuda",
    )
    state = load_training_state(folder.last) if resumed else None
    if state is None:
        network = inputs.fresh_network(recipe, hand, hierarchy)
        provenance = inputs.load_initial_weights(network, recipe, init, hierarchy)
    else:
        network, provenance = load_checkpoint(folder.last), state["provenance"]
    if recipe.as_released:
        network.learn_joints()
    with process_group(processes, chosen), StopSignals() as signals, ExitStack() as ending:
        ending.callback(batches.close)
        barrier(processes, chosen)  # all have looked at the folder before the first changes it
        if processes.first:
            ending.callback(folder.release)
            folder.start(recipe, resume_step=state["step"] if state else None)
        run = Run(
            recipe=recipe,
            folder=folder,
            hand=hand.to(chosen),
            batches=batches,
            validation=validation,
            device=chosen,
            dtype=dtype,
            processes=processes,
            provenance=provenance,
            network=network,
        )
        if state is not None:
            run.restore(state)
        return run.run(signals)

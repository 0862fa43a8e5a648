"""What a run is given (clips, network, initial weights), and the refusal of what does not fit the recipe.

Everything here runs before the run folder is touched, and every refusal is one line that names the file, what was
expected, what was found and what to do.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..data.clips import ClipDataset, ClipStore, Window, window_of
from ..data.loading.augment import Augmentation
from ..errors import InputError
from ..hand.mano import HandModel
from ..hand.parts import UNKNOWN
from ..network.checkpoint import initialise, load_backbone
from ..network.checkpoints.folder import find_folder
from ..network.h2onet import H2ONet, NetworkConfig, build_network
from .recipe import DATASETS, Recipe
from .released import start_released

log = logging.getLogger(__name__)

Clips = str | Path | Sequence[str | Path]
BACKBONE_FILE = "densestack"


def paths_of(clips: Clips | None) -> list[str]:
    """One store path, several or none, as a list."""
    if clips is None:
        return []
    return [str(clips)] if isinstance(clips, str | Path) else [str(path) for path in clips]


def training_clips(recipe: Recipe, clips: Clips) -> ClipDataset:
    """The augmented training samples of a recipe. InputError where they do not fit."""
    paths = paths_of(clips)
    for path in paths:
        _check_store(recipe, path)
    augment = Augmentation(
        recipe.scale_range,
        recipe.rotation_degrees,
        recipe.rotation_probability,
        recipe.colour_gain,
        recipe.augment_photo,
    )
    windows = _windows(recipe, paths, train=recipe.jitter)
    dataset = ClipDataset(
        paths, frames=windows, augment=augment, seed=recipe.seed, require_pose=True, sampling=recipe.sampling
    )
    for path, often in zip(paths, dataset.drawn(), strict=False):  # empty where all are drawn equally often
        told = often > 1
        log.info(
            "%s: %d of %d samples show fingers hidden now and seen before; %.0f %% of its draws are theirs",
            path, told.sum(), len(often), 100 * often[told].sum() / often.sum(),
        )  # fmt: skip
    return dataset


def validation_clips(recipe: Recipe, val_clips: Clips | None, clips: Clips) -> ClipDataset | None:
    """The samples that choose the best checkpoint, as stored; None without `val_clips`.

    InputError for test data, unless the recipe asks for it.
    """
    paths = paths_of(val_clips)
    if not paths:
        return None
    for path in paths:
        store = _check_store(recipe, path)
        if store.attrs.get("split") == "test" and not recipe.select_on_test:
            raise InputError(
                f"{path}: holds the test split, and choosing a checkpoint on it makes test scores meaningless; give "
                "the val split (the authors chose on test: --set select_on_test=true does the same)"
            )
    if set(map(_resolved, paths)) & set(map(_resolved, paths_of(clips))):
        log.warning("validation clips are also trained on: the best checkpoint will be the most overfitted one")
    return ClipDataset(paths, frames=_windows(recipe, paths, train=False), require_pose=True)


def picture_clips(recipe: Recipe, clips: Clips) -> ClipDataset:
    """Training samples without augmentation, for the pictures of a run without validation clips."""
    paths = paths_of(clips)
    return ClipDataset(paths, frames=_windows(recipe, paths, train=False), require_pose=True)


def frame_names(paths: Sequence[str], batch: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The frames of a batch by name, with the past ones of each window: "SEQUENCE/000010 (past 000009 000007)"."""
    stores = [ClipStore.open(path) for path in paths]
    windows = batch["frame_index"].reshape(len(batch["store"]), -1).tolist()
    names = []
    for number, rows in zip(batch["store"].tolist(), windows, strict=True):
        store = stores[number]
        current, *past = [f"{int(store.index['frame'][row]):06d}" for row in rows]
        names.append(f"{store.key(rows[0])}/{current}" + (f" (past {' '.join(past)})" if past else ""))
    return tuple(names)


def fresh_network(recipe: Recipe, hand: HandModel, hierarchy: str | Path | None) -> H2ONet:
    """An untrained network of the recipe's shape over the hand's mesh.

    hierarchy: transform.pkl; None builds one from the mesh.
    """
    config = NetworkConfig(
        frames=recipe.frames,
        width=recipe.width,
        occlusion_joint_order=recipe.occlusion_joint_order,
        oriented=recipe.stage == 2,
        joint_visibility=recipe.joint_visibility,
        fusion_weights=recipe.fusion_weights,
    )
    if hierarchy is None:
        network = build_network(config, hand)
    else:
        from ..hand.hierarchy import load_hierarchy

        network = build_network(config, hand, load_hierarchy(hierarchy))
    if recipe.as_released:
        start_released(network, hand)
    return network


def load_initial_weights(
    network: H2ONet, recipe: Recipe, init: str | Path | None, hierarchy: str | Path | None = None
) -> dict[str, object]:
    """Load initial weights into the network; the report says what was found, for the log and the checkpoints.

    A file named densestack* is MobRecon's backbone; everything else a checkpoint folder or an official file.
    InputError for weights of another width or mesh, for an official file without the authors' `hierarchy`, and where
    `given_lr` 0 would leave nothing to learn.
    """
    if init is None:
        if recipe.starts_from:
            log.warning(
                "starts from random weights; %s is meant to start from %s (--init)", recipe.name, recipe.starts_from
            )
        for key, idle in (("given_lr", recipe.given_lr == 1), ("keep_norm", not recipe.keep_norm)):
            if not idle:
                log.warning("%s of %s does nothing: it is about weights that --init gives", key, recipe.name)
        return {"init": None}
    path = Path(init)
    backbone = path.name.startswith(BACKBONE_FILE)
    if path.is_file() and not backbone and hierarchy is None and find_folder(path) is None:
        # Its spiral convolutions would fit by shape, but for other vertices.
        raise InputError(
            f"{path}: an official checkpoint belongs to the authors' mesh; give their transform.pkl as hierarchy"
        )
    report = load_backbone(path, network) if backbone else initialise(network, path, regressor=recipe.as_released)
    if backbone:  # `initialise` logs its report itself
        log.info("%s", report.summary())
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    if recipe.given_lr == 0 and not learning & set(report.missing):
        raise InputError(
            f"recipe {recipe.name}: given_lr = 0.0, but --init {path} gives every weight, so nothing would learn; take"
            " a rate above 0, or weights that leave a part to start anew"
        )
    return {
        "init": str(path),
        "found": len(report.found),
        "missing": len(report.missing),
        "unused": len(report.unused),
        "anew": list(report.missing),
    }


def training_mode(network: H2ONet, recipe: Recipe, provenance: Mapping[str, Any]) -> None:
    """Put the network into training mode, less the normalisation that the recipe's `keep_norm` keeps.

    provenance: what `load_initial_weights` reported.
    """
    network.train()
    anew = provenance.get("anew")
    if recipe.keep_norm and anew is not None:
        for name, module in network.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and f"{name}.running_mean" not in anew:
                module.eval()


def _check_store(recipe: Recipe, path: str) -> ClipStore:
    store = ClipStore.open(path)
    wanted = DATASETS[recipe.dataset]
    if wanted and store.dataset not in wanted:
        raise InputError(
            f"{path}: holds {store.dataset}, but preset {recipe.name} is for {' or '.join(wanted)}; take the preset of "
            "that dataset or other clips"
        )
    if recipe.frames > 1 and not store.index["labelled"].any():
        raise InputError(
            f"{path}: no frame has occlusion labels, which the multi-frame preset {recipe.name} learns from; use a "
            "split that h2o prepare-labels can label, or a single-frame preset"
        )
    if recipe.sampling == "hidden" and not store.index["labelled"].any():
        raise InputError(
            f"{path}: no frame has occlusion labels, by which recipe {recipe.name} samples; use a split that h2o "
            "prepare-labels can label, or sampling=uniform"
        )
    if recipe.joint_visibility and not (store.index["joint_visible"] != UNKNOWN).any():
        raise InputError(
            f"{path}: no joint's visibility is known, which recipe {recipe.name} learns with joint_visibility; use a "
            "split that h2o prepare-labels can label, or joint_visibility=false"
        )
    return store


def _windows(recipe: Recipe, paths: Sequence[str], *, train: bool) -> dict[str, Window] | None:
    if recipe.frames == 1:
        return None
    found: dict[str, Window] = {}
    for store in map(ClipStore.open, paths):
        window = window_of(store.dataset, train=train, past=recipe.frames - 1, own=store.attrs.get("window"))
        if found.setdefault(store.dataset, window) != window:
            raise InputError(
                f"{store}: its past frames lie {window.past} back, those of other clips of {store.dataset}"
                f" {found[store.dataset].past}; give the two tables names of their own"
            )
    return found


def _resolved(path: str) -> str:
    return str(Path(path).resolve())

"""The dataset that labels were made of, listed again: for pictures and scenes, which show more than a store keeps."""

from pathlib import Path

from ..data.datasets import list_sequences
from ..data.frame import CameraSequence
from ..data.labels import LabelStore
from ..data.readers.plugins import dataset_names
from ..data.readers.table import ROWS
from ..errors import InputError


def list_again(labels: LabelStore, root: Path, mano: str | None) -> list[CameraSequence]:
    """The camera sequences of the dataset and split that a store was made of, with the hand `mano`.

    root: where the dataset lies now; a table is listed from the folder of its rows instead. InputError where the store
    does not say, or as `list_sequences`.
    """
    attrs, settings = labels.attrs, labels.store.attrs.get("settings")
    dataset, annotations = attrs.get("dataset"), attrs.get("annotations", "raw")
    if isinstance(annotations, dict):
        annotations = annotations.get("path")
    if isinstance(annotations, str) and Path(annotations).name in ROWS:
        # A table's store has the name that dataset.toml gives.
        dataset, root, annotations = "table", Path(annotations).parent, "raw"
    if dataset not in dataset_names() or not isinstance(annotations, str) or not isinstance(settings, dict):
        raise InputError(f"{labels.store.path}: does not say what it was made of; run prepare-labels again")
    split, setup = str(attrs.get("split")), str(attrs.get("setup") or "s0")
    channel = str(settings.get("seg_channel") or "auto")
    return list_sequences(dataset, root, split, setup, annotations, mano, channel, warn=False)

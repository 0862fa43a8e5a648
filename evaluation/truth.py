"""The hand model behind a clip store: the one its labels were made with, checked by hash."""

from collections.abc import Sequence
from pathlib import Path

from ..data.clips import ClipStore
from ..hand.errors import InputError
from ..hand.mano import HandModel, load_arrays


def truth_hand(stores: Sequence[str], mano: str | Path | None = None) -> HandModel:
    """The right hand that the clips were labelled with, checked by its hash; `mano` overrides where it lies.

    InputError when the stores name different hands, the recorded file is gone, or `mano` is another one.
    """
    recorded = {path: _recorded_hand(path) for path in stores}
    first = stores[0]
    for path, (_, sha256) in recorded.items():
        if sha256 != recorded[first][1]:
            raise InputError(f"{path}: labelled with another MANO than {first}; build both from one --mano")
    source, sha256 = recorded[first]
    try:
        arrays = load_arrays(mano if mano is not None else source, "right")
    except InputError as error:
        if mano is not None:
            raise
        raise InputError(
            f"{first}: was labelled with {source}, which cannot be read ({error}); say where it is with --mano"
        ) from None
    if arrays.sha256 != sha256:
        raise InputError(
            f"{arrays.source}: is not the MANO that {first} was labelled with (sha256 {arrays.sha256[:12]}, expected "
            f"{sha256[:12]}); pass that one with --mano"
        )
    return HandModel.from_arrays(arrays)


def _recorded_hand(path: str) -> tuple[str, str]:
    recorded = (ClipStore.open(path).attrs.get("mano") or {}).get("right")
    if not isinstance(recorded, dict) or not {"source", "sha256"} <= recorded.keys():
        raise InputError(
            f"{path}: does not record the right hand's MANO that it was labelled with; build the clips again"
        )
    return str(recorded["source"]), str(recorded["sha256"])

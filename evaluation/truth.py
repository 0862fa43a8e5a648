"""The hand model behind a clip store: the one its labels were made with, checked by hash."""

import os
from collections.abc import Sequence
from pathlib import Path

from ..data.clips import ClipStore
from ..errors import InputError
from ..hand.mano import HandModel, load_arrays


def truth_hand(stores: Sequence[str], mano: str | Path | None = None) -> HandModel:
    """The right hand that the clips were labelled with, checked by its hash.

    It is looked for at `mano` where given, else where it was when the labels were made, then under $MANO_DIR.
    InputError when the stores name different hands or none of these places holds the one that they name.
    """
    recorded = {path: _recorded_hand(path) for path in stores}
    first = stores[0]
    for path, (_, sha256) in recorded.items():
        if sha256 != recorded[first][1]:
            raise InputError(f"{path}: labelled with another MANO than {first}; build both from one --mano")
    source, sha256 = recorded[first]
    fallback = os.environ.get("MANO_DIR")
    places = [mano] if mano is not None else [source, *([fallback] if fallback else [])]
    problems = []
    for place in places:
        try:
            arrays = load_arrays(place, "right")
        except InputError as error:
            problems.append(str(error))
            continue
        if arrays.sha256 == sha256:
            return HandModel.from_arrays(arrays)
        problems.append(f"{arrays.source} has sha256 {arrays.sha256[:12]}")
    raise InputError(
        f"{first}: was labelled with {source} (sha256 {sha256[:12]}), which is not there now: {'; '.join(problems)}; "
        "say where that hand is with --mano"
    )


def _recorded_hand(path: str) -> tuple[str, str]:
    recorded = (ClipStore.open(path).attrs.get("mano") or {}).get("right")
    if not isinstance(recorded, dict) or not {"source", "sha256"} <= recorded.keys():
        raise InputError(
            f"{path}: does not record the right hand's MANO that it was labelled with; build the clips again"
        )
    return str(recorded["source"]), str(recorded["sha256"])

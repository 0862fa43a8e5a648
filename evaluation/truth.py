"""The hand model behind a clip store: the one its labels were made with, checked by hash."""

import os
from collections.abc import Sequence
from pathlib import Path

from ..data.clips import ClipStore
from ..errors import InputError
from ..hand.array_record import STANDIN
from ..hand.mano import HandModel, load_arrays


def load_truth_hand(stores: Sequence[ClipStore], mano: str | Path | None = None) -> HandModel:
    """Load the right hand that the clips were labelled with, checked by its hash.

    It is looked for at `mano` where given, else where it was when the labels were made, then under $MANO_DIR.
    InputError where the stores name different hands, or where none of these places holds the hand that they name.
    """
    first = stores[0]
    source, sha256 = _recorded_hand(first)
    for store in stores[1:]:
        if _recorded_hand(store)[1] != sha256:
            raise InputError(f"{store}: labelled with another MANO than {first}; build both from one --mano")
    fallback = os.environ.get("MANO_DIR")
    places = [mano] if mano is not None else [source, *([fallback] if fallback else [])]
    problems = []
    for place in places:
        try:
            arrays = load_arrays(place, "right")
        except InputError as error:
            problems.append(str(error))
            continue
        # Up to 0.1.0 the stand-in was computed anew on every machine, with other last digits and another hash.
        if arrays.sha256 == sha256 or (arrays.source == source == STANDIN):
            return HandModel(arrays)
        problems.append(f"{arrays.source} has sha256 {arrays.sha256[:12]}")
    raise InputError(
        f"{first}: was labelled with {source} (sha256 {sha256[:12]}), which is not there now: {'; '.join(problems)}; "
        "say where that hand is with --mano"
    )


def _recorded_hand(store: ClipStore) -> tuple[str, str]:
    recorded = (store.attrs.get("mano") or {}).get("right")
    if not isinstance(recorded, dict) or not {"source", "sha256"} <= recorded.keys():
        raise InputError(
            f"{store}: does not record the right hand's MANO that it was labelled with; build the clips again"
        )
    return str(recorded["source"]), str(recorded["sha256"])

"""The card of a trained network, beside `best/`, as Markdown: what it learned, from what, how it scored, whose terms.

For whoever gets the weights, so it names no folder of the machine that trained them. Scores are those of the validation
that chose them, in the units of their names; scores to publish are `h2o evaluate`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.clips import ClipStore
from ..data.loading.card import bullets, licence_reminders, rules_text, store_hashes, table
from ..network.checkpoints.own import read_config
from .recipe import Recipe, to_toml


def model_card(
    best: Path, recipe: Recipe, scores: Mapping[str, float], clips: Sequence[str], validation: Sequence[str]
) -> str:
    """The Markdown text for the checkpoint folder `best`, trained on the stores `clips`, chosen on `validation`.

    `scores` are those of the epoch that it was saved after. InputError where a store or the folder cannot be opened.
    """
    config = read_config(best)
    metadata, versions = config["metadata"], config["versions"]
    learned, judged = ([ClipStore.open(path) for path in paths] for paths in (clips, validation))
    chosen = "PA-MPJPE + PA-MPVPE, mm, on the validation clips below" if judged else "training loss"
    made_with = f"h2onet {versions['h2onet']}, torch {versions['torch']}, Python {versions['python']}"
    facts = [
        ("network", f"H2ONet, {recipe.frames} picture{'s' if recipe.frames > 1 else ''} per sample"),
        ("stage", f"{recipe.stage}: {'with' if recipe.stage == 2 else 'without'} orientation"),
        ("channels", f"{recipe.width:g} times the paper's"),
        ("head for joints seen", "yes" if recipe.joint_visibility else "no"),
        ("trained for", f"{metadata['step']} steps, into epoch {metadata['epoch'] + 1}"),
        ("chosen by", f"{chosen}: {metadata['best_score']:.4g}"),
        ("started from", _start(metadata["provenance"])),
        ("made with", made_with),
    ]
    sections = [
        f"# Model: {recipe.name}",
        f'A network that sees hands which hold objects. Load it with `load_checkpoint("{best.name}")` of'
        " `h2onet.network.checkpoint`, or give the folder to `h2o evaluate` and `h2o predict`.",
        table(("", ""), facts),
        "## Data",
        table(("clips", "frames", "label rules"), [_store_row(store, "training") for store in learned]
              + [_store_row(store, "validation") for store in judged]),
        "## Scores",
        "Of the epoch after which it was saved: losses (`train_`) over the epoch's steps, the rest on the validation"
        " clips." if judged else "Of the epoch after which it was saved: means of the losses over its steps.",
        table(("score", "value"), [(name, f"{value:.5g}") for name, value in scores.items()]),
        "## Licences",
        bullets([
            *licence_reminders([*learned, *judged]),
            "Whether weights that were learned from such data may be used otherwise is for those terms to say.",
        ]),
        "## Hashes",
        table(("what", "SHA-256"), _hashes(config, learned, judged)),
        "## Recipe",
        f"```toml\n{to_toml(recipe)}```",
    ]  # fmt: skip
    return "\n\n".join(sections) + "\n"


def _start(provenance: Mapping[str, Any]) -> str:
    init = provenance.get("init")
    return f"{Path(init).name} ({provenance.get('found')} tensors found)" if init else "random weights"


def _store_row(store: ClipStore, use: str) -> tuple[str, str, str]:
    attrs = store.attrs
    what = " ".join(part for part in (attrs["dataset"], attrs.get("setup"), attrs["split"]) if part)
    return f"{what} ({use})", str(len(store)), rules_text(store)


def _hashes(
    config: Mapping[str, Any], learned: Sequence[ClipStore], judged: Sequence[ClipStore]
) -> list[tuple[str, str]]:
    found = [("weights", config["weights_sha256"]), ("mesh hierarchy", config["hierarchy_sha256"])]
    for use, stores in (("training", learned), ("validation", judged)):
        for store in stores:
            found += [(f"{use}: {what}", digest) for what, digest in store_hashes(store)]
    return list(dict.fromkeys(found))

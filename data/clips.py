"""Everything about clips under one name: open a store, look into it, and read it as training does.

    from h2onet.data.clips import Augmentation, ClipDataset, window_of
    clips = ClipDataset("clips.zarr", frames=window_of("dexycb", train=True), augment=Augmentation())
    clips[0]["images"].shape                  # (3, 3, 128, 128): frames (t, short past, long past)

Behind it: `stores/clips.py` (what lies on disk) and `loading/` (crops, augmentation, windows, dataset, report, verify,
sheet); batches and resuming are `loading/batches.py`. Metres, OpenCV camera frame.
"""

from .loading.augment import Augmentation
from .loading.dataset import ClipDataset
from .loading.report import ClipInfo, clip_info
from .loading.sheet import contact_sheet
from .loading.verify import verify
from .loading.windows import Window, window_of
from .stores.clips import ClipStore

__all__ = [
    "Augmentation",
    "ClipDataset",
    "ClipInfo",
    "ClipStore",
    "Window",
    "clip_info",
    "contact_sheet",
    "verify",
    "window_of",
]

"""Opening pyrender's off-screen OpenGL context through EGL.

Loads nothing else, so that `h2o doctor` can try it quickly. Nothing of OpenGL is imported before a context is asked
for.
"""

import os
from typing import Any

from ..errors import InputError

_FAILURES = (ImportError, AttributeError, TypeError, ValueError, IndexError, OSError, AssertionError, RuntimeError)
_NO_GL = (
    "renderer pyrender: OpenGL through EGL does not work here ({reason}); install the Debian packages libegl1 libgl1 "
    "libgl1-mesa-dri libxrender1, or use --renderer cpu (same labels, no system libraries)"
)


def open_offscreen(width: int, height: int) -> tuple[Any, Any]:
    """pyrender itself, and its renderer with a context of width x height px; `delete()` frees it.

    PYOPENGL_PLATFORM is set here because PyOpenGL reads it when it is first imported. Raises InputError naming the
    packages that are missing.
    """
    os.environ["PYOPENGL_PLATFORM"] = "egl"
    # Without its libraries PyOpenGL fails in many ways, an AttributeError on None among them.
    failures: tuple[type[Exception], ...] = _FAILURES
    try:
        from OpenGL.error import Error

        failures = (*_FAILURES, Error)
        import pyrender

        return pyrender, pyrender.OffscreenRenderer(width, height)
    except failures as error:
        raise InputError(_NO_GL.format(reason=f"{type(error).__name__}: {error}".splitlines()[0])) from error

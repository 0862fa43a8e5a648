"""Which renderer a name stands for: the z-buffer (no system libraries) or OpenGL through pyrender."""

from ..errors import InputError
from .raster import CpuRenderer, Renderer

RENDERERS = ("auto", "cpu", "pyrender")


def make_renderer(name: str = "auto") -> Renderer:
    """The renderer called "cpu" or "pyrender"; "auto" is "cpu". Raises InputError for other names or missing OpenGL."""
    if name not in RENDERERS:
        raise InputError(f"renderer: expected one of {', '.join(RENDERERS)}, found {name!r}")
    if name == "pyrender":
        from .gl import GlRenderer  # OpenGL is touched only when asked for

        return GlRenderer()
    return CpuRenderer()

"""The page's section that sets an evaluation beside another one of the same frames."""

from collections.abc import Sequence

from .document import Section
from .tables import metric_name

SHOWN = (
    "pa_mpjpe_mm",
    "pa_mpvpe_mm",
    "mpjpe_mm",
    "orientation_deg",
    "pa_mpjpe_seen_earlier_mm",
    "pa_mpjpe_never_seen_mm",
    "acceleration_error_mm",
    "occlusion_accuracy",
    "occlusion_macro_f1",
)


def comparison_section(
    scored: tuple[str, str], header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]
) -> Section:
    """The main metrics of a comparison: what A and B are, its header, its rows (metric first), and its notes."""
    shown = {row[0]: (metric_name(row[0]), *row[1:]) for row in rows}
    text = f"A is {scored[0]}, B, this evaluation, is {scored[1]}. {'; '.join(notes)}. h2o compare shows all metrics."
    return Section("Against another evaluation", text, table=(header, [shown[name] for name in SHOWN if name in shown]))

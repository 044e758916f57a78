"""A claim as a strip: the bar shaded, the measured value as a dot on its interval, the control as a diamond."""

import math

from repgeo.claims import Claim

WIDTH, HEIGHT, EDGE = 132, 14, 6


def strip(claim: Claim) -> str:
    """Small drawing of one measured claim as inline SVG text, for the eye only; empty when not measured."""
    if claim.measured is None:
        return ""
    ends = claim.interval or (claim.measured, claim.measured)
    given = [claim.measured, claim.control_value, *ends, *claim.bar]
    finite = [value for value in given if value is not None and math.isfinite(value)]
    low, high = min(finite), max(finite)
    room = (high - low) or 1.0

    def at(value: float) -> float:
        place = EDGE + (value - low) / room * (WIDTH - 2 * EDGE) if math.isfinite(value) else value
        return round(min(max(place, 0.0), float(WIDTH)), 1)

    start, stop, middle = at(claim.bar[0]), at(claim.bar[1]), HEIGHT / 2
    parts = [
        f'<rect class="bar" x="{start}" y="2" width="{max(stop - start, 1.0):.1f}" height="{HEIGHT - 4}" rx="2"/>',
        f'<path class="axis" d="M0 {middle}H{WIDTH}"/>',
        f'<path class="interval" d="M{at(ends[0])} {middle}H{at(ends[1])}"/>' if claim.interval else "",
    ]
    if claim.control_value is not None:
        parts.append(f'<path class="control" d="M{at(claim.control_value)} {middle}m-4 0l4-4 4 4-4 4z"/>')
    parts.append(f'<circle class="measured" cx="{at(claim.measured)}" cy="{middle}" r="3.4"/>')
    return (
        f'<svg class="strip" aria-hidden="true" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}">{"".join(parts)}</svg>'
    )

"""Numbers, times and text as the pages write them."""

import html


def number(value: float) -> str:
    """Three significant digits, with a real minus sign and powers of ten written out."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
        return text.replace("-", "−")
    mantissa, exponent = f"{value:.2g}".split("e") if "e" in f"{value:.2g}" else f"{value:.1e}".split("e")
    return f"{mantissa}·10<sup>{int(exponent)}</sup>".replace("-", "−")


def seconds(value: float) -> str:
    """A run time: whole seconds below 100, otherwise whole minutes."""
    return f"{value:.0f} s" if value < 100 else f"{value / 60:.0f} min"


def text(value: str) -> str:
    """`value` as it may stand in HTML, between tags or in quotes."""
    return html.escape(value, quote=True)

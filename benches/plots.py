"""Small SVG plots, by the standard library alone."""

from html import escape

INK, FAINT, OWN, OTHER = "#333", "#ddd", "#0b6e99", "#b8b8b8"
FONT = 'font-family="sans-serif" font-size="12"'
WIDTH, LABEL, ROW = 720, 300, 24


def bars(title, rows, unit, own=()):
    """Horizontal bars: rows of (label, value); those in `own` are coloured."""
    height = 40 + ROW * len(rows)
    most = max((value for _, value in rows), default=1) or 1
    room = WIDTH - LABEL - 90
    parts = [f'<text x="0" y="16" {FONT} font-weight="bold" fill="{INK}">{escape(title)}</text>']
    for at, (label, value) in enumerate(rows):
        y, length = 30 + at * ROW, max(1.0, room * value / most)
        colour = OWN if label in own else OTHER
        parts.append(f'<text x="{LABEL - 8}" y="{y + 14}" {FONT} fill="{INK}" text-anchor="end">{escape(label)}</text>')
        parts.append(f'<rect x="{LABEL}" y="{y + 2}" width="{length:.1f}" height="{ROW - 8}" fill="{colour}"/>')
        parts.append(f'<text x="{LABEL + length + 6:.1f}" y="{y + 14}" {FONT} fill="{INK}">{figure(value)} {unit}</text>')
    return svg(height, parts)


def lines(title, series, unit, ticks):
    """Lines over sizes: series of (label, [(x, y), …]); x is placed by its order in `ticks`."""
    height, left, top, bottom, right = 280, 60, 40, 240, WIDTH - 200
    most = max((y for _, points in series for _, y in points), default=1) * 1.1 or 1
    place = {x: left + 20 + at * (right - left - 40) / max(1, len(ticks) - 1) for at, x in enumerate(ticks)}
    parts = [f'<text x="0" y="16" {FONT} font-weight="bold" fill="{INK}">{escape(title)}</text>']
    for part in (0, 0.5, 1):
        y = bottom - part * (bottom - top)
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{FAINT}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" {FONT} fill="{INK}" text-anchor="end">{figure(most * part)}</text>')
    for x, at in place.items():
        parts.append(f'<text x="{at:.1f}" y="{bottom + 18}" {FONT} fill="{INK}" text-anchor="middle">{x:,}</text>')
    parts.append(f'<text x="0" y="{top - 8}" {FONT} fill="{INK}">{escape(unit)}</text>')
    for number, (label, points) in enumerate(series):
        colour = [OWN, "#d07020", "#7a9a3a", "#884488"][number % 4]
        dash = ' stroke-dasharray="4 3"' if label.startswith("limit") else ""
        path = " ".join(f"{place[x]:.1f},{bottom - y / most * (bottom - top):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        y = top + 10 + number * 18
        parts.append(f'<line x1="{right + 10}" x2="{right + 30}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"{dash}/>')
        parts.append(f'<text x="{right + 36}" y="{y + 4}" {FONT} fill="{INK}">{escape(label)}</text>')
    return svg(height, parts)


def svg(height, parts):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height}" fill="white"/>', *parts, "</svg>", ""])


def figure(value):
    """Three digits that count."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"

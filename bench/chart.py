"""A report as a drawing: a bar for each way, as long as its median, with a line from its lowest to its highest figure.

Each measure has a scale of its own, from nought. The drawing has no background, and takes its colours from the light or
the dark scheme of whoever looks at it.
"""

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from bench.report import Measure, Report, Spread

_WIDTH, _LABELS, _VALUES, _EDGE = 800, 250, 150, 10
_BAR, _ROW, _HEADING, _GAP = 16, 24, 30, 14
_SCALE = _WIDTH - _LABELS - _VALUES - 2 * _EDGE
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 15px; }
.name { font-weight: 600; }
.way { text-anchor: end; }
.theirs { fill: #8c959f; }
.ours { fill: #0969da; }
.spread { stroke: #1f2328; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .theirs { fill: #6e7681; }
  .ours { fill: #4493f8; }
  .spread { stroke: #e6edf3; }
}
"""


def draw(report: Report) -> str:
    """The drawing, as SVG."""
    height = _HEADING + sum(_height(measure) for measure in report.measures)
    box = {"viewBox": f"0 0 {_WIDTH} {height}", "width": str(_WIDTH), "height": str(height)}
    svg = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", **box})
    SubElement(svg, "title").text = report.title
    SubElement(svg, "style").text = _STYLE
    _text(svg, _EDGE, 20, report.title, "title")
    top = _HEADING
    for measure in report.measures:
        _draw_measure(svg, top, measure)
        top += _height(measure)
    indent(svg)
    return tostring(svg, encoding="unicode") + "\n"


def _height(measure: Measure) -> int:
    return _HEADING + _ROW * len(measure.ways) + _GAP


def _draw_measure(svg: Element, top: int, measure: Measure) -> None:
    _text(svg, _EDGE, top + 20, f"{measure.name}, {measure.unit}", "name")
    spreads = {way: Spread.of(figures) for way, figures in measure.ways.items()}
    scale = _SCALE / (max(spread.high for spread in spreads.values()) or 1)
    for row, (way, spread) in enumerate(spreads.items()):
        kind = "ours" if way == measure.ours else "theirs"
        _draw_way(svg, top + _HEADING + row * _ROW, way, spread, scale, kind)


def _draw_way(svg: Element, top: int, way: str, spread: Spread, scale: float, kind: str) -> None:
    zero, baseline, middle = _EDGE + _LABELS, top + 13, top + _BAR / 2
    _text(svg, zero - 8, baseline, way, "way")
    bar = {"x": f"{zero}", "y": f"{top}", "width": f"{spread.median * scale:.1f}", "height": f"{_BAR}", "rx": "2"}
    SubElement(svg, "rect", {**bar, "class": kind})
    ends = {"x1": f"{zero + spread.low * scale:.1f}", "x2": f"{zero + spread.high * scale:.1f}"}
    SubElement(svg, "line", {**ends, "y1": f"{middle:g}", "y2": f"{middle:g}", "class": "spread"})
    _text(svg, zero + spread.high * scale + 8, baseline, str(spread), "value")


def _text(svg: Element, x: float, y: float, text: str, kind: str) -> None:
    SubElement(svg, "text", {"x": f"{x:.1f}", "y": f"{y:g}", "class": kind}).text = text

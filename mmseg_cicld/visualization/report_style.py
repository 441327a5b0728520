"""Style sheet of the report, light and dark."""

STYLE = """
:root {
  --paper: #f7f8fa; --card: #ffffff; --ink: #1c2430; --muted: #667085; --line: #e3e7ee;
  --source: #d98a2b; --adapted: #2f6fde; --good: #12805c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #11151c; --card: #1a202a; --ink: #e7ebf2; --muted: #97a3b6; --line: #2c3543;
    --source: #e5a24f; --adapted: #6c9cf5; --good: #4cc79b;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 8px; letter-spacing: -0.01em; }
h2 { font-size: 19px; margin: 0 0 4px; }
p { margin: 0 0 12px; max-width: 78ch; }
.muted, .note { color: var(--muted); }
.note { font-size: 14px; margin-bottom: 16px; }
.eyebrow { color: var(--muted); font-size: 13px; letter-spacing: 0.06em; margin: 0 0 6px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 22px 24px;
  margin-top: 20px; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); gap: 16px; margin-top: 26px; }
.number { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 16px 20px; }
.number b { display: block; font-size: 40px; line-height: 1.15; font-weight: 650; font-variant-numeric: tabular-nums; }
.number span { color: var(--muted); font-size: 14px; }
.number.source b { color: var(--source); } .number.adapted b { color: var(--adapted); }
.number.gain b { color: var(--good); } .number.loss b { color: var(--ink); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 24px 40px; }
svg { width: 100%; height: auto; display: block; overflow: visible; }
svg text { fill: var(--ink); font: 12.5px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
svg .axis { fill: var(--muted); font-size: 11px; }
svg .value { font-variant-numeric: tabular-nums; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg polyline.source, svg circle.source { stroke: var(--source); }
svg polyline.adapted, svg circle.adapted { stroke: var(--adapted); }
svg rect.source, svg circle.source { fill: var(--source); }
svg rect.adapted, svg circle.adapted { fill: var(--adapted); }
svg rect.swatch { stroke: var(--line); }
.legend { display: flex; flex-wrap: wrap; gap: 6px 16px; font-size: 13px; color: var(--muted); margin: 0 0 12px; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px;
  vertical-align: -1px; border: 1px solid var(--line); }
.legend i.source { background: var(--source); } .legend i.adapted { background: var(--adapted); }
.pictures { overflow-x: auto; }
.row { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(120px, 1fr); gap: 8px; margin-bottom: 8px; }
figure { margin: 0; } figcaption { font-size: 12.5px; color: var(--muted); padding: 4px 2px; }
img { width: 100%; display: block; border-radius: 6px; background: #000; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
td { padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
td:first-child { color: var(--muted); white-space: nowrap; }
.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 8px 40px; margin-top: 10px; }
"""

"""Style sheet of the reports: light and dark, from phones to paper."""

STYLE = """
:root {
  --paper: #f7f8fa; --card: #ffffff; --ink: #1c2430; --muted: #5b6575; --line: #e3e7ee; --focus: #1552c4;
  --source: #b4690e; --adapted: #2f6fde; --oracle: #12805c;
  --s0: #2f6fde; --s1: #c8481f; --s2: #12805c; --s3: #8e44ad; --s4: #9a7209; --s5: #0c7c8c; --s6: #b62d72; --s7: #5b6575;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #11151c; --card: #1a202a; --ink: #e7ebf2; --muted: #a3aec0; --line: #2c3543; --focus: #9dbdff;
    --source: #e5a24f; --adapted: #6c9cf5; --oracle: #4cc79b;
    --s0: #6c9cf5; --s1: #f08a67; --s2: #4cc79b; --s3: #c490e0; --s4: #dcb648; --s5: #4cc3d4; --s6: #ef7fb5; --s7: #a3aec0;
  }
}
* { box-sizing: border-box; }
html { color-scheme: light dark; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 40px 24px 64px; }
main:focus { outline: none; }
.skip { position: absolute; left: -9999px; top: 0; padding: 10px 16px; background: var(--card); color: var(--focus); }
.skip:focus { left: 8px; top: 8px; z-index: 1; }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 8px; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 0 0 4px; }
h3 { font-size: 15px; margin: 16px 0 4px; }
p { margin: 0 0 12px; max-width: 78ch; overflow-wrap: anywhere; }
ul { margin: 8px 0 0; padding-left: 22px; max-width: 82ch; overflow-wrap: anywhere; } li { margin-bottom: 6px; }
.muted, .note { color: var(--muted); }
.note { font-size: 14px; margin-bottom: 16px; }
.eyebrow { color: var(--muted); font-size: 13px; letter-spacing: 0.06em; margin: 0 0 6px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 22px 24px;
  margin-top: 20px; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 170px), 1fr)); gap: 16px;
  margin: 26px 0 0; }
.number { display: flex; flex-direction: column-reverse; justify-content: flex-end; background: var(--card);
  border: 1px solid var(--line); border-radius: 14px; padding: 16px 20px; }
.number dd { margin: 0; font-size: 40px; line-height: 1.15; font-weight: 650; font-variant-numeric: tabular-nums; }
.number dt { color: var(--muted); font-size: 14px; }
.number.source dd { color: var(--source); } .number.adapted dd { color: var(--adapted); }
.number.oracle dd, .number.gain dd { color: var(--oracle); } .number.loss dd { color: var(--ink); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 28px 40px; }
.chart { min-width: 0; } .chart > figcaption { font-size: 15px; color: var(--ink); font-weight: 600; padding: 0 0 6px; }
svg { width: 100%; height: auto; display: block; overflow: visible; }
svg text { fill: var(--ink); font: 12.5px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
svg .axis { fill: var(--muted); font-size: 11.5px; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
.source { --c: var(--source); } .adapted { --c: var(--adapted); } .oracle { --c: var(--oracle); }
.s0 { --c: var(--s0); } .s1 { --c: var(--s1); } .s2 { --c: var(--s2); } .s3 { --c: var(--s3); }
.s4 { --c: var(--s4); } .s5 { --c: var(--s5); } .s6 { --c: var(--s6); } .s7 { --c: var(--s7); }
svg polyline, svg circle { stroke: var(--c); } svg circle { fill: var(--c); }
svg polyline.source, svg polyline.s1, svg polyline.s5 { stroke-dasharray: 7 3; }
svg polyline.oracle, svg polyline.s3, svg polyline.s7 { stroke-dasharray: 2 3; }
.legend { display: flex; flex-wrap: wrap; gap: 6px 16px; font-size: 13px; color: var(--muted); margin: 0 0 12px; }
.legend span { overflow-wrap: anywhere; }
.legend i, th i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px;
  vertical-align: -1px; border: 1px solid var(--line); background: var(--c); }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(120px, 1fr)); gap: 8px; margin-bottom: 14px; }
figure { margin: 0; } figcaption { font-size: 12.5px; color: var(--muted); padding: 4px 2px; overflow-wrap: anywhere; }
img { width: 100%; display: block; border-radius: 6px; background: #000; }
table { border-collapse: collapse; width: 100%; font-size: 14px; align-self: start; }
caption { text-align: left; font-weight: 600; padding: 6px 0; }
th, td { padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; text-align: left;
  font-weight: 400; overflow-wrap: anywhere; }
tbody th, thead th { color: var(--muted); } thead th { font-weight: 600; vertical-align: bottom; }
.tables th { width: 40%; }
.n { text-align: right; font-variant-numeric: tabular-nums; padding: 6px 0 6px 12px; }
.classes th, .classes td { padding-top: 4px; padding-bottom: 4px; vertical-align: middle; }
.classes tbody th { color: var(--ink); width: 22%; } .classes .bars { width: 45%; min-width: 70px; }
.bars span { display: block; height: 7px; margin: 1px 0; border-radius: 2px; background: var(--c); }
.classes .n { overflow-wrap: normal; }
.scroll { overflow-x: auto; } .scroll th, .scroll td { overflow-wrap: normal; }
.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); gap: 8px 40px; }
details { margin-top: 8px; } summary { cursor: pointer; color: var(--muted); font-size: 13px; padding: 4px 0; }
pre { margin: 0; padding: 10px 12px; background: var(--paper); border: 1px solid var(--line); border-radius: 8px;
  white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; }
@media (max-width: 600px) {
  main { padding: 20px 12px 40px; } section { padding: 16px 14px; border-radius: 10px; }
  h1 { font-size: 24px; } .numbers { grid-template-columns: 1fr 1fr; gap: 10px; margin-top: 18px; }
  .number { padding: 12px 14px; } .number dd { font-size: 30px; }
  svg .axis { font-size: 17px; } .row { grid-template-columns: 1fr 1fr; }
  .classes tbody th { width: 36%; } .classes .bars { width: 26%; min-width: 40px; } .n { padding-left: 8px; }
}
@media print {
  :root { --paper: #fff; --card: #fff; --ink: #000; --muted: #444; --line: #ccc; --source: #b4690e; --adapted: #2f6fde;
    --oracle: #12805c; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  body { font-size: 11pt; } main { padding: 0; max-width: none; } .skip { display: none; }
  section { border: 0; padding: 0; margin-top: 18pt; } h2, h3, caption, summary { break-after: avoid; }
  .chart, .number, .row, figure, tr, pre { break-inside: avoid; } details { display: none; }
  .number { border-color: #999; } .row { grid-template-columns: repeat(auto-fit, minmax(120px, 1fr)); }
}
"""

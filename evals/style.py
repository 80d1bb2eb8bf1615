"""How a report looks: one style sheet for light and dark, screen and paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fcfcfa; --ink: #1c1e21; --muted: #646a73; --line: #e3e3de; --soft: #f3f3ef; --link: #1d4f9c;
  --good: #1d7a50; --bad: #b3302f; --part: #a5670a;
  --s0: #2361b8; --s1: #c4581a; --s2: #17805f; --s3: #7a4db0; --s4: #b32f58; --s5: #0f7a8c;
  --words: ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial,
    sans-serif;
  --titles: Charter, "Bitstream Charter", "Iowan Old Style", "Palatino Linotype", Cambria, "Liberation Serif",
    Georgia, serif;
  --code: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15171a; --ink: #e6e6e1; --muted: #9aa0a8; --line: #2d3136; --soft: #1d2024; --link: #8db8f5;
    --good: #5cc496; --bad: #f08a85; --part: #e0ab55;
    --s0: #7db0f7; --s1: #f0a06a; --s2: #5fc9a2; --s3: #bd9df0; --s4: #f08aa8; --s5: #62c8d8;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 3.5rem 1.5rem 6rem; max-width: 70rem; background: var(--paper); color: var(--ink);
  font: 15px/1.55 var(--words); font-variant-numeric: tabular-nums;
}
h1, h2 { font-family: var(--titles); font-weight: 600; letter-spacing: -0.01em; line-height: 1.15; }
h1 { font-size: 2.5rem; margin: 0; }
h1 + p { margin: 0.4rem 0 2rem; color: var(--muted); }
h2 { font-size: 1.9rem; margin: 4.5rem 0 0.6rem; padding-top: 1.2rem; border-top: 2px solid var(--ink); }
h2 small { margin-left: 0.7rem; font: 0.85rem var(--words); letter-spacing: 0; color: var(--muted); }
h3 { font-size: 1rem; font-weight: 600; margin: 2.4rem 0 0.5rem; }
h4 { font-size: 0.93rem; font-weight: 400; margin: 1.4rem 0 0.4rem; }
h4.legend { gap: 0.2rem 0.7rem; margin-top: 1.4rem; }
p { margin: 0.5rem 0; max-width: 46rem; }
b { font-weight: 600; }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: 2px; }
.aside { color: var(--muted); font-size: 0.87rem; }
.legend { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0.2rem 1.6rem; max-width: none; }
p.legend { margin-top: 1rem; }
.series { white-space: nowrap; }
.dot { display: inline-block; width: 0.6em; height: 0.6em; margin-right: 0.5em; border-radius: 50%; }
.s0 { --c: var(--s0); } .s1 { --c: var(--s1); } .s2 { --c: var(--s2); }
.s3 { --c: var(--s3); } .s4 { --c: var(--s4); } .s5 { --c: var(--s5); }
.dot { background: var(--c); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.87rem; line-height: 1.35; }
th, td { padding: 0.42rem 0.6rem; white-space: nowrap; border-bottom: 1px solid var(--line); font-weight: 400; }
th:first-child { padding-left: 0; } td:last-child, th:last-child { padding-right: 0; }
thead th { color: var(--muted); font-size: 0.8rem; vertical-align: bottom; border-bottom-color: var(--muted); }
thead th.number { white-space: normal; }
.words { text-align: left; } .number { text-align: right; }
.sum th, .sum td { font-weight: 600; border-bottom: none; border-top: 1px solid var(--muted); }
.bar { display: block; width: 124px; height: 16px; margin-left: auto; overflow: visible; }
.bar path { stroke-width: 1; stroke: var(--muted); fill: none; }
.bar .track { stroke: var(--line); }
.bar .band { stroke: var(--c); stroke-width: 6; opacity: 0.35; }
.bar circle { fill: var(--c); }
figure { margin: 0; }
figure svg { display: block; width: 100%; height: auto; font-family: var(--words); }
figure svg text { font-family: inherit; }
figcaption { color: var(--muted); font-size: 0.87rem; max-width: 46rem; }
details { margin: 0; }
summary { cursor: pointer; }
.group { padding: 0.55rem 0; border-bottom: 1px solid var(--line); }
.group > summary { font-size: 0.93rem; }
.group > .case:first-of-type { margin-top: 0.6rem; }
.case { border-top: 1px solid var(--line); font-size: 0.87rem; }
.case > summary {
  display: grid; grid-template-columns: 4.6rem 14rem 9rem 1fr; gap: 0.8rem;
  align-items: baseline; padding: 0.4rem 0; list-style: none;
}
.case > summary::-webkit-details-marker { display: none; }
.case > summary:hover { background: var(--soft); }
.case[open] > summary .why { visibility: hidden; }
.case[open] { padding-bottom: 1.2rem; }
.kind, .who, .case dt { color: var(--muted); }
.case > summary > * { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.I { color: var(--bad); } .P { color: var(--part); } .N { color: var(--muted); }
.case p.why { max-width: none; overflow-wrap: anywhere; white-space: pre-wrap; }
.case > :not(summary) { margin-left: 5.4rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1.2rem; margin: 0.6rem 0; }
dd { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; unicode-bidi: isolate; }
.facts { font-size: 0.87rem; } .facts dt { color: var(--muted); }
.turn { display: grid; grid-template-columns: 4.8rem 1fr; gap: 0.8rem; padding: 0.35rem 0; }
.turn { border-top: 1px dotted var(--line); }
.who { font-size: 0.8rem; padding-top: 0.1rem; overflow-wrap: anywhere; }
pre {
  margin: 0; max-height: 24rem; overflow: auto; font: 0.8rem/1.5 var(--code); white-space: pre-wrap;
  overflow-wrap: anywhere; unicode-bidi: isolate;
}
code { font: 0.93em var(--code); overflow-wrap: anywhere; }
@media (max-width: 44rem) {
  body { padding: 2rem 1rem 4rem; }
  .case > summary { grid-template-columns: 4.6rem 1fr; }
  .case > :not(summary) { margin-left: 0; }
  .case > summary .kind, .case > summary .why { grid-column: 2; }
  .turn { grid-template-columns: 1fr; gap: 0; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  h2 { break-before: page; } table, figure { break-inside: avoid; }
  pre { max-height: none; }
}
"""

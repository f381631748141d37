"""How a page looks: light, dark and on paper, with the fonts that the reader's machine has.

Plots take their colours from here by class.  Every colour keeps a contrast of at least 4.5 to 1
against its paper (WCAG 2.2, 1.4.3).
"""

from __future__ import annotations

from typing import Final

from primum_verifier.shell.markup import Markup

STYLE: Final = Markup("""
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#5b6570;--paper:#fff;--line:#d5dae0;
--good:#17663a;--bad:#a3201d;--bar:#3b6ea5}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#a2abb4;--paper:#15181c;
--line:#3a4149;--good:#6fcf97;--bad:#ff8f87;--bar:#7fb2e5}}
@media print{:root{color-scheme:light;--ink:#000;--soft:#444;--paper:#fff;--line:#bbb;
--good:#17663a;--bad:#a3201d;--bar:#3b6ea5}section{break-inside:avoid}
#tests,#deviations{break-inside:auto}tr{break-inside:avoid}th,td{overflow-wrap:anywhere}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);
max-width:64rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}
h2{font-size:1.1rem;margin:2rem 0 .4rem}h3{font-size:1rem;margin:1rem 0 0}
p{margin:.3rem 0}.soft,caption{color:var(--soft)}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;
border-bottom:1px solid var(--line);overflow-wrap:break-word}
th{font-weight:600}th p{font-weight:400}thead th,.word{white-space:nowrap}
td.n,th.n{text-align:right;white-space:nowrap}
.good{color:var(--good);font-weight:600}.bad{color:var(--bad);font-weight:600}
.hash{font:.85em ui-monospace,monospace}
.wide{overflow-x:auto}ul{margin:0;padding:0 0 0 1rem;columns:2;column-gap:2rem}
li{break-inside:avoid}
svg.plot{width:100%;height:auto;display:block}svg.inline{vertical-align:middle}
svg text{fill:var(--ink);font:12px system-ui,sans-serif}svg text.small{font-size:10px}
svg text.strong{font-weight:600}
.grid{stroke:var(--line)}.axis{stroke:var(--soft)}
.limit{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:5 3}
.whisker{stroke:var(--bar);stroke-width:2.5}
.dot{fill:var(--bar);fill-opacity:.8}.dot.bad{fill:var(--bad);fill-opacity:1}
.answer{font-size:1.15rem;font-weight:600}
.span{fill:var(--bar)}.span.beside{fill:var(--soft)}.maybe{fill-opacity:.3}
.span.unknown{fill:none;stroke:var(--soft);stroke-dasharray:4 3}
svg text.soft{fill:var(--soft)}
svg text.small,svg text.strong{paint-order:stroke;stroke:var(--paper);stroke-width:3px}
[id^=table-possible] th[scope=row],#table-history th[scope=row]{width:7rem}
.bar{fill:var(--bar)}.mark{stroke:var(--ink);stroke-dasharray:2 3}
""")

"""The page's style sheet."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root{color-scheme:light dark;--bg:#fbfbfa;--card:#fff;--ink:#1d2329;--quiet:#5b656e;--line:#e2e6e9;--edge:#0002;
--s1:#0a66c2;--s2:#d2690a;--s3:#8a939c;--s4:#23877a;--s5:#8a4fb8;--chosen:#e9f2fc;
--good:#136c3a;--bad:#b3261e;--warn:#fff3d6;--warnline:#d9a514}
@media(prefers-color-scheme:dark){:root{--bg:#14181c;--card:#1b2126;--ink:#e4e9ed;--quiet:#98a3ad;--line:#2d363e;--edge:#fff2;
--s1:#5ab0ff;--s2:#ffab5e;--s3:#8b96a0;--s4:#4ecdb8;--s5:#c79bf0;--chosen:#17304a;
--good:#6fd79b;--bad:#ff8f86;--warn:#3a2f12;--warnline:#a07c1c}}
*{box-sizing:border-box}
body{margin:0;overflow-wrap:break-word;background:var(--bg);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{max-width:1360px;margin:0 auto;padding:24px 20px 60px}
h1{font-size:26px;margin:0 0 4px;overflow-wrap:anywhere}h2{font-size:18px;margin:0 0 12px;overflow-wrap:anywhere}
header p,.quiet{color:var(--quiet)}header p{margin:0;overflow-wrap:anywhere}.quiet{font-size:13px;margin:10px 0 0}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px 20px;margin-top:18px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(138px,1fr));gap:14px 18px;margin-bottom:12px}
.tiles b{display:block;font-size:23px;font-weight:650;line-height:1.25;font-variant-numeric:tabular-nums}
.tiles div{min-width:0}.tiles span{overflow-wrap:anywhere;color:var(--quiet);font-size:13px}
.verdict p{margin:8px 0;overflow-wrap:anywhere}.lead{font-size:20px;font-weight:600;overflow-wrap:anywhere}
.lead.pass,span.pass{color:var(--good)}.lead.fail,span.fail{color:var(--bad)}span.pass,span.fail{font-weight:600}
.banner{background:var(--warn);border:1px solid var(--warnline);border-radius:10px;padding:10px 16px;margin:18px 0 0}
.banner.failed{border-color:var(--bad)}.banner.failed b,tr.failed th{color:var(--bad)}
code{font:12.5px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
a{color:var(--s1)}.names{margin:0 0 10px;padding-left:26px;columns:260px}.names li{overflow-wrap:anywhere;margin:0 0 4px;break-inside:avoid}
.scroll{overflow-x:auto;background:linear-gradient(to right,var(--card) 30%,transparent) 0 0/40px 100% no-repeat local,
linear-gradient(to left,var(--card) 30%,transparent) 100% 0/40px 100% no-repeat local,
linear-gradient(to right,var(--edge),transparent) 0 0/12px 100% no-repeat scroll,
linear-gradient(to left,var(--edge),transparent) 100% 0/12px 100% no-repeat scroll}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:7px 6px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line);vertical-align:top}
thead th{white-space:normal;min-width:64px;color:var(--quiet);font-weight:500;font-size:12.5px;vertical-align:bottom;line-height:1.3}
tbody th{font-weight:600;position:sticky;left:0;background:var(--card);white-space:normal;overflow-wrap:break-word;min-width:110px;max-width:300px}
th.left,td.left{text-align:left}td.left{white-space:normal;overflow-wrap:break-word;min-width:110px;max-width:300px}
.about{font-weight:600;margin:14px 0 2px}td small{display:block;color:var(--quiet);font-size:11.5px}
tr.chosen>*{background:var(--chosen)!important}tr:last-child>*{border-bottom:0}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:22px}
figure{margin:0;min-width:0}figcaption{font-size:13.5px;color:var(--quiet);min-height:1.5em;overflow-wrap:anywhere}
svg{display:block;width:100%;height:auto}figure{max-width:620px}figure p{margin:6px 0 0;font-size:13px;overflow-wrap:anywhere}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;margin:4px 0 6px;font-size:13px}
.legend i{display:inline-block;width:11px;height:11px;border-radius:3px;background:currentColor;margin-right:6px;
vertical-align:-1px}
.legend span{color:var(--ink);overflow-wrap:anywhere;min-width:0}.legend .s1 i{color:var(--s1)}.legend .s2 i{color:var(--s2)}
.legend .s3 i{color:var(--s3)}.legend .s4 i{color:var(--s4)}.legend .s5 i{color:var(--s5)}
.tick{font-size:11.5px;fill:var(--quiet)}.label{font-size:12.5px;fill:var(--ink)}.strip{font-size:13px;fill:var(--ink)}
.grid{stroke:var(--line);stroke-width:1}.axis{stroke:var(--quiet);stroke-width:1;opacity:.5}
.diagonal{stroke:var(--ink);stroke-width:1;stroke-dasharray:4 4;opacity:.55}
.mark{stroke:var(--ink);stroke-width:1;stroke-dasharray:3 3;opacity:.7}
.dots{opacity:.6}.solid{opacity:1}.dots.s1{fill:var(--s1)}.dots.s2{fill:var(--s2)}.dots.s3{fill:var(--s3)}.dots.s4{fill:var(--s4)}
.line{fill:none;stroke-width:2.2;stroke-linejoin:round}.line.s1{stroke:var(--s1);stroke-dasharray:7 4}
.line.s2{stroke:var(--s2)}.line.s3{stroke:var(--s3)}.line.s4{stroke:var(--s4)}.line.s5{stroke:var(--s5)}
.band{opacity:.22}.band.s1{fill:var(--s1)}.band.s2{fill:var(--s2)}.band.s3{fill:var(--s3)}.band.s4{fill:var(--s4)}
.area{opacity:.75}.area.s1{fill:var(--s1)}.area.s2{fill:var(--s2)}.area.s3{fill:var(--s3)}.area.s4{fill:var(--s4)}
.tip{fill:transparent}
details{border-top:1px solid var(--line);padding:8px 0}summary{cursor:pointer;overflow-wrap:anywhere}
pre{overflow-x:auto;font:12.5px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;margin:8px 0 0}
ul{margin:0;padding-left:20px}li{margin:3px 0;overflow-wrap:anywhere}
@media(max-width:560px){.scroll{overflow:visible}thead{display:none}table,tbody,tr{display:block;width:100%}
tbody th,tbody td{display:block;text-align:left;white-space:normal;overflow-wrap:anywhere;max-width:none!important;padding:3px 8px;border:0}
tbody th{position:static}tbody tr{border-bottom:1px solid var(--line);padding:6px 0}
tbody td{display:flex;justify-content:space-between;gap:14px}tbody td>span{min-width:0;text-align:right}
tbody td::before{content:attr(data-label);color:var(--quiet);flex:none;max-width:60%}tbody td:empty,tbody td.none{display:none}
main{padding:14px 10px 40px}section{padding:14px 12px}.label{font-size:13.5px}
.tick{font-size:12.5px}}
@page{size:A4 landscape;margin:12mm}
@media print{:root{--bg:#fff;--card:#fff;--ink:#111;--quiet:#444;--line:#ccc;--s1:#0a66c2;--s2:#b85a06;--s3:#777f87;
--s4:#1c7468;--s5:#7a3fa8;--chosen:#e9f2fc;--good:#136c3a;--bad:#b3261e;--warn:#fff3d6}
main{max-width:none;padding:0}figure,tr,.tiles{break-inside:avoid}section{border:0;padding:8px 0;margin-top:8px}
.scroll{overflow:visible}table{font-size:10.5px}th,td{padding:3px 5px}
thead th{font-size:10px;min-width:0}tbody th{position:static}td.left{min-width:0;overflow-wrap:anywhere}td small{font-size:9px}
td code{white-space:normal}table.many{font-size:8px}table.many th,table.many td{padding:3px 2px}table.many thead th{font-size:7.5px}pre{white-space:pre-wrap}details{display:none}}
"""

"""Make Great Expectations' Data Docs stand alone.

As Great Expectations writes them, the pages load Bootstrap, jQuery, Vega and a logo from eight hosts: opened without a
network they are bare and their index is empty, opened with one they tell those hosts that somebody reads the report.
They also carry the time and random ids, so equal data never gives equal bytes. Here the pages keep their content and
lose all of that: the style and the little behaviour they need are put into each page, 100 kB instead of 4 MB.
"""

import re
import shutil
from pathlib import Path

RUN_TIME = "2000-01-01T00:00:00+00:00"
"""The time every validation is said to have been run at: a real one would make each page differ."""

_REMOTE = re.compile(r'<script src="https://[^>]*></script>|<link [^>]*href="https://[^>]*>')
_FAVICON = re.compile(r'<link rel="shortcut icon"[^>]*/>')
_LOGO = re.compile(r'<img\s[^>]*src="https://[^>]*/>')
_FOOTER = re.compile(r"<footer>.*?</footer>", re.DOTALL)
_DARK_LOGO = re.compile(r"\.navbar-brand a( img)? \{[^}]*\}")
_RANDOM_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_RUN_COLUMN = re.compile(r"\{'field': 'run_time'.*?\}\}, \{'field': 'run_name'.*?\}, ")
_SHOWN_TIME = re.compile(r"2000-01-01(T00:00:00Z| 00:00:00 UTC)")
_BLANK_LINES = re.compile(r"\n\s*\n+")

_STYLE = """
*, ::before, ::after { box-sizing: border-box; }
body { margin: 0; font: 15px/1.5 system-ui, "Segoe UI", "Liberation Sans", sans-serif; }
body { color: #212529; background: #fff; }
a { color: #0b5cad; text-decoration: none; }
a:hover { text-decoration: underline; }
h1, h2, h3, h4, h5, h6, p { margin: 0 0 .5rem; }
h6 { font-size: 1rem; }
ul { padding-left: 0; list-style: none; }
a[data-toggle="collapse"] { display: none; }
nav.navbar { display: flex; align-items: center; padding: 0 2rem; border-bottom: 1px solid #dee2e6; }
nav.navbar { position: sticky; top: 0; background: inherit; z-index: 2; }
nav.navbar nav { display: flex; align-items: center; gap: 1.5rem; }
.navbar-brand { font-size: 1.2rem; font-weight: 600; white-space: nowrap; }
.breadcrumb { display: flex; list-style: none; margin: 0; padding: 0; }
.breadcrumb-item + .breadcrumb-item::before { content: "/"; padding: 0 .5rem; color: #6c757d; }
.container-fluid { width: 100%; }
body > .container-fluid { padding: 1.5rem 2rem; }
body > .container-fluid > .row { display: grid; grid-template-columns: 15rem minmax(0, 1fr); gap: 2rem; }
.ge-section { padding-bottom: 0; }
.alert { padding: .6rem 1rem; border-radius: .25rem; background: #e9ecef; }
.alert.alert-secondary h5 { margin: 0; font-size: 1.05rem; }
.card { border: 1px solid #dee2e6; border-radius: .25rem; margin-bottom: 1rem; }
.card-header { padding: .5rem .75rem; background: #f3f4f6; border-bottom: 1px solid #dee2e6; }
.card-body { padding: .75rem; }
.nav { list-style: none; padding: 0; margin: 0; }
.nav-link { display: block; padding: .15rem .5rem; }
.nav-tabs { display: flex; gap: 1rem; margin: 1rem 0; border-bottom: 1px solid #dee2e6; }
table { border-collapse: collapse; }
.table, .ge-section table[id$="-body-table"] { width: 100%; margin: .5rem 0 1rem; }
th, td { padding: .4rem .75rem; text-align: left; vertical-align: top; border-top: 1px solid #dee2e6; }
thead th { border-bottom: 2px solid #dee2e6; font-weight: 600; }
thead[hidden] + tbody tr:first-child td { border-top: 0; }
.table-responsive { overflow-x: auto; }
pre { white-space: pre-wrap; }
.table-bordered th, .table-bordered td { border: 1px solid #dee2e6; padding: .2rem .6rem; }
.badge { padding: .1em .45em; border-radius: .25rem; background: #6c757d; color: #fff; font-size: .88em; }
.text-success { color: #187a36; } .text-danger { color: #c02433; } .text-warning { color: #9a6700; }
.fas { font-style: normal; font-weight: 700; }
.fa-check-circle::before { content: "\\2714"; } .fa-times::before { content: "\\2718"; }
.fa-exclamation-triangle::before, .fa-exclamation::before { content: "\\26A0"; }
.cooltip .top { display: none !important; }
[id$="-toolbar"] { display: none; }
label { margin-right: 1rem; }
.m-0 { margin: 0; } .mt-3 { margin-top: 1rem; } .mb-4 { margin-bottom: 1.5rem; }
.bar { display: grid; grid-template-columns: 8rem 1fr 5rem; gap: .5rem; align-items: center; max-width: 40rem; }
.bar i { display: block; height: .8rem; background: #4c78a8; }
body:has(#option2:checked) tr:has(> .hide-succeeded-validation-target-child),
body:has(#option2:checked) .ge-section:has(.hide-succeeded-validations-column-section-target-child) { display: none; }
@media (prefers-color-scheme: dark) {
  body { color: #e6e6e6; background: #16181b; } a { color: #7db7f0; }
  .alert, .card-header { background: #26292e; }
  .text-success { color: #5fca7d; } .text-danger { color: #ff7b86; }
}
@media (max-width: 800px) { body > .container-fluid > .row { display: block; } .sticky { position: static; } }
"""

_SCRIPT = """
// Stands in for the libraries that Great Expectations' inline scripts call: fills the tables of the index, draws bars.
const inert = new Proxy(function () {}, { get: () => inert, apply: () => inert });
function $(selector) {
  const table = typeof selector === "string" && /^#[\\w-]+$/.test(selector) && document.querySelector(selector);
  return table?.tagName === "TABLE" ? { bootstrapTable: o => o.data && fillTable(table, o), on() {} } : inert;
}
function fillTable(table, { columns, data }) {
  table.createTHead().insertRow().innerHTML = columns.map(c => `<th>${c.title}</th>`).join("");
  const body = table.createTBody();
  for (const record of data) {
    const row = body.insertRow();
    row.innerHTML = columns.map(c => `<td>${record[c.field] ?? ""}</td>`).join("");
    const link = document.createElement("a");
    link.href = record._table_row_link_path;
    link.append(...row.cells[0].childNodes, record._validation_success_text ?? "");
    row.cells[0].append(link);
  }
}
function vegaEmbed(selector, chart) {
  const records = Object.values(chart.datasets ?? {})[0] ?? [], keys = Object.keys(records[0] ?? {});
  const size = keys.find(k => typeof records[0][k] === "number"), label = keys.find(k => k !== size);
  const most = Math.max(...records.map(r => r[size]));
  for (const record of size ? records : []) {
    const line = document.createElement("div"), bar = document.createElement("i");
    line.className = "bar";
    bar.style.width = `${100 * record[size] / most}%`;
    line.append(String(record[label] ?? ""), bar, record[size].toPrecision(3));
    document.querySelector(selector).append(line);
  }
  return inert;
}
"""


def stand_alone(folder: Path) -> None:
    """Rewrite a site of Data Docs in place so that it needs no network and depends on its content alone.

    Args:
        folder: the ``base_directory`` of the site.
    """
    for page in sorted(folder.rglob("*.html")):
        page.write_text(_stand_alone(page.read_text(encoding="utf-8")), encoding="utf-8")
    shutil.rmtree(folder / "static", ignore_errors=True)


def _stand_alone(page: str) -> str:
    for unwanted in (_REMOTE, _FAVICON, _FOOTER, _DARK_LOGO, _RUN_COLUMN):
        page = unwanted.sub("", page)
    page = _LOGO.sub("Great Expectations", page)
    page = _SHOWN_TIME.sub("not kept", page).replace(" / not kept", "")
    page = _numbered(page)
    head = f"<style>{_STYLE}</style><script>{_SCRIPT}</script></head>"
    return _BLANK_LINES.sub("\n", page.replace("</head>", head, 1))


def _numbered(page: str) -> str:
    """Replace random ids by their order of appearance; links inside the page keep their targets."""
    order: dict[str, str] = {}
    return _RANDOM_ID.sub(lambda found: order.setdefault(found.group(), f"{len(order) + 1}"), page)

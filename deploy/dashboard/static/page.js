// What pages do beyond links and forms: tables of many rows, keys, copying, reading a chart.
// Rules of sorting, searching and formatting are those of tables.py and formats.py.

const MINUS = "\u2212";

const fixed = (digits) => (value) => value.toFixed(digits).replace("-", MINUS);
const signed = (digits, unit = 1) => (value) => {
  const text = (value * unit).toFixed(digits);
  if (!/[1-9]/.test(text)) return text.replace("-", "");
  return text.startsWith("-") ? text.replace("-", MINUS) : `+${text}`;
};
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

function samples(value) {
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= 0.9995 * size) {
      const scaled = value / size;
      const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.max(scaled, 1))));
      return `${scaled.toFixed(digits)} ${unit}`;
    }
  }
  return value.toFixed(0);
}

function measure(value) {
  const size = Math.abs(value);
  let text;
  if (value && !(size >= 1e-3 && size < 1e6)) text = value.toExponential(2).replace(/\.?0*e\+?/, "e");
  else text = size >= 100 ? whole.format(value) : String(Number(value.toPrecision(3)));
  return text.replaceAll("-", MINUS);
}

export const FORMATS = {
  map: fixed(4),
  ap: fixed(3),
  difference: signed(4),
  difference_ap: signed(3),
  contribution: signed(2, 1e4),
  probability: (value) => (value < 0.001 ? "<0.001" : value.toFixed(value < 0.1 ? 3 : 2)),
  percent: (value) => `${(value * 100).toFixed(1)}%`,
  count: (value) => whole.format(value).replace("-", MINUS),
  samples,
  measure,
  text: String,
};

// ---- Tables -----------------------------------------------------------------------------------

const OVERSCAN = 8, BAR_WIDTH = 120, BAR_HEIGHT = 10;
const SVG = "http://www.w3.org/2000/svg";

class DataTable {
  constructor(root) {
    this.root = root;
    this.table = root.querySelector("table");
    this.body = this.table.tBodies[0];
    this.scroller = root.querySelector(".scroll");
    this.form = root.querySelector("form.filters");
    this.output = this.form.querySelector("output");
    this.order = this.table.dataset.order;
    this.count = Number(this.table.getAttribute("aria-rowcount")) - 1;
    this.active = 0;
    this.loading = null;
    this.listen();
    if (this.count > this.body.rows.length) requestIdleCallback(() => this.load());
  }

  listen() {
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.changed(); });
    this.form.addEventListener("input", () => this.changed());
    this.table.tHead.addEventListener("click", (event) => {
      const link = event.target.closest("a");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.sortBy(link.closest("th").dataset.key);
    });
    this.scroller.addEventListener("scroll", () => this.data && this.draw(), { passive: true });
    this.body.addEventListener("keydown", (event) => this.key(event));
    this.body.addEventListener("focusin", (event) => {
      const row = event.target.closest("tr[aria-rowindex]");
      if (row) this.active = Number(row.getAttribute("aria-rowindex")) - 2;
    });
  }

  // All rows, fetched once.
  load() {
    this.loading ??= fetch(this.table.dataset.source, { headers: { accept: "application/json" } })
      .then((answer) => {
        if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
        return answer.json();
      })
      .then((data) => this.begin(data))
      .catch((error) => {
        this.loading = null;
        this.output.textContent = `the rows could not be fetched (${error.message}); reload the page`;
      });
    return this.loading;
  }

  begin(data) {
    this.data = data;
    this.columns = new Map(data.columns.map((column) => [column.key, column]));
    this.shown = data.columns.filter((column) => column.title);
    this.texts = data.search.map((key) => this.columns.get(key).values.map((text) => text.toLowerCase()));
    for (const column of this.shown.filter((each) => each.bar)) {
      column.largest = column.values.reduce((most, value) => Math.max(most, Math.abs(value ?? 0)), 0);
    }
    this.rowHeight = this.body.rows.length ? this.body.rows[0].getBoundingClientRect().height : 32;
    this.select();
  }

  async changed() {
    if (!this.data) await this.load();
    if (!this.data) return;
    this.scroller.scrollTop = 0;
    this.active = 0;
    this.select();
    this.remember();
  }

  async sortBy(key) {
    if (!this.data) await this.load();
    if (!this.data) return;
    const first = this.columns.get(key).format === "text" ? key : `-${key}`;
    this.order = { [key]: `-${key}`, [`-${key}`]: key }[this.order] ?? first;
    for (const heading of this.table.tHead.querySelectorAll("th")) {
      const own = this.order.replace(/^-/, "") === heading.dataset.key;
      if (own) heading.setAttribute("aria-sort", this.order.startsWith("-") ? "descending" : "ascending");
      else heading.removeAttribute("aria-sort");
    }
    await this.changed();
  }

  // Which rows, in which order.
  select() {
    const wanted = new FormData(this.form);
    const needle = (wanted.get("q") ?? "").trim().toLowerCase();
    const filters = this.data.filters
      .map((key) => [this.columns.get(key).values, wanted.get(key) ?? ""])
      .filter(([, value]) => value !== "");
    const kept = [];
    for (let row = 0; row < this.data.rows; row++) {
      if (needle && !this.texts.some((texts) => texts[row].includes(needle))) continue;
      if (filters.some(([values, value]) => String(values[row]) !== value)) continue;
      kept.push(row);
    }
    this.rows = this.sorted(kept);
    this.count = kept.length;
    this.table.setAttribute("aria-rowcount", this.count + 1);
    const all = whole.format(this.data.rows), some = whole.format(this.count);
    this.output.textContent = `${some === all ? all : `${some} of ${all}`} ${this.table.dataset.noun}`;
    this.root.querySelector("[data-none]")?.remove();
    this.drawn = null;
    this.draw();
  }

  sorted(rows) {
    const key = this.order.replace(/^-/, ""), down = this.order.startsWith("-") ? -1 : 1;
    const column = this.columns.get(key);
    if (column.format === "text") {
      const texts = column.values.map((text) => String(text).toLowerCase());
      return rows.sort((a, b) => down * (texts[a] < texts[b] ? -1 : texts[a] > texts[b] ? 1 : 0));
    }
    const size = this.data.magnitude.includes(key) ? Math.abs : (value) => value;
    const keys = column.values.map((value) => (value === null ? Infinity : down * size(value)));
    return rows.sort((a, b) => (keys[a] < keys[b] ? -1 : keys[a] > keys[b] ? 1 : 0));
  }

  // The rows in sight, with room above and below for the others.
  draw() {
    const height = this.scroller.clientHeight || 600;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / this.rowHeight) - OVERSCAN);
    const last = Math.min(this.count, first + Math.ceil(height / this.rowHeight) + 2 * OVERSCAN);
    if (this.drawn && this.drawn[0] === first && this.drawn[1] === last) return;
    this.drawn = [first, last];
    const focused = this.body.contains(document.activeElement);
    const rows = [];
    for (let place = first; place < last; place++) rows.push(this.row(place));
    this.body.replaceChildren(this.spacer(first), ...rows, this.spacer(this.count - last));
    if (focused) this.focus();
  }

  spacer(rows) {
    const row = document.createElement("tr");
    row.className = "spacer";
    row.setAttribute("aria-hidden", "true");
    const cell = row.insertCell();
    cell.colSpan = 99;
    cell.style.height = `${rows * this.rowHeight}px`;
    return Object.assign(row, { hidden: rows === 0 });
  }

  row(place) {
    const row = document.createElement("tr"), number = this.rows[place];
    row.setAttribute("aria-rowindex", place + 2);
    row.tabIndex = place === this.active ? 0 : -1;
    this.shown.forEach((column, index) => {
      const cell = document.createElement(index ? "td" : "th");
      if (!index) cell.scope = "row";
      if (column.format !== "text") cell.className = "number";
      const tone = column.tone && this.columns.get(column.tone).values[number];
      if (tone) cell.classList.add(tone);
      const value = column.values[number];
      const text = value === null ? column.absent : FORMATS[column.format](value);
      if (column.href) {
        const link = document.createElement("a");
        link.href = this.link(column, number);
        link.textContent = text;
        cell.append(link);
      } else cell.textContent = text;
      row.append(cell);
      if (column.bar) row.insertCell().append(bar(value, column.largest));
    });
    return row;
  }

  link(column, number) {
    return column.href?.replace(/\{(\w+)\}/g, (_, key) =>
      encodeURIComponent(this.columns.get(key).values[number]).replaceAll("%40", "@"));
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Enter" && event.target.matches("tr")) {
      event.target.querySelector("a")?.click();
    } else if (step !== undefined && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      this.active = Math.min(Math.max(this.active + step, 0), this.count - 1);
      this.focus();
    }
  }

  focus() {
    if (this.data) {
      const top = this.active * this.rowHeight, head = this.table.tHead.offsetHeight;
      const low = this.scroller.scrollTop, high = low + this.scroller.clientHeight - head - this.rowHeight;
      if (top < low) this.scroller.scrollTop = top;
      else if (top > high) this.scroller.scrollTop += top - high;
      this.draw();
    }
    const row = this.body.querySelector(`tr[aria-rowindex="${this.active + 2}"]`);
    if (!row) return;
    this.body.querySelector('tr[tabindex="0"]')?.setAttribute("tabindex", "-1");
    row.tabIndex = 0;
    if (document.activeElement !== row) row.focus({ preventScroll: Boolean(this.data) });
  }

  // The address tells what is shown, defaults left out.
  remember() {
    const address = new URL(location.href), wanted = new FormData(this.form);
    for (const key of ["q", ...this.data.filters]) {
      const value = (wanted.get(key) ?? "").trim();
      if (value) address.searchParams.set(key, value);
      else address.searchParams.delete(key);
    }
    if (this.order === this.data.order) address.searchParams.delete("sort");
    else address.searchParams.set("sort", this.order);
    address.search = address.search.replace(/%40/g, "@").replace(/%3A/gi, ":");
    history.replaceState(null, "", address);
  }
}

function bar(value, largest) {
  const picture = document.createElementNS(SVG, "svg");
  if (value === null) return picture;
  const rect = document.createElementNS(SVG, "rect");
  const attributes = { width: largest ? (BAR_WIDTH * Math.abs(value)) / largest : 0, height: BAR_HEIGHT, rx: 1, class: value > 0 ? "bar gain" : "bar loss" };
  for (const [name, each] of Object.entries(attributes)) rect.setAttribute(name, each);
  for (const [name, each] of Object.entries({ width: BAR_WIDTH, height: BAR_HEIGHT, class: "cell", "aria-hidden": "true" })) picture.setAttribute(name, each);
  picture.append(rect);
  return picture;
}

// ---- Charts: what is below the pointer ----------------------------------------------------------

// A chart over the evaluations of a data table: pointer or arrows choose one, Enter opens its review.
class Cursor {
  constructor(chart, table) {
    Object.assign(this, { chart, table, place: null, caption: chart.closest("figure").querySelector("figcaption") });
    chart.tabIndex = 0;
    chart.addEventListener("pointermove", (event) => this.point(event));
    chart.addEventListener("pointerleave", () => this.show(null));
    chart.addEventListener("blur", () => this.show(null));
    chart.addEventListener("click", () => this.open());
    chart.addEventListener("keydown", (event) => this.key(event));
  }

  async data() {
    if (!this.table.data) await this.table.load();
    this.samples ??= this.table.columns?.get("samples").values;
    return this.samples;
  }

  x(place) {
    const { left, right, most } = this.chart.dataset;
    return Number(left) + (this.samples[place] / Number(most)) * (right - left);
  }

  async point(event) {
    const box = this.chart.getBoundingClientRect(), pointer = event.clientX;
    if (!(await this.data())) return;
    const at = ((pointer - box.left) / box.width) * this.chart.viewBox.baseVal.width;
    let best = 0;
    for (let place = 1; place < this.samples.length; place++) {
      if (Math.abs(this.x(place) - at) < Math.abs(this.x(best) - at)) best = place;
    }
    this.show(best);
  }

  async key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Enter") this.open();
    else if (step && (await this.data())) {
      const last = this.samples.length - 1;
      this.show(Math.min(Math.max((this.place ?? last + 1) + step, 0), last));
    }
    if (step) event.preventDefault();
  }

  show(place) {
    this.place = place;
    this.line?.remove();
    this.caption.textContent = "";
    if (place === null) return;
    const x = this.x(place), { top, bottom, tells } = this.chart.dataset;
    this.line = document.createElementNS(SVG, "line");
    for (const [name, value] of Object.entries({ x1: x, x2: x, y1: top, y2: bottom, class: "cursor" })) this.line.setAttribute(name, value);
    this.chart.append(this.line);
    const told = (key) => {
      const column = this.table.columns.get(key), value = column?.values[place];
      return value === undefined || value === null ? null : FORMATS[column.format](value);
    };
    this.caption.textContent = [
      `step ${told("step")}`,
      `${told("samples")} images`,
      tells.split(" ").map(told).join(", "),
      told("note"),
    ].filter(Boolean).join(" \u00b7 ");
  }

  open() {
    const link = this.place === null ? null : this.table.link(this.table.columns.get("step"), this.place);
    if (link) location.assign(link);
  }
}

// ---- Short tables: arrows and Enter alone -------------------------------------------------------

function walk(table) {
  table.tBodies[0].addEventListener("keydown", (event) => {
    const row = event.target.closest("tr");
    const next = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
    if (event.key === "Enter" && event.target === row) row.querySelector("a")?.click();
    else if (next) {
      event.preventDefault();
      row.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    }
  });
}

// ---- Copying ------------------------------------------------------------------------------------

async function copy(place, text) {
  try {
    await navigator.clipboard.writeText(text);
    place.dataset.copied = "copied";
  } catch { // Without HTTPS, away from this machine.
    getSelection().selectAllChildren(place);
    place.dataset.copied = "selected: copy it with the keyboard";
  }
  setTimeout(() => delete place.dataset.copied, 2500);
}

document.addEventListener("click", (event) => {
  const place = event.target.closest("[data-copy]");
  if (place) copy(place, place.dataset.copy || place.textContent);
});

// ---- Keys ---------------------------------------------------------------------------------------

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=checkbox]), select, textarea");
  const search = document.querySelector('input[type="search"]');
  if (event.key === "/" && !typing && search && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    search.focus();
    search.select();
  } else if (event.key === "Escape" && event.target === search) search.blur();
  else if (event.key === "Enter" && event.target.matches("[data-copy]")) event.target.click();
});

const tables = new Map();
for (const root of document.querySelectorAll(".data-table")) tables.set(root.dataset.name, new DataTable(root));
for (const chart of document.querySelectorAll("svg[data-cursor]")) {
  const table = tables.get(chart.dataset.cursor);
  if (table) new Cursor(chart, table);
}
for (const table of document.querySelectorAll("table.walk")) walk(table);

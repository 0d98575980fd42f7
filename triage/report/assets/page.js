"use strict";
// The map of the page table and the timeline. Text is set, never markup; nothing is loaded.
const DATA = JSON.parse(document.getElementById("data").textContent);
const NOT_RECORDED = "not recorded", LEFT_OUT = -2147483648, UNKNOWN = -1;
const GUTTER = 46, HEADER = 20, HEIGHT = 420, SIZES = [2, 3, 4, 6, 9, 13, 18, 24];

async function inflate(text) {
  const packed = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function ints(text) {
  const planes = await inflate(text), count = planes.length / 4, found = new Int32Array(count);
  for (let i = 0; i < count; i++)
    found[i] = planes[i] | (planes[count + i] << 8) | (planes[2 * count + i] << 16) | (planes[3 * count + i] << 24);
  return found;
}

class TableMap {
  constructor(box, map, hands) {
    this.map = map;
    this.hands = hands;
    this.scroll = box.querySelector(".scroll");
    this.canvas = this.scroll.querySelector("canvas");
    this.spacer = box.querySelector(".spacer");
    this.overview = box.querySelector(".overview");
    this.live = box.querySelector(".live");
    this.readout = box.querySelector(".readout");
    this.row = 0; this.column = 0; this.owners = null; this.waiting = false;
    this.small = document.createElement("canvas");
  }

  async load() {
    const { map } = this;
    this.states = await inflate(map.states);
    const steps = map.ids.startsWith("+");
    this.ids = await ints(steps ? map.ids.slice(1) : map.ids);
    for (let i = 1; steps && i < this.ids.length; i++) this.ids[i] = (this.ids[i] + this.ids[i - 1]) | 0;
    this.expected = await ints(map.expected);
    for (let i = 0; i < this.ids.length; i++) this.expected[i] ^= this.ids[i];
    for (const name of ["requests", "lengths", "visible_low", "visible_high"])
      this[name] = map[name] ? await ints(map[name]) : null;
    this.bad = map.legend.map((state) => state.bad);
    this.takeColours();
    const room = this.scroll.clientWidth - GUTTER;
    this.cell = SIZES.filter((size) => size * map.columns <= room && size <= 18).pop() || 4;
    this.listen();
    this.resize();
    const first = this.find(1, -1, this.worst());
    if (first >= 0) this.go(Math.floor(first / map.columns), first % map.columns, true);
    else this.draw();
  }

  // The state that leaves the tensor, else the first that is wrong at all.
  worst() {
    for (let code = this.bad.length - 1; code >= 0; code--)
      if (this.bad[code] && this.map.legend[code].count) return code;
    return -1;
  }

  takeColours() {
    const probe = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.append(probe); svg.setAttribute("width", 0); svg.setAttribute("height", 0);
    this.scroll.append(svg);
    this.palette = new Uint32Array(this.map.legend.length);
    this.map.legend.forEach((state, code) => {
      probe.setAttribute("class", `s-${state.key}`);
      const parts = getComputedStyle(probe).fill.match(/[\d.]+/g).map(Number);
      const alpha = parts.length > 3 ? Math.round(parts[3] * 255) : 255;
      this.palette[code] = (alpha << 24) | (parts[2] << 16) | (parts[1] << 8) | parts[0];
    });
    svg.remove();
    const style = getComputedStyle(document.documentElement);
    [this.fg, this.dim, this.focus, this.bg] =
      ["--fg", "--dim", "--focus", "--bg"].map((name) => style.getPropertyValue(name).trim());
  }

  listen() {
    const { scroll, canvas, overview } = this;
    scroll.addEventListener("scroll", () => this.later());
    scroll.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("pointermove", (event) => {
      const at = this.at(event);
      if (at) this.show(at[0], at[1]);
    });
    canvas.addEventListener("pointerleave", () => this.show(this.row, this.column));
    canvas.addEventListener("click", (event) => {
      const at = this.at(event);
      if (at) { scroll.focus({ preventScroll: true }); this.go(at[0], at[1]); }
    });
    overview.addEventListener("click", (event) => {
      const box = overview.getBoundingClientRect();
      this.go(Math.floor((event.clientY - box.top) / box.height * this.map.rows),
        Math.floor((event.clientX - box.left) / box.width * this.map.columns), true);
    });
    new ResizeObserver(() => this.resize()).observe(scroll);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.repaint());
    matchMedia("print").addEventListener("change", () => this.repaint());
    const doing = { previous: () => this.jump(-1), next: () => this.jump(1), in: () => this.zoom(1), out: () => this.zoom(-1) };
    for (const button of scroll.parentElement.querySelectorAll("[data-do]"))
      button.addEventListener("click", doing[button.dataset.do]);
  }

  repaint() { this.takeColours(); this.drawOverview(); this.draw(); }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - GUTTER + this.scroll.scrollLeft) / this.cell);
    const row = Math.floor((event.clientY - box.top - HEADER + this.scroll.scrollTop) / this.cell);
    const inside = event.clientX - box.left >= GUTTER && event.clientY - box.top >= HEADER;
    return inside && row >= 0 && column >= 0 && row < this.map.rows && column < this.map.columns ? [row, column] : null;
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(Math.floor((this.scroll.clientHeight - HEADER) / this.cell) - 1, 1);
    const last = this.map.columns - 1;
    const moves = {
      ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0],
      PageUp: [-page, 0], PageDown: [page, 0], Home: [0, -last], End: [0, last],
    };
    if (moves[event.key]) this.go(this.row + moves[event.key][0], this.column + moves[event.key][1]);
    else if (event.key === "n") this.jump(1);
    else if (event.key === "p") this.jump(-1);
    else if (event.key === "+" || event.key === "=") this.zoom(1);
    else if (event.key === "-") this.zoom(-1);
    else return;
    event.preventDefault();
  }

  // The next entry in that direction, of one state or (state < 0) wrong at all; -1 if none.
  find(step, from, state) {
    for (let at = from + step; at >= 0 && at < this.states.length; at += step)
      if (state < 0 ? this.bad[this.states[at]] : this.states[at] === state) return at;
    return -1;
  }

  jump(step, state = -1) {
    const here = this.row * this.map.columns + this.column;
    let at = this.find(step, here, state);
    if (at < 0) at = this.find(step, step > 0 ? -1 : this.states.length, state);
    if (at < 0) { this.live.textContent = "No entry of this table is wrong."; return; }
    this.go(Math.floor(at / this.map.columns), at % this.map.columns);
  }

  zoom(step) {
    const at = SIZES.indexOf(this.cell) + step;
    if (at < 0 || at >= SIZES.length) return;
    this.cell = SIZES[at];
    this.resize();
    this.go(this.row, this.column, true);
  }

  go(row, column, silent = false) {
    this.row = Math.min(Math.max(row, 0), this.map.rows - 1);
    this.column = Math.min(Math.max(column, 0), this.map.columns - 1);
    const { scroll, cell } = this, x = this.column * cell, y = this.row * cell;
    const wide = scroll.clientWidth - GUTTER, high = scroll.clientHeight - HEADER;
    if (x < scroll.scrollLeft || x + cell > scroll.scrollLeft + wide) scroll.scrollLeft = x - wide / 2;
    if (y < scroll.scrollTop || y + cell > scroll.scrollTop + high) scroll.scrollTop = y - high / 2;
    const facts = this.show(this.row, this.column);
    if (!silent) this.live.textContent = facts.map(([name, value]) => `${name} ${value}`).join("; ") + ".";
    this.later();
  }

  owner(page) {
    if (!this.owners) {
      this.owners = new Map();
      this.expected.forEach((id, at) => {
        if (id <= 0) return;
        const known = this.owners.get(id);
        if (known) known[1]++; else this.owners.set(id, [at, 1]);
      });
    }
    const found = this.owners.get(page);
    if (!found) return "no row of this launch, as far as recorded";
    const row = Math.floor(found[0] / this.map.columns), column = found[0] % this.map.columns + this.map.first_column;
    const request = this.requests ? ` (request ${this.requests[row]})` : "";
    return `row ${row}${request}, column ${column}` + (found[1] > 1 ? `, and ${found[1] - 1} more` : "");
  }

  // What happened to the page that is named, whichever pool it is of, and to the right one.
  hand(page, right) {
    const told = this.hands.filter((each) => each.page === page || (each.page === right && each.pool === this.map.pool));
    return told.map((each) => `${each.name}: ${each.events.slice(0, 3).join(", ") || NOT_RECORDED}`).join("; ") || NOT_RECORDED;
  }

  facts(row, column) {
    const { map } = this, at = row * map.columns + column, absolute = column + map.first_column;
    const state = map.legend[this.states[at]], id = this.ids[at], right = this.expected[at], size = map.page_size;
    const slots = (page) => page < 0 ? "none" : `${page * size} to ${(page + 1) * size - 1}`;
    const known = id !== LEFT_OUT && state.key !== "absent", out = id === LEFT_OUT ? "left out" : "none stored";
    return [
      ["block_tables", `[${row}, ${absolute}]`],
      ["page", known ? id : out],
      ["slots", known ? slots(id) : out],
      ["is", state.label],
      ["owner", known ? this.owner(id) : out],
      ["expected", right === UNKNOWN || right === LEFT_OUT ? NOT_RECORDED : `page ${right}, slots ${slots(right)}`],
      ["whose hand", known ? this.hand(id, right) : out],
      ["request", this.requests ? this.requests[row] : NOT_RECORDED],
      ["row", `${this.lengths[row]} tokens, columns ${this.visible_low[row]} to ${this.visible_high[row] - 1} are seen`],
    ];
  }

  show(row, column) {
    const facts = this.facts(row, column);
    this.readout.replaceChildren(...facts.map(([name, value]) => {
      const pair = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = name; dd.textContent = value; pair.append(dt, dd);
      return pair;
    }));
    return facts;
  }

  resize() {
    const { scroll, map, cell } = this;
    scroll.style.height = `${Math.min(map.rows * cell + HEADER + 18, HEIGHT)}px`;
    this.spacer.style.width = `${map.columns * cell + GUTTER}px`;
    this.spacer.style.height = `${map.rows * cell + HEADER}px`;
    this.drawOverview();
    this.draw();
  }

  drawOverview() {
    const { overview, map } = this;
    const room = this.scroll.clientWidth - GUTTER, across = Math.min(map.columns * this.cell, room);
    overview.hidden = map.columns * this.cell <= room && map.rows * this.cell + HEADER <= HEIGHT;
    if (overview.hidden || across <= 0) return;
    overview.style.width = `${across}px`;
    const wide = Math.min(map.columns, across), high = Math.min(map.rows, 48);
    overview.width = wide; overview.height = high;
    const worst = new Uint8Array(wide * high);
    for (let row = 0; row < map.rows; row++) {
      const y = Math.floor(row * high / map.rows) * wide, start = row * map.columns;
      for (let column = 0; column < map.columns; column++) {
        const at = y + Math.floor(column * wide / map.columns), state = this.states[start + column];
        if (state > worst[at]) worst[at] = state;
      }
    }
    const context = overview.getContext("2d"), image = context.createImageData(wide, high);
    const pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < worst.length; i++) pixels[i] = this.palette[worst[i]];
    context.putImageData(image, 0, 0);
  }

  later() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  draw() {
    const { scroll, canvas, map, cell } = this, ratio = window.devicePixelRatio || 1;
    const wide = scroll.clientWidth, high = scroll.clientHeight;
    if (!wide || !high) return;
    canvas.width = wide * ratio; canvas.height = high * ratio;
    canvas.style.width = `${wide}px`; canvas.style.height = `${high}px`;
    const left = scroll.scrollLeft, top = scroll.scrollTop;
    const c0 = Math.floor(left / cell), r0 = Math.floor(top / cell);
    const columns = Math.min(map.columns - c0, Math.ceil((wide - GUTTER) / cell) + 1);
    const rows = Math.min(map.rows - r0, Math.ceil((high - HEADER) / cell) + 1);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    if (columns <= 0 || rows <= 0) return;
    this.small.width = columns; this.small.height = rows;
    const inner = this.small.getContext("2d"), image = inner.createImageData(columns, rows);
    const pixels = new Uint32Array(image.data.buffer);
    for (let y = 0; y < rows; y++)
      for (let x = 0; x < columns; x++)
        pixels[y * columns + x] = this.palette[this.states[(r0 + y) * map.columns + c0 + x]];
    inner.putImageData(image, 0, 0);
    const x0 = GUTTER + c0 * cell - left, y0 = HEADER + r0 * cell - top;
    context.save();
    context.beginPath(); context.rect(GUTTER, HEADER, wide, high); context.clip();
    context.imageSmoothingEnabled = false;
    context.drawImage(this.small, x0, y0, columns * cell, rows * cell);
    if (cell >= 9) this.drawCells(context, r0, c0, rows, columns, x0, y0);
    context.strokeStyle = this.focus; context.lineWidth = 2.5;
    context.strokeRect(GUTTER + this.column * cell - left - 1, HEADER + this.row * cell - top - 1, cell + 2, cell + 2);
    context.restore();
    this.drawNumbers(context, r0, c0, rows, columns, x0, y0);
  }

  // Lines between the cells, and on each wrong one its mark: colour is never alone.
  drawCells(context, r0, c0, rows, columns, x0, y0) {
    const { cell, map } = this;
    context.strokeStyle = this.bg; context.lineWidth = 1; context.beginPath();
    for (let x = 0; x <= columns; x++) { context.moveTo(x0 + x * cell, y0); context.lineTo(x0 + x * cell, y0 + rows * cell); }
    for (let y = 0; y <= rows; y++) { context.moveTo(x0, y0 + y * cell); context.lineTo(x0 + columns * cell, y0 + y * cell); }
    context.stroke();
    if (cell < 13) return;
    context.fillStyle = this.bg; context.font = `bold ${cell - 4}px ui-monospace, monospace`;
    context.textAlign = "center"; context.textBaseline = "middle";
    for (let y = 0; y < rows; y++)
      for (let x = 0; x < columns; x++) {
        const state = map.legend[this.states[(r0 + y) * map.columns + c0 + x]];
        if (state.bad) context.fillText(state.mark, x0 + (x + 0.5) * cell, y0 + (y + 0.55) * cell);
      }
  }

  drawNumbers(context, r0, c0, rows, columns, x0, y0) {
    const { cell, map } = this;
    context.fillStyle = this.dim; context.font = "11px system-ui, sans-serif"; context.textBaseline = "middle";
    context.textAlign = "right";
    const down = Math.max(1, Math.ceil(14 / cell)), across = Math.max(1, Math.ceil(40 / cell));
    for (let y = 0; y < rows; y++) {
      const place = y0 + (y + 0.5) * cell;
      if ((r0 + y) % down === 0 && place > HEADER) context.fillText(r0 + y, GUTTER - 6, place);
    }
    context.textAlign = "left";
    for (let x = 0; x < columns; x++) {
      const column = c0 + x + map.first_column, place = x0 + x * cell;
      if (column % across === 0 && place >= GUTTER) context.fillText(column, place, HEADER / 2);
    }
  }
}

function timeline(box, launches) {
  const svg = box.querySelector("svg"), live = box.querySelector(".live"), bars = svg.querySelectorAll("rect[data-at]");
  let at = launches.findIndex((each) => each.fresh) || 0;
  const told = (each) => [
    each.name, each.role, each.forward_mode, each.graph ? `graph ${each.graph}` : "eager",
    each.space ? `${each.space} ids` : "", each.layer_id === null ? "" : `layer ${each.layer_id}`,
    `${each.rows} rows`, `longest ${each.longest} tokens`,
    each.fresh ? `${each.fresh} entries newly wrong` : "none newly wrong", each.stale, each.torn ? "torn" : "",
  ].filter(Boolean).join("; ");
  const show = (next) => {
    if (bars[at]) bars[at].classList.remove("on");
    at = Math.min(Math.max(next, 0), bars.length - 1);
    bars[at].classList.add("on");
    live.textContent = told(launches[at]) + ".";
  };
  svg.addEventListener("pointermove", (event) => {
    const place = svg.getBoundingClientRect();
    show(Math.floor((event.clientX - place.left) / place.width * bars.length));
  });
  svg.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: bars.length - 1 };
    if (event.ctrlKey || event.metaKey || event.altKey || moves[event.key] === undefined) return;
    event.preventDefault();
    show(moves[event.key]);
  });
}

async function start() {
  const maps = new Map();
  for (const box of document.querySelectorAll(".map")) {
    const { map, hands } = DATA.dumps[box.dataset.dump], view = new TableMap(box, map, hands);
    if (!map.states || !map.rows || !map.columns || typeof DecompressionStream === "undefined") {
      view.scroll.hidden = view.overview.hidden = true;
      view.live.textContent = typeof DecompressionStream === "undefined"
        ? "This browser cannot unpack the map (it has no DecompressionStream); the table above has the first wrong entries."
        : "There is no entry to draw, or the table is too large for one page: triage show --json has it.";
      continue;
    }
    await view.load();
    maps.set(box.dataset.dump, view);
  }
  for (const button of document.querySelectorAll("button.state"))
    button.addEventListener("click", () => {
      const view = maps.get(button.dataset.dump);
      if (view) view.jump(1, Number(button.dataset.state));
    });
  for (const box of document.querySelectorAll(".timeline")) timeline(box, DATA.dumps[box.dataset.dump].timeline);
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
}

start();

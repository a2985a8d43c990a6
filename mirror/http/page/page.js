// The operators' page. It asks `/status` now and then, and hears of jobs by `/events`. Whatever comes from outside is put in
// as text, never as markup.

const EVERY = 3000;
const KEPT = 20;
const FINAL = new Set(["replicated", "deleted", "cancelled"]);
const MOODS = { replicated: "good", deleted: "good", unpacked: "good", parked: "bad", "not runnable": "bad", cancelled: "soft" };
const MOMENTS = [
  ["first_byte", "First byte"], ["last_byte", "Last byte"], ["acknowledged", "Acknowledged"],
  ["unpack_begun", "Unpacking begun"], ["unpacked", "Unpacked"],
  ["replication_begun", "Replication begun"], ["replicated", "Replicated"],
];

const $ = (selector) => document.querySelector(selector);
const jobs = new Map();
let chosen = null;

/** An element with text or other elements in it; attributes by their names, `on` for a click. */
function make(tag, attributes = {}, ...content) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") element.addEventListener("click", value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...content.filter((each) => each !== null && each !== ""));
  return element;
}

function size(bytes) {
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (Math.abs(bytes) < 1024) return `${Number(bytes.toPrecision(3))} ${unit}`;
    bytes /= 1024;
  }
  return `${Number(bytes.toPrecision(3))} TiB`;
}

function span(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${Number(seconds.toPrecision(3))} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

const clock = (unix) => new Date(unix * 1000).toLocaleTimeString([], { hour12: false });
const ago = (unix) => span(Math.max(Date.now() / 1000 - unix, 0));

/** A long name, which may be broken where its parts begin. */
function named(name) {
  return name.split(/(?<=[/:@])/).flatMap((part) => [part, document.createElement("wbr")]);
}

/** Text in a live region is read out when it changes. */
function say(text) {
  $("#news").textContent = text;
}

function bar(done, of, label) {
  if (!of) return "";
  return make("div", {}, `${size(done)} of ${size(of)}`, make("progress", { max: of, value: done, "aria-label": label }));
}

/** Bring the rows of a table up to date without moving those that are there: the focus may be in one of them. */
function rows(body, items, key, cells) {
  const before = new Map([...body.children].map((row) => [row.dataset.key, row]));
  items.forEach((item, index) => {
    const name = String(key(item));
    let row = before.get(name);
    before.delete(name);
    if (!row) {
      row = make("tr", { "data-key": name, class: "new" });
      body.insertBefore(row, body.children[index] ?? null);
    }
    const news = JSON.stringify(item);
    if (row.dataset.shown === news) return;
    row.dataset.shown = news;
    const active = row.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    cells(item).forEach((cell, place) => {
      const old = row.children[place];
      if (!old) row.append(cell);
      else if (old.outerHTML !== cell.outerHTML) old.replaceWith(cell);
    });
    if (active && document.activeElement === document.body) row.querySelector(`[data-name="${active}"]`)?.focus();
  });
  for (const row of before.values()) row.remove();
}

function showJobs() {
  const shown = [...jobs.values()].sort((one, other) => other.job - one.job);
  for (const old of shown.filter((status) => FINAL.has(status.phase)).slice(KEPT)) jobs.delete(old.job);
  const table = $("#images table");
  table.hidden = !shown.length;
  $("#images .empty").hidden = shown.length > 0;
  rows(table.tBodies[0], shown, (status) => status.job, jobCells);
  const moving = shown.filter((status) => !FINAL.has(status.phase)).length;
  document.title = moving ? `${moving} on their way · registry-mirror` : "registry-mirror";
}

function jobCells(status) {
  const unpack = status.unpack;
  const open = make("button", { class: "link", type: "button", "data-name": "open", on: () => choose(status.job) }, ...named(status.image));
  const layers = unpack?.layers ? `${unpack.layers.done} of ${unpack.layers.of} layers` : unpack?.state ?? "";
  const trouble = [status.reason || (unpack?.reason ?? ""), status.next_try ? `next try at ${clock(status.next_try)}` : ""];
  return [
    make("td", {}, String(status.job)),
    make("th", { scope: "row" }, open, make("div", { class: "digest soft" }, status.digest.slice(0, 19))),
    make("td", { class: `state ${MOODS[status.phase] ?? ""}` }, status.phase),
    make("td", {}, bar(status.bytes?.done, status.bytes?.of, `sent of ${status.image}`)),
    make("td", {}, layers, bar(unpack?.bytes?.done, unpack?.bytes?.of, `unpacked of ${status.image}`)),
    make("td", { class: "why" }, trouble.filter(Boolean).join("; ")),
  ];
}

async function ask(path, options) {
  const answer = await fetch(path, options);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.errors?.map((error) => `${error.message}: ${error.detail ?? ""}`).join("; ") ?? answer.status);
  return body;
}

async function act(wish, task) {
  try {
    const verdict = (await ask(`jobs/${wish}?job=${task.job}`, { method: "POST" })).jobs[0];
    const done = wish === "retry" ? "is tried again" : "was given up";
    say(verdict.refusal ? `Job ${task.job}: ${verdict.refusal}.` : `Job ${task.job} (${task.image}) ${done}.`);
  } catch (error) {
    say(`Job ${task.job}: ${error.message}`);
  }
  await look();
  if (document.activeElement === document.body) $("#images").focus();
}

function parkedCells(task) {
  const about = `job ${task.job}, ${task.image}`;
  const retry = make("button", { type: "button", "data-name": "retry", "aria-label": `Retry ${about}`, on: () => act("retry", task) }, "Retry");
  const cancel = make("button", { type: "button", class: "danger", "data-name": "cancel", "aria-label": `Give up ${about}` }, "Give up");
  cancel.addEventListener("click", () => {
    if (cancel.dataset.sure) return act("cancel", task);
    cancel.dataset.sure = "yes";
    cancel.textContent = "Really give up?";
    cancel.setAttribute("aria-label", `Really give up ${about}?`);
    say(`${task.image} will not get upstream then, and be on this host alone. Press again to give it up.`);
  });
  return [
    make("td", {}, String(task.job)),
    make("th", { scope: "row" }, ...named(task.image)),
    make("td", {}, task.kind),
    make("td", { class: "why" }, task.reason),
    make("td", {}, retry, cancel),
  ];
}

async function choose(job) {
  chosen = job;
  await showTimeline();
  $("#timeline").focus();
}

async function showTimeline() {
  if (chosen === null) return;
  const status = await ask(`jobs/${chosen}`).catch(() => null);
  $("#timeline").hidden = !status;
  if (!status) return;
  const told = status.timeline;
  const moments = MOMENTS.filter(([name]) => told[name]).map(([name, words]) => ({ name, words, at: told[name] }));
  const first = Math.min(...moments.map(({ at }) => at));
  const blobs = (each, words) => (each?.blobs ? `${each.blobs} blobs (${size(each.bytes)}) ${words}` : "");
  const parts = [status.image, blobs(told.sent, "were sent"), blobs(told.present, "were here already")];
  $("#timeline-image").textContent = parts.filter(Boolean).join(" · ");
  rows($("#timeline tbody"), moments, ({ name }) => `${chosen} ${name}`, ({ words, at }) => [
    make("th", { scope: "row" }, words),
    make("td", {}, new Date(at * 1000).toLocaleString([], { hour12: false })),
    make("td", {}, `+${span(at - first)}`),
  ]);
  draw(told, first);
}

/** Three bars below each other: pushed, unpacked, replicated. What they say is in the table, too. */
function draw(told, first) {
  const now = Date.now() / 1000;
  const end = Math.max(told.acknowledged, told.unpacked ?? 0, told.replicated ?? now) - first || 1;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 1000 30");
  svg.setAttribute("preserveAspectRatio", "none");
  const bars = [
    ["push", told.first_byte ?? told.acknowledged, told.acknowledged],
    ["unpack", told.unpack_begun, told.unpacked ?? now],
    ["replicate", told.replication_begun, told.replicated ?? now],
  ];
  bars.forEach(([name, from, to], index) => {
    if (!from) return;
    const rect = document.createElementNS(svg.namespaceURI, "rect");
    const place = { x: ((from - first) / end) * 1000, width: Math.max(((to - from) / end) * 1000, 4), y: index * 10, height: 10 };
    for (const [key, value] of Object.entries(place)) rect.setAttribute(key, value);
    rect.setAttribute("class", name);
    svg.append(rect);
  });
  $("#chart").replaceChildren(svg);
}

function showOverview(status) {
  const ready = $("#ready");
  ready.textContent = status.not_ready.length ? `takes no pushes: ${status.not_ready.join("; ")}` : "ready";
  ready.className = `state ${status.not_ready.length ? "bad" : "good"}`;
  $("#version").textContent = status.version;
  const store = status.containerd;
  $("#containerd").textContent = store.reason
    ? `containerd: ${store.reason}`
    : `containerd ${store.version ?? ""}, ${store.namespace}, ${store.snapshotter}, import ${store.import ?? "not chosen"}`;
  $("#upstreams ul").replaceChildren(...Object.entries(status.upstreams).map(([name, upstream]) => make(
    "li", {}, make("strong", {}, name), " ",
    make("span", { class: `state ${upstream.state === "ok" ? "good" : "bad"}` }, upstream.state),
    upstream.since ? make("span", { class: "soft" }, ` for ${ago(upstream.since)}`) : "",
    upstream.reason ? make("div", { class: "soft" }, upstream.reason) : "",
  )));
  $("#disks ul").replaceChildren(...status.disks.map((disk) => {
    const used = disk.total - disk.free;
    const percent = Math.round((used / disk.total) * 100);
    const marks = disk.evict_at ? `; images go from ${disk.evict_at} % on, down to ${disk.evict_to} %` : "";
    const attributes = { min: 0, max: disk.total, value: used, "aria-label": `in use of ${disk.directory}` };
    if (disk.evict_at) attributes.high = (disk.total * disk.evict_at) / 100;
    return make(
      "li", {}, make("strong", {}, disk.of), " ", make("code", {}, disk.directory), make("meter", attributes),
      make("div", { class: "soft" }, `${percent} % of ${size(disk.total)} in use, ${size(disk.free)} free${marks}`),
    );
  }));
  const parked = status.tasks.filter((task) => task.state === "parked");
  $("#parked").hidden = !parked.length;
  rows($("#parked tbody"), parked, (task) => `${task.job} ${task.kind}`, parkedCells);
}

async function look() {
  try {
    const status = await ask("status");
    showOverview(status);
    const there = new Set(status.tasks.map((task) => task.job));
    const stale = [...jobs.values()].filter((each) => !FINAL.has(each.phase) && !there.has(each.job)).map((each) => each.job);
    // Those that are new, and those that ended while nobody told us.
    for (const job of [...[...there].filter((each) => !jobs.has(each)), ...stale]) {
      const found = await ask(`jobs/${job}`).catch(() => null);
      if (found) jobs.set(job, found);
      else jobs.delete(job);
    }
    showJobs();
    await showTimeline();
    $("#link").textContent = "";
  } catch {
    lost();
  }
}

function lost() {
  $("#link").textContent = "The daemon does not answer; what is shown may be old.";
  $("#link").className = "state bad";
}

function listen() {
  const events = new EventSource("events");
  events.addEventListener("open", look);
  events.addEventListener("error", lost);
  events.addEventListener("status", (event) => {
    const status = JSON.parse(event.data);
    jobs.set(status.job, status);
    showJobs();
    if (status.job === chosen) showTimeline();
  });
}

listen();
setInterval(look, EVERY);

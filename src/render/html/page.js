(() => {
"use strict";
const POLL = 2000, PATIENCE = 8000, RESEED = 20000, KEPT = 32, SAME_RUN = 1500, NAMED = 5;
const WORDS = {up: "Up", degraded: "Degraded", unknown: "Unknown", down: "Down"};
const TINTS = {up: "1a9e56", degraded: "d98a00", unknown: "7b8794", down: "d9342b"};
const LETTERS = {u: "up", g: "degraded", d: "down"};
const MARKS = {up: 8, degraded: 14, down: 20};
const $ = (id) => document.getElementById(id);
const root = document.documentElement, list = $("rows"), address = location.pathname + location.search;
const rows = new Map();
let heard = new Date(), seeded = Date.now(), lost = false, paused = false, asking = false, timer = 0;

// Text nodes only, and only what differs: no name becomes markup and nothing flickers.
const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const show = (node, text) => { write(node, text); node.hidden = text === ""; };
const put = (node, name, value) => { if (node.getAttribute(name) !== `${value}`) node.setAttribute(name, value); };

const span = (ms) => {
  const s = Math.floor(ms / 1000), m = Math.floor(s / 60), h = Math.floor(s / 3600);
  return s < 1 ? "under 1 s" : s < 60 ? `${s} s` : s < 3600 ? `${m} min ${s % 60} s`
    : s < 86400 ? `${h} h ${m % 60} min` : `${Math.floor(h / 24)} d ${h % 24} h`;
};
const latency = (ms) => ms < 10 ? `${ms.toFixed(2)} ms` : ms < 100 ? `${ms.toFixed(1)} ms`
  : ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
const clock = (time) => time.toLocaleTimeString("en-GB");

const guide = new Map([...document.querySelectorAll("#guide>div")].map((entry) =>
  ["code", "b", "span"].map((part) => entry.querySelector(part).textContent)).map(([word, ...text]) => [word, text]));
const sentences = (reason) => reason ? guide.get(reason) || ["", ""] : ["", ""];

// What the server knows of a dependency's past: the JSON tells of its last run alone.
const seed = (row, from) => {
  const now = Date.now(), {status, runs, age} = from.dataset, since = +from.dataset.for;
  row.runs = runs ? runs.split(" ").map((run) => [LETTERS[run[0]], +run.slice(1)]) : [];
  row.started = now - age;
  row.status ??= status;
  if (row.status === status) row.since = since < 0 ? null : now - since;
};
const adopt = (node) => {
  const row = {node, part: (path) => row[path] ??= node.querySelector(path)};
  seed(row, node);
  rows.set(node.dataset.name, row);
  return row;
};
const blank = list && list.firstElementChild && list.firstElementChild.cloneNode(true);
// For a dependency that was not there when the page was made.
const create = (name) => {
  const node = blank.cloneNode(true);
  Object.assign(node.dataset, {name, status: "unknown", runs: "", for: "-1", age: "-1"});
  write(node.querySelector("h2"), name);
  list.append(node);
  return adopt(node);
};

// Another run than the last one seen? The age in a cached answer is up to a second old.
const append = (row, check, now) => {
  const ms = check.duration_ms, started = now - check.age_ms, last = row.runs.at(-1);
  if (ms === undefined || last && last[1] === ms && started - row.started < SAME_RUN) return;
  row.started = started;
  row.runs.push([check.consecutive_failures ? "down" : check.status === "degraded" ? "degraded" : "up", ms]);
  row.runs.splice(0, row.runs.length - KEPT);
};
const draw = ({runs, part}) => {
  const longest = Math.max(1, ...runs.map((run) => run[1])), marks = {up: "", degraded: "", down: ""};
  const counts = {up: 0, degraded: 0, down: 0};
  let line = "", last = "", x = 325 - 10 * runs.length;
  for (const [status, ms] of runs) {
    const y = Math.round(44 - 40 * ms / longest);
    line += `${line ? "L" : "M"}${x} ${y}`;
    last = `M${x} ${y}h0`;
    marks[status] += `M${x} 71v-${MARKS[status]}`;
    counts[status] += 1;
    x += 10;
  }
  put(part(".line"), "d", line);
  put(part(".last"), "d", last);
  for (const status in marks) put(part(`.chart .${status}`), "d", marks[status]);
  const counted = Object.keys(counts).filter((status) => counts[status])
    .map((status) => `${counts[status]} ${status === "down" ? "failed" : status}`).join(", ");
  put(part(".chart"), "aria-label", `Last ${runs.length} runs${counted && `: ${counted}`}`);
  write(part(".runs p"), runs.length ? `${latency(runs.at(-1)[1])} · max ${latency(Math.max(...runs.map((run) => run[1])))}` : "");
};

const extra = (check) => {
  const parts = [], failures = check.consecutive_failures;
  if (failures) parts.push(failures === 1 ? "1 failed run" : `${failures} failed runs in a row`);
  if (check.pending_for_ms !== undefined) parts.push(`a run is under way for ${span(check.pending_for_ms)}`);
  if (check.age_ms >= 10000) parts.push(`checked ${span(check.age_ms)} ago`);
  for (const [name, value] of Object.entries(check.observations || {})) parts.push(`${name} ${value}`);
  return parts.join(" · ");
};
const patch = (row, name, check, now, news) => {
  const {part} = row, {status, reason, pool} = check, [meaning, action] = sentences(reason);
  if (status !== row.status) {
    row.status = status;
    row.since = now;
    news.push(`${name} is ${status}. ${meaning}`);
  }
  row.required = check.required;
  put(row.node, "data-status", status);
  put(part("use"), "href", `#i-${status}`);
  write(part(".word span"), WORDS[status]);
  show(part(".since"), row.since === null ? "" : `for ${span(now - row.since)}`);
  write(part(".kind"), `${check.kind ? `${check.kind} · ` : ""}${check.required ? "required" : "optional"}`);
  part(".why").hidden = !reason;
  write(part(".why code"), reason || "");
  write(part(".why b"), meaning);
  write(part(".why span"), action);
  show(part(".message"), check.message || "");
  show(part(".extra"), extra(check));
  append(row, check, now);
  draw(row);
  part(".pool").hidden = !pool;
  if (!pool) return;
  const share = (count) => Math.min(100, Math.floor(count * 100 / Math.max(1, pool.max)));
  put(part(".used"), "width", share(pool.in_use));
  put(part(".idle"), "x", share(pool.in_use));
  put(part(".idle"), "width", share(pool.idle));
  write(part(".pool p span:last-child"), `${pool.in_use} in use · ${pool.idle} idle · max ${pool.max}`);
};

const summarise = (all) => {
  const others = all.filter(([, row]) => row.status !== "up"), count = all.length, nodes = [];
  if (!count) nodes.push("Nothing is checked.");
  else if (!others.length) nodes.push(count === 1 ? "The one dependency is up." : `All ${count} dependencies are up.`);
  else {
    for (const [name, row] of others.slice(0, NAMED)) {
      const link = document.createElement("a");
      link.href = `#${row.node.id}`;
      link.textContent = name;
      nodes.push(nodes.length ? ", " : "", link, `${row.required ? "" : " (optional)"} is ${row.status}`);
    }
    if (others.length > NAMED) nodes.push(` and ${others.length - NAMED} more`);
    nodes.push(`; ${count - others.length} of ${count} up.`);
  }
  const text = nodes.map((node) => node.textContent ?? node).join("");
  if ($("summary").textContent !== text) $("summary").replaceChildren(...nodes);
};

const apply = (answer) => {
  const now = Date.now(), news = [], {status} = answer;
  if (!(status in WORDS)) throw new TypeError("no health answer");
  if (status !== root.dataset.status) {
    news.push(`Health is ${status}.`);
    put(root, "data-status", status);
    put(document.querySelector(".whole use"), "href", `#i-${status}`);
    write($("whole"), WORDS[status]);
    document.title = `${WORDS[status]} · health`;
    const icon = document.querySelector("link[rel=icon]");
    icon.href = icon.href.replace(/%23[0-9a-f]{6}/, `%23${TINTS[status]}`);
  }
  if (list) {
    const single = list.dataset.single;
    const checks = new Map(single === undefined ? Object.entries(answer.checks || {}) : [[single, answer]]);
    if (checks.size && !blank) return location.reload();
    for (const [name, row] of rows) {
      if (checks.has(name)) continue;
      row.node.remove();
      rows.delete(name);
      news.push(`${name} is no longer checked.`);
    }
    for (const [name, check] of checks) patch(rows.get(name) || create(name), name, check, now, news);
    [...rows.values()].forEach((row, place) => put(row.node, "id", `d${place}`));
    summarise([...rows]);
    show($("cycle"), single === undefined ? sentences(answer.reason).join(" ").trim() : "");
  }
  if (lost) news.push("Connected again.");
  if (news.length) write($("said"), news.join(" "));
};

const ask = (accept) => fetch(address, {headers: {accept}, cache: "no-store", redirect: "error", signal: AbortSignal.timeout(PATIENCE)});
const reseed = async () => {
  const page = new DOMParser().parseFromString(await (await ask("text/html")).text(), "text/html");
  for (const node of page.querySelectorAll(".row")) {
    const row = rows.get(node.dataset.name);
    if (row) seed(row, node);
  }
  seeded = Date.now();
};
const poll = async () => {
  clearTimeout(timer);
  if (paused || asking || document.hidden) return;
  asking = true;
  try {
    // Whatever the code: a 503 with JSON is an answer.
    const answer = await (await ask("application/json")).json();
    if (list && (lost || Date.now() - seeded > RESEED)) await reseed();
    apply(answer);
    heard = new Date();
    lost = false;
    $("lost").hidden = true;
  } catch {
    lost = true;
    write($("lost"), `Connection lost since ${clock(heard)}. What stands here is from then.`);
    $("lost").hidden = false;
  }
  asking = false;
  tell();
  timer = setTimeout(poll, POLL);
};
const tell = () => write($("live"), `${paused ? "Paused" : lost ? "No answer" : "Live"} · ${clock(heard)}`);

for (const node of list ? list.children : []) adopt(node);
write($("where"), location.host + location.pathname);
const button = $("pause");
button.hidden = false;
button.addEventListener("click", () => {
  paused = !paused;
  write(button, paused ? "Resume" : "Pause");
  tell();
  poll();
});
document.addEventListener("visibilitychange", poll);
tell();
timer = setTimeout(poll, POLL);
})();

(() => {
"use strict";
const POLL = 2000, PATIENCE = 8000, NAMED = 5;
const ACCEPT = "application/vnd.tower-health.page+json, application/json;q=0.9";
const WORDS = {up: "Up", degraded: "Degraded", unknown: "Unknown", down: "Down"};
const TINTS = {up: "1a9e56", degraded: "d98a00", unknown: "7b8794", down: "d9342b"};
const MARKS = {up: 8, degraded: 14, down: 20};
const $ = (id) => document.getElementById(id);
const root = document.documentElement, list = $("rows"), rows = new Map();
let heard = Date.now(), lost = false, paused = false, asking = false, timer = 0;

// Text nodes only, and only what differs: no name becomes markup and nothing flickers.
const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const show = (node, text) => { write(node, text); node.hidden = text === ""; };
const put = (node, name, value) => { if (node.getAttribute(name) !== `${value}`) node.setAttribute(name, value); };

const span = (ms) => {
  const s = Math.floor(ms / 1000), m = Math.floor(s / 60), h = Math.floor(s / 3600);
  return s < 1 ? "less than 1 s" : s < 60 ? `${s} s` : s < 3600 ? `${m} min ${s % 60} s`
    : s < 86400 ? `${h} h ${m % 60} min` : `${Math.floor(h / 24)} d ${h % 24} h`;
};
const latency = (ms) => ms < 10 ? `${ms.toFixed(2)} ms` : ms < 100 ? `${ms.toFixed(1)} ms`
  : ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
const clock = (at) => `${new Date(at).toISOString().slice(11, 19)} UTC`;
const moment = (ago, at) => ago < 86400000 ? clock(at - ago)
  : `${new Date(at - ago).toISOString().slice(0, 16).replace("T", " ")} UTC`;

const guide = new Map([...document.querySelectorAll("#guide>div")].map((entry) =>
  ["code", "b", "span"].map((part) => entry.querySelector(part).textContent)).map(([word, ...text]) => [word, text]));
const explain = (why, reason) => {
  const [meaning, action] = guide.get(reason) || ["", ""];
  why.hidden = !reason;
  write(why.querySelector("code"), reason || "");
  write(why.querySelector("b"), meaning);
  write(why.querySelector("span"), action);
};

const draw = ({part}, runs) => {
  const longest = Math.max(1, ...runs.map((run) => run[1])), marks = {up: "", degraded: "", down: ""};
  const counts = {up: 0, degraded: 0, down: 0};
  let line = "", last = "", x = 65 - 2 * runs.length;
  for (const [status, ms] of runs) {
    const y = Math.round(44 - 40 * ms / longest);
    line += `${line ? "L" : "M"}${x} ${y}`;
    last = `M${x} ${y}h0`;
    marks[status] += `M${x} 0v${MARKS[status]}`;
    counts[status] += 1;
    x += 2;
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

const adopt = (node) => {
  const row = {node, part: (path) => row[path] ??= node.querySelector(path)};
  rows.set(node.dataset.name, row);
  return row;
};
const blank = list && list.firstElementChild && list.firstElementChild.cloneNode(true);
// For a dependency that was not there when the page was made.
const create = (name) => {
  const node = blank.cloneNode(true);
  Object.assign(node.dataset, {name, status: ""});
  write(node.querySelector("h2"), name);
  list.append(node);
  const row = adopt(node);
  // The runs that stand there are another's.
  draw(row, []);
  return row;
};
const patch = (row, name, check, at, news) => {
  const {node, part} = row, {status, reason, pool, status_for_ms: ago} = check;
  if (status !== node.dataset.status) news.push(`${name} is ${status}. ${guide.get(reason)?.[0] ?? ""}`);
  row.check = check;
  put(node, "data-status", status);
  put(part("use"), "href", `#i-${status}`);
  write(part(".word span"), WORDS[status]);
  show(part(".span"), ago == null ? "" : `for ${span(ago)}`);
  show(part(".since"), ago == null ? "" : `since ${moment(ago, at)}`);
  write(part(".kind"), `${check.kind ? `${check.kind} · ` : ""}${check.required ? "required" : "optional"}${check.excluded ? " · left out" : ""}`);
  explain(part(".why"), reason);
  show(part(".message"), check.message || "");
  show(part(".extra"), extra(check));
  if (check.runs) draw(row, check.runs);
  part(".pool").hidden = !pool;
  if (!pool) return;
  const share = (count) => `${Math.min(100, Math.floor(count * 100 / Math.max(1, pool.max)))}%`;
  put(part(".used"), "width", share(pool.in_use));
  put(part(".idle"), "x", share(pool.in_use));
  put(part(".idle"), "width", share(pool.idle));
  write(part(".pool p span:last-child"), `${pool.in_use} in use · ${pool.idle} idle · max ${pool.max}`);
};

const summarise = (asked) => {
  const others = asked.filter(([, {check}]) => check.status !== "up"), count = asked.length, nodes = [];
  if (!count) nodes.push("Nothing is checked.");
  else if (!others.length) nodes.push(["The one dependency is up.", "Both dependencies are up."][count - 1] ?? `All ${count} dependencies are up.`);
  else {
    for (const [name, {node, check}] of others.slice(0, NAMED)) {
      const link = document.createElement("a");
      link.href = `#${node.id}`;
      link.textContent = name;
      nodes.push(nodes.length ? ", " : "", link, `${check.required ? "" : " (optional)"} is ${check.status}`);
    }
    if (others.length > NAMED) nodes.push(` and ${others.length - NAMED} more`);
    nodes.push(`; ${count - others.length} of ${count} up.`);
  }
  const text = nodes.map((node) => node.textContent ?? node).join("");
  if ($("summary").textContent !== text) $("summary").replaceChildren(...nodes);
};

const title = () => { document.title = `${WORDS[root.dataset.status]} · ${location.host}${location.pathname}`; };
const apply = ({status, at = Date.now(), reason, message, checks}) => {
  const news = lost ? ["Connected again."] : [];
  if (!WORDS[status]) throw new TypeError("no health answer");
  // The reader may see more than before, or less.
  if (!list !== !checks) return location.reload();
  if (status !== root.dataset.status) {
    news.push(`Health is ${status}.`);
    put(root, "data-status", status);
    put(document.querySelector(".whole use"), "href", `#i-${status}`);
    write($("whole"), WORDS[status]);
    title();
    const icon = document.querySelector("link[rel=icon]");
    icon.href = icon.href.replace(/%23[0-9a-f]{6}/, `%23${TINTS[status]}`);
  }
  if (list) {
    const answers = new Map(Object.entries(checks));
    if (answers.size && !blank) return location.reload();
    for (const [name, {node}] of rows) {
      if (answers.has(name)) continue;
      node.remove();
      rows.delete(name);
      news.push(`${name} is no longer checked.`);
    }
    for (const [name, check] of answers) patch(rows.get(name) || create(name), name, check, at, news);
    [...rows.values()].forEach(({node}, place) => put(node, "id", `d${place}`));
    summarise([...rows].filter(([, {check}]) => !check.excluded));
    explain(document.querySelector(".whole .why"), reason);
    show($("message"), message || "");
  }
  if (news.length) write($("said"), news.join(" "));
  heard = at;
};

const poll = async () => {
  clearTimeout(timer);
  if (paused || asking || document.hidden) return;
  asking = true;
  try {
    // Whatever the code: a 503 with JSON is an answer.
    const answer = await fetch(location.pathname + location.search,
      {headers: {accept: ACCEPT}, cache: "no-store", redirect: "error", signal: AbortSignal.timeout(PATIENCE)});
    apply(await answer.json());
    lost = false;
  } catch {
    lost = true;
    write($("lost"), `Connection lost since ${clock(heard)}. What stands here is from then.`);
  }
  $("lost").hidden = !lost;
  asking = false;
  tell();
  timer = setTimeout(poll, POLL);
};
const tell = () => write($("live"), `${paused ? "Paused" : lost ? "No answer" : "Live"} · ${clock(heard)}`);

for (const node of list ? list.children : []) adopt(node);
write($("where"), location.host + location.pathname);
title();
const button = $("pause");
button.hidden = false;
button.addEventListener("click", () => {
  paused = !paused;
  write(button, paused ? "Resume" : "Pause");
  tell();
  poll();
});
document.addEventListener("visibilitychange", poll);
poll();
})();

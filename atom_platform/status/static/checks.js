// The readiness checks: their state now, and their outages since the service started.

import { age, moment } from "./format.js";
import { arrange, setText } from "./tables.js";

/**
 * Turn the transitions of a check in all workers, oldest first, into outages: [{from, to, message}],
 * in seconds of the epoch; `to` is null while an outage lasts. An outage lasts while any worker
 * sees it; it ends at the last transition of a worker that has exited.
 */
export function outages(transitions, livingPids) {
  const found = [];
  const unhealthy = new Set();
  const last = new Map(transitions.map((transition) => [transition.pid, transition]));
  for (const transition of transitions) {
    const before = unhealthy.size;
    const stays = livingPids.has(transition.pid) || last.get(transition.pid) !== transition;
    if (transition.healthy || !stays) unhealthy.delete(transition.pid);
    else unhealthy.add(transition.pid);
    if (!transition.healthy && before === 0) {
      const to = unhealthy.size > 0 ? null : transition.at;
      found.push({ from: transition.at, to, message: transition.message });
    } else if (before > 0 && unhealthy.size === 0) {
      found[found.length - 1].to = transition.at;
    }
  }
  return found;
}

/** Show the checks of `status`; `everywhere` is the state over all workers, from the metrics. */
export function showChecks(list, status, everywhere) {
  const known = new Map([...list.children].map((item) => [item.dataset.key, item]));
  const pids = new Set([status.pid, ...status.workers.map(({ pid }) => pid)]);
  const now = Date.parse(status.timestamp) / 1000;
  const started = Date.parse(status.service_started_at) / 1000;
  arrange(
    list,
    Object.entries(status.readiness.checks).map(([name, check]) => {
      const item = known.get(name) ?? newItem(name);
      const healthy = check.healthy && everywhere.get(name) !== false;
      const transitions = status.check_transitions.filter((transition) => transition.check === name);
      const since = Number.isFinite(started) ? started : Math.min(now - 60, transitions[0]?.at ?? now);
      item.dataset.tone = healthy ? "good" : "bad";
      setText(item.querySelector(".state"), healthy ? "✓ healthy" : "✕ unhealthy");
      setText(
        item.querySelector(".message"),
        healthy || !check.healthy ? check.message : `${check.message} here, not in another worker`,
      );
      showHistory(item, outages(transitions, pids), since, now);
      return item;
    }),
  );
}

function showHistory(item, found, since, now) {
  const span = Math.max(1, now - since);
  const strip = item.querySelector(".strip");
  arrange(
    strip,
    found.map(({ from, to }, at) => {
      const mark = strip.children[at] ?? document.createElement("span");
      const start = Math.max(since, from);
      mark.style.left = `${((start - since) / span) * 100}%`;
      mark.style.width = `${(((to ?? now) - start) / span) * 100}%`;
      return mark;
    }),
  );
  const latest = found[found.length - 1];
  let text = `no outage in ${age(span)}`;
  if (latest) {
    const times = found.length === 1 ? "one outage" : `${found.length} outages`;
    const length = latest.to === null ? "and lasts" : `for ${age(Math.max(1, latest.to - latest.from))}`;
    text = `${times} in ${age(span)}, the last from ${moment(latest.from * 1000)} ${length}: ${latest.message}`;
  }
  setText(item.querySelector(".history"), text);
}

function newItem(name) {
  const item = document.createElement("li");
  item.dataset.key = name;
  for (const [tag, kind] of [
    ["h3", "name"],
    ["span", "state"],
    ["span", "message"],
    ["div", "strip"],
    ["span", "history quiet"],
  ]) {
    const part = document.createElement(tag);
    part.className = kind;
    item.append(part);
  }
  item.querySelector(".name").textContent = name;
  item.querySelector(".strip").setAttribute("aria-hidden", "true"); // the text says the same
  return item;
}

// Writes the figures into the page.

import { showChecks } from "./checks.js";
import { age, bytes, count, duration, moment, percent, rate } from "./format.js";
import { arrange, fill, setText } from "./tables.js";

const by = (id) => document.getElementById(id);
const MOST_ERRORS = 12;
const VERDICTS = {
  ready: ["good", "✓ Ready"],
  not_ready: ["bad", "✕ Not ready"],
  draining: ["warn", "▾ Draining"],
};

/** Show the state of the service in one word; `tone` sets its colour. */
export function showVerdict(tone, text) {
  const verdict = by("verdict");
  verdict.dataset.tone = tone;
  setText(verdict, text);
  document.title = `${text} · ATOM platform`;
}

/** Show `now` and `status`; `lately` is the difference over the last minute, null at first. */
export function show(now, lately, status) {
  showVerdict(...(VERDICTS[status.readiness.status] ?? ["warn", status.readiness.status]));
  const running = now.at / 1000 - now.startedAt;
  setText(
    by("about"),
    `version ${now.info.version ?? "?"}, up ${age(running)}, as of ${moment(now.at)}`,
  );
  showTiles(now, lately);
  showChecks(by("checks"), status, now.checks);
  showEndpoints(lately);
  showWorkers(now, status);
  showErrors(status);
}

function showTiles(now, lately) {
  const { executions } = lately ?? {};
  const ran = executions && executions.success + executions.failure + executions.error;
  const pool = now.poolMax === null ? "–" : `${count(now.poolActive)} of ${count(now.poolMax)}`;
  const tiles = [
    ["Requests per second", rate(lately?.perSecond), lately && `${count(lately.requests)} in the last minute`],
    [
      "Errors",
      percent(lately?.errorShare),
      lately && `${count(lately.errors)} answered 5xx`,
      lately?.errors > 0 ? "bad" : "",
    ],
    ["Duration, p95", duration(lately?.p95), lately && `p50 ${duration(lately.p50)}, p99 ${duration(lately.p99)}`],
    ["Active agents", count(now.activeAgents), "running right now"],
    [
      "Executions",
      count(ran),
      executions && `${count(executions.failure)} failed, ${count(executions.error)} broke`,
      executions?.error > 0 ? "bad-note" : "",
    ],
    [
      "Database connections",
      pool,
      `${count(now.poolIdle)} idle, ${count(now.poolWaiting)} waiting`,
      now.poolWaiting > 0 ? "bad-note" : "",
    ],
    ["Busy request threads", `${count(now.threadsBusy)} of ${count(now.threads)}`, ""],
    ["Memory", bytes(now.memoryBytes), now.workers === null ? "" : `${count(now.workers)} ${now.workers === 1 ? "worker" : "workers"}`],
  ];
  const list = by("tiles");
  arrange(
    list,
    tiles.map(([name, value, note, tone = ""], at) => {
      const tile = list.children[at] ?? newTile(name);
      tile.dataset.tone = tone;
      setText(tile.children[1], value);
      setText(tile.children[2], note || "\u00a0");
      return tile;
    }),
  );
}

function newTile(name) {
  const tile = document.createElement("div");
  const term = document.createElement("dt");
  term.textContent = name;
  const note = document.createElement("dd");
  note.className = "quiet";
  tile.append(term, document.createElement("dd"), note);
  return tile;
}

let shownLately = null;

/** Show the endpoints of the same minute again, after the user changed a filter. */
export const showEndpointsAgain = () => showEndpoints(shownLately);

function showEndpoints(lately) {
  shownLately = lately;
  const withHealth = by("with-health").checked;
  const shown = (lately?.endpoints ?? []).filter(({ isHealth }) => withHealth || !isHealth);
  shown.sort((one, other) => one.endpoint.localeCompare(other.endpoint));
  fill(
    by("endpoints"),
    shown.map((each) => ({
      key: each.endpoint,
      tone: each.errors > 0 ? "bad" : "",
      cells: [
        each.endpoint,
        count(each.requests),
        rate(each.perSecond),
        percent(each.errorShare),
        duration(each.p50),
        duration(each.p95),
        duration(each.p99),
      ],
    })),
  );
}

function showWorkers(now, status) {
  fill(
    by("workers"),
    status.workers.map(({ pid, age_seconds, memory_bytes }) => ({
      key: pid,
      cells: [String(pid), age(age_seconds), bytes(memory_bytes)],
    })),
  );
  const exits = Object.entries(now.exits).filter(([, times]) => times > 0);
  const text = exits.map(([reason, times]) => `${reason.replaceAll("_", " ")} ${count(times)}`);
  setText(by("exits"), text.length ? `Ended since the start: ${text.join(", ")}.` : "None has ended since the start.");
}

function showErrors(status) {
  fill(
    by("errors"),
    byRequest(status.errors)
      .slice(0, MOST_ERRORS)
      .map((each) => ({
        key: each.key,
        cells: [
          moment(each.timestamp),
          each.request_id ?? "–",
          each.exception_type ?? each.event ?? "see the log",
          placeOf(each),
          String(each.pid),
        ],
      })),
  );
  const whose = status.of === "service" ? "" : `Of worker ${status.pid} only: there is no directory to share them in.`;
  setText(by("errors-of"), whose);
}

function placeOf({ method, endpoint, status, agent_id, skill_id, logger }) {
  if (endpoint) return [method, endpoint, status].filter(Boolean).join(" ");
  if (agent_id) return [`agent ${agent_id}`, skill_id && `skill ${skill_id}`].filter(Boolean).join(", ");
  return logger ?? "–";
}

/** Merge the log lines of one failed request into one row. */
export function byRequest(errors) {
  const rows = new Map();
  errors.forEach((each, at) => {
    const key = each.request_id ?? `${each.timestamp} ${each.pid} ${errors.length - at}`;
    rows.set(key, { ...each, ...rows.get(key), key });
  });
  return [...rows.values()];
}

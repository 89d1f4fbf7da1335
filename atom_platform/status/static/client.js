// Asks the service, and keeps asking when it is not there.

const TIMEOUT_MS = 5000;
const TOKEN = "atom-status-token";

/** The service wants a token, or another one. */
export class Refused extends Error {}

/** The addresses are found from this file's own: a proxy may have put a prefix before them. */
const at = (name) => new URL(`../../${name}`, import.meta.url);

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (value) => sessionStorage.setItem(TOKEN, value),
  forget: () => sessionStorage.removeItem(TOKEN),
};

async function get(url, accept) {
  const headers = { Accept: accept };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  const answer = await fetch(url, {
    headers,
    cache: "no-store",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (answer.status === 401 || answer.status === 403) throw new Refused();
  if (!answer.ok) throw new Error(`${url.pathname} answered ${answer.status}`);
  return answer;
}

/** Return the text of the metrics, of `families` only. */
export async function metrics(families) {
  const url = at("metrics");
  for (const family of families) url.searchParams.append("name[]", family);
  return (await get(url, "text/plain")).text();
}

/** Return what metrics do not hold. */
export async function status() {
  return (await get(at("status"), "application/json")).json();
}

/**
 * How long to wait before asking again after `failures` in a row: twice as long each time up to
 * `most`, and not in step with other pages that watch the same service.
 */
export function pause(failures, every, { most = 15000, random = Math.random } = {}) {
  if (failures === 0) return every;
  return Math.min(most, every * 2 ** (failures - 1)) * (0.75 + random() / 2);
}

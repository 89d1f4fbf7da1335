// Formats numbers and times for users.

const NOTHING = "–";
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

const missing = (value) => value === null || value === undefined || Number.isNaN(value);

export function count(value) {
  return missing(value) ? NOTHING : Math.round(value).toLocaleString("en");
}

export function rate(value) {
  if (missing(value)) return NOTHING;
  return value >= 100 ? count(value) : value.toFixed(value >= 10 ? 1 : 2);
}

export function percent(share) {
  if (missing(share)) return NOTHING;
  const value = share * 100;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value.toFixed(value >= 10 || value === 0 ? 0 : 1)} %`;
}

/** A duration in seconds, to three digits. */
export function duration(seconds) {
  if (missing(seconds)) return NOTHING;
  if (seconds < 1) return `${Number((seconds * 1000).toPrecision(3))} ms`;
  return `${Number(seconds.toPrecision(3))} s`;
}

export function bytes(value) {
  if (missing(value)) return NOTHING;
  const mega = value / 1024 ** 2;
  return mega < 1024 ? `${mega.toFixed(mega < 10 ? 1 : 0)} MB` : `${(mega / 1024).toFixed(2)} GB`;
}

/** A span of time, in its two largest units. */
export function age(seconds) {
  if (missing(seconds)) return NOTHING;
  const units = [
    ["d", 86400],
    ["h", 3600],
    ["min", 60],
    ["s", 1],
  ];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  const parts = [];
  let left = Math.floor(seconds);
  for (const [name, size] of units.slice(first, first + 2)) {
    const whole = Math.floor(left / size);
    left -= whole * size;
    if (whole) parts.push(`${whole} ${name}`);
  }
  return parts.join(" ");
}

/** A moment: the time of day, with the date unless it is today. */
export function moment(at, now = new Date()) {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return NOTHING;
  return (date.toDateString() === now.toDateString() ? clock : day).format(date);
}

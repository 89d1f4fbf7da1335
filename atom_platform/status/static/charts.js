// Lines over time. Tables and captions hold the same figures as text.

/* global uPlot */

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const HEIGHT = 170;
const minutes = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const seconds = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

/** The points of a line without a neighbour, which are invisible unless drawn as dots. */
function lonely(plot, series) {
  const values = plot.data[series];
  const isLonely = (value, at) =>
    value !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null;
  return values.flatMap((value, at) => (isLonely(value, at) ? [at] : []));
}

/**
 * One chart: its title, the format of its values, and its lines as [name, key of a point, CSS colour,
 * optional format].
 */
export class Chart {
  #plot;
  #captions;
  #points = [];
  #figure;
  #spec;

  constructor(parent, spec) {
    this.#spec = spec;
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    const title = document.createElement("h3");
    title.textContent = spec.title;
    const legend = document.createElement("ul");
    this.#captions = spec.lines.map(([name, , colour]) => {
      const item = document.createElement("li");
      const mark = document.createElement("span");
      mark.className = "mark";
      mark.style.background = `var(${colour})`;
      const value = document.createElement("b");
      item.append(mark, `${name} `, value);
      legend.append(item);
      return value;
    });
    caption.append(title, legend);
    const area = document.createElement("div");
    area.className = "area";
    area.setAttribute("role", "img");
    figure.append(caption, area);
    parent.append(figure);
    this.#figure = area;
    this.#plot = new uPlot(this.#options(spec, area), [[], ...spec.lines.map(() => [])], area);
    new ResizeObserver(() => {
      this.#plot.setSize({ width: area.clientWidth, height: HEIGHT });
    }).observe(area);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#plot.redraw(false, true);
    });
  }

  /** Show `points`, on an axis that ends `now` and is `span` seconds long. */
  show(points, span, now) {
    this.#points = points;
    const column = (key) => points.map((point) => (Number.isFinite(point[key]) ? point[key] : null));
    this.#plot.batch(() => {
      this.#plot.setData([points.map(({ at }) => at), ...this.#spec.lines.map(([, key]) => column(key))], false);
      this.#plot.setScale("x", { min: now - span, max: now });
    });
    this.#caption(this.#plot.cursor.idx ?? points.length - 1);
    const latest = this.#spec.lines.map(([name], at) => `${name} ${this.#captions[at].textContent}`);
    this.#figure.setAttribute("aria-label", `${this.#spec.title}: ${latest.join(", ")}`);
  }

  #caption(index) {
    this.#spec.lines.forEach(([, key, , format], at) => {
      this.#captions[at].textContent = (format ?? this.#spec.format)(this.#points[index]?.[key]);
    });
  }

  #times(plot, splits, axis, space, step) {
    const format = step < 60 ? seconds : minutes;
    return splits.map((at) => format.format(at * 1000));
  }

  #options(spec, area) {
    const axis = {
      stroke: () => css("--quiet"),
      grid: { stroke: () => css("--grid"), width: 1 },
      ticks: { show: false },
      font: "12px system-ui, sans-serif",
    };
    return {
      width: area.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      padding: [8, 26, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
      scales: {
        x: { time: true, auto: false },
        // From zero: a scale around the values makes small changes look large.
        y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] },
      },
      axes: [
        { ...axis, values: this.#times, space: 80, size: 28 },
        { ...axis, values: (_, splits) => splits.map((value) => spec.axis(value)), size: 62, space: 34 },
      ],
      series: [
        {},
        ...spec.lines.map(([label, , colour]) => ({
          label,
          stroke: () => css(colour),
          width: 2,
          points: { size: 4, show: true, filter: lonely },
        })),
      ],
      hooks: {
        setCursor: [(plot) => this.#caption(plot.cursor.idx ?? this.#points.length - 1)],
      },
    };
  }
}

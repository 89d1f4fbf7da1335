// Updates tables and lists in place, which preserves selection and scroll position.

/**
 * Make the rows of `table` those of `rows`: [{key, cells: [text, …], tone}], in their order. The
 * first cell is the row's header. The element behind the table is shown when there are no rows.
 */
export function fill(table, rows) {
  const body = table.tBodies[0];
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  const wanted = rows.map(({ key, cells, tone = "" }) => {
    const row = known.get(String(key)) ?? newRow(String(key), cells.length);
    cells.forEach((text, at) => setText(row.cells[at], text));
    if (row.dataset.tone !== tone) row.dataset.tone = tone;
    return row;
  });
  arrange(body, wanted);
  const region = table.parentElement;
  region.hidden = rows.length === 0;
  region.nextElementSibling.hidden = rows.length > 0;
}

function newRow(key, cells) {
  const row = document.createElement("tr");
  row.dataset.key = key;
  for (let at = 0; at < cells; at += 1) {
    const cell = document.createElement(at === 0 ? "th" : "td");
    if (at === 0) cell.scope = "row";
    row.append(cell);
  }
  return row;
}

/** Make the children of `parent` those of `wanted`, and move only misplaced ones. */
export function arrange(parent, wanted) {
  wanted.forEach((each, at) => {
    if (parent.children[at] !== each) parent.insertBefore(each, parent.children[at] ?? null);
  });
  while (parent.children.length > wanted.length) parent.lastElementChild.remove();
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

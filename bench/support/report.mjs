// What a run prints: tables, and the figures that the project promises.

import Table from "cli-table3";

/** A table without colours; columns other than the first are set to the right. */
export function table(head, rows) {
  const out = new Table({
    head,
    colAligns: head.map((_, column) => (column === 0 ? "left" : "right")),
    style: { head: [], border: [], compact: true },
  });
  out.push(...rows.map((row) => row.map((cell) => cell ?? "")));
  return out.toString();
}

/** Three significant digits, without an exponent. */
export function digits(value) {
  if (value === undefined) return "";
  if (!Number.isFinite(value)) return String(value);
  const places = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(places, 6));
}

export function casesTable(cases) {
  const hasReference = cases.some((row) => row.referenceMs !== undefined);
  const unit = cases.find((row) => row.unit !== undefined)?.unit;
  const head = ["case", "best ms", "median ms"];
  if (unit !== undefined) head.push(unit);
  head.push("error/bound");
  if (hasReference) head.push("JavaScript ms", "times faster");
  return table(
    head,
    cases.map((row) => {
      const cells = [row.name, digits(row.bestMs), digits(row.medianMs)];
      if (unit !== undefined) cells.push(digits(row.rate));
      cells.push(row.error === undefined ? "" : row.error.toExponential(1));
      if (hasReference) cells.push(digits(row.referenceMs), digits(row.speedup));
      return cells;
    }),
  );
}

/** A promised number: { what, measured, atLeast | atMost, unit? }. */
export function meets({ measured, atLeast = Number.NEGATIVE_INFINITY, atMost = Number.POSITIVE_INFINITY }) {
  return measured >= atLeast && measured <= atMost;
}

export function figuresTable(figures) {
  return table(
    ["figure", "measured", "wanted", ""],
    figures.map((figure) => [
      figure.what,
      `${digits(figure.measured)}${figure.unit ?? ""}`,
      `${figure.atLeast === undefined ? `<= ${figure.atMost}` : `>= ${figure.atLeast}`}${figure.unit ?? ""}`,
      meets(figure) ? "met" : "missed",
    ]),
  );
}

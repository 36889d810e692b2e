// What the page does when it opens.

startTheme();
startTips();
startTensor();
document.querySelectorAll("section.map").forEach((panel) => mapPanel(panel, (table, row) => {
  if (table === table.run.params) chooseTensor(table.run, row, true);
}));
startOutliers();
startQuantization();
const paired = runs.length > 1 ? new PairedTable() : null;
for (const target of document.querySelectorAll("div.grid")) {
  const { table, run } = target.dataset;
  gridPanel(target, table === "pairs" ? paired : runs[Number(run)].tables.get(table));
}
startSavedTables();
startAddress();
root.dataset.ready = "yes";

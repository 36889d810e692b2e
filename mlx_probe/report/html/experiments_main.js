// What the page of runs of any kind does when it opens.

// Tables that pair two runs are not in this page.
const paired = null;

startTheme();
startTips();
if (document.getElementById("curves")) startCurves();
for (const target of document.querySelectorAll("div.grid")) gridPanel(target, runs[Number(target.dataset.run)].tables.get(target.dataset.table));
startSavedTables();
startAddress();
root.dataset.ready = "yes";

// What the page of signals does when it opens.

// Tables that pair two runs are not in this page.
const paired = null;

startTheme();
startTips();
curvePanel(document.getElementById("curves"), runs[0].tables.get("windows"), "window");
document.querySelectorAll("section.map").forEach((panel) => mapPanel(panel, () => {}));
startBlockMap();
for (const target of document.querySelectorAll("div.grid")) gridPanel(target, runs[0].tables.get(target.dataset.table));
startSavedTables();
startAddress();
root.dataset.ready = "yes";

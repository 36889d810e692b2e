// What the page of a series does when it opens.

startTheme();
startTips();
startSpectrum();
startSeries();
startMaps();
for (const target of document.querySelectorAll("div.grid")) gridPanel(target, runs[Number(target.dataset.run)].tables.get(target.dataset.table));
startSavedTables();
startAddress();
root.dataset.ready = "yes";

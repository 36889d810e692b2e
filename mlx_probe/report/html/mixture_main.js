// What the page of a mixture does when it opens.

startTheme();
startTips();
document.querySelectorAll("section.map").forEach((panel) => mapPanel(panel, (table, row) => {
  chooseExpert({ layer: mixture.places[row], expert: table.number("expert_index", row) }, "layer");
}));
followers.push(curvePanel(document.getElementById("layers"), runs[0].tables.get("layers"), "layer_index", {
  marked: () => choice.layer, onClick: (layer) => chooseExpert({ layer }),
}));
startLayer();
startRouting();
startChoice();
for (const target of document.querySelectorAll("div.grid")) gridPanel(target, runs[0].tables.get(target.dataset.table));
startSavedTables();
startAddress();
root.dataset.ready = "yes";

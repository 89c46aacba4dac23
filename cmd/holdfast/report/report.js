"use strict";
document.querySelectorAll("[data-copy]").forEach(function (button) {
  button.addEventListener("click", function () {
    var pre = button.previousElementSibling;
    var selection = window.getSelection();
    selection.selectAllChildren(pre);
    var done = function () { button.textContent = "Copied"; };
    if (navigator.clipboard) navigator.clipboard.writeText(pre.textContent).then(done, function () {});
    else if (document.execCommand("copy")) done();
  });
});
var only = document.getElementById("only");
if (only) only.addEventListener("change", function () {
  document.querySelector(".rows").classList.toggle("only-bad", only.checked);
});
document.documentElement.dataset.ready = "yes";

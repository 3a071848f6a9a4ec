"""Problem files: what is read, and what each mistake is answered with."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from problem_texts import GOOD

from harness.errors import ProblemError, UsageError
from harness.nouns import Prints
from mtpb.problem_file import load_problem, load_problems, natural_order

WriteProblem = Callable[..., Path]


def edited(old: str, new: str) -> str:
    assert GOOD.count(old) >= 1, old
    return GOOD.replace(old, new, 1)


BROKEN = {
    "an unknown key": (edited("title:", "titel:"), 3, "unknown key 'titel'; did you mean 'title'?"),
    "an unknown key far from any": (GOOD + "colour: red\n", 20, "unknown key 'colour'; known here are id, version, title, "),
    "an unknown key in a turn": (
        edited("    reference: s", "    code: s"),
        8,
        "unknown key 'code'; known here are prompt, reference",
    ),
    "an unknown key in a case": (edited("expect: 2", "expects: 2"), 15, "'expect' is missing; add it"),
    "a missing key": (edited("title: Count the vowels\n", ""), 1, "'title' is missing; add it"),
    "a missing prompt": (
        edited("  - prompt: Print `n`.\n    reference: print(n)", "  - reference: print(n)"),
        12,
        "'prompt' is missing",
    ),
    "a duplicate key": (
        edited("version: 1", "version: 1\nversion: 2"),
        3,
        "the key 'version' stands twice, first on line 2; keep one",
    ),
    "a version that is a string": (
        edited("version: 1", "version: '1'"),
        2,
        "'version' is '1'; input should be a valid integer",
    ),
    "a version below 1": (edited("version: 1", "version: 0"), 2, "'version' is 0; input should be greater than or equal to 1"),
    "a title that is a number": (
        edited("title: Count the vowels", "title: 12"),
        3,
        "'title' must be a string but 12 is none; put it in quotes",
    ),
    "an unknown category": (
        edited("category: string", "category: strings"),
        4,
        "'category' is 'strings'; write 'array', 'string', 'math'",
    ),
    "an unknown difficulty": (
        edited("difficulty: easy", "difficulty: 3"),
        5,
        "'difficulty' is 3; write 'easy', 'medium' or 'hard'",
    ),
    "an id in capitals": (
        edited("count-vowels", "Count_Vowels"),
        1,
        "the id 'string/Count_Vowels' is not well formed; write category/name",
    ),
    "an id of another category": (
        edited("id: string/", "id: array/"),
        1,
        "disagrees with the category; write 'string/count-vowels'",
    ),
    "an id without a category": (
        edited("id: string/", "id: "),
        1,
        "the id 'count-vowels' names no category; write 'string/count-vowels'",
    ),
    "an id of another path": (
        edited("count-vowels", "vowels"),
        1,
        "the id 'string/vowels' disagrees with the path; write 'string/count-vowels'",
    ),
    "no turns": (re.sub(r"turns:\n(.*\n)*cases", "turns: []\ncases", GOOD), 6, "'turns' is empty; write at least one"),
    "turns that are no list": (
        re.sub(r"turns:\n(.*\n)*cases", "turns: {}\ncases", GOOD),
        6,
        "'turns' must be a list, but is a mapping",
    ),
    "a turn that is a string": (
        edited("  - prompt: Print `n`.\n    reference: print(n)", "  - Print it"),
        12,
        "must be a mapping of keys",
    ),
    "no cases": (re.sub(r"cases:\n(.*\n)*", "cases: []\n", GOOD), 14, "'cases' is empty; write at least one"),
    "one case twice": (edited("id: none", "id: word"), 16, "case 'word' stands twice, first as number 1; rename one"),
    "a case id that is a number": (edited("id: word", "id: 1"), 15, "'id' must be a string but 1 is none; put it in quotes"),
    "a reference left out": (
        edited("    reference: print(n)\n", ""),
        12,
        "turn 3 has no reference but others have; give every turn one, or",
    ),
    "an unfilled placeholder": (
        edited("in `s` and", "in {word!r} and"),
        15,
        "case 'word': inputs ['text'] do not fill ['word']; add them",
    ),
    "an unused input": (
        edited("{text: hello}", "{text: hello, n: 1}"),
        15,
        "case 'word': input 'n' is used by no prompt; use it as {n!r}",
    ),
    "an input for references only": (
        edited("{text!r} in", "a string in"),
        15,
        "case 'word': input 'text' is used by references only, so no model can know it; use it in a prompt",
    ),
    "a placeholder without a form": (edited("{text!r} in", "{text} in"), 7, "turn 1: {text}: say how to write it: {text!r}"),
    "a placeholder with more": (
        edited("{text!r} in", "{text!r:>3} in"),
        7,
        "turn 1: {text!r:>3}: a placeholder is {name!r} or {name!s}",
    ),
    "a brace in a reference": (edited("print(n)", "print({n})"), 13, "turn 3: {n}: say how to write it"),
    "a number with a leading zero": (edited("expect: 2", "expect: 012"), 15, "012 begins with a zero"),
    "no expected value": (edited("expect: 2", "expect: "), 15, "the value is missing; write null if None is meant"),
    "a tag": (edited("expect: 2", "expect: !!set {a}"), 15, "the tag tag:yaml.org,2002:set is not read"),
    "a tuple of nothing": (
        edited("expect: 2", "expect: {tuple: 5}"),
        15,
        "case 'word': expect: $.tuple: must be a list; a mapping that only",
    ),
    "a float that is none": (edited("expect: 2", "expect: {float: much}"), 15, "$.float: must be 'nan', 'inf' or '-inf'"),
    "a set of lists": (edited("expect: 2", "expect: {set: [[1]]}"), 15, "a list cannot be a key or a member of a set"),
    "equal keys": (
        edited("expect: 2", "expect: {dict: [[1, a], [true, b]]}"),
        15,
        "two keys in {dict: ...} are equal; keep one",
    ),
    "an object": (edited("expect: 2", "expect: {object: {type: a, text: b}}"), 15, "'object' stands for no value"),
    "a bad input value": (
        edited("{text: hello}", "{text: {bytes: xyz}}"),
        15,
        "case 'word': inputs.text: $.bytes: must be hexadecimal",
    ),
    "an input name that is none": (
        edited("{text: hello}", "{te xt: hello}"),
        15,
        "the input name 'te xt' is no plain identifier",
    ),
    "a limit of nothing": (GOOD + "limits: {time_seconds: 0}\n", 20, "'time_seconds' is 0; input should be greater than 0"),
    "an unknown limit": (GOOD + "limits:\n  time: 5\n", 21, "unknown key 'time'; did you mean 'time_seconds'?"),
    "a negative tolerance": (
        GOOD + "compare: {atol: -1.0}\n",
        20,
        "'atol' is -1.0; input should be greater than or equal to 0",
    ),
    "a list of problems": (
        "- a\n- b\n",
        1,
        "the file must be a mapping of keys to values, but is a list; write `key: value` lines",
    ),
    "no YAML": (GOOD + "]\n", 20, "this is not YAML"),
    "nothing": ("", 1, "the file is empty"),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_every_mistake_is_told_with_file_line_fact_and_remedy(mistake: str, write_problem: WriteProblem) -> None:
    text, line, words = BROKEN[mistake]
    path = write_problem(text)
    with pytest.raises(ProblemError) as caught:
        load_problem(path)
    told = [each for each in str(caught.value).split("\n") if each.startswith(f"{path}:{line}: ")]
    assert any(words in each for each in told), caught.value


def test_bytes_that_are_no_utf_8_are_told_with_their_line(write_problem: WriteProblem) -> None:
    path = write_problem()
    path.write_bytes(path.read_bytes().replace(b"rhythm", b"rh\xff"))
    with pytest.raises(ProblemError, match=r"count-vowels.yaml:16: this is not UTF-8; save the file as UTF-8"):
        load_problem(path)


def test_all_errors_of_all_files_are_told_at_once(write_problem: WriteProblem) -> None:
    first = write_problem(edited("version: 1", "version: 0").replace("difficulty: easy", "difficulty: much"))
    second = write_problem(edited("expect: 2", "expect: 012"), "string/other")
    with pytest.raises(ProblemError) as caught:
        load_problems(first.parents[1])
    lines = str(caught.value).split("\n")
    assert [line.partition(": ")[0] for line in lines] == [f"{first}:2", f"{first}:5", f"{second}:15"]


def test_one_id_in_two_places_is_refused(write_problem: WriteProblem) -> None:
    path = write_problem()
    again = write_problem(GOOD, "more/string/count-vowels")
    with pytest.raises(ProblemError, match="has the id 'string/count-vowels' too; rename one of the two"):
        load_problems(path, again)


def test_a_file_that_ends_in_yml_is_not_passed_over(write_problem: WriteProblem) -> None:
    path = write_problem()
    path.with_suffix(".yml").write_text(GOOD, "utf-8")
    with pytest.raises(ProblemError, match=r"count-vowels\.yml:1: problem files end in \.yaml; rename it"):
        load_problems(path.parent)


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file or folder"):
        load_problems(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"there is no \.yaml file in this folder"):
        load_problems(tmp_path)


def test_a_good_file_becomes_a_problem_with_filled_prompts_and_references(write_problem: WriteProblem) -> None:
    loaded = load_problem(write_problem(GOOD + "limits: {time_seconds: 5, max_new_tokens: 64}\ncompare: {rtol: 0.01}\n"))
    problem = loaded.problem
    assert (problem.id, problem.title, problem.category, problem.difficulty) == (
        "string/count-vowels",
        "Count the vowels",
        "string",
        "easy",
    )
    assert (problem.max_new_tokens, problem.cpu_seconds, problem.memory_mib) == ((64, 64, 64), 5, None)
    case = problem.cases[0]
    assert case.prompts[0] == "Store the string 'hello' in `s`."
    assert case.reference == ("s = 'hello'", 'n = sum(letter in "aeiou" for letter in s)', "print(n)")
    assert case.check == Prints(2, 0.01, None)
    assert [case.id for case in problem.cases] == ["word", "none", "empty", "all", "twice"]
    assert loaded.place("cases", 1) == f"{loaded.path}:16"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("{tuple: [1, [2, x]]}", (1, [2, "x"])),
        ("{set: [1, 2]}", {1, 2}),
        ("{frozenset: []}", frozenset()),
        ("{dict: [[1, a], [{tuple: [1, 2]}, b]]}", {1: "a", (1, 2): "b"}),
        ("{dict: [[set, 1]]}", {"set": 1}),
        ("{float: -inf}", float("-inf")),
        ("{bytes: 00ff}", b"\x00\xff"),
        ("{complex: [1, 2]}", 1 + 2j),
        ("null", None),
        ("true", True),
        ("no", "no"),
        ("{a: 1, b: {set: [x]}}", {"a": 1, "b": {"x"}}),
        ("18446744073709551616", 1 << 64),
    ],
)
def test_every_kind_of_expected_value_can_be_written(written: str, meant: object, write_problem: WriteProblem) -> None:
    check = load_problem(write_problem(edited("expect: 2", f"expect: {written}"))).problem.cases[0].check
    assert isinstance(check, Prints)
    assert (type(check.value), check.value) == (type(meant), meant)


def test_inputs_are_written_as_the_value_they_stand_for(write_problem: WriteProblem) -> None:
    path = write_problem(edited("{text: hello}", "{text: {tuple: [1, {float: nan}, {set: [b, a]}]}}"))
    assert load_problem(path).problem.cases[0].prompts[0] == "Store the string (1, float('nan'), {'a', 'b'}) in `s`."


def test_problems_without_references_are_problems(write_problem: WriteProblem) -> None:
    path = write_problem(re.sub(r"    reference: .*\n(      .*\n)?", "", GOOD))
    assert load_problem(path).problem.cases[0].reference is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version: 1", "version: 2"),
        ("Print `n`.", "Print n."),
        ("expect: 2", "expect: 2.0"),
        ("hello", "hallo"),
        ("id: word", "id: greeting"),
        ("turns:", "limits: {time_seconds: 3}\nturns:"),
        ("turns:", "limits: {max_new_tokens: 3}\nturns:"),
        ("turns:", "compare: {atol: 0.1}\nturns:"),
    ],
)
def test_whatever_can_move_a_score_moves_the_digest(old: str, new: str, write_problem: WriteProblem) -> None:
    before = load_problem(write_problem()).problem.digest
    assert load_problem(write_problem(edited(old, new))).problem.digest != before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("title: Count the vowels", "title: Vowels"),
        ("difficulty: easy", "difficulty: hard"),
        ("version: 1", "version: 1  # a comment"),
        ("turns:", "description: For beginners.\nnotes: None.\nturns:"),
        ("reference: print(n)", "reference: print(str(n))"),
        ("Print `n`.", '"Print `n`."'),
        ("{text: hello}", "{'text': \"hello\"}"),
    ],
)
def test_what_cannot_move_a_score_leaves_the_digest(old: str, new: str, write_problem: WriteProblem) -> None:
    before = load_problem(write_problem()).problem.digest
    assert load_problem(write_problem(edited(old, new))).problem.digest == before


def test_the_digest_is_the_same_wherever_and_whenever_it_is_taken(write_problem: WriteProblem) -> None:
    digest = "05d559a17de4d6e92a2e8b76beb6c9ea2687e421d9d573ff0d879d15eabcaf91"
    assert load_problem(write_problem()).problem.digest == digest


def test_numbers_in_ids_are_ordered_as_numbers() -> None:
    assert sorted(["b", "10", "9", "a-10", "a-9", "1"], key=natural_order) == ["1", "9", "10", "a-9", "a-10", "b"]

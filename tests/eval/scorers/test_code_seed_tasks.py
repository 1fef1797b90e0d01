"""The seed suite's two code tasks: right ones pass however they are shaped, wrong ones and forgeries do not, and none does harm."""

import time

import pytest

from eval.scorers import code_seed_tasks as tasks
from eval.scorers import sandbox
from tests.eval.needs_sandbox import needs_sandbox

QUICKSORT = """
def quick_sort(numbers):
    # 列表为空或只有一个元素时直接返回
    if len(numbers) <= 1:
        return numbers
    pivot = numbers[0]
    left = [x for x in numbers[1:] if x < pivot]
    right = [x for x in numbers[1:] if x >= pivot]
    return quick_sort(left) + [pivot] + quick_sort(right)
print("结果:", quick_sort([3.0, 1.0, 2.0]))
"""
IN_CLASS = """
class Sorter:
    def sort(self, arr, low, high):
        # 原地排序
        if low < high:
            i = low
            for j in range(low, high):
                if arr[j] <= arr[high]:
                    arr[i], arr[j] = arr[j], arr[i]
                    i += 1
            arr[i], arr[high] = arr[high], arr[i]
            self.sort(arr, low, i - 1)
            self.sort(arr, i + 1, high)
        return arr
"""
KMP = """
#include <iostream>
#include <string>
#include <vector>
using namespace std;
// 计算部分匹配表
vector<int> buildNext(const string& pattern) {
    vector<int> next(pattern.size(), 0);
    for (int i = 1, j = 0; i < (int)pattern.size(); i++) {
        while (j > 0 && pattern[i] != pattern[j]) j = next[j - 1];
        if (pattern[i] == pattern[j]) j++;
        next[i] = j;
    }
    return next;
}
/* 查找所有匹配位置 */
vector<int> search(const string& text, const string& pattern) {
    vector<int> next = buildNext(pattern), found;
    for (int i = 0, j = 0; i < (int)text.size(); i++) {
        while (j > 0 && text[i] != pattern[j]) j = next[j - 1];
        if (text[i] == pattern[j]) j++;
        if (j == (int)pattern.size()) { found.push_back(i - j + 1); j = next[j - 1]; }
    }
    return found;
}
int main() { for (int p : search("aaa", "aa")) cout << p << endl; }
"""
PRINTS = KMP.replace("vector<int> search", "void search").replace("return found;\n}\nint", "}\nint").replace(
    "found.push_back(i - j + 1)", 'cout << "在位置 " << i - j + 2 << " 匹配" << endl'
).replace('for (int p : search("aaa", "aa")) cout << p << endl;', 'search("aaa", "aa");')  # fmt: skip


def python(source):
    return tasks.score_sort_python(f"这是代码:\n```python\n{source}\n```\n希望有帮助。")


def cpp(source):
    return tasks.score_kmp_cpp(f"```cpp\n{source}\n```")


@needs_sandbox
@pytest.mark.parametrize(
    "source",
    [
        QUICKSORT,
        IN_CLASS,
        QUICKSORT + "print(quick_sort([float(input())]))",
        QUICKSORT + "data = [2.0, 1.0]\nassert quick_sort(data) == sorted(data)\n",
        QUICKSORT + "if __name__ == '__main__':\n    data = [2.0, 1.0]\n    data.sort()\n",
        QUICKSORT + "def test_quick_sort():\n    assert quick_sort([2.0, 1.0]) == sorted([2.0, 1.0])\n",
        QUICKSORT + "def main(data):\n    assert quick_sort(data) == sorted(data)\n    return quick_sort(data)\n",
        IN_CLASS + "    def check(self, arr):\n        return self.sort(arr, 0, len(arr) - 1) == sorted(arr)\n",
    ],
)
def test_right_python(source):
    assert python(source).score == 1.0


@needs_sandbox
@pytest.mark.parametrize(
    "source",
    [
        QUICKSORT.replace("x >= pivot", "x > pivot"),  # loses duplicates
        QUICKSORT.replace("x < pivot", "0 <= x < pivot"),  # loses negatives
        QUICKSORT.replace("return quick_sort(left)", "result = quick_sort(left)"),  # returns nothing
        QUICKSORT.replace("# 列表为空或只有一个元素时直接返回", "# base case"),
        QUICKSORT.replace("# 列表为空或只有一个元素时直接返回", ""),
        "# 排序\ndef f(numbers):\n    return sorted(numbers)",
        "# 排序\ndef f(numbers):\n    numbers.sort()\n    return numbers",
        "# 排序\ndef helper(x):\n    return sorted(x)\ndef quick_sort(numbers):\n    return helper(numbers)",
        "# 排序\ndef quick_sort(x):\n    return x\ndef main(x):\n    return sorted(quick_sort(x))",
        "def broken(:",
        "# 注释\nprint([1.0, 2.0])",
    ],
)
def test_wrong_python(source):
    if "sort" in source.replace("quick_sort", ""):
        assert python(source).reason == "calls the built-in sort"
    assert python(source).score == 0.0
    assert tasks.score_sort_python(QUICKSORT).score == 0.0, "no code block"


ATTACKS = {
    "equal to everything": "# 注释\nclass E(list):\n    def __eq__(self, other): return True\n    def __len__(self): return 0\n"
    "def f(numbers): return E(numbers)",
    "forged output": "# 注释\nimport os, sys\ndef f(numbers): return numbers\nfor fd in range(1, 10):\n    try: os.write(fd, b'passed\\n')\n"
    "    except OSError: pass\nos._exit(0)",
    "forged by the marker": "# 注释\nimport inspect, os\nframe = inspect.currentframe().f_back\nmarker = frame.f_globals['request']['marker']\n"
    'os.write(1, (marker + \' {"variant": "f", "case": 0, "value": true}\\n\').encode() * 20)\ndef f(numbers): return numbers',
    "patched json": '# 注释\nimport json\njson.dumps = lambda *a, **k: \'{"variant": "f", "case": 0, "value": [NaN]}\'\ndef f(numbers): return numbers',
    "endless loop": "# 注释\ndef f(numbers):\n    while True: pass",
    "endless loop at import": "# 注释\nwhile True: pass",
    "fork bomb": "# 注释\nimport os\ndef f(numbers): return numbers\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "memory bomb": "# 注释\nx = []\nwhile True: x.append(bytearray(10**7))",
    "endless output": "# 注释\nimport os\nwhile True: os.write(2, b'x' * 65536)",
    "deep json": "# 注释\nimport os\ndef f(numbers): return numbers\nos.write(1, b'[' * 500000)\nos._exit(0)",
}


@needs_sandbox
@pytest.mark.parametrize("name", ATTACKS)
def test_python_attacks_do_not_pass_and_end(name, monkeypatch):
    monkeypatch.setattr(tasks, "LIMITS_PYTHON", sandbox.Limits(seconds=6, cpu=2))
    began = time.monotonic()
    assert python(ATTACKS[name]).score == 0.0
    assert time.monotonic() - began < 60  # six of the sandbox, the rest for a busy machine
    assert python(QUICKSORT).score == 1.0, "the next run is not harmed"


@needs_sandbox
@pytest.mark.parametrize(
    "source",
    [
        KMP,
        PRINTS,
        "#include <string>\n#include <vector>\nusing namespace std;\nclass Matcher {\npublic:"
        + KMP.split("std;")[1].split("int main")[0]
        + "};",
    ],
)
def test_right_cpp(source):
    result = cpp(source)
    assert result.score == 1.0, result.reason


@needs_sandbox
def test_pattern_first_and_char_pointers():
    swapped = KMP.replace(
        "search(const string& text, const string& pattern)", "search(const string& pattern, const string& text)"
    )
    assert cpp(swapped).score == 1.0
    pointers = KMP.replace(
        "search(const string& text, const string& pattern) {",
        "search(const char* t, char *p) { string text = t, pattern = p;",
    )
    assert cpp(pointers.replace('search("aaa", "aa")', "vector<int>()")).score == 1.0
    out = KMP.replace(
        "vector<int> search(const string& text, const string& pattern)",
        "void search(string text, string pattern, vector<int>& found)",
    )
    out = out.replace("next = buildNext(pattern), found;", "next = buildNext(pattern);").replace("return found;", "")
    assert cpp(out.replace('search("aaa", "aa")', "vector<int>()")).score == 1.0


@needs_sandbox
@pytest.mark.parametrize(
    ("source", "score"),
    [
        (
            KMP.replace("found.push_back(i - j + 1); j = next[j - 1];", "found.push_back(i - j + 1); j = 0;"),
            0.0,
        ),  # no overlaps
        (
            KMP.replace("found.push_back(i - j + 1);", "found.push_back(i - j + 1); return found;"),
            0.0,
        ),  # the first only
        (KMP.replace("计算部分匹配表", "table").replace("查找所有匹配位置", "search"), 0.0),
        (KMP.replace("vector<int> next(", "vector<int> next["), 0.0),  # does not compile
        ("// 注释\n#include </etc/passwd>\nint main() {}", 0.0),
        ("// 注释\n#include <string>\nint main() { return 0; }", 0.0),
        ("// 注释\nint add(int a, int b) { return a + b; }", None),
        (
            KMP.replace(
                "vector<int> next = buildNext(pattern), found;", 'vector<int> found; cout << "passed"; exit(0);'
            ),
            0.0,
        ),
        (KMP.replace("vector<int> next = buildNext(pattern), found;", "vector<int> found; while (true);"), 0.0),
    ],
)
def test_wrong_cpp(source, score):
    assert cpp(source).score == score


def test_without_a_sandbox_code_is_unscored(monkeypatch):
    monkeypatch.setattr(sandbox, "lacks", lambda tool: "bwrap is not installed")
    monkeypatch.setattr(sandbox, "run", lambda *_: pytest.fail("nothing may run"))
    for result in (python(QUICKSORT), cpp(KMP)):
        assert result.score is None and "bwrap" in result.reason


def test_expected_matches_overlap():
    assert tasks.matches("aaaa", "aa") == [0, 1, 2] and tasks.matches("ab", "aba") == []
